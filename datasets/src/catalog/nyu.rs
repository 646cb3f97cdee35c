//! NYU Depth v2 as the depth-estimation toolboxes lay it out: colour photos, and the depth of every pixel in mm.
//!
//! The splits are the lists of BTS or of the MDE toolbox where they lie at the root, and whatever is in the folders where
//! not. A line of a list is a photo, its depth, and the focal length, below the folder of that split:
//! `/kitchen_0028b/rgb_00045.jpg /kitchen_0028b/sync_depth_00045.png 518.8579`. BTS trains on 24,231 pairs and tests on the
//! 654 of the official split. Source: BTS `pytorch/bts_dataloader.py`, MDE toolbox `datasets/nyu.py`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Dataset, TRAIN_TEST, check_root};
use crate::formats::lists::List;
use crate::formats::pixel_truth::{Beside, Meaning, names_of, with_pixel_truth};
use crate::formats::tar_index::base_name;
use crate::formats::{flat_folder, lists};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "train/<scene>/rgb_*.jpg, test/<scene>/rgb_*.jpg, and sync_depth_*.png beside them for depth; or, under \
    nyudepthv2_{train,test}_files_with_gt.txt or nyu_{train,test}.txt, the files that those lists name, in train/, sync/ or \
    the root, and test/, official_splits/test/ or the root";
static TRAIN: Part = Part {
    folder: "train",
    lists: ["nyudepthv2_train_files_with_gt.txt", "nyu_train.txt"],
    bases: ["train", "sync", ""],
};
static TEST: Part = Part {
    folder: "test",
    lists: ["nyudepthv2_test_files_with_gt.txt", "nyu_test.txt"],
    bases: ["test", "official_splits/test", ""],
};

/// NYU Depth v2.
pub const NYU: Dataset = Dataset {
    name: "nyu",
    about: "NYU Depth v2 photos, with the depth of every pixel",
    layout: LAYOUT,
    splits: "all (every photo in the folders), train, test",
    official: TRAIN_TEST,
    partitions: 0,
    open,
};

/// Where a split lies.
struct Part {
    folder: &'static str,
    lists: [&'static str; 2],
    bases: [&'static str; 3],
}

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, LAYOUT)?;
    let part: Option<&Part> = match spec.split {
        Split::Train => Some(&TRAIN),
        Split::Test => Some(&TEST),
        _ => None,
    };
    let list = part.and_then(|part| part.lists.iter().find(|list| spec.root.join(list).is_file()));
    let (photos, names) = match (part, list) {
        (Some(part), Some(list)) => listed(&spec.root, part, list)?,
        (part, _) => {
            let folder = part.map_or("", |part| part.folder);
            let photos = flat_folder::open(&spec.root, folder, |name| base_name(name).starts_with("rgb_"))?;
            let names = names_of(&*photos, beside);
            (photos, names)
        }
    };
    let beside = Beside { root: spec.root.clone(), names, meaning: Meaning::Millimetres, classes: Vec::new() };
    Ok(with_pixel_truth(photos, beside))
}

/// `…/rgb_00045.jpg` → `…/sync_depth_00045.png`
fn beside(photo: &str) -> String {
    let number = base_name(photo).trim_start_matches("rgb_");
    let folder = photo.strip_suffix(base_name(photo)).unwrap_or_default();
    format!("{folder}sync_depth_{}", Path::new(number).with_extension("png").display())
}

/// The photos that a list names, and the PNGs of their depth.
fn listed(root: &Path, part: &Part, list: &str) -> Result<(Box<dyn Source>, Vec<String>), DatasetError> {
    let list = List::read(&root.join(list), LAYOUT)?;
    let mut base = None;
    let mut depths = BTreeMap::new();
    for row in list.rows(["photo", "depth"]) {
        let row = row?;
        let below = |base: &str, name: &str| {
            let name = name.trim_start_matches('/');
            if base.is_empty() { name.to_owned() } else { format!("{base}/{name}") }
        };
        // The folder is where the first photo is.
        let base = *base.get_or_insert_with(|| {
            let holds = |base: &&&str| root.join(below(base, row.cells[0])).is_file();
            part.bases.iter().find(holds).copied().unwrap_or(part.folder)
        });
        let depth = row.cells[1].split_whitespace().next().unwrap_or_default();
        let (photo, depth) = (row.path(below(base, row.cells[0]))?, row.path(below(base, depth))?);
        if let Some(other) = depths.insert(photo.clone(), depth.clone())
            && other != depth
        {
            return Err(row.wrong(format!("{photo:?} is listed with {other:?} and with {depth:?}")));
        }
    }
    let (photos, depths): (Vec<_>, Vec<_>) = depths.into_iter().unzip();
    Ok((lists::open_unlabelled(root, photos, LAYOUT)?, depths))
}
