//! Object discovery: one pass per image, LOST boxes from any sites of it under any biases, and boxes of `TokenCut` if asked for.
//!
//! Images keep their own size; they are normalised and padded with zeros at the right and bottom to whole patches
//! (LOST `main_lost.py`). CLS and registers are dropped. A box is in patches times the patch side, its right and lower
//! ends cut at the image. Boxes that people drew go to a table of their own, so that whoever scores needs no dataset.
//!
//! Of an image there are ever N·D features per site and one matrix of N·N products: 4 MB at 1,000 patches.
//! Sources: [`lost`], [`tokencut`], paper §3.3 and Table 3, `docs/protocols/table3.md`.

use std::sync::Arc;

use datasets::{Crop, Preprocess, Resize, Source};
use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::{Boxes, Maps, Objects, Pictures, Skipped};
use schemas::{Canonical, Meaning};
use serde::Serialize;
use vit::executor::Precision;
use vit::{Pixels, Request, Site, Trace, VitConfig};

use self::rows::{Pictured, annotated, boxes};
use crate::change::Change;
use crate::cost::{Passes, size};
use crate::edit::Edit;
use crate::model::Model;
use crate::params::{ParamsError, Tuning, check_changes, check_site, site_names};
use crate::pipeline::{Encoded, Stream};
use crate::prepare::Skip;
use crate::stage::skipped_row;
use crate::taps::pictures;
use crate::test_time::TestTimeRegisters;

mod lanczos;
pub mod lost;
mod rows;
pub mod tokencut;

/// More patches than this are skipped: their products would be 256 MB.
pub const MAX_PATCHES: usize = 8192;

/// Everything that can change a box.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiscoverParams {
    /// Sizes and switches of the model.
    pub model: VitConfig,
    /// Digest of its weights.
    pub weights: String,
    /// Precision of the forward pass.
    pub precision: Precision,
    /// Digest of the dataset's manifest.
    pub dataset: String,
    /// State of the files that boxes are annotated in: [`Source::annotations`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub annotations: String,
    /// From decoded bytes to pixels: images at their own size, padded to whole patches.
    pub preprocess: Preprocess,
    /// Images per shard. It changes no box, but it decides which part holds which rows.
    pub shard_images: u64,
    /// Sites of the features.
    #[serde(serialize_with = "site_names")]
    pub sites: Vec<Site>,
    /// Patches of lowest degree among which the box may begin to grow.
    pub k_patches: u32,
    /// Biases of features as they are; empty: these are not used.
    pub raw_biases: Vec<f64>,
    /// Biases of features divided by their length; empty: these are not used.
    pub l2_biases: Vec<f64>,
    /// Threshold of the cosines that `TokenCut` cuts at; none: it is not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokencut_tau: Option<f64>,
    /// Of the first so many images the maps of degree and expansion are kept.
    pub pictures: u32,
    /// Tokens that are changed while the model runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
    /// Registers that a model without them is given while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_time_registers: Option<TestTimeRegisters>,
}

impl Meaning for DiscoverParams {}

impl DiscoverParams {
    /// Whether the model has every site, and boxes can be compared with annotations.
    pub fn check(&self) -> Result<(), ParamsError> {
        if self.sites.is_empty() {
            return Err(ParamsError::Nothing("discover.features"));
        }
        if self.k_patches == 0 {
            return Err(ParamsError::Nothing("discover.k_patches"));
        }
        if self.raw_biases.is_empty() && self.l2_biases.is_empty() && self.tokencut_tau.is_none() {
            return Err(ParamsError::Nothing("discover.l2_biases"));
        }
        let tau: Vec<f64> = self.tokencut_tau.into_iter().collect();
        for (key, biases) in [
            ("discover.raw_biases", &self.raw_biases),
            ("discover.l2_biases", &self.l2_biases),
            ("discover.tokencut_tau", &tau),
        ] {
            if let Some(&bias) = biases.iter().find(|bias| !bias.is_finite()) {
                return Err(ParamsError::Bias(key, bias));
            }
        }
        let patch_px = self.model.patch_px;
        if self.preprocess.resize != Resize::None || self.preprocess.crop != (Crop::PadTo { patch_px }) {
            return Err(ParamsError::Resized);
        }
        self.sites.iter().try_for_each(|&site| check_site("discover.features", site, self.model.depth, true))?;
        check_changes(self.edit.as_ref(), self.test_time_registers, &self.model)
    }

    /// Whether features are divided by their length, with the biases of either.
    fn sweeps(&self) -> impl Iterator<Item = (bool, &[f64])> {
        [(false, &self.raw_biases[..]), (true, &self.l2_biases[..])].into_iter().filter(|(_, all)| !all.is_empty())
    }
}

/// Images → `boxes`, `objects`, `maps` and `pictures` of the first ones, `skipped`. Version 1.
pub struct Discover {
    /// Model.
    pub model: Arc<Model>,
    /// Images.
    pub source: Arc<dyn Source>,
    /// Meaning.
    pub params: DiscoverParams,
    /// The `register_neurons` that test-time registers take over; there when the parameters have such registers.
    pub neurons: Option<TableRef>,
    /// Hive folders.
    pub partition: Partition,
    /// Speed.
    pub tuning: Tuning,
}

