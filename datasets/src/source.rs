//! What every dataset offers: a manifest known up front, and items read one at a time, from any thread, in any order.

use std::fmt::Write;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::pixels::Rgb8;

/// One item of a dataset as it lies: a compressed file, or pixels that were never compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// The bytes of an image file (JPEG, PNG, …), to be given to [`crate::decode()`].
    Encoded(Vec<u8>),
    /// Pixels as stored (CIFAR) or as generated (synthetic scenes).
    Rgb(Rgb8),
}

/// One line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The item's name: its path below the root, with `/`, or a name the format gives it. Unique in its dataset.
    pub name: String,
    /// Index into [`Manifest::classes`], or none for unlabelled images.
    pub label: Option<u32>,
    /// Stored size in bytes.
    pub bytes: u64,
}

/// What a dataset holds, in dataset order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The items, in an order that is the same on every machine.
    pub entries: Vec<Entry>,
    /// Class names; a label is a position in this list.
    pub classes: Vec<String>,
}

impl Manifest {
    /// SHA-256, in hex, over names, sizes, labels and class names in dataset order.
    ///
    /// File contents are left out: hashing millions of files would cost more than most runs. Every field is
    /// length-prefixed, so no two manifests share an encoding.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update((self.entries.len() as u64).to_le_bytes());
        for entry in &self.entries {
            hash.update((entry.name.len() as u64).to_le_bytes());
            hash.update(entry.name.as_bytes());
            hash.update(entry.bytes.to_le_bytes());
            hash.update(entry.label.map_or(-1_i64, i64::from).to_le_bytes());
        }
        hash.update((self.classes.len() as u64).to_le_bytes());
        for class in &self.classes {
            hash.update((class.len() as u64).to_le_bytes());
            hash.update(class.as_bytes());
        }
        hex(hash)
    }
}

/// A digest in hex.
pub(crate) fn hex(hash: Sha256) -> String {
    let digest: [u8; 32] = hash.finalize().into();
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// SHA-256, in hex, over the sizes of files, in their order; a file that is not there counts as that.
pub(crate) fn sizes_digest(files: impl Iterator<Item = PathBuf>) -> String {
    let mut hash = Sha256::new();
    for path in files {
        let bytes = std::fs::metadata(path).ok().and_then(|m| i64::try_from(m.len()).ok());
        hash.update(bytes.unwrap_or(-1).to_le_bytes());
    }
    hex(hash)
}

/// A rectangle of pixels, `x0 ≤ x < x1`, `y0 ≤ y < y1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxPx {
    /// Left edge.
    pub x0: u32,
    /// Upper edge.
    pub y0: u32,
    /// Right edge, exclusive.
    pub x1: u32,
    /// Lower edge, exclusive.
    pub y1: u32,
}

/// An object that somebody drew a box around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Name of its class, where there is one.
    pub class: Option<String>,
    /// Its box, px of the image file.
    pub area: BoxPx,
    /// Marked as hard to recognise (Pascal VOC).
    pub difficult: bool,
    /// Marked as cut off by the border or by other objects (Pascal VOC).
    pub truncated: bool,
    /// One box around many objects (COCO).
    pub crowd: bool,
}

impl Object {
    /// Without any mark.
    pub fn plain(class: Option<String>, area: BoxPx) -> Self {
        Self { class, area, difficult: false, truncated: false, crowd: false }
    }
}

/// What is known of an image beyond its label. Generated scenes know everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// Index into [`Manifest::classes`].
    pub label: Option<u32>,
    /// Name of the class of the main object.
    pub class: Option<String>,
    /// Boxes of the labelled objects.
    pub boxes: Vec<Object>,
    /// Pixels of the main object, `height × width`.
    pub mask: Option<Vec<bool>>,
    /// Depth of every pixel, `height × width`, in the dataset's unit (scenes: 0..1).
    pub depth: Option<Vec<f32>>,
    /// Segment of every pixel, `height × width` (scenes: 0 sky, 1 wall, 2 ground, 3 object).
    pub segments: Option<Vec<u8>>,
    /// For scenes: patches painted in one colour, row-major over the patch grid. These carry no information.
    pub flat: Option<Vec<bool>>,
}

/// What people annotated of an image, pixel by pixel, at the size of the photo.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseTruth {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Class of every pixel as annotated, `height × width`, row-major. Which numbers count is for the protocol to say.
    pub segments: Option<Vec<u8>>,
    /// Depth of every pixel, m (scenes: 0..1), `height × width`; 0 where unknown.
    pub depth_m: Option<Vec<f32>>,
}

/// A dataset: a manifest, and its items by index.
pub trait Source: Send + Sync {
    /// What there is, in dataset order.
    fn manifest(&self) -> &Manifest;

    /// Reads one item. Thread-safe; the cost does not depend on the index.
    fn read(&self, index: usize) -> Result<Raw, ReadError>;

    /// What is known of one item beyond its label, if anything; an error where its annotation cannot be read.
    fn truth(&self, _index: usize) -> Result<Option<Truth>, ReadError> {
        Ok(None)
    }

    /// Tells two states of what [`Source::truth`] reads apart, by names and sizes as [`Manifest::digest`] does; empty where
    /// it reads no files.
    fn annotations(&self) -> String {
        String::new()
    }

    /// What is known of every pixel of one item. A dataset that has such annotations has them for all its items: one that
    /// is missing or cannot be read is an error.
    fn dense_truth(&self, _index: usize) -> Result<Option<DenseTruth>, ReadError> {
        Ok(None)
    }

    /// Tells two states of what [`Source::dense_truth`] reads apart; empty where it reads no files.
    fn dense_annotations(&self) -> String {
        String::new()
    }

    /// Names of the numbers in [`DenseTruth::segments`], from 0, where they are known.
    fn segment_classes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// One item could not be read. The run goes on; the item is counted as skipped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is shorter than its index says: it changed after it was opened.
    #[error("{path} ends before the item it should hold; was it replaced while in use?")]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// An item inside a Parquet file.
    #[error(transparent)]
    Parquet(#[from] schemas::foreign::ForeignError),
    /// An annotation that is there says nothing that makes sense.
    #[error("annotation {path}: {what}")]
    Annotation {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// No such item.
    #[error("item {index} asked of a dataset of {len}")]
    OutOfRange {
        /// What was asked.
        index: usize,
        /// How many there are.
        len: usize,
    },
}

impl ReadError {
    /// A short reason that is the same on every machine, for the table of skipped images.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "cannot read",
            Self::Truncated { .. } => "shorter than indexed",
            Self::Parquet(error) => error.reason(),
            Self::Annotation { .. } => "bad annotation",
            Self::OutOfRange { .. } => "no such item",
        }
    }
}
