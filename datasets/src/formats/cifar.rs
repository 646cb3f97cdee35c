//! CIFAR's binary files: fixed records of label bytes and 32×32 pixels, plane by plane.
//!
//! ```text
//! CIFAR-10   [label][1024 R][1024 G][1024 B]
//! CIFAR-100  [coarse][fine][1024 R][1024 G][1024 B]
//! ```
//!
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>. Pixels come out interleaved and are the original ones: these
//! files never saw a lossy codec.

use std::fs;
use std::path::{Path, PathBuf};

use super::classes;
use super::spans::{file_and_row, read_at};
use crate::pixels::Rgb8;
use crate::source::{Entry, Manifest, Raw, ReadError, Source};
use crate::spec::DatasetError;

/// Side of a picture.
pub const SIDE_PX: usize = 32;
const PLANE: usize = SIDE_PX * SIDE_PX;

/// Which of the two layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes before the pixels.
    pub label_bytes: usize,
    /// Which of them is the label.
    pub label_at: usize,
    /// How many classes there are.
    pub classes: u8,
    /// File of class names, one a line.
    pub names_file: &'static str,
}

/// CIFAR-10.
pub const CIFAR10: Layout = Layout { label_bytes: 1, label_at: 0, classes: 10, names_file: "batches.meta.txt" };
/// CIFAR-100 with its hundred fine classes.
pub const CIFAR100: Layout = Layout { label_bytes: 2, label_at: 1, classes: 100, names_file: "fine_label_names.txt" };

struct Records {
    files: Vec<PathBuf>,
    /// First record of each file.
    starts: Vec<usize>,
    layout: Layout,
    manifest: Manifest,
}

/// Opens record files below `root`, in the order given.
pub fn open(root: &Path, files: &[String], layout: Layout) -> Result<Box<dyn Source>, DatasetError> {
    let record = layout.label_bytes + 3 * PLANE;
    let mut entries = Vec::new();
    let mut starts = Vec::new();
    for name in files {
        let path = root.join(name);
        if !path.is_file() {
            return Err(DatasetError::missing(&path, "a file of CIFAR records"));
        }
        let data = fs::read(&path).map_err(DatasetError::io(&path))?;
        if data.len() % record != 0 {
            let what = format!("{} bytes are no whole number of {record}-byte records", data.len());
            return Err(DatasetError::malformed(&path, what));
        }
        starts.push(entries.len());
        for (index, bytes) in data.chunks_exact(record).enumerate() {
            let label = bytes[layout.label_at];
            if label >= layout.classes {
                let what = format!("record {index} has label {label} of {} classes", layout.classes);
                return Err(DatasetError::malformed(&path, what));
            }
            let name = format!("{name}#{index:05}");
            entries.push(Entry { name, label: Some(u32::from(label)), bytes: 3 * PLANE as u64 });
        }
    }
    let classes = class_names(&root.join(layout.names_file), layout.classes)?;
    let files = files.iter().map(|name| root.join(name)).collect();
    Ok(Box::new(Records { files, starts, layout, manifest: Manifest { entries, classes } }))
}

/// One name a line; numbers when the file is not there.
fn class_names(path: &Path, count: u8) -> Result<Vec<String>, DatasetError> {
    if !path.is_file() {
        return Ok(classes::up_to(Some(u32::from(count) - 1), Vec::new()));
    }
    let names = classes::listed(path)?;
    if names.len() == usize::from(count) {
        Ok(names)
    } else {
        Err(DatasetError::malformed(path, format!("{} class names, expected {count}", names.len())))
    }
}

impl Source for Records {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let (file, row) = file_and_row(&self.starts, self.manifest.entries.len(), index)?;
        let record = self.layout.label_bytes + 3 * PLANE;
        let offset = row * record + self.layout.label_bytes;
        let planes = read_at(&self.files[file], offset as u64, 3 * PLANE as u64)?;
        let data = (0..PLANE).flat_map(|at| [planes[at], planes[PLANE + at], planes[2 * PLANE + at]]).collect();
        Ok(Raw::Rgb(Rgb8 { width: SIDE_PX, height: SIDE_PX, data }))
    }
}
