//! ImageNet-1k: class folders, or the official archives as downloaded.
//!
//! `train` is the training set and `test` the validation set, whose labels are public; the real test set's are not.

use super::{Dataset, TRAIN_TEST, check_root, no_split};
use crate::formats::{class_folders, imagenet_tar};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const FOLDERS: &str = "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG (either may be missing)";
const ARCHIVES: &str = "ILSVRC2012_img_train.tar; or ILSVRC2012_img_val.tar with the devkit, which may stay packed \
    (ILSVRC2012_devkit_t12.tar.gz) or be unpacked (ILSVRC2012_devkit_t12/data/)";

/// Class folders.
pub const IMAGENET: Dataset = Dataset {
    name: "imagenet",
    about: "ImageNet-1k, unpacked into class folders",
    layout: FOLDERS,
    splits: "all, train, test (= val)",
    official: TRAIN_TEST,
    partitions: 0,
    open: open_folders,
};

/// Archives.
pub const IMAGENET_TAR: Dataset = Dataset {
    name: "imagenet_tar",
    about: "ImageNet-1k in its official tars, read without unpacking",
    layout: ARCHIVES,
    splits: "train, test (= val)",
    official: TRAIN_TEST,
    partitions: 0,
    open: open_archives,
};

fn open_folders(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, FOLDERS)?;
    let bases: Vec<&str> = ["train", "val"].into_iter().filter(|base| spec.root.join(base).is_dir()).collect();
    let only = match spec.split {
        Split::Train => Some("train"),
        Split::Test => Some("val"),
        _ => None,
    };
    let needed = only.or(bases.first().copied()).unwrap_or("val");
    if !bases.contains(&needed) {
        return Err(DatasetError::missing(&spec.root.join(needed), FOLDERS));
    }
    class_folders::open(&spec.root, &bases, only, &[])
}

fn open_archives(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, ARCHIVES)?;
    match spec.split {
        Split::Train => imagenet_tar::open_train(&spec.root),
        Split::Test => imagenet_tar::open_val(&spec.root),
        // Both archives together would have one photo's name mean two things; splits by rule apply to either alone.
        _ => match (spec.root.join(imagenet_tar::TRAIN).is_file(), spec.root.join(imagenet_tar::VAL).is_file()) {
            (true, false) => imagenet_tar::open_train(&spec.root),
            (false, true) => imagenet_tar::open_val(&spec.root),
            (false, false) => Err(DatasetError::missing(&spec.root.join(imagenet_tar::VAL), ARCHIVES)),
            (true, true) => Err(no_split(spec, "train, test")),
        },
    }
}
