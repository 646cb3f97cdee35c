//! Dense features: patch tokens of whole views, written once for heads that are trained on them many times.
//!
//! ```text
//! image ─ views ─▶ inputs ─ one pass each ─▶ patches [grid_h, grid_w, D] as f16, CLS [D] if asked for, at every site
//! ```
//! beside the truth of the same pixels. A head that trains for 20 epochs reads 20 times what the model computed once. A row
//! takes 2·D bytes a patch: 2.8 MB for ViT-L at 518 px, and 57 GB for one view of each of ADE20K's 20,210 images, which is
//! what the estimate is for.
//!
//! Protocols: `docs/protocols/segmentation.md`, `depth.md`; what is kept and why, `docs/protocols/dense_features.md`.

use std::sync::Arc;

use datasets::{Source, TruthOf, ViewSpec, Views};
use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::{Dense, Pictures, TruthMaps};
use schemas::{Canonical, Meaning};
use serde::Serialize;
use vit::executor::Precision;
use vit::{Trace, VitConfig};

pub use self::truth::TruthKind;
use crate::change::Change;
use crate::cost::{Passes, size};
use crate::edit::Edit;
use crate::model::Model;
use crate::params::{ParamsError, PoolSite, Tuning, check_changes, check_site};
use crate::pipeline::flow::Seen;
use crate::prepare::Skip;
use crate::taps::pictures;
use crate::test_time::TestTimeRegisters;
use crate::views::walk::Walk;
use crate::views::{ViewInput, check_views, prepare_views, sizes_of};

pub(crate) mod features;
pub(crate) mod truth;

/// Everything that can change a dense feature or its truth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DensifyParams {
    /// Sizes and switches of the model.
    pub model: VitConfig,
    /// Digest of its weights.
    pub weights: String,
    /// Precision of the forward pass.
    pub precision: Precision,
    /// Digest of the dataset's manifest.
    pub dataset: String,
    /// State of the files with masks and depths: [`Source::dense_annotations`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dense_annotations: String,
    /// From decoded bytes to the model's inputs, and which truth goes with them.
    pub views: ViewSpec,
    /// Where patches are read: sites that hold all tokens, perhaps through the final norm.
    pub sites: Vec<PoolSite>,
    /// Whether CLS is kept beside the patches.
    pub keep_cls: bool,
    /// What is kept of the truth; empty where `views.truth` is none.
    pub truths: Vec<TruthKind>,
    /// Images per shard. It changes no row, but it decides which part holds which.
    pub shard_images: u64,
    /// The first so many images are kept as pictures: as they were scaled, or the first of their random crops.
    pub pictures: u32,
    /// Tokens that are changed while the model runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
    /// Registers that a model without them is given while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_time_registers: Option<TestTimeRegisters>,
}

impl Meaning for DensifyParams {}

impl DensifyParams {
    /// Whether the model has every site and the views make sense.
    pub fn check(&self) -> Result<(), ParamsError> {
        check_pools("dense.sites", &self.sites, &self.model)?;
        check_views("dense.views", &self.views, &self.truths, &self.model)?;
        check_changes(self.edit.as_ref(), self.test_time_registers, &self.model)
    }
}

/// Refuses no site at all, one without all tokens, and one that is named twice.
pub(crate) fn check_pools(key: &'static str, pools: &[PoolSite], model: &VitConfig) -> Result<(), ParamsError> {
    if pools.is_empty() {
        return Err(ParamsError::Nothing(key));
    }
    for (i, pool) in pools.iter().enumerate() {
        check_site(key, pool.site, model.depth, false)?;
        if pools[..i].contains(pool) {
            return Err(ParamsError::Twice(key, pool.label()));
        }
    }
    Ok(())
}

/// Images → `dense`, `truth_maps`, `pictures` of the first ones, `skipped`. Version 1.
pub struct Densify {
    /// Model.
    pub model: Arc<Model>,
    /// Images.
    pub source: Arc<dyn Source>,
    /// Meaning.
    pub params: DensifyParams,
    /// The `register_neurons` that test-time registers take over; there when the parameters have such registers.
    pub neurons: Option<TableRef>,
    /// Hive folders.
    pub partition: Partition,
    /// Speed.
    pub tuning: Tuning,
}

/// Rows of one view.
#[derive(Default)]
struct Rows {
    dense: Dense,
    truth: TruthMaps,
    pictures: Pictures,
}

impl Densify {
    fn prepared(&self, index: usize) -> Result<Vec<ViewInput>, Skip> {
        let pictured = index < self.params.pictures as usize;
        prepare_views(self.source.as_ref(), index, &self.params.views, &self.params.truths, pictured)
    }

