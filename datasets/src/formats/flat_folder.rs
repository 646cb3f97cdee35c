//! A folder of photos without labels: VOC's `JPEGImages`, ADE20K's `images/validation`, anybody's holiday.

use std::path::Path;

use super::listing::{LooseFiles, files_below, is_image};
use crate::source::{Entry, Manifest, Source};
use crate::spec::DatasetError;

/// Opens the images below `root/base` whose name `keep` wants.
pub fn open(root: &Path, base: &str, keep: impl Fn(&str) -> bool) -> Result<Box<dyn Source>, DatasetError> {
    let files = files_below(&root.join(base), base)?;
    let wanted = files.into_iter().filter(|file| is_image(&file.name) && keep(&file.name));
    let entries = wanted.map(|file| Entry { name: file.name, label: None, bytes: file.bytes }).collect();
    Ok(Box::new(LooseFiles::new(root, Manifest { entries, classes: Vec::new() })))
}
