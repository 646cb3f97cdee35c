//! `WebDataset` shards: tars in which the files of one sample share a name and differ in extension.
//!
//! ```text
//! 000017.jpg  000017.cls     image, and the number of its class
//! 000018.png  000018.json    image, and {"label": 3, …}
//! ```
//!
//! A name is split at the first dot after the last slash, as the reference does: `a/b.seg.png` is file `seg.png` of
//! sample `a/b`. The image is the file whose extension is an image's (with several, the one without a further dot);
//! the label is the number in `.cls`, else `label` of `.json`, else none. Samples without an image are passed over.
//! Items are `SHARD.tar/SAMPLE.EXTENSION`. Class names come from `classes.txt` or `classnames.txt` beside the shards, one
//! a line; without them a class is called by its number.
//!
//! Source: webdataset `tariterators.py` (`base_plus_ext`, `group_by_keys`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::classes::{self, MAX_CLASSES};
use super::tar_index::{Item, Member, ReadAt, Region, base_name, dataset, index, open_tar};
use crate::source::Source;
use crate::spec::DatasetError;

/// Extensions that mark an image.
pub const IMAGE_EXTENSIONS: [&str; 12] =
    ["jpg", "jpeg", "png", "webp", "gif", "bmp", "ppm", "pgm", "pbm", "pnm", "img", "image"];
/// Most shards that a pattern may name.
pub const MAX_SHARDS: u64 = 1 << 20;
/// Longest `.cls` or `.json`: labels are read when the dataset is opened.
pub const MAX_LABEL_BYTES: u64 = 1 << 20;

/// Opens a folder of `*.tar`, one shard, or a pattern such as `train-{000000..000146}.tar`.
///
/// Of a folder, only shards whose name starts with one of `starts`; all of them if it is empty.
pub fn open(path: &Path, starts: &[&str]) -> Result<Box<dyn Source>, DatasetError> {
    let shards = shards(path, starts)?;
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let names = class_names(folder)?;
    let known = if names.is_empty() { MAX_CLASSES } else { names.len() as u32 };
    let items = shards
        .par_iter()
        .enumerate()
        .map(|(tar, shard)| samples(tar, shard, known))
        .collect::<Vec<_>>() // rayon keeps whichever error comes first, we report that of the first shard
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let classes = classes::up_to(items.iter().filter_map(|item| item.label).max(), names);
    Ok(Box::new(dataset(shards, items, classes)?))
}

fn shards(path: &Path, starts: &[&str]) -> Result<Vec<PathBuf>, DatasetError> {
    const EXPECTED: &str = "tar shards: one file, a folder of them, or a pattern such as name-{000..009}.tar";
    if path.is_dir() {
        let mut shards = Vec::new();
        for file in fs::read_dir(path).map_err(DatasetError::io(path))? {
            let file = file.map_err(DatasetError::io(path))?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let is_tar = file.extension().is_some_and(|extension| extension == "tar") && !name.starts_with('.');
            if is_tar && (starts.is_empty() || starts.iter().any(|start| name.starts_with(start))) {
                shards.push(file);
            }
        }
        shards.sort_unstable();
        return Ok(shards);
    }
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let names = pattern(path).ok_or_else(|| DatasetError::missing(path, EXPECTED))?;
    Ok(names.iter().map(|name| path.with_file_name(name)).collect())
}

/// The shards of a pattern, which is no path itself; none for any other name.
pub fn pattern(path: &Path) -> Option<Vec<String>> {
    path.file_name()?.to_str().and_then(expand)
}

/// `a{08..10}b` → `a08b`, `a09b`, `a10b`, as a shell does; none for anything else.
fn expand(pattern: &str) -> Option<Vec<String>> {
    let (before, rest) = pattern.split_once('{')?;
    let (range, after) = rest.split_once('}')?;
    let (first, last) = range.split_once("..")?;
    let padded = |number: &str| number.len() > 1 && number.starts_with('0');
    let width = if padded(first) || padded(last) { first.len().max(last.len()) } else { 0 };
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let fits = first <= last && last - first < MAX_SHARDS && width <= 20;
    fits.then(|| (first..=last).map(|number| format!("{before}{number:0width$}{after}")).collect())
}

