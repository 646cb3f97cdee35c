//! Caltech-101: a folder per category. It has no official split; the usual one takes the first part of each class.
//!
//! `BACKGROUND_Google` is not a category and is left out, as torchvision does.

use super::{Dataset, check_root};
use crate::formats::class_folders;
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};

const LAYOUT: &str = "101_ObjectCategories/<category>/image_0001.jpg, …";

/// Caltech-101.
pub const CALTECH101: Dataset = Dataset {
    name: "caltech101",
    about: "Caltech-101 object categories",
    layout: LAYOUT,
    splits: "all, class:2/3:train, …",
    official: &[],
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, LAYOUT)?;
    let base = if spec.root.join("101_ObjectCategories").is_dir() { "101_ObjectCategories" } else { "" };
    class_folders::open(&spec.root, &[base], None, &["BACKGROUND_Google"])
}
