//! NYU Depth v2 as the depth-estimation toolboxes lay it out: the colour photos.

use super::{Dataset, TRAIN_TEST, check_root};
use crate::formats::flat_folder;
use crate::formats::tar_index::base_name;
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "train/<scene>/rgb_*.jpg, test/<scene>/rgb_*.jpg (sync_depth_*.png beside them)";

/// NYU Depth v2.
pub const NYU: Dataset = Dataset {
    name: "nyu",
    about: "NYU Depth v2 photos",
    layout: LAYOUT,
    splits: "all, train, test",
    official: TRAIN_TEST,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, LAYOUT)?;
    let base = match spec.split {
        Split::Train => "train",
        Split::Test => "test",
        _ => "",
    };
    flat_folder::open(&spec.root, base, |name| base_name(name).starts_with("rgb_"))
}
