//! The extraction: one forward pass per image, many tables.

use std::sync::Arc;

use datasets::Source;
use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::{
    Grids, Images, NormHistograms, Pictures, Pooled, Skipped, TokenPixels, TokenStats, TokenVectors,
};
use schemas::{Canonical, Vectors};
use vit::{Layout, Request, Site};

use crate::calibrate::read_cutoff;
use crate::change::Change;
use crate::cost::{Passes, size};
use crate::model::Model;
use crate::params::{ExtractParams, Tuning};
use crate::pipeline::Stream;
use crate::prepare::Skip;
use crate::taps::{GridSums, Histograms, Rows, Tap, View, taps_of};

/// Images → norms, sampled tokens, pooled vectors, pictures, skipped.
///
/// Version 1: the first. Version 2: cosines are summed in eight lanes, which moves last bits. Version 3: the table
/// `grids`.
pub struct Extract {
    /// Model.
    pub model: Arc<Model>,
    /// Images.
    pub source: Arc<dyn Source>,
    /// Meaning.
    pub params: ExtractParams,
    /// The `cutoffs` table of the calibration pass, where the policy needs one.
    pub cutoff: Option<TableRef>,
    /// The `register_neurons` that test-time registers take over; there when the parameters have such registers.
    pub neurons: Option<TableRef>,
    /// Hive folders.
    pub partition: Partition,
    /// Speed.
    pub tuning: Tuning,
}

/// Tables that every extraction writes.
pub const TABLES: &[&str] = &[
    "images",
    "token_stats",
    "norm_histograms",
    "token_vectors",
    "token_pixels",
    "pooled",
    "pictures",
    "skipped",
    "grids",
];

/// What the taps must see of an image of this layout.
fn wanted(taps: &[Box<dyn Tap>], layout: Layout) -> Request {
    let mut want = Request::default();
    for tap in taps {
        tap.request(layout, &mut want);
    }
    want
}

impl Stage for Extract {
    fn name(&self) -> &'static str {
        "extract"
    }

    fn version(&self) -> u32 {
        3 + vit::NUMBERS
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.cutoff.iter().chain(&self.neurons).cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        TABLES.iter().map(|table| TableSpec { table, partition: self.partition.clone() }).collect()
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, _: &Sizes) -> Estimate {
        let (params, config) = (&self.params, &self.model.config);
        let images = self.source.manifest().entries.len() as u64;
        let passes = Passes::of(&self.model, &params.preprocess, images, &self.tuning);
        let (d, prefix) = (config.width as u64, config.prefix_tokens() as u64);
        let patches = if params.every_patch { passes.patches } else { 2 * u64::from(params.draws) };
        let samples = params.vector_sites.len() as u64 * (prefix + patches);
        let pixel_bytes = 12 * (config.patch_px * config.patch_px) as u64;
        let shards = images.div_ceil(params.shard_images.max(1)).max(1);
        let histogram_rows = Site::all(config.depth).len() as u64 * HISTOGRAM_ROWS * shards;
        let pictures = u64::from(params.pictures).min(images);
        let tables = [
            ("images", size(images, 40)),
            ("token_stats", size(images * passes.tokens * params.stats_sites.len() as u64, STATS_ROW_BYTES)),
            ("norm_histograms", size(histogram_rows, HISTOGRAM_ROW_BYTES)),
            ("token_vectors", size(images * samples, 7 * d / 2)),
            ("token_pixels", size(images * patches, pixel_bytes)),
            ("pooled", size(2 * params.pooled.len() as u64 * images, 7 * d / 2)),
            ("pictures", size(pictures, 3 * passes.pixels)),
            ("skipped", size(0, 0)),
            // Outliers, norms, attention of every token before the patches and of one patch.
            ("grids", size((3 + prefix) * passes.patches * shards, GRID_ROW_BYTES)),
        ];
        let factor = if params.edit.is_some() { EDITED_PASSES } else { 1.0 };
        passes.times(factor).estimate(params.shard_images, tables.into())
    }

    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        self.params.check()?;
        let encoder = self.model.encoder()?;
        let cutoff = read_cutoff(self.cutoff.as_ref(), io)?;
        let change = Change {
            edit: self.params.edit.as_ref(),
            registers: self.params.test_time_registers,
            neurons: self.neurons.as_ref(),
        };
        let changed = change.open(self.source.as_ref(), &self.params.preprocess, encoder.as_ref(), io)?;
        let taps = taps_of(&self.params);
        let indices: Vec<usize> = (shard.items.start as usize..shard.items.end as usize).collect();
        let stream = Stream {
            source: self.source.as_ref(),
            indices: &indices,
            preprocess: &self.params.preprocess,
            encoder: encoder.as_ref(),
            pass: &|_, pixels| {
                let Some(first) = pixels.first() else { return Ok(Vec::new()) };
                let want = wanted(&taps, encoder.layout(first.height, first.width)?);
                changed.encode(encoder.as_ref(), pixels, &want)
            },
            batch: encoder.batch(),
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
        let (mut histograms, mut grids) = (Histograms::default(), GridSums::default());
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
                        grids.add(&rows.places);
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
        io.write::<Grids>(grids.table(&self.params))?;
        Ok(report)
    }
}

pub(crate) fn skipped_row(source: &dyn Source, index: usize, skip: &Skip) -> Skipped {
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
/// What a pass costs in passes while tokens are edited: attention is computed twice.
const EDITED_PASSES: f64 = 1.3;
/// A row of `grids` on disk.
const GRID_ROW_BYTES: u64 = 16;

#[cfg(test)]
pub(crate) mod tests;
