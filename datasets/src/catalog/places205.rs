//! Places205 with its images at 256 × 256 px.
//!
//! A class is called by its folder, `abbey` or `apartment_building/outdoor`; its number is the lists'. The labels of the
//! test set are not public, so `test` is the validation set. Source of the layout: <http://places.csail.mit.edu>.

use super::{Dataset, TRAIN_TEST, base, below};
use crate::formats::lists::{self, List};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "trainvalsplit_places205/{train,val}_places205.csv, with lines `a/abbey/gsun_….jpg 0`, and \
    data/vision/torralba/deeplearning/images256/a/abbey/gsun_….jpg, …";
const LISTS: &str = "trainvalsplit_places205";
const IMAGES: &str = "data/vision/torralba/deeplearning/images256";

/// Places205.
pub const PLACES205: Dataset = Dataset {
    name: "places205",
    about: "Places205 scenes",
    layout: LAYOUT,
    splits: "all, train, test (= val)",
    official: TRAIN_TEST,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    base(spec, &[""], LISTS, LAYOUT)?;
    // The validation list has every class in it and names them for both.
    let val = List::read(&spec.root.join(LISTS).join("val_places205.csv"), LAYOUT)?;
    let train = match spec.split {
        Split::Test => None,
        _ => Some(List::read(&spec.root.join(LISTS).join("train_places205.csv"), LAYOUT)?),
    };
    let mut names: Vec<Option<String>> = Vec::new();
    let mut images = Vec::new();
    for (list, wanted) in [(Some(&val), spec.split != Split::Train), (train.as_ref(), true)] {
        for row in list.into_iter().flat_map(|list| list.rows(["image", "label"])) {
            let row = row?;
            let [path, label] = row.cells;
            let label = row.from_zero(label)?;
            // `a/` is the first letter of the name.
            let class = path.rsplit_once('/').and_then(|(folder, _)| Some(folder.split_once('/')?.1));
            let class = class.ok_or_else(|| row.wrong(format!("{path:?} lies in no class folder")))?;
            names.resize(names.len().max(label as usize + 1), None);
            let known = names[label as usize].get_or_insert_with(|| class.to_owned());
            if known != class {
                return Err(row.wrong(format!("label {label} is both {known:?} and {class:?}")));
            }
            if wanted {
                images.push(row.image(below(IMAGES, path), label)?);
            }
        }
    }
    let classes =
        names.into_iter().enumerate().map(|(label, name)| name.unwrap_or_else(|| label.to_string())).collect();
    lists::open(&spec.root, images, classes, LAYOUT)
}
