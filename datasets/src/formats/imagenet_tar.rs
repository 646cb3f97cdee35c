//! ImageNet-1k as it is handed out, read in place: nothing is unpacked.
//!
//! ```text
//! ILSVRC2012_img_train.tar        n01440764.tar, n01443537.tar, …    each a tar of n01440764_10026.JPEG, …
//! ILSVRC2012_img_val.tar          ILSVRC2012_val_00000001.JPEG, …
//! ILSVRC2012_devkit_t12.tar.gz    data/ILSVRC2012_validation_ground_truth.txt, data/meta.mat; or its unpacked folder
//! ```
//!
//! Labels are torchvision's: the position of the `WordNet` id in the sorted list of ids. Line n of the ground truth is
//! the `ILSVRC2012_ID` of validation image n; `meta.mat` turns an id into a `WordNet` id, and its nodes without children
//! are the classes. Source: torchvision `datasets/imagenet.py` (`parse_devkit_archive`).

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rayon::prelude::*;

use super::mat5::{self, Mat5Error};
use super::tar_index::{Item, Member, Region, dataset, index, open_tar};
use crate::source::Source;
use crate::spec::DatasetError;

/// File name of the training images.
pub const TRAIN: &str = "ILSVRC2012_img_train.tar";
/// File name of the validation images.
pub const VAL: &str = "ILSVRC2012_img_val.tar";
/// Folder of the unpacked devkit; the archive has `.tar.gz` at its end.
pub const DEVKIT: &str = "ILSVRC2012_devkit_t12";

const META: &str = "data/meta.mat";
const GROUND_TRUTH: &str = "data/ILSVRC2012_validation_ground_truth.txt";
/// The official devkit unpacks to some ten million bytes.
const MAX_DEVKIT_BYTES: u64 = 256 << 20;

