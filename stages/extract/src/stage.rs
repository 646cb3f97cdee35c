//! The extraction: one forward pass per image, many tables.

use std::sync::Arc;

use datasets::Source;
use engine::stage::TableSize;
use engine::{
    ErrorKind, Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec,
};
use schemas::tables::{
    Cutoffs, Images, NormHistograms, Pictures, Pooled, Skipped, TokenPixels, TokenStats, TokenVectors,
};
use schemas::{Canonical, Vectors};
use vit::Site;

use crate::model::Model;
use crate::params::{ExtractParams, Tuning};
use crate::pipeline::Stream;
use crate::prepare::Skip;
use crate::taps::{Histograms, Rows, View, taps_of};

/// Images → norms, sampled tokens, pooled vectors, pictures, skipped.
///
/// Version 1: the first. Version 2: cosines are summed in eight lanes, which moves last bits.
pub struct Extract {
    /// Model.
    pub model: Arc<Model>,
    /// Images.
    pub source: Arc<dyn Source>,
    /// Meaning.
    pub params: ExtractParams,
    /// The `cutoffs` table of the calibration pass, where the policy needs one.
    pub cutoff: Option<TableRef>,
    /// Hive folders.
    pub partition: Partition,
    /// Speed.
    pub tuning: Tuning,
}

/// Tables that every extraction writes.
pub const TABLES: &[&str] =
    &["images", "token_stats", "norm_histograms", "token_vectors", "token_pixels", "pooled", "pictures", "skipped"];

impl Extract {
    fn cutoff(&self, io: &ShardIo<'_>) -> Result<Option<f32>, StageError> {
        let Some(table) = &self.cutoff else { return Ok(None) };
        let rows = io.read_of::<Cutoffs>(table)?;
        rows.cutoff.first().copied().ok_or_else(|| {
            StageError::new(ErrorKind::Bug, "the calibration pass left no cut-off", "", "please report this")
        })
    }
}

impl Stage for Extract {
    fn name(&self) -> &'static str {
        "extract"
    }

    fn version(&self) -> u32 {
        2
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.cutoff.iter().cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        TABLES.iter().map(|table| TableSpec { table, partition: self.partition.clone() }).collect()
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, _: &Sizes) -> Estimate {
        cost(&self.model, &self.params, self.source.manifest().entries.len() as u64, &self.tuning)
    }

    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        self.params.check()?;
        let encoder = self.model.encoder()?;
        let cutoff = self.cutoff(io)?;
        let taps = taps_of(&self.params);
        let mut want = vit::Request::default();
        for tap in &taps {
            tap.request(&mut want);
        }
        let indices: Vec<usize> = (shard.items.start as usize..shard.items.end as usize).collect();
        let stream = Stream {
            source: self.source.as_ref(),
            indices: &indices,
            preprocess: &self.params.preprocess,
            encoder: encoder.as_ref(),
            want: &want,
            tuning: self.tuning,
            cancel: io.cancel_flag(),
        };
        let mut images = io.create::<Images>()?;
        let mut stats = io.create::<TokenStats>()?;
        let mut vectors = io.create::<TokenVectors>()?;
        let mut pixels = io.create::<TokenPixels>()?;
        let mut pooled = io.create::<Pooled>()?;
        let mut pictures = io.create::<Pictures>()?;
        let mut skipped = io.create::<Skipped>()?;
        // A part in which every image was skipped has the columns of the others.
        let config = &self.params.model;
        let dim = || Vectors::with_dim(config.width);
        vectors.write(&mut TokenVectors { vector: dim(), ..TokenVectors::default() })?;
        let patch = Vectors::with_dim(3 * config.patch_px * config.patch_px);
        pixels.write(&mut TokenPixels { pixels: patch, ..TokenPixels::default() })?;
        pooled.write(&mut Pooled { vector: dim(), ..Pooled::default() })?;
        let mut histograms = Histograms::default();
        let mut report = ShardReport::default();

        stream.run(
            |encoded| {
                let view = View::new(&self.params, self.source.manifest(), encoder.final_norm(), cutoff, &encoded)?;
                let mut rows = Rows::default();
                for tap in &taps {
                    tap.rows(&view, &mut rows);
                }
                Ok(rows)
            },
            |index, result| {
                report.items += 1;
                match result {
                    Ok(mut rows) => {
                        histograms.add(&rows.histograms);
                        images.write(&mut rows.images)?;
                        stats.write(&mut rows.token_stats)?;
                        vectors.write(&mut rows.token_vectors)?;
                        pixels.write(&mut rows.token_pixels)?;
                        pooled.write(&mut rows.pooled)?;
                        pictures.write(&mut rows.pictures)?;
                    }
                    Err(skip) => {
                        report.skipped += 1;
                        skipped.write(&mut skipped_row(self.source.as_ref(), index, &skip))?;
                    }
                }
                io.items_done(report.items);
                Ok(())
            },
        )?;

        io.finish(images)?;
        io.finish(stats)?;
        io.finish(vectors)?;
        io.finish(pixels)?;
        io.finish(pooled)?;
        io.finish(pictures)?;
        io.finish(skipped)?;
        io.write::<NormHistograms>(histograms.table())?;
        Ok(report)
    }
}

