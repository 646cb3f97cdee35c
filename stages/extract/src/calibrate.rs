//! A small pass that finds the norm above which a patch is an outlier, before tokens can be sampled by kind.
//!
//! Images are a seeded choice from the whole dataset, so that a dataset sorted by class is not judged by its first
//! classes. Images that do not decode are left out and counted here; the extraction has them in its table `skipped`.

use std::collections::BTreeSet;
use std::sync::Arc;

use datasets::Source;
use engine::{
    ErrorKind, Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec,
};
use schemas::tables::Cutoffs;
use schemas::{Canonical, Meaning};
use serde::Serialize;
use vit::Request;

use crate::cost::Passes;
use crate::model::Model;
use crate::params::{ExtractParams, Tuning};
use crate::pipeline::Stream;
use crate::prepare::non_finite;
use crate::random::{Purpose, choose};

/// Norms of a few images → `cutoffs`. Version 1.
pub struct Calibrate {
    /// Model.
    pub model: Arc<Model>,
    /// Images.
    pub source: Arc<dyn Source>,
    /// The extraction that needs the cut-off.
    pub params: ExtractParams,
    /// Images of the pass.
    pub images: u32,
    /// Hive folders.
    pub partition: Partition,
    /// Speed.
    pub tuning: Tuning,
}

/// The part of an extraction's meaning that a cut-off depends on.
#[derive(Serialize)]
struct CalibrateMeaning<'a> {
    model: &'a vit::VitConfig,
    weights: &'a str,
    precision: vit::executor::Precision,
    dataset: &'a str,
    preprocess: datasets::Preprocess,
    outliers: schemas::outlier::OutlierPolicy,
    outlier_site: String,
    images: u32,
    seed: u64,
}

impl Meaning for CalibrateMeaning<'_> {}

impl Calibrate {
    /// The images of the pass: distinct, in dataset order.
    fn indices(&self) -> Vec<usize> {
        let n = self.source.manifest().entries.len();
        let wanted = (self.images as usize).min(n);
        if wanted == n {
            return (0..n).collect();
        }
        let mut chosen = BTreeSet::new();
        let mut draw = 0;
        while chosen.len() < wanted {
            chosen.insert(choose(self.params.seed, 0, draw, Purpose::Calibration, n));
            draw += 1;
        }
        chosen.into_iter().collect()
    }
}

/// The cut-off that a calibration pass found, for the policies that need one.
pub(crate) fn read_cutoff(table: Option<&TableRef>, io: &ShardIo<'_>) -> Result<Option<f32>, StageError> {
    let Some(table) = table else { return Ok(None) };
    let rows = io.read_of::<Cutoffs>(table)?;
    rows.cutoff.first().copied().ok_or_else(|| {
        StageError::new(ErrorKind::Bug, "the calibration pass left no cut-off", "", "please report this")
    })
}

impl Stage for Calibrate {
    fn name(&self) -> &'static str {
        "calibrate"
    }

    fn version(&self) -> u32 {
        1 + vit::NUMBERS
    }

    fn inputs(&self) -> Vec<TableRef> {
        Vec::new()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        vec![TableSpec { table: "cutoffs", partition: self.partition.clone() }]
    }

    fn meaning(&self) -> Canonical {
        let p = &self.params;
        Canonical::of(&CalibrateMeaning {
            model: &p.model,
            weights: &p.weights,
            precision: p.precision,
            dataset: &p.dataset,
            preprocess: p.preprocess,
            outliers: p.outliers,
            outlier_site: p.outlier_site.to_string(),
            images: self.images,
            seed: p.seed,
        })
    }

    fn estimate(&self, _: &Sizes) -> Estimate {
        let images = self.indices().len() as u64;
        let tables = [("cutoffs", engine::stage::TableSize { rows: 1, bytes: 4096 })];
        Passes::of(&self.model, &self.params.preprocess, images, &self.tuning).estimate(0, tables.into())
    }

    fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        self.params.check()?;
        let encoder = self.model.encoder()?;
        let site = self.params.outlier_site;
        let want = Request { norms: [site].into(), ..Request::default() };
        let indices = self.indices();
        let stream = Stream {
            source: self.source.as_ref(),
            indices: &indices,
            preprocess: &self.params.preprocess,
            encoder: encoder.as_ref(),
            pass: &|_, pixels| encoder.encode(pixels, &want),
            batch: encoder.batch(),
            tuning: self.tuning,
            cancel: io.cancel_flag(),
        };
        let mut norms = Vec::new();
        let mut images = 0;
        let mut report = ShardReport::default();
        stream.run(
            |encoded| {
                let norms = encoded.pass.norms.get(&site).map_or(&[][..], |n| &n[encoded.pass.layout.prefix()..]);
                if norms.iter().all(|n| n.is_finite()) { Ok(norms.to_vec()) } else { Err(non_finite(site)) }
            },
            |_, result| {
                report.items += 1;
                if let Ok(mut of_image) = result {
                    norms.append(&mut of_image);
                    images += 1;
                } else {
                    report.skipped += 1;
                }
                io.items_done(report.items);
                Ok(())
            },
        )?;
        let tokens = norms.len() as u64;
        let valley = self.params.outliers.calibrate(&mut norms);
        io.write(Cutoffs {
            site: vec![site.to_string().into()],
            cutoff: vec![valley.cutoff],
            valley_depth: vec![valley.depth],
            median: vec![valley.median],
            images: vec![images],
            tokens: vec![tokens],
        })?;
        Ok(report)
    }
}
