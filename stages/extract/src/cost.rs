//! What passes cost: time and memory, for planning. Right within a factor of two.

use std::collections::BTreeMap;

use datasets::{Preprocess, Resize};
use engine::Estimate;
use engine::stage::TableSize;

use crate::model::Model;
use crate::params::Tuning;

/// f32 multiply-adds per second of one core at work on whole passes.
const CORE_MACS_PER_SEC: f64 = 35e9;
/// The same of a GPU in f32 without tuning.
const DEVICE_MACS_PER_SEC: f64 = 10e12;

/// Passes of images of one size.
pub(crate) struct Passes {
    /// Images.
    pub images: u64,
    /// Pixels of an image.
    pub pixels: u64,
    /// Patches of an image.
    pub patches: u64,
    /// Tokens of an image.
    pub tokens: u64,
    host_bytes: u64,
    device_bytes: u64,
    secs: f64,
}

impl Passes {
    /// One pass of each image.
    pub fn of(model: &Model, preprocess: &Preprocess, images: u64, tuning: &Tuning) -> Self {
        let config = &model.config;
        let size_px = match preprocess.resize {
            // Images keep their own size: plan with the training grid of the model.
            Resize::None => (config.pos.grid * config.patch_px, config.pos.grid * config.patch_px),
            Resize::ShortSide(px) => preprocess.output_size(px, px * 4 / 3),
            Resize::Exact { .. } => preprocess.output_size(1, 1),
        };
        Self::sized(model, size_px, images, tuning)
    }

    /// One pass of each image of this size.
    pub fn sized(model: &Model, (height, width): (usize, usize), images: u64, tuning: &Tuning) -> Self {
        let config = &model.config;
        let whole = |px: usize| (px / config.patch_px).max(1) * config.patch_px;
        let pixels = (height * width) as u64;
        let patches = (whole(height) / config.patch_px * (whole(width) / config.patch_px)) as u64;
        let tokens = patches + config.prefix_tokens() as u64;
        let macs_per_sec = if tuning.on_device { DEVICE_MACS_PER_SEC } else { CORE_MACS_PER_SEC };
        // A model that cannot be run costs nothing: it is refused before.
        let macs = vit::flops::cost(config, whole(height), whole(width)).map_or(0, |cost| cost.macs());
        let secs_per_image = macs as f64 / (macs_per_sec * tuning.encode_threads as f64);
        let weights = 4 * (config.depth * 12 * config.width * config.width) as u64;
        let in_flight = tuning.window as u64 * (12 * pixels + 4 * tokens * config.width as u64 * 8);
        Self {
            images,
            pixels,
            patches,
            tokens,
            host_bytes: 2 * weights + in_flight + (256 << 20),
            device_bytes: if tuning.on_device { weights + in_flight } else { 0 },
            secs: images as f64 * secs_per_image,
        }
    }

    /// Passes of each image as often as said.
    #[must_use]
    pub fn times(self, passes: f64) -> Self {
        Self { secs: passes * self.secs, ..self }
    }

    /// The same with more memory of the process.
    #[must_use]
    pub fn and_host_bytes(self, bytes: u64) -> Self {
        Self { host_bytes: self.host_bytes + bytes, ..self }
    }

    /// The estimate of a stage that makes these passes and writes these tables; 0 images per shard: one shard.
    pub fn estimate(&self, items_per_shard: u64, tables: BTreeMap<&'static str, TableSize>) -> Estimate {
        Estimate {
            items: self.images,
            items_per_shard,
            tables,
            host_bytes: self.host_bytes,
            device_bytes: self.device_bytes,
            secs: self.secs,
        }
    }
}

/// So many rows of so many bytes.
pub(crate) fn size(rows: u64, row_bytes: u64) -> TableSize {
    TableSize { rows, bytes: rows * row_bytes }
}