fn skipped_row(source: &dyn Source, index: usize, skip: &Skip) -> Skipped {
    let name = source.manifest().entries.get(index).map_or("", |e| e.name.as_str());
    Skipped {
        image: vec![index as u32],
        name: vec![name.into()],
        reason: vec![skip.reason.as_str().into()],
        detail: vec![skip.detail.as_str().into()],
    }
}

/// Measured with zstd on real norms: what a narrow row costs on disk.
const STATS_ROW_BYTES: u64 = 22;
/// A histogram row on disk, and rows per site and shard.
const HISTOGRAM_ROW_BYTES: u64 = 8;
const HISTOGRAM_ROWS: u64 = 400;
/// f32 multiply-adds per second of one core at work on whole passes; `vitals plan` is right within a factor of two.
const CORE_MACS_PER_SEC: f64 = 35e9;
/// The same of a GPU in f32 without tuning.
const DEVICE_MACS_PER_SEC: f64 = 10e12;

/// Cost of encoding so many images.
pub(crate) fn cost(model: &Model, params: &ExtractParams, images: u64, tuning: &Tuning) -> Estimate {
    let config = &model.config;
    let (height, width) = match params.preprocess.resize {
        // Images keep their own size: plan with the training grid of the model.
        datasets::Resize::None => (config.pos.grid * config.patch_px, config.pos.grid * config.patch_px),
        datasets::Resize::ShortSide(px) => params.preprocess.output_size(px, px * 4 / 3),
        datasets::Resize::Exact { .. } => params.preprocess.output_size(1, 1),
    };
    let patches = (height / config.patch_px * (width / config.patch_px)).max(1) as u64;
    let tokens = patches + config.prefix_tokens() as u64;
    let d = config.width as u64;
    let prefix = config.prefix_tokens() as u64;
    let samples = params.vector_sites.len() as u64 * (prefix + 2 * u64::from(params.draws));
    let pixel_bytes = 12 * (config.patch_px * config.patch_px) as u64;
    let shards = images.div_ceil(params.shard_images.max(1)).max(1);
    let histogram_rows = Site::all(config.depth).len() as u64 * HISTOGRAM_ROWS * shards;
    let pooled = 2 * params.pooled.len() as u64 * images;
    let size = |rows: u64, row_bytes: u64| TableSize { rows, bytes: rows * row_bytes };
    let pictures = u64::from(params.pictures).min(images);
    let secs_per_image = if tuning.on_device {
        model.macs(tokens as usize) / (DEVICE_MACS_PER_SEC * tuning.encode_threads as f64)
    } else {
        model.macs(tokens as usize) / (CORE_MACS_PER_SEC * tuning.encode_threads as f64)
    };
    let weights = 4 * (config.depth * 12 * config.width * config.width) as u64;
    let in_flight = tuning.window as u64 * (12 * (height * width) as u64 + 4 * tokens * d * 8);
    Estimate {
        items: images,
        items_per_shard: params.shard_images,
        tables: [
            ("images", size(images, 40)),
            ("token_stats", size(images * tokens * params.stats_sites.len() as u64, STATS_ROW_BYTES)),
            ("norm_histograms", size(histogram_rows, HISTOGRAM_ROW_BYTES)),
            ("token_vectors", size(images * samples, 7 * d / 2)),
            ("token_pixels", size(images * 2 * u64::from(params.draws), pixel_bytes)),
            ("pooled", size(pooled, 7 * d / 2)),
            ("pictures", size(pictures, 3 * (height * width) as u64)),
            ("skipped", size(0, 0)),
        ]
        .into(),
        host_bytes: 2 * weights + in_flight + (256 << 20),
        device_bytes: if tuning.on_device { weights + in_flight } else { 0 },
        secs: images as f64 * secs_per_image,
    }
}

#[cfg(test)]
pub(crate) mod tests;