fn class_names(folder: &Path) -> Result<Vec<String>, DatasetError> {
    let mut paths = ["classes.txt", "classnames.txt"].map(|name| folder.join(name)).into_iter();
    paths.find(|path| path.is_file()).map_or(Ok(Vec::new()), |path| classes::listed(&path))
}

/// The sample a file belongs to, and which of its files it is.
fn split_name(name: &str) -> Option<(&str, &str)> {
    let base = base_name(name);
    let dot = base.find('.').filter(|&dot| dot > 0)?;
    Some((&name[..name.len() - base.len() + dot], &base[dot + 1..]))
}

fn is_image(extension: &str) -> bool {
    let last = extension.rsplit('.').next().unwrap_or(extension);
    IMAGE_EXTENSIONS.iter().any(|known| last.eq_ignore_ascii_case(known))
}

fn samples(tar: usize, path: &Path, classes: u32) -> Result<Vec<Item>, DatasetError> {
    let (file, whole) = open_tar(path, "a shard that the pattern names")?;
    let shard = path.file_name().unwrap_or_default().to_string_lossy();
    let members = index(&file, path, whole)?;
    let mut samples = BTreeMap::<&str, Vec<(&str, &Member)>>::new();
    for member in &members {
        if let Some((key, extension)) = split_name(&member.name) {
            samples.entry(key).or_default().push((extension, member));
        }
    }
    let mut items = Vec::with_capacity(samples.len());
    for (key, files) in samples {
        let mut images: Vec<_> = files.iter().filter(|(extension, _)| is_image(extension)).collect();
        if images.len() > 1 {
            images.retain(|(extension, _)| !extension.contains('.'));
            if images.len() != 1 {
                let what = format!("sample {key:?} has several images, and none stands out by its name");
                return Err(DatasetError::malformed(path, what));
            }
        }
        let Some((_, image)) = images.first() else { continue };
        let label = label(&file, path, &files)?;
        if let Some(label) = label.filter(|&label| label >= classes) {
            let what = format!("sample {key:?} has label {label}, but there are {classes} classes at most");
            return Err(DatasetError::malformed(path, what));
        }
        items.push(Item { name: format!("{shard}/{}", image.name), label, tar, region: image.region });
    }
    Ok(items)
}

fn label(file: &File, path: &Path, files: &[(&str, &Member)]) -> Result<Option<u32>, DatasetError> {
    let find = |wanted: &str| {
        let found = files.iter().find(|(extension, _)| extension.eq_ignore_ascii_case(wanted));
        found.map(|(_, member)| *member)
    };
    if let Some(member) = find("cls") {
        let bytes = payload(file, path, member)?;
        let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
        return number.map(Some).ok_or_else(|| bad_label(path, member, "is not the number of a class"));
    }
    let Some(member) = find("json") else { return Ok(None) };
    let json: serde_json::Value = serde_json::from_slice(&payload(file, path, member)?)
        .map_err(|error| bad_label(path, member, &format!("is not JSON: {error}")))?;
    match json.get("label") {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.map(Some).ok_or_else(|| bad_label(path, member, "has a \"label\" that is not the number of a class"))
        }
    }
}

fn payload(file: &File, path: &Path, member: &Member) -> Result<Vec<u8>, DatasetError> {
    let Region { offset, len } = member.region;
    if len > MAX_LABEL_BYTES {
        return Err(bad_label(path, member, &format!("has {len} bytes; a label has at most {MAX_LABEL_BYTES}")));
    }
    let mut bytes = vec![0; len as usize];
    file.fill(&mut bytes, offset).map_err(DatasetError::io(path))?;
    Ok(bytes)
}

fn bad_label(path: &Path, member: &Member, what: &str) -> DatasetError {
    let Member { name, region: Region { offset, .. } } = member;
    DatasetError::malformed(path, format_args!("at byte {offset}: {name} {what}"))
}

#[cfg(test)]
mod tests;