/// Rows of one image.
#[derive(Default)]
struct Rows {
    boxes: Boxes,
    objects: Objects,
    maps: Maps,
    pictures: Pictures,
}

impl Discover {
    fn rows(&self, encoded: &Encoded<'_, Option<Trace>>) -> Result<Rows, Skip> {
        let Some(trace) = &encoded.pass else {
            let detail = format!("more than {MAX_PATCHES} patches; their products would not fit");
            return Err(Skip { reason: "too many patches".to_owned(), detail });
        };
        let truth = self.source.truth(encoded.index);
        let truth = truth.map_err(|e| Skip { reason: e.reason().to_owned(), detail: e.to_string() })?;
        let mut rows = Rows::default();
        annotated(&mut rows.objects, encoded.index, truth.unwrap_or_default());
        let pictured = encoded.index < self.params.pictures as usize;
        let image = Pictured {
            index: encoded.index,
            layout: trace.layout,
            patch_px: self.params.model.patch_px,
            size_px: encoded.prepared.source_px,
            maps: pictured.then_some(&mut rows.maps),
        };
        boxes(&mut rows.boxes, image, &trace.full, &self.params)?;
        if pictured {
            let (pixels, manifest) = (&encoded.prepared.pixels, self.source.manifest());
            let Preprocess { mean, std, .. } = self.params.preprocess;
            pictures::push(&mut rows.pictures, encoded.index, manifest, pixels, mean, std);
        }
        Ok(rows)
    }
}

impl Stage for Discover {
    fn name(&self) -> &'static str {
        "discover"
    }

    fn version(&self) -> u32 {
        1 + vit::NUMBERS
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.neurons.iter().cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        let tables = ["boxes", "objects", "maps", "pictures", "skipped"];
        tables.map(|table| TableSpec { table, partition: self.partition.clone() }).into()
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, _: &Sizes) -> Estimate {
        let (params, config) = (&self.params, &self.model.config);
        let images = self.source.manifest().entries.len() as u64;
        let passes = Passes::of(&self.model, &params.preprocess, images, &self.tuning);
        let (sites, n) = (params.sites.len() as u64, passes.patches);
        let cuts = usize::from(params.tokencut_tau.is_some());
        let biases = (params.raw_biases.len() + params.l2_biases.len() + cuts) as u64;
        let pictured = images.min(u64::from(params.pictures));
        let tables = [
            ("boxes", size(images * sites * biases, 12)),
            ("objects", size(3 * images, 24)),
            ("maps", size(2 * pictured * sites * biases, 4 * n + 40)),
            ("pictures", size(pictured, 3 * passes.pixels)),
            ("skipped", size(0, 0)),
        ];
        let threads = self.tuning.map_threads.max(self.tuning.encode_threads) as u64;
        let held = threads * (8 * n * n + 8 * n * config.width as u64 * sites);
        passes.and_host_bytes(held).estimate(params.shard_images, tables.into())
    }

    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let params = &self.params;
        params.check()?;
        let encoder = self.model.encoder()?;
        let encoder = encoder.as_ref();
        let change = Change {
            edit: params.edit.as_ref(),
            registers: params.test_time_registers,
            neurons: self.neurons.as_ref(),
        };
        let changed = change.open(self.source.as_ref(), &params.preprocess, encoder, io)?;
        let want = Request { full: params.sites.iter().copied().collect(), ..Request::default() };
        let indices: Vec<usize> = (shard.items.start as usize..shard.items.end as usize).collect();
        let pass = |_: &[usize], pixels: &[&Pixels]| {
            let Some(first) = pixels.first() else { return Ok(Vec::new()) };
            // All of one size.
            if encoder.layout(first.height, first.width)?.patches() > MAX_PATCHES {
                return Ok(pixels.iter().map(|_| None).collect());
            }
            Ok(changed.encode(encoder, pixels, &want)?.into_iter().map(Some).collect())
        };
        let stream = Stream {
            source: self.source.as_ref(),
            indices: &indices,
            preprocess: &params.preprocess,
            encoder,
            pass: &pass,
            batch: encoder.batch(),
            tuning: self.tuning,
            cancel: io.cancel_flag(),
        };
        let mut boxes = io.create::<Boxes>()?;
        let mut objects = io.create::<Objects>()?;
        let mut maps = io.create::<Maps>()?;
        let mut pictures = io.create::<Pictures>()?;
        let mut skipped = io.create::<Skipped>()?;
        let mut report = ShardReport::default();
        stream.run(
            |encoded| self.rows(&encoded),
            |index, result| {
                report.items += 1;
                match result {
                    Ok(mut rows) => {
                        boxes.write(&mut rows.boxes)?;
                        objects.write(&mut rows.objects)?;
                        maps.write(&mut rows.maps)?;
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
        io.finish(boxes)?;
        io.finish(objects)?;
        io.finish(maps)?;
        io.finish(pictures)?;
        io.finish(skipped)?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
