//! Truth that lies in a PNG beside each photo: labels of its pixels, or their depth.
//!
//! Opening looks at no PNG. A dataset of this kind promises truth of every photo, so a PNG that is not there is an error of
//! that photo, as one that cannot be read is: the run goes on without it and counts it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::decode::{LevelMap, Levels, decode_levels};
use crate::source::{DenseTruth, Manifest, Raw, ReadError, Source, Truth, hex};

/// Largest PNG that is read.
pub const MAX_BYTES: u64 = 256 << 20;

/// What the numbers of a PNG mean.
#[derive(Clone, Copy)]
pub enum Meaning {
    /// Classes, as they are.
    Classes,
    /// Classes under other numbers than those that count: `table[number]`.
    Renumbered(&'static [u8; 256]),
    /// Depth in mm, 16 bits; 0 where unknown.
    Millimetres,
}

/// Where the truth of photos lies, and what it says.
pub struct Beside {
    /// What the names are below.
    pub root: PathBuf,
    /// Path of each photo's PNG below the root, in the photos' order.
    pub names: Vec<String>,
    /// What its numbers mean.
    pub meaning: Meaning,
    /// Names of the classes, by number, where known.
    pub classes: Vec<String>,
}

/// Photos with their truth.
pub fn with_pixel_truth(photos: Box<dyn Source>, beside: Beside) -> Box<dyn Source> {
    Box::new(Paired { photos, beside })
}

/// The names of a dataset's photos, each turned into that of its PNG.
pub fn names_of(photos: &dyn Source, beside: impl Fn(&str) -> String) -> Vec<String> {
    photos.manifest().entries.iter().map(|entry| beside(&entry.name)).collect()
}

struct Paired {
    photos: Box<dyn Source>,
    beside: Beside,
}

impl Paired {
    fn path(&self, index: usize) -> Option<PathBuf> {
        self.beside.names.get(index).map(|name| self.beside.root.join(name))
    }
}

impl Source for Paired {
    fn manifest(&self) -> &Manifest {
        self.photos.manifest()
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        self.photos.read(index)
    }

    fn truth(&self, index: usize) -> Result<Option<Truth>, ReadError> {
        self.photos.truth(index)
    }

    fn annotations(&self) -> String {
        self.photos.annotations()
    }

    fn dense_truth(&self, index: usize) -> Result<Option<DenseTruth>, ReadError> {
        let len = self.beside.names.len();
        let path = self.path(index).ok_or(ReadError::OutOfRange { index, len })?;
        let bad = |what: String| ReadError::Annotation { path: path.clone(), what };
        let bytes = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(bad("is missing; every photo here needs one".to_owned()));
            }
            Ok(file) if file.len() > MAX_BYTES => return Err(bad(format!("{} bytes, above {MAX_BYTES}", file.len()))),
            Err(source) => Err(source),
            Ok(_) => fs::read(&path),
        };
        let bytes = bytes.map_err(|source| ReadError::Io { path: path.clone(), source })?;
        self.beside.meaning.of(&bytes).map(Some).map_err(bad)
    }

    /// Names and sizes, as [`Manifest::digest`] has them of photos.
    fn dense_annotations(&self) -> String {
        let mut hash = Sha256::new();
        for name in &self.beside.names {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name.as_bytes());
            let bytes = fs::metadata(self.beside.root.join(name)).ok().and_then(|file| i64::try_from(file.len()).ok());
            hash.update(bytes.unwrap_or(-1).to_le_bytes());
        }
        hex(hash)
    }

    fn segment_classes(&self) -> Vec<String> {
        self.beside.classes.clone()
    }
}

impl Meaning {
    /// What a PNG says.
    pub fn of(self, png: &[u8]) -> Result<DenseTruth, String> {
        let LevelMap { height, width, levels } = decode_levels(png).map_err(|error| error.to_string())?;
        let truth = |segments, depth_m| Ok(DenseTruth { height, width, segments, depth_m });
        match (self, levels) {
            (Self::Classes, Levels::Bytes(labels)) => truth(Some(labels), None),
            (Self::Renumbered(table), Levels::Bytes(mut labels)) => {
                for label in &mut labels {
                    *label = table[usize::from(*label)];
                }
                truth(Some(labels), None)
            }
            (Self::Millimetres, Levels::Words(depths)) => {
                truth(None, Some(depths.into_iter().map(|depth_mm| f32::from(depth_mm) / 1000.0).collect()))
            }
            (Self::Classes | Self::Renumbered(_), Levels::Words(_)) => {
                Err("has 16 bits a pixel; labels are 8-bit grey or palette indices".to_owned())
            }
            (Self::Millimetres, Levels::Bytes(_)) => {
                Err("has at most 8 bits a pixel; depth is 16-bit grey, in millimetres".to_owned())
            }
        }
    }
}
