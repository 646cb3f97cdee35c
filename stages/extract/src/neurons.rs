//! Register neurons: the hidden units that are most active where outliers stand.
//!
//! ```text
//! on_outliers(u) = mean over outlier patches of |h_u|,   on_others(u) = the same over the other patches
//! ```
//! over the first `images` images of the dataset, of which those without an outlier say nothing, not even of the other
//! patches; for every unit u of the hidden layer (after the activation) of some blocks. The units with the largest
//! `on_outliers` are kept; where no image has an outlier the table has no rows. Two passes of an image: the first tells its
//! outliers by their norms at a later block, the second reads the hidden layers.
//!
//! Source: Jiang et al., "Vision Transformers Don't Need Trained Registers"; `test-time-registers`,
//! `shared/algorithms.py` (`find_register_neurons`). There each image counts alike; here each outlier does, so that an
//! image with one has less to say than one with ten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use datasets::{Preprocess, Source};
use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::outlier::OutlierPolicy;
use schemas::tables::RegisterNeurons;
use schemas::{Canonical, Meaning};
use serde::Serialize;
use vit::executor::Precision;
use vit::{Before, Editor, Encoder, Layout, Pixels, Request, Site, Then, VitConfig, VitError};

use crate::calibrate::read_cutoff;
use crate::cost::{Passes, size};
use crate::model::Model;
use crate::params::{ParamsError, Tuning, check_blocks, check_site, site_name};
use crate::pipeline::Stream;
use crate::prepare::non_finite;

/// Everything that can change which neurons are found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FindNeuronsParams {
    /// Sizes and switches of the model, without registers of ours.
    pub model: VitConfig,
    /// Digest of its weights.
    pub weights: String,
    /// Precision of the forward pass.
    pub precision: Precision,
    /// Digest of the dataset's manifest.
    pub dataset: String,
    /// From decoded bytes to pixels.
    pub preprocess: Preprocess,
    /// Which patches are outliers.
    pub outliers: OutlierPolicy,
    /// Site whose norms tell outliers.
    #[serde(serialize_with = "site_name")]
    pub outlier_site: Site,
    /// The first so many images.
    pub images: u32,
    /// Blocks whose hidden units are looked at.
    pub blocks: Vec<u16>,
    /// Units kept.
    pub neurons: u32,
}

impl Meaning for FindNeuronsParams {}

impl FindNeuronsParams {
    /// Whether the model has the site and the blocks.
    pub fn check(&self) -> Result<(), ParamsError> {
        let depth = self.model.depth;
        check_site("outlier_site", self.outlier_site, depth, false)?;
        check_blocks("neurons.blocks", &self.blocks, depth)?;
        match self {
            Self { images: 0, .. } => Err(ParamsError::Nothing("neurons.images")),
            Self { neurons: 0, .. } => Err(ParamsError::Nothing("neurons.neurons")),
            _ if self.blocks.is_empty() => Err(ParamsError::Nothing("neurons.blocks")),
            _ => Ok(()),
        }
    }
}

/// Hidden layers of a few images → `register_neurons`. Version 1.
pub struct FindNeurons {
    /// Model, without registers of ours.
    pub model: Arc<Model>,
    /// Images.
    pub source: Arc<dyn Source>,
    /// Meaning.
    pub params: FindNeuronsParams,
    /// The `cutoffs` table of the calibration pass, where the policy needs one.
    pub cutoff: Option<TableRef>,
    /// Hive folders.
    pub partition: Partition,
    /// Speed.
    pub tuning: Tuning,
}

/// By block: Σ|h| of each unit, on outliers and on other patches.
type Sums = BTreeMap<u16, [Vec<f64>; 2]>;

/// Activity of some images.
#[derive(Debug, Default)]
struct Activity {
    images: u32,
    /// Outlier patches, other patches.
    patches: [u64; 2],
    sums: Sums,
}

impl Activity {
    fn add(&mut self, other: Self) {
        self.images += other.images;
        self.patches.iter_mut().zip(other.patches).for_each(|(p, o)| *p += o);
        for (block, sums) in other.sums {
            match self.sums.get_mut(&block) {
                None => drop(self.sums.insert(block, sums)),
                Some(known) => known.iter_mut().zip(sums).for_each(|(k, s)| {
                    k.iter_mut().zip(s).for_each(|(k, s)| *k += s);
                }),
            }
        }
    }

    /// The `neurons` units of the largest mean on outliers, the earlier first where two are equal.
    fn table(&self, neurons: u32) -> RegisterNeurons {
        let [on, off] = self.patches.map(|n| n.max(1) as f64);
        let mut units: Vec<(u16, usize, f64, f64)> = Vec::new();
        for (&block, [outliers, others]) in &self.sums {
            let means = outliers.iter().zip(others).map(|(a, b)| (a / on, b / off));
            units.extend(means.enumerate().map(|(unit, (a, b))| (block, unit, a, b)));
        }
        units.sort_by(|a, b| b.2.total_cmp(&a.2));
        let mut t = RegisterNeurons::default();
        for (rank, (block, unit, on_outliers, on_others)) in units.into_iter().take(neurons as usize).enumerate() {
            t.rank.push(rank as u32);
            t.block.push(block);
            t.unit.push(unit as u32);
            t.on_outliers.push(on_outliers as f32);
            t.on_others.push(on_others as f32);
            t.outliers.push(self.patches[0]);
            t.images.push(self.images);
        }
        t
    }
}

