//! NYU Depth v2's labelled photos in one MATLAB 7.3 file, which is HDF5 behind a user block.
//!
//! ```text
//! images u8 [N, 3, W, H]      depths f32 [N, W, H], m      MATLAB's own order is the other way round
//! ```
//!
//! An image is read by its place, in chunks, so memory holds one of them and a bounded cache. Source:
//! <https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html>.

use std::io;
use std::path::{Path, PathBuf};

use hdf5_reader::{Dataset, Hdf5File, OpenOptions, SliceInfo, SliceInfoElem};

use crate::pixels::Rgb8;
use crate::source::{DenseTruth, Entry, Manifest, Raw, ReadError, Source};
use crate::spec::DatasetError;

/// Largest chunk, largest image and cached chunks.
const MAX_BYTES: usize = 64 << 20;
/// Most photos.
const MAX_PHOTOS: u64 = 1_000_000;

/// The photos of one file.
pub struct LabelledPhotos {
    path: PathBuf,
    images: Dataset,
    depths: Dataset,
    height: usize,
    width: usize,
    /// Place in the file of each item.
    places: Vec<u64>,
    manifest: Manifest,
}

impl LabelledPhotos {
    /// Opens a file: its index, not its images. `numbers` are the wanted ones, from 1; none for all.
    pub fn open(path: &Path, numbers: Option<&[u32]>) -> Result<Self, DatasetError> {
        let wrong = |what: String| DatasetError::malformed(path, what);
        let options = OpenOptions {
            chunk_cache_bytes: MAX_BYTES,
            max_chunk_bytes: MAX_BYTES,
            max_read_bytes: MAX_BYTES,
            ..OpenOptions::default()
        };
        let file = Hdf5File::open_with_options(path, options).map_err(|error| wrong(error.to_string()))?;
        let array = |name: &str| file.dataset(name).map_err(|error| wrong(format!("array {name:?}: {error}")));
        let (images, depths) = (array("images")?, array("depths")?);
        let [count, 3, width, height] = images.shape()[..] else {
            return Err(wrong(format!("images are {:?}, not [photos, 3, columns, rows]", images.shape())));
        };
        if depths.shape() != [count, width, height] {
            return Err(wrong(format!("depths are {:?} beside images of {:?}", depths.shape(), images.shape())));
        }
        let area = width.saturating_mul(height);
        if !(1..=MAX_BYTES as u64 / 4).contains(&area) || count > MAX_PHOTOS {
            return Err(wrong(format!("{count} images of {height}×{width} px")));
        }
        let mut places: Vec<u64> = match numbers {
            None => (0..count).collect(),
            Some(numbers) => numbers.iter().map(|&number| u64::from(number).wrapping_sub(1)).collect(),
        };
        if let Some(place) = places.iter().find(|&&place| place >= count) {
            return Err(wrong(format!("has {count} images; image {} is asked for", place.wrapping_add(1))));
        }
        places.sort_unstable();
        places.dedup();
        let file_name = path.file_name().unwrap_or_default().display();
        let entries = places.iter().map(|place| Entry {
            name: format!("{file_name}/{:05}", place + 1),
            label: None,
            bytes: area * 3,
        });
        let manifest = Manifest { entries: entries.collect(), classes: Vec::new() };
        let (height, width) = (height as usize, width as usize);
        Ok(Self { path: path.to_owned(), images, depths, height, width, places, manifest })
    }

    fn place(&self, index: usize) -> Result<u64, ReadError> {
        self.places.get(index).copied().ok_or(ReadError::OutOfRange { index, len: self.places.len() })
    }
}

/// One element along the first axis, everything along the others.
fn one(place: u64, axes: usize) -> SliceInfo {
    let all = SliceInfoElem::Slice { start: 0, end: u64::MAX, step: 1 };
    let mut selections = vec![all; axes];
    selections[0] = SliceInfoElem::Index(place);
    SliceInfo { selections }
}

impl Source for LabelledPhotos {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let bad = |what: String| ReadError::Io {
            path: self.path.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, what),
        };
        let place = self.place(index)?;
        let values = self.images.read_slice::<u8>(&one(place, 4)).map_err(|e| bad(e.to_string()))?;
        let (height, width, area) = (self.height, self.width, self.height * self.width);
        let values = values.as_slice().filter(|values| values.len() == area * 3);
        let values = values.ok_or_else(|| bad(format!("image {} is not whole", place + 1)))?;
        let value = |at: usize, channel: usize| values[channel * area + at % width * height + at / width];
        let data = (0..area).flat_map(|at| [value(at, 0), value(at, 1), value(at, 2)]).collect();
        Ok(Raw::Rgb(Rgb8 { width, height, data }))
    }

    fn dense_truth(&self, index: usize) -> Result<Option<DenseTruth>, ReadError> {
        let bad = |what: String| ReadError::Annotation { path: self.path.clone(), what };
        let place = self.place(index)?;
        let values = self.depths.read_slice::<f32>(&one(place, 3)).map_err(|e| bad(e.to_string()))?;
        let (height, width, area) = (self.height, self.width, self.height * self.width);
        let values = values.as_slice().filter(|values| values.len() == area);
        let values = values.ok_or_else(|| bad(format!("depth {} is not whole", place + 1)))?;
        let depth = |at: usize| values[at % width * height + at / width];
        let known = |depth: f32| if depth.is_finite() && depth > 0.0 { depth } else { 0.0 };
        let depth_m = (0..area).map(|at| known(depth(at))).collect();
        Ok(Some(DenseTruth { height, width, segments: None, depth_m: Some(depth_m) }))
    }
}
