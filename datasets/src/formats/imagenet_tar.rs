//! ImageNet's official archives, read in place: nothing needs unpacking.
//!
//! ```text
//! ILSVRC2012_img_train.tar     n01440764.tar, n01443537.tar, …   each a tar of n01440764_10026.JPEG, …
//! ILSVRC2012_img_val.tar       ILSVRC2012_val_00000001.JPEG, …   without classes; see `devkit`
//! ```
//!
//! Labels are places among the sorted WordNet ids, as for unpacked folders.

use std::path::Path;

use super::devkit::{self, Devkit};
use super::spans::{Span, Spans};
use super::tar_index::{self, base_name, is_hidden};
use crate::source::{Entry, Manifest, Source};
use crate::spec::DatasetError;

/// File name of the training images.
pub const TRAIN: &str = "ILSVRC2012_img_train.tar";
/// File name of the validation images.
pub const VAL: &str = "ILSVRC2012_img_val.tar";

/// The tar of tars.
pub fn open_train(root: &Path) -> Result<Box<dyn Source>, DatasetError> {
    let path = root.join(TRAIN);
    let mut inner = tar_index::index(&path)?;
    inner.retain(|member| member.name.ends_with(".tar") && !is_hidden(&member.name));
    inner.sort_by(|a, b| a.name.cmp(&b.name));
    let file = tar_index::open(&path)?;
    let class = |name: &str| base_name(name).trim_end_matches(".tar").to_owned();
    let classes: Vec<String> = inner.iter().map(|member| class(&member.name)).collect();

    let (mut entries, mut spans) = (Vec::new(), Vec::new());
    for (label, (class, member)) in classes.iter().zip(&inner).enumerate() {
        let mut photos = tar_index::index_member(&path, &file, member)?;
        photos.retain(|photo| !is_hidden(&photo.name));
        photos.sort_by(|a, b| a.name.cmp(&b.name));
        for photo in photos {
            let name = format!("{class}/{}", base_name(&photo.name));
            entries.push(Entry { name, label: Some(label as u32), bytes: photo.bytes });
            spans.push(Span { file: 0, offset: photo.offset, bytes: photo.bytes });
        }
    }
    Ok(Box::new(Spans::new(vec![path], spans, Manifest { entries, classes })))
}

/// The flat validation tar, with the devkit beside it (unpacked, at [`devkit::FOLDER`]).
pub fn open_val(root: &Path) -> Result<Box<dyn Source>, DatasetError> {
    let path = root.join(VAL);
    let mut photos = tar_index::index(&path)?;
    photos.retain(|photo| !is_hidden(&photo.name));
    photos.sort_by(|a, b| base_name(&a.name).cmp(base_name(&b.name)));
    let Devkit { classes, truth } = devkit::read(root)?;

    let (mut entries, mut spans) = (Vec::new(), Vec::new());
    for photo in photos {
        let name = base_name(&photo.name).to_owned();
        let label = number(&name).and_then(|number| truth.get(number.checked_sub(1)?)).copied();
        let label = label.ok_or_else(|| DatasetError::Malformed {
            path: path.clone(),
            what: format!("{name:?} is not one of the {} images of {}", truth.len(), devkit::TRUTH),
        })?;
        entries.push(Entry { name, label: Some(label), bytes: photo.bytes });
        spans.push(Span { file: 0, offset: photo.offset, bytes: photo.bytes });
    }
    Ok(Box::new(Spans::new(vec![path], spans, Manifest { entries, classes })))
}

/// The number of `ILSVRC2012_val_00000123.JPEG`.
fn number(name: &str) -> Option<usize> {
    name.strip_prefix("ILSVRC2012_val_")?.split('.').next()?.parse().ok()
}