/// Reads the hidden layers of one image and changes nothing.
struct Watch<'a> {
    blocks: &'a [u16],
    outlier: &'a [bool],
    sums: Mutex<Sums>,
}

impl Editor for Watch<'_> {
    fn before(&self, _: u16) -> Option<Before> {
        None
    }

    fn edit(&self, _: u16, _: Layout, _: &mut [f32], _: Option<&[f32]>) -> Then {
        Then::Execute
    }

    fn wants_hidden(&self, block: u16) -> bool {
        self.blocks.contains(&block)
    }

    fn hidden(&self, block: u16, layout: Layout, hidden: &mut [f32]) {
        let width = hidden.len() / layout.tokens();
        let mut sums = [vec![0.0; width], vec![0.0; width]];
        for (patch, &outlier) in hidden.chunks_exact(width).skip(layout.prefix()).zip(self.outlier) {
            let sum = &mut sums[usize::from(!outlier)];
            sum.iter_mut().zip(patch).for_each(|(s, h)| *s += f64::from(h.abs()));
        }
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).insert(block, sums);
    }
}

impl FindNeurons {
    /// Activity of one image; nothing where a norm is no number.
    fn watch(&self, encoder: &dyn Encoder, image: &Pixels, cutoff: Option<f32>) -> Result<Option<Activity>, VitError> {
        let params = &self.params;
        let norms = Request { norms: [params.outlier_site].into(), ..Request::default() };
        let traces = encoder.encode(&[image], &norms)?;
        let Some(trace) = traces.first() else { return Ok(None) };
        let Some(norms) = trace.norms.get(&params.outlier_site).filter(|n| n.iter().all(|n| n.is_finite())) else {
            return Ok(None);
        };
        let outlier = params.outliers.mark(&norms[trace.layout.prefix()..], cutoff);
        let outliers = outlier.iter().filter(|&&o| o).count() as u64;
        if outliers == 0 {
            return Ok(Some(Activity::default()));
        }
        let watch = Watch { blocks: &params.blocks, outlier: &outlier, sums: Mutex::default() };
        // A pass ends with the last block that is read.
        let last = params.blocks.iter().copied().max().unwrap_or(0);
        let want = Request { norms: [Site::Block(last)].into(), ..Request::default() };
        encoder.encode_edited(&[image], &want, &watch)?;
        let sums = watch.sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Activity { images: 1, patches: [outliers, outlier.len() as u64 - outliers], sums }))
    }
}

impl Stage for FindNeurons {
    fn name(&self) -> &'static str {
        "find_neurons"
    }

    fn version(&self) -> u32 {
        1 + vit::NUMBERS
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.cutoff.iter().cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        vec![TableSpec { table: "register_neurons", partition: self.partition.clone() }]
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, _: &Sizes) -> Estimate {
        let images = u64::from(self.params.images).min(self.source.manifest().entries.len() as u64);
        let tables = [("register_neurons", size(u64::from(self.params.neurons), 40))];
        let sums = 16 * self.model.config.mlp.hidden as u64 * self.params.blocks.len() as u64;
        Passes::of(&self.model, &self.params.preprocess, images, &self.tuning)
            .times(2.0)
            .and_host_bytes(sums * self.tuning.window as u64)
            .estimate(0, tables.into())
    }

    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        self.params.check()?;
        let encoder = self.model.encoder()?;
        let encoder = encoder.as_ref();
        let cutoff = read_cutoff(self.cutoff.as_ref(), io)?;
        let indices: Vec<usize> = (shard.items.start as usize..shard.items.end as usize).collect();
        let stream = Stream {
            source: self.source.as_ref(),
            indices: &indices,
            preprocess: &self.params.preprocess,
            encoder,
            pass: &|_, pixels| pixels.iter().map(|image| self.watch(encoder, image, cutoff)).collect(),
            batch: 1,
            tuning: self.tuning,
            cancel: io.cancel_flag(),
        };
        let mut activity = Activity::default();
        let mut report = ShardReport::default();
        stream.run(
            |encoded| encoded.pass.ok_or_else(|| non_finite(self.params.outlier_site)),
            |_, result| {
                report.items += 1;
                match result {
                    Ok(of_image) => activity.add(of_image),
                    // The extraction has them in its table `skipped`.
                    Err(_) => report.skipped += 1,
                }
                io.items_done(report.items);
                Ok(())
            },
        )?;
        io.write(activity.table(self.params.neurons))?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
