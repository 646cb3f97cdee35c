//! ADE20K as of the scene-parsing challenge: the photos.

use super::{Dataset, TRAIN_TEST, check_root};
use crate::formats::flat_folder;
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "images/training/*.jpg, images/validation/*.jpg (the folder ADEChallengeData2016)";

/// ADE20K.
pub const ADE20K: Dataset = Dataset {
    name: "ade20k",
    about: "ADE20K scene-parsing photos",
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
    flat_folder::open(&spec.root, base, |_| true)
}
