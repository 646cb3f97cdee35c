//! Parquet files with embedded images, as on the Hugging Face hub: `data/train-00000-of-00005.parquet`.
//!
//! The split is the start of the file's name. Labels and class names come from the files
//! ([`schemas::foreign::ImageParquet`]); an entry is called `<file>#<row>`, and its size is the mean of its row group.

use std::path::Path;

use schemas::foreign::ImageParquet;

use super::listing::files_below;
use crate::source::{Entry, Manifest, Raw, ReadError, Source};
use crate::spec::DatasetError;

struct Tables {
    files: Vec<ImageParquet>,
    /// First row of each file.
    starts: Vec<usize>,
    manifest: Manifest,
}

/// Opens the Parquet files below `root` (or `root` itself, if it is one) whose name starts with one of `splits`; all of
/// them when `splits` is empty.
pub fn open(root: &Path, splits: &[&str]) -> Result<Box<dyn Source>, DatasetError> {
    let names = if root.is_file() {
        vec![String::new()]
    } else {
        let listed = files_below(root, "")?;
        let wanted = listed.into_iter().map(|file| file.name).filter(|name| {
            let base = name.rsplit('/').next().unwrap_or(name);
            name.ends_with(".parquet") && (splits.is_empty() || splits.iter().any(|split| base.starts_with(split)))
        });
        wanted.collect()
    };
    let (mut files, mut starts, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    let mut classes: Vec<String> = Vec::new();
    for name in names {
        let path = if name.is_empty() { root.to_owned() } else { root.join(&name) };
        let file = ImageParquet::open(&path)?;
        if classes.is_empty() {
            classes = file.class_names().to_vec();
        }
        starts.push(entries.len());
        let shown = if name.is_empty() { path.file_name().unwrap_or_default().to_string_lossy() } else { name.into() };
        for (row, label) in file.labels().iter().enumerate() {
            let label = label.map(|label| label_number(&path, row, label)).transpose()?;
            entries.push(Entry { name: format!("{shown}#{row:06}"), label, bytes: file.mean_bytes(row) });
        }
        files.push(file);
    }
    let largest = entries.iter().filter_map(|entry| entry.label).max();
    let named = classes.len() as u32;
    classes.extend((named..largest.map_or(0, |largest| largest + 1)).map(|class| class.to_string()));
    Ok(Box::new(Tables { files, starts, manifest: Manifest { entries, classes } }))
}

/// Most classes a file may imply by a label.
const MAX_CLASSES: u32 = 1_000_000;

fn label_number(path: &Path, row: usize, label: i64) -> Result<u32, DatasetError> {
    u32::try_from(label).ok().filter(|&label| label < MAX_CLASSES).ok_or_else(|| DatasetError::Malformed {
        path: path.to_owned(),
        what: format!("row {row} has label {label}, above {MAX_CLASSES}"),
    })
}

impl Source for Tables {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let len = self.manifest.entries.len();
        if index >= len {
            return Err(ReadError::OutOfRange { index, len });
        }
        let file = self.starts.partition_point(|&start| start <= index) - 1;
        Ok(Raw::Encoded(self.files[file].read(index - self.starts[file])?))
    }
}
