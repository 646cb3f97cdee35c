//! `WebDataset` shards: tars in which files that share a key are one sample.
//!
//! ```text
//! 000017.jpg  000017.cls        key 000017, image, label as text
//! 000018.png  000018.json       label under "label" or "cls"
//! ```
//!
//! The key is the path up to the first dot of its last part. Samples keep the order of shards and of members. Labels are
//! read while indexing, images never. Source: webdataset `webdataset/tariterators.py` (`base_plus_ext`).

use std::path::{Path, PathBuf};

use super::hf_parquet::MAX_CLASSES;
use super::listing::files_below;
use super::spans::{Span, Spans, read_at};
use super::tar_index::{self, Member, is_hidden};
use crate::source::{Entry, Manifest, Source};
use crate::spec::DatasetError;

const IMAGES: [&str; 6] = ["jpg", "jpeg", "png", "webp", "gif", "bmp"];
/// Longest label file: metadata may sit beside the label.
const MAX_LABEL_BYTES: u64 = 1 << 20;

/// Opens the shards below `root` (or `root` itself, if it is a file) whose name starts with one of `splits`; all of them
/// when `splits` is empty. `classes.txt` or `classnames.txt` beside them names the classes.
pub fn open(root: &Path, splits: &[&str]) -> Result<Box<dyn Source>, DatasetError> {
    let shards: Vec<PathBuf> = if root.is_dir() {
        let listed = files_below(root, "")?;
        let wanted = listed.into_iter().filter(|file| {
            let base = tar_index::base_name(&file.name);
            let is_tar = Path::new(base).extension().is_some_and(|extension| extension == "tar");
            is_tar && (splits.is_empty() || splits.iter().any(|split| base.starts_with(split)))
        });
        wanted.map(|file| root.join(file.name)).collect()
    } else {
        vec![root.to_owned()]
    };
    let (mut spans, mut entries) = (Vec::new(), Vec::new());
    for (number, shard) in shards.iter().enumerate() {
        let shown = shard.file_stem().unwrap_or_default().to_string_lossy();
        for sample in samples(shard)? {
            entries.push(Entry {
                name: format!("{shown}/{}", sample.key),
                label: sample.label,
                bytes: sample.image.bytes,
            });
            spans.push(Span { file: number as u32, offset: sample.image.offset, bytes: sample.image.bytes });
        }
    }
    let mut classes = class_names(root)?;
    let largest = entries.iter().filter_map(|entry| entry.label).max();
    let named = classes.len() as u32;
    classes.extend((named..largest.map_or(0, |largest| largest + 1)).map(|class| class.to_string()));
    Ok(Box::new(Spans::new(shards, spans, Manifest { entries, classes })))
}

struct Sample {
    key: String,
    image: Member,
    label: Option<u32>,
}

/// Key and extension: `a/b.c.jpg` is `a/b` and `c.jpg`.
fn split_key(name: &str) -> Option<(&str, &str)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].find('.')?;
    Some((&name[..dot], &name[dot + 1..]))
}

fn samples(shard: &Path) -> Result<Vec<Sample>, DatasetError> {
    let mut samples = Vec::new();
    let mut members = tar_index::index(shard)?.into_iter().filter(|member| !is_hidden(&member.name)).peekable();
    while let Some(first) = members.next() {
        let Some((key, _)) = split_key(&first.name) else { continue };
        let key = key.to_owned();
        let mut group = vec![first];
        while let Some(next) = members.next_if(|next| split_key(&next.name).is_some_and(|(other, _)| other == key)) {
            group.push(next);
        }
        let extension = |member: &Member| split_key(&member.name).map(|(_, extension)| extension.to_ascii_lowercase());
        let label = match group.iter().find(|member| matches!(extension(member).as_deref(), Some("cls" | "json"))) {
            Some(member) => read_label(shard, member)?,
            None => None,
        };
        let is_image = |member: &Member| {
            extension(member)
                .is_some_and(|extension| IMAGES.contains(&extension.rsplit('.').next().unwrap_or_default()))
        };
        if let Some(image) = group.into_iter().find(is_image) {
            samples.push(Sample { key, image, label });
        }
    }
    Ok(samples)
}

fn read_label(shard: &Path, member: &Member) -> Result<Option<u32>, DatasetError> {
    let malformed = move |what: &str| DatasetError::Malformed {
        path: shard.to_owned(),
        what: format!("label {:?} {what}", member.name),
    };
    if member.bytes > MAX_LABEL_BYTES {
        return Err(malformed("is longer than a megabyte"));
    }
    let bytes = read_at(shard, member.offset, member.bytes).map_err(|error| malformed(&error.to_string()))?;
    let number = if member.name.to_ascii_lowercase().ends_with("cls") {
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed("is not text"))?;
        Some(text.trim().parse::<i64>().map_err(|_| malformed("is not a whole number"))?)
    } else {
        let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| malformed("is not JSON"))?;
        json.get("label").or_else(|| json.get("cls")).and_then(serde_json::Value::as_i64)
    };
    match number {
        None | Some(..0) => Ok(None),
        Some(number) => match u32::try_from(number) {
            Ok(label) if label < MAX_CLASSES => Ok(Some(label)),
            _ => Err(malformed("is above a million")),
        },
    }
}

fn class_names(root: &Path) -> Result<Vec<String>, DatasetError> {
    let folder = if root.is_dir() { root } else { root.parent().unwrap_or(root) };
    for name in ["classes.txt", "classnames.txt"] {
        let path = folder.join(name);
        if path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(DatasetError::io(&path))?;
            return Ok(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect());
        }
    }
    Ok(Vec::new())
}
