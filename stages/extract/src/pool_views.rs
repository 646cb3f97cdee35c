//! Whole-image vectors of augmented views: CLS and the mean patch of random resized crops.
//!
//! DINOv2's linear evaluation trains its heads on fresh random crops of every image; a view is a crop that one step of one
//! epoch sees. Here as many as are asked for are made once, and any number of heads learns from them.
//!
//! Source: facebookresearch/dinov2 `eval/linear.py`, `data/transforms.py`; vectors as in `taps/pooled.rs`.

use std::sync::Arc;

use datasets::{Source, ViewSpec};
use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::{Images, PooledViews};
use schemas::{Canonical, Meaning, Vectors};
use serde::Serialize;
use vit::executor::Precision;
use vit::{FinalNorm, Trace, VitConfig};

use crate::change::Change;
use crate::cost::{Passes, size};
use crate::densify::check_pools;
use crate::densify::features::absent;
use crate::edit::Edit;
use crate::model::Model;
use crate::params::{ParamsError, PoolSite, Tuning, check_changes};
use crate::pipeline::flow::Seen;
use crate::prepare::Skip;
use crate::taps::{images, pooled};
use crate::test_time::TestTimeRegisters;
use crate::views::walk::Walk;
use crate::views::{ViewInput, check_views, prepare_views, sizes_of};

/// Everything that can change a vector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolViewsParams {
    /// Sizes and switches of the model.
    pub model: VitConfig,
    /// Digest of its weights.
    pub weights: String,
    /// Precision of the forward pass.
    pub precision: Precision,
    /// Digest of the dataset's manifest.
    pub dataset: String,
    /// From decoded bytes to the model's inputs, without truth.
    pub views: ViewSpec,
    /// Which vectors.
    pub pooled: Vec<PoolSite>,
    /// Images per shard. It changes no row, but it decides which part holds which.
    pub shard_images: u64,
    /// Tokens that are changed while the model runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
    /// Registers that a model without them is given while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_time_registers: Option<TestTimeRegisters>,
}

impl Meaning for PoolViewsParams {}

impl PoolViewsParams {
    /// Whether the model has every site and the views make sense.
    pub fn check(&self) -> Result<(), ParamsError> {
        check_pools("linear_eval.pooled", &self.pooled, &self.model)?;
        check_views("linear_eval.views", &self.views, &[], &self.model)?;
        check_changes(self.edit.as_ref(), self.test_time_registers, &self.model)
    }
}

/// Images → `pooled_views`, `images`, `skipped`. Version 1.
pub struct PoolViews {
    /// Model.
    pub model: Arc<Model>,
    /// Images.
    pub source: Arc<dyn Source>,
    /// Meaning.
    pub params: PoolViewsParams,
    /// The `register_neurons` that test-time registers take over; there when the parameters have such registers.
    pub neurons: Option<TableRef>,
    /// Hive folders.
    pub partition: Partition,
    /// Speed.
    pub tuning: Tuning,
}

impl PoolViews {
    fn prepared(&self, index: usize) -> Result<Vec<ViewInput>, Skip> {
        prepare_views(self.source.as_ref(), index, &self.params.views, &[], false)
    }

    /// Rows of one view; the image's own row with the first.
    fn rows(&self, seen: &Seen<ViewInput, Trace>, final_norm: &FinalNorm) -> Result<(PooledViews, Images), Skip> {
        let (mut t, mut of_image) = (PooledViews::default(), Images::default());
        let layout = seen.pass.layout;
        for pool in &self.params.pooled {
            let data = seen.pass.full.get(&pool.site).ok_or_else(|| absent(*pool))?;
            let label: schemas::Name = pool.label().into();
            for (what, vector) in pooled::vectors(data, layout.prefix(), pool.normed.then_some(final_norm)) {
                if !vector.iter().all(|x| x.is_finite()) {
                    return Err(Skip::new("non-finite output", &format_args!("the {what} of {label} has no length")));
                }
                t.image.push(seen.index as u32);
                t.view.push(seen.view as u16);
                t.site.push(label.clone());
                t.pool.push(what.into());
                t.vector.push(&vector);
            }
        }
        if seen.view == 0 {
            images::push(&mut of_image, seen.index, self.source.manifest(), seen.input.source_px, layout);
        }
        Ok((t, of_image))
    }
}

impl Stage for PoolViews {
    fn name(&self) -> &'static str {
        "pool_views"
    }

    fn version(&self) -> u32 {
        1 + vit::NUMBERS
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.neurons.iter().cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        let tables = ["pooled_views", "images", "skipped"];
        tables.map(|table| TableSpec { table, partition: self.partition.clone() }).into()
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, _: &Sizes) -> Estimate {
        let params = &self.params;
        let images = self.source.manifest().entries.len() as u64;
        let sizes = sizes_of(self.source.as_ref(), &params.views);
        let passes = Passes::sized(&self.model, sizes.input_px, images, &self.tuning);
        let views = (images as f64 * sizes.count).ceil() as u64;
        let tables = [
            // As `pooled`: f32 that compress by an eighth.
            ("pooled_views", size(2 * params.pooled.len() as u64 * views, 7 * self.model.config.width as u64 / 2)),
            ("images", size(images, 40)),
            ("skipped", size(0, 0)),
        ];
        passes.times(sizes.count).estimate(params.shard_images, tables.into())
    }

    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let params = &self.params;
        params.check()?;
        let mut pooled = io.create::<PooledViews>()?;
        let mut images = io.create::<Images>()?;
        // A part in which every image was skipped has the columns of the others.
        pooled.write(&mut PooledViews { vector: Vectors::with_dim(params.model.width), ..PooledViews::default() })?;
        let change = Change {
            edit: params.edit.as_ref(),
            registers: params.test_time_registers,
            neurons: self.neurons.as_ref(),
        };
        let walk = Walk {
            model: &self.model,
            source: self.source.as_ref(),
            views: &params.views,
            pools: &params.pooled,
            prepare: &|index| self.prepared(index),
            change,
            tuning: self.tuning,
        };
        let report = walk.run(
            shard,
            io,
            |seen, final_norm| self.rows(&seen, final_norm),
            |(mut vectors, mut of_image)| {
                pooled.write(&mut vectors)?;
                Ok(images.write(&mut of_image)?)
            },
        )?;
        io.finish(pooled)?;
        io.finish(images)?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
