//! ADE20K as of the scene-parsing challenge: photos, and the class of every pixel.
//!
//! A label is a row of `objectInfo150.txt`, from 1; 0 is everything else. Source:
//! <http://sceneparsing.csail.mit.edu/>, `ADEChallengeData2016.zip`.

use std::path::Path;

use super::{Dataset, TRAIN_TEST, check_root};
use crate::formats::flat_folder;
use crate::formats::lists::List;
use crate::formats::pixel_truth::{Beside, Meaning, names_of, with_pixel_truth};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "images/{training,validation}/*.jpg (the folder ADEChallengeData2016); for dense heads \
    annotations/{training,validation}/*.png, and objectInfo150.txt for names of classes";
/// Labels, the one of everything else among them.
const LABELS: usize = 151;

/// ADE20K.
pub const ADE20K: Dataset = Dataset {
    name: "ade20k",
    about: "ADE20K scene-parsing photos, with the class of every pixel (0 other, 1 to 150)",
    layout: LAYOUT,
    splits: "all, train, test (= validation)",
    official: TRAIN_TEST,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, LAYOUT)?;
    let base = match spec.split {
        Split::Train => "images/training",
        Split::Test => "images/validation",
        _ => "images",
    };
    let photos = flat_folder::open(&spec.root, base, |_| true)?;
    // `images/validation/a.jpg` → `annotations/validation/a.png`
    let beside = |name: &str| {
        let name = name.strip_prefix("images/").unwrap_or(name);
        format!("annotations/{}", Path::new(name).with_extension("png").display())
    };
    let names = names_of(&*photos, beside);
    let classes = class_names(&spec.root.join("objectInfo150.txt"))?;
    let beside = Beside { root: spec.root.clone(), names, meaning: Meaning::Classes, classes };
    Ok(with_pixel_truth(photos, beside))
}

/// Names by label. The columns are number, share, images of train and of val, and name, under a line that says so; in some
/// copies there is a column between the last two.
fn class_names(path: &Path) -> Result<Vec<String>, DatasetError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let mut classes = vec!["other".to_owned()];
    for row in List::read(path, LAYOUT)?.rows(["number", "columns"]).skip(1) {
        let row = row?;
        let label = row.from_one(row.cells[0])? as usize + 1;
        if label != classes.len() || label >= LABELS {
            return Err(row.wrong(format!("class {label} stands where class {} should, of 150", classes.len())));
        }
        classes.push(row.cells[1].rsplit('\t').next().unwrap_or_default().trim().to_owned());
    }
    Ok(classes)
}
