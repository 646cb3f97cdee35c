//! Parquet files with embedded images, as on the Hugging Face hub: `data/train-00000-of-00005.parquet`.
//!
//! The split is the start of the file's name. Labels and class names come from the files
//! ([`schemas::foreign::ImageParquet`]); an entry is called `<file>#<row>`, and its size is the mean of its row group.

use std::path::Path;

use schemas::foreign::{GroupCache, ImageParquet};

use super::classes::{self, MAX_CLASSES};
use super::listing::files_below;
use super::spans::file_and_row;
use super::tar_index::base_name;
use crate::source::{Entry, Manifest, Raw, ReadError, Source};
use crate::spec::DatasetError;

struct Tables {
    files: Vec<ImageParquet>,
    /// First row of each file.
    starts: Vec<usize>,
    manifest: Manifest,
    cache: GroupCache,
}

/// Opens the Parquet files below `root` (or `root` itself, if it is one) whose name starts with one of `splits`; all of
/// them when `splits` is empty.
pub fn open(root: &Path, splits: &[&str]) -> Result<Box<dyn Source>, DatasetError> {
    let names = if root.is_file() {
        vec![String::new()]
    } else {
        let listed = files_below(root, "")?;
        let wanted = listed.into_iter().map(|file| file.name).filter(|name| {
            let is_wanted = splits.is_empty() || splits.iter().any(|split| base_name(name).starts_with(split));
            name.ends_with(".parquet") && is_wanted
        });
        wanted.collect()
    };
    let (mut files, mut starts, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    let mut names_of_classes = Vec::new();
    for name in names {
        let path = if name.is_empty() { root.to_owned() } else { root.join(&name) };
        let file = ImageParquet::open(&path)?;
        if names_of_classes.is_empty() {
            names_of_classes = file.class_names().to_vec();
        }
        starts.push(entries.len());
        let shown = if name.is_empty() { path.file_name().unwrap_or_default().to_string_lossy() } else { name.into() };
        for (row, label) in file.labels().iter().enumerate() {
            let label = label.map(|label| label_number(&path, row, label)).transpose()?;
            entries.push(Entry { name: format!("{shown}#{row:06}"), label, bytes: file.mean_bytes(row) });
        }
        files.push(file);
    }
    let classes = classes::up_to(entries.iter().filter_map(|entry: &Entry| entry.label).max(), names_of_classes);
    Ok(Box::new(Tables { files, starts, manifest: Manifest { entries, classes }, cache: GroupCache::default() }))
}

fn label_number(path: &Path, row: usize, label: i64) -> Result<u32, DatasetError> {
    u32::try_from(label).ok().filter(|&label| label < MAX_CLASSES).ok_or_else(|| {
        DatasetError::malformed(path, format!("row {row} has label {label}; there are {MAX_CLASSES} classes at most"))
    })
}

impl Source for Tables {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let (file, row) = file_and_row(&self.starts, self.manifest.entries.len(), index)?;
        Ok(Raw::Encoded(self.files[file].read(row, &self.cache)?))
    }
}
