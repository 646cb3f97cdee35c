//! Pascal VOC: the photos, and the boxes of their objects where `Annotations/*.xml` lie beside them.
//!
//! The splits are the lists of `ImageSets/Main`: `train` is `train.txt`, `val` and `test` are `val.txt` (VOC's test set has
//! no public answers), `trainval` is `trainval.txt`, on which objects are discovered. `all` is every photo there is.

use std::collections::HashSet;
use std::fs;

use super::{Dataset, THREE, check_root};
use crate::formats::{flat_folder, voc_xml};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "JPEGImages/*.jpg (with Annotations/*.xml for boxes and ImageSets/Main/{train,val,trainval}.txt for \
    splits), or VOC2012/ or VOC2007/ holding them";

/// Pascal VOC 2007 or 2012.
pub const VOC: Dataset = Dataset {
    name: "voc",
    about: "Pascal VOC photos, without labels, with boxes of objects",
    layout: LAYOUT,
    splits: "all, train, val, trainval, test (= val)",
    official: THREE,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, LAYOUT)?;
    let year = ["", "VOC2012", "VOC2007"].into_iter().find(|year| spec.root.join(year).join("JPEGImages").is_dir());
    let Some(year) = year else {
        return Err(DatasetError::missing(&spec.root.join("JPEGImages"), LAYOUT));
    };
    let base = if year.is_empty() { "JPEGImages".to_owned() } else { format!("{year}/JPEGImages") };
    let list = match spec.split {
        Split::Train => "train.txt",
        Split::Val | Split::Test => "val.txt",
        Split::TrainVal => "trainval.txt",
        _ => return Ok(voc_xml::with_boxes(&spec.root, flat_folder::open(&spec.root, &base, |_| true)?)),
    };
    let path = spec.root.join(year).join("ImageSets/Main").join(list);
    if !path.is_file() {
        return Err(DatasetError::missing(&path, LAYOUT));
    }
    let text = fs::read_to_string(&path).map_err(DatasetError::io(&path))?;
    let wanted: HashSet<String> =
        text.lines().filter_map(|line| line.split_whitespace().next()).map(|id| format!("{base}/{id}.jpg")).collect();
    let source = flat_folder::open(&spec.root, &base, |name| wanted.contains(name))?;
    let found = source.manifest().entries.len();
    if found == wanted.len() {
        Ok(voc_xml::with_boxes(&spec.root, source))
    } else {
        let what = format!("lists {} images, of which {found} are in {base}", wanted.len());
        Err(DatasetError::malformed(&path, what))
    }
}
