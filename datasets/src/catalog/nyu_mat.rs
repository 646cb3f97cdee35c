//! NYU Depth v2's 1449 labelled photos as their authors publish them: one MATLAB file, and the official split in another.
//!
//! The 654 test photos are those of the toolboxes' `test` folder, whose JPEGs were made of these with the outer seven to nine
//! pixels painted black; here they are as they lie in the file. Depth has no gaps: the authors filled them in.

use super::{Dataset, TRAIN_TEST, check_root};
use crate::formats::mat5;
use crate::formats::nyu_mat::LabelledPhotos;
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "nyu_depth_v2_labeled.mat, and splits.mat beside it for train and test";

/// NYU Depth v2 in MATLAB files.
pub const NYU_MAT: Dataset = Dataset {
    name: "nyu_mat",
    about: "NYU Depth v2's labelled photos in MATLAB files, with the depth of every pixel",
    layout: LAYOUT,
    splits: "all, train, test",
    official: TRAIN_TEST,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, LAYOUT)?;
    let path = spec.root.join("nyu_depth_v2_labeled.mat");
    if !path.is_file() {
        return Err(DatasetError::missing(&path, LAYOUT));
    }
    let variable = match spec.split {
        Split::Train => Some("trainNdxs"),
        Split::Test => Some("testNdxs"),
        _ => None,
    };
    let splits = spec.root.join("splits.mat");
    let numbers = match variable {
        Some(variable) => Some(mat5::read(&splits, LAYOUT, |bytes| mat5::integers(bytes, variable))?),
        None => None,
    };
    Ok(Box::new(LabelledPhotos::open(&path, numbers.as_deref())?))
}
