//! Anybody's own images: a folder of photos, or a folder of class folders.

use std::path::Path;

use super::{Dataset, TRAIN_TEST, check_root, no_split};
use crate::formats::listing::folders_in;
use crate::formats::{class_folders, flat_folder};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

/// A folder of photos.
pub const PHOTOS: Dataset = Dataset {
    name: "photos",
    about: "any folder of images, without labels",
    layout: "files named as images (.jpg, .png, …), at any depth",
    splits: "all, every:…",
    official: &[],
    partitions: 0,
    open: |spec| {
        check_root(&spec.root, PHOTOS.layout)?;
        flat_folder::open(&spec.root, "", |_| true)
    },
};

/// Class folders.
pub const FOLDERS: Dataset = Dataset {
    name: "folders",
    about: "any folder of class folders",
    layout: "<class>/image files; or train/<class>/… and val/<class>/… or test/<class>/… for official splits",
    splits: "all, class:…, every:…; train, test if so laid out",
    official: TRAIN_TEST,
    partitions: 0,
    open: open_folders,
};

fn open_folders(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, FOLDERS.layout)?;
    let offered = "all, class:…, every:… (there is no such subfolder)";
    let train = spec.root.join("train").is_dir().then_some("train");
    let held_out = ["val", "test"].into_iter().find(|base| spec.root.join(base).is_dir());
    let only = match spec.split {
        Split::Train => Some(train.ok_or_else(|| no_split(spec, offered))?),
        Split::Test => Some(held_out.ok_or_else(|| no_split(spec, offered))?),
        _ if !laid_out_in_splits(&spec.root)? => return class_folders::open(&spec.root, &[""], None, &[]),
        _ => None,
    };
    let bases: Vec<&str> = train.into_iter().chain(held_out).collect();
    class_folders::open(&spec.root, &bases, only, &[])
}

/// Whether the folders of `root` are splits. A `val` or `test` among other folders than splits is a class, unless there
/// is a `train` too, and so is one without class folders in it.
fn laid_out_in_splits(root: &Path) -> Result<bool, DatasetError> {
    let folders = folders_in(root)?;
    if folders.iter().any(|name| name == "train") {
        return Ok(true);
    }
    let splits = folders.iter().all(|name| ["val", "test"].contains(&name.as_str()));
    Ok(splits && folders.iter().any(|name| folders_in(&root.join(name)).is_ok_and(|classes| !classes.is_empty())))
}