/// Opens the training images: `root` is the folder of [`TRAIN`]. Items are `WNID/WNID_NUMBER.JPEG`.
pub fn open_train(root: &Path) -> Result<Box<dyn Source>, DatasetError> {
    let path = root.join(TRAIN);
    let (file, whole) = open_tar(&path, "the official archive of training images")?;
    let mut class_tars = index(&file, &path, whole)?;
    class_tars.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let classes = class_tars
        .iter()
        .map(|Member { name, region }| {
            let wnid = name.strip_suffix(".tar").filter(|name| is_wnid(name)).map(str::to_owned);
            let at = region.offset;
            wnid.ok_or_else(|| {
                let what = format!("at byte {at}: {name:?} where one tar per class was expected (n01440764.tar, …)");
                DatasetError::malformed(&path, what)
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if let Some([twin, ..]) = classes.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(DatasetError::malformed(&path, format!("holds {twin}.tar twice")));
    }
    let images = class_tars
        .par_iter()
        .map(|class_tar| index(&file, &path, class_tar.region).map_err(|error| inside(error, &class_tar.name)))
        .collect::<Vec<_>>()
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let items = images.into_iter().zip(&classes).enumerate().flat_map(|(label, (images, wnid))| {
        images.into_iter().map(move |Member { name, region }| Item {
            name: format!("{wnid}/{name}"),
            label: Some(label as u32),
            tar: 0,
            region,
        })
    });
    let items = items.collect();
    Ok(Box::new(dataset(vec![path], items, classes)?))
}

/// Opens the validation images: `root` is the folder of [`VAL`] and the devkit, packed or unpacked.
pub fn open_val(root: &Path) -> Result<Box<dyn Source>, DatasetError> {
    let path = root.join(VAL);
    let (file, whole) = open_tar(&path, "the official archive of validation images")?;
    let mut images = index(&file, &path, whole)?;
    images.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let Devkit { labels, classes, ground_truth } = devkit(root)?;
    let (lines, count) = (labels.len(), images.len());
    if lines != count {
        let what = format!("has {lines} lines for the {count} images of {}; are both whole?", path.display());
        return Err(DatasetError::malformed(&ground_truth, what));
    }
    let items = images
        .into_iter()
        .zip(labels)
        .enumerate()
        .map(|(place, (Member { name, region }, label))| {
            // Line n is the label of image n, so a name out of line would shift every label after it.
            let expected = format!("ILSVRC2012_val_{:08}.JPEG", place + 1);
            if name == expected {
                Ok(Item { name, label: Some(label), tar: 0, region })
            } else {
                let what = format!("at byte {}: {name:?} where {expected} was expected", region.offset);
                Err(DatasetError::malformed(&path, what))
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(Box::new(dataset(vec![path], items, classes)?))
}

fn is_wnid(name: &str) -> bool {
    name.len() == 9 && name.starts_with('n') && name[1..].bytes().all(|byte| byte.is_ascii_digit())
}

fn inside(error: DatasetError, member: &str) -> DatasetError {
    match error {
        DatasetError::Malformed { path, what } => DatasetError::malformed(&path, format!("in {member}, {what}")),
        other => other,
    }
}

struct Devkit {
    labels: Vec<u32>,
    classes: Vec<String>,
    ground_truth: PathBuf,
}

fn devkit(root: &Path) -> Result<Devkit, DatasetError> {
    let (folder, archive) = (root.join(DEVKIT), root.join(format!("{DEVKIT}.tar.gz")));
    let unpacked = folder.is_dir();
    let kit = if unpacked { folder } else { archive };
    let (meta, lines) =
        if unpacked { (read_file(&kit.join(META))?, read_file(&kit.join(GROUND_TRUTH))?) } else { unpack(&kit)? };
    let ground_truth = kit.join(GROUND_TRUTH);
    let synsets = synsets(&meta).map_err(|error| DatasetError::malformed(&kit.join(META), error))?;
    let wnids: HashMap<u32, &str> = synsets.iter().map(|synset| (synset.id, synset.wnid.as_str())).collect();
    let leaves = synsets.iter().filter(|synset| synset.num_children == 0);
    let mut classes: Vec<String> = leaves.map(|synset| synset.wnid.clone()).collect();
    classes.sort_unstable();
    let lines = std::str::from_utf8(&lines).map_err(|_| DatasetError::malformed(&ground_truth, "is not text"))?;
    let labels = lines
        .lines()
        .enumerate()
        .map(|(place, line)| {
            let wnid = line.trim().parse().ok().and_then(|id: u32| wnids.get(&id));
            let label = wnid.and_then(|wnid| classes.binary_search_by(|class| class.as_str().cmp(wnid)).ok());
            label.map(|label| label as u32).ok_or_else(|| {
                let what = format!("line {}: {line:?} is not the ILSVRC2012_ID of a class", place + 1);
                DatasetError::malformed(&ground_truth, what)
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Devkit { labels, classes, ground_truth })
}

/// A node of ImageNet's tree.
struct Synset {
    /// `ILSVRC2012_ID`, counted from 1: what the ground truth is written in.
    id: u32,
    /// `WordNet` id, `n` and eight digits.
    wnid: String,
    /// How many nodes hang below it; the 1000 classes are the nodes with none.
    num_children: u32,
}

fn synsets(meta: &[u8]) -> Result<Vec<Synset>, Mat5Error> {
    mat5::structs(meta, "synsets", ["ILSVRC2012_ID", "WNID", "num_children"], |node| {
        Ok(Synset { id: node.integer(0)?, wnid: node.text(1)?, num_children: node.integer(2)? })
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, DatasetError> {
    read_bounded(open_tar(path, "a file of the official devkit")?.0, path)
}

/// `meta.mat` and the ground truth, from the archive.
fn unpack(archive: &Path) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
    let (file, _) =
        open_tar(archive, "the official devkit, which labels the validation images; or its unpacked folder")?;
    let bytes = read_bounded(GzDecoder::new(file), archive)?;
    let members = index(bytes.as_slice(), archive, Region { offset: 0, len: bytes.len() as u64 })?;
    let member = |end: &str| {
        let found = members.iter().find(|member| member.name.ends_with(end));
        let Region { offset, len } =
            found.ok_or_else(|| DatasetError::malformed(archive, format!("holds no {end}")))?.region;
        Ok::<_, DatasetError>(bytes[offset as usize..(offset + len) as usize].to_vec())
    };
    Ok((member(META)?, member(GROUND_TRUTH)?))
}

fn read_bounded(from: impl Read, path: &Path) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = Vec::new();
    from.take(MAX_DEVKIT_BYTES + 1).read_to_end(&mut bytes).map_err(DatasetError::io(path))?;
    if bytes.len() as u64 > MAX_DEVKIT_BYTES {
        let what = format!("is over {MAX_DEVKIT_BYTES} bytes, so it is not the official devkit");
        return Err(DatasetError::malformed(path, what));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
