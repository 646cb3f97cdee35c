//! Procedural scenes: photos with a truth for everything, generated from a seed, any number, no files.
//!
//! [`random`] is the generator, [`texture`] the smooth noise of the background, [`scene`] the drawing. A scene depends on
//! the seed and its index only, so any part of a dataset can be made anywhere, and `limit` is a true prefix.

pub mod random;
pub mod scene;
pub mod texture;

use crate::source::{DenseTruth, Entry, Manifest, Raw, ReadError, Source, Truth};

pub use scene::{CLASSES, FLAT_VARIANCE, GRID, IMAGE_PX, PATCH_PX, Scene, class_names};

/// Bumped when any pixel of any scene changes; part of every name, hence of the digest.
pub const VERSION: u32 = 1;

/// A dataset of scenes.
pub struct Scenes {
    seed: u64,
    manifest: Manifest,
}

impl Scenes {
    /// The first `count` scenes of a seed.
    pub fn new(seed: u64, count: usize) -> Self {
        let entries = (0..count).map(|index| Entry {
            name: format!("scene-v{VERSION}-{seed}-{index:07}"),
            label: Some(scene::label(seed, index)),
            bytes: (IMAGE_PX * IMAGE_PX * 3) as u64,
        });
        Self { seed, manifest: Manifest { entries: entries.collect(), classes: class_names() } }
    }

    /// One scene with its truth.
    pub fn scene(&self, index: usize) -> Scene {
        Scene::new(self.seed, index)
    }
}

impl Source for Scenes {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let len = self.manifest.entries.len();
        if index >= len {
            return Err(ReadError::OutOfRange { index, len });
        }
        Ok(Raw::Rgb(self.scene(index).image))
    }

    fn truth(&self, index: usize) -> Result<Option<Truth>, ReadError> {
        Ok((index < self.manifest.entries.len()).then(|| self.scene(index).truth))
    }

    fn dense_truth(&self, index: usize) -> Result<Option<DenseTruth>, ReadError> {
        Ok(self.truth(index)?.map(|truth| DenseTruth {
            height: IMAGE_PX,
            width: IMAGE_PX,
            segments: truth.segments,
            depth_m: truth.depth,
        }))
    }

    fn segment_classes(&self) -> Vec<String> {
        ["sky", "wall", "ground", "object"].map(str::to_owned).to_vec()
    }
}