    fn rows(&self, mut seen: Seen<ViewInput, Trace>, final_norm: &vit::FinalNorm) -> Result<Rows, Skip> {
        let mut rows = Rows { truth: std::mem::take(&mut seen.input.truth), ..Rows::default() };
        features::rows(&mut rows.dense, &seen, &self.params, final_norm)?;
        if let Some(picture) = &seen.input.picture {
            let ViewSpec { mean, std, .. } = self.params.views;
            pictures::push(&mut rows.pictures, seen.index, self.source.manifest(), picture, mean, std);
        }
        Ok(rows)
    }
}

impl Stage for Densify {
    fn name(&self) -> &'static str {
        "densify"
    }

    fn detail(&self) -> String {
        // What tells two of one dataset apart most often.
        let views = match &self.params.views.views {
            Views::Whole { mirror: false, .. } => "whole",
            Views::Whole { mirror: true, .. } => "whole and mirrored",
            Views::Crops(_) | Views::DepthCrops(_) => "crops",
            Views::ResizedCrops { .. } => "resized crops",
            Views::Windows { .. } => "windows",
        };
        let sites: Vec<String> = self.params.sites.iter().map(PoolSite::label).collect();
        format!("{views} {}", sites.join("+"))
    }

    fn version(&self) -> u32 {
        1 + vit::NUMBERS
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.neurons.iter().cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        let tables = ["dense", "truth_maps", "pictures", "skipped"];
        tables.map(|table| TableSpec { table, partition: self.partition.clone() }).into()
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, _: &Sizes) -> Estimate {
        let (params, d) = (&self.params, self.model.config.width as u64);
        let images = self.source.manifest().entries.len() as u64;
        let sizes = sizes_of(self.source.as_ref(), &params.views);
        let passes = Passes::sized(&self.model, sizes.input_px, images, &self.tuning);
        let views = (images as f64 * sizes.count).ceil() as u64;
        let tokens = passes.patches + u64::from(params.keep_cls);
        let row_bytes = 2 * d * tokens + DENSE_ROW_BYTES;
        let (maps, map_px) = match params.views.truth {
            TruthOf::View => (views, passes.pixels),
            TruthOf::Image => (images, (sizes.source_px.0 * sizes.source_px.1) as u64),
            TruthOf::None => (0, 0),
        };
        let map_bytes = params.truths.iter().map(|kind| match kind {
            TruthKind::Segments => map_px / SEGMENTS_PX_PER_BYTE,
            TruthKind::Depth { .. } => 2 * map_px / 3,
        });
        let kinds = params.truths.len() as u64;
        let truth_bytes = maps * map_bytes.sum::<u64>();
        let tables = [
            ("dense", size(views * params.sites.len() as u64, row_bytes)),
            ("truth_maps", engine::stage::TableSize { rows: maps * kinds, bytes: truth_bytes }),
            ("pictures", size(images.min(u64::from(params.pictures)), 2 * passes.pixels)),
            ("skipped", size(0, 0)),
        ];
        let held = (self.tuning.window as f64 + 2.0 * sizes.count) as u64;
        let rows = held * (row_bytes * params.sites.len() as u64 + 2 * kinds * map_px);
        passes.times(sizes.count).and_host_bytes(rows).estimate(params.shard_images, tables.into())
    }

    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let params = &self.params;
        params.check()?;
        let mut dense = io.create::<Dense>()?;
        let mut truth = io.create::<TruthMaps>()?;
        let mut pictures = io.create::<Pictures>()?;
        let change = Change {
            edit: params.edit.as_ref(),
            registers: params.test_time_registers,
            neurons: self.neurons.as_ref(),
        };
        let walk = Walk {
            model: &self.model,
            source: self.source.as_ref(),
            views: &params.views,
            pools: &params.sites,
            prepare: &|index| self.prepared(index),
            change,
            tuning: self.tuning,
        };
        let report = walk.run(
            shard,
            io,
            |seen, final_norm| self.rows(seen, final_norm),
            |mut rows| {
                dense.write(&mut rows.dense)?;
                truth.write(&mut rows.truth)?;
                Ok(pictures.write(&mut rows.pictures)?)
            },
        )?;
        io.finish(dense)?;
        io.finish(truth)?;
        io.finish(pictures)?;
        Ok(report)
    }
}

/// A row of `dense` on disk beside its features.
const DENSE_ROW_BYTES: u64 = 200;
/// Pixels of a mask that zstd makes one byte of: measured, 34 on CamVid, 72 on ADE20K, 78 on VOC. A pixel of
/// NYU's depth takes two thirds of a byte.
const SEGMENTS_PX_PER_BYTE: u64 = 50;

#[cfg(test)]
pub(crate) mod tests;
