//! The stage `probe_curve`: what a probe of patches would say with another cut-off → `curves`.
//!
//! At a cut-off t the patches with a norm above t are the outliers and the others normal, whatever the run called them;
//! then the probe is what it is at the run's own cut-off:
//!
//! - `token_class`: of every image one patch above t and one below, at random, and a fit of each kind;
//! - `position` with a model for each kind, and `pixels`: a fit of each kind;
//! - `position` with one model for all: that model knows no kinds, so it is fitted once, and what it says of the tested
//!   patches is divided anew.
//!
//! **Which patches.** The run must have kept every patch (`every_patch`). Draws cannot be divided anew: an image's draws
//! are so many outliers and so many normal patches *by the run's cut-off*, so that above any other one they are a mixture
//! in proportions which no cut-off makes. Patches below the run's cut-off would stand for all normal ones, but an image
//! with three outliers has them eight times among eight draws. Weights could mend shares, not the fits.
//!
//! A random patch of an image is the one with the smallest hash of (seed, image, patch, draw) among those above t (or
//! below): uniform, and the same from one cut-off to the next while it stays on its side.

mod divide;
mod places;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use engine::stage::TableSize;
use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::Curves;
use schemas::{Canonical, Meaning, Table};
use serde::{Deserialize, Serialize};

use self::divide::Patches;
use self::places::{Place, places};
use crate::error::ProbeError;
use crate::samples::{Encoded, PixelMap, Runs, patch_kinds};
use crate::score::{Score, clustered_mean};
use crate::split::Split;
use crate::stage::Experiment;
use crate::streamed::Reading;

/// Where the cut-off is put, and how patches are drawn there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Knobs {
    /// Norms from the smallest to the largest, even in their logarithm.
    pub steps: u32,
    /// Draws of one patch per image and kind, for classes.
    pub draws: u16,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self { steps: 40, draws: 1, seed: 0 }
    }
}

/// An experiment against the cut-off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// `TokenClass`, `Position` or `Pixels`; its kinds are the two of patches.
    pub experiment: Experiment,
    /// Where and how.
    #[serde(default)]
    pub knobs: Knobs,
}

impl Meaning for Curve {}

/// One curve on finished tables. History of versions: 1, the first; 2, the certificate of [`crate::ProbeStage`]'s fifth.
#[derive(Debug, Clone)]
pub struct ProbeCurve {
    curve: Curve,
    train: Vec<TableRef>,
    test: Vec<TableRef>,
    partition: Partition,
    width: usize,
}

impl ProbeCurve {
    /// `train` and `test` are as for [`crate::ProbeStage`].
    pub fn new(
        mut curve: Curve,
        train: &[TableRef],
        test: Option<&[TableRef]>,
        partition: Partition,
    ) -> Result<Self, ProbeError> {
        let experiment = &mut curve.experiment;
        match experiment {
            Experiment::TokenClass(e) => (e.subjects, e.draws) = (patch_kinds(&[]), None),
            Experiment::Position(e) => e.subjects = patch_kinds(&[]),
            Experiment::Pixels(e) => e.subjects = patch_kinds(&[]),
            other => return Err(ProbeError::NoCurve { experiment: other.name() }),
        }
        experiment.check()?;
        for (name, value) in [("steps", curve.knobs.steps), ("draws", curve.knobs.draws.into())] {
            if value == 0 {
                return Err(ProbeError::Range { name, value: 0.0 });
            }
        }
        let experiment = &curve.experiment;
        if (experiment.split() == Split::Datasets) != test.is_some() {
            let runs = 1 + u32::from(test.is_some());
            return Err(ProbeError::Runs { split: format!("{:?}", experiment.split()), runs });
        }
        let needed = |tables: &[TableRef]| -> Result<Vec<TableRef>, ProbeError> {
            let missing = experiment.tables().iter().find(|&&table| tables.iter().all(|t| t.table != table));
            if let Some(table) = missing {
                return Err(ProbeError::Table { experiment: experiment.name(), table });
            }
            Ok(tables.iter().filter(|t| experiment.tables().contains(&t.table)).cloned().collect())
        };
        let (train, test) = (needed(train)?, test.map(needed).transpose()?.unwrap_or_default());
        Ok(Self { curve, train, test, partition, width: 768 })
    }

    /// The same with a better estimate: channels of a vector.
    #[must_use]
    pub fn sized(self, width: usize) -> Self {
        Self { width, ..self }
    }

    fn site(&self) -> &str {
        match &self.curve.experiment {
            Experiment::TokenClass(e) => &e.site,
            Experiment::Position(e) => &e.site,
            Experiment::Pixels(e) => &e.site,
            // Refused by `new`.
            _ => "",
        }
    }
}

impl Stage for ProbeCurve {
    fn name(&self) -> &'static str {
        "probe_curve"
    }

    fn version(&self) -> u32 {
        2
    }

    fn detail(&self) -> String {
        format!("{} {}", self.curve.experiment.name(), self.site())
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.train.iter().chain(&self.test).cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        vec![TableSpec { table: Curves::NAME, partition: self.partition.clone() }]
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.curve)
    }

    fn estimate(&self, inputs: &Sizes) -> Estimate {
        let of = |table: &str| inputs.get(table).copied().unwrap_or(0);
        let (tokens, width) = (of("token_vectors"), self.width as u64);
        let places = u64::from(self.curve.knobs.steps) + 9;
        // Vectors of all patches, those of one division, and their copies in f64.
        let held = 4 * (2 * tokens * width + of("token_pixels") * 588) + 8 * 3 * tokens * width;
        let fitted = match &self.curve.experiment {
            Experiment::TokenClass(_) => 2 * of("images") * u64::from(self.curve.knobs.draws) * places,
            Experiment::Position(e) if !e.separate => tokens,
            _ => tokens * places,
        };
        Estimate {
            items: 1,
            tables: [(Curves::NAME, TableSize { rows: 6 * places, bytes: 32 << 10 })].into(),
            host_bytes: held,
            secs: 0.1 + (fitted * width) as f64 / 7.68e6,
            ..Estimate::default()
        }
    }

    fn run(&self, _shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let runs = Runs { train: &self.train, test: &self.test };
        let mut images = runs.images(io)?;
        if matches!(self.curve.experiment, Experiment::TokenClass(_)) {
            images.match_classes();
        }
        let patches = Patches::new(runs.tokens(io, self.site(), &patch_kinds(&[]))?, &images)?;
        let pixels = match &self.curve.experiment {
            Experiment::Pixels(_) => runs.pixels(io)?,
            _ => PixelMap::new(),
        };
        let rows = self.curve.rows(&patches, &images, &pixels, io.cancel_flag())?;
        io.write(rows)?;
        Ok(ShardReport { items: 1, skipped: 0 })
    }
}

impl Curve {
    /// Every row. Places that divide the patches alike share their fits.
    fn rows(
        &self,
        patches: &Patches,
        images: &Encoded,
        pixels: &PixelMap,
        cancel: &AtomicBool,
    ) -> Result<Curves, StageError> {
        let norms = patches.sorted_norms();
        let above = |place: &Place| norms.len() - norms.partition_point(|&norm| f64::from(norm) <= place.cutoff);
        let mut places = places(&norms, self.knobs.steps, patches.run_cutoff());
        places.sort_by_key(above);
        let mut curves = Curves::default();
        let mut at: Box<dyn FnMut(f64) -> Result<Vec<Score>, StageError>> = match &self.experiment {
            Experiment::Position(e) if !e.separate => {
                let tested = e.predict_all(&patches.kinds, &images.labelled, &images.grids, cancel)?;
                Box::new(move |cutoff| Ok(tested.as_ref().map_or_else(Vec::new, |t| t.divided(&e.site, cutoff))))
            }
            _ => Box::new(|cutoff| self.fitted(patches, images, pixels, cutoff, cancel)),
        };
        for alike in places.chunk_by(|a, b| above(a) == above(b)) {
            if cancel.load(Ordering::Relaxed) {
                return Err(StageError::interrupted());
            }
            let scores = at(alike[0].cutoff)?;
            for place in alike {
                scores.iter().filter(|s| METRICS.contains(&s.metric)).for_each(|s| push(&mut curves, place, s));
            }
        }
        Ok(curves)
    }

    /// The scores of the experiment with patches above `cutoff` as its outliers.
    fn fitted(
        &self,
        patches: &Patches,
        images: &Encoded,
        pixels: &PixelMap,
        cutoff: f64,
        cancel: &AtomicBool,
    ) -> Result<Vec<Score>, StageError> {
        let name = self.experiment.name();
        match &self.experiment {
            Experiment::TokenClass(e) => {
                let drawn = patches.drawn(cutoff, self.knobs.draws, self.knobs.seed);
                e.run(name, &drawn, &images.labelled, Reading::default(), cancel)
            }
            Experiment::Position(e) => e.run(&patches.divided(cutoff), &images.labelled, &images.grids, cancel),
            Experiment::Pixels(e) => e.run(&patches.divided(cutoff), pixels, &images.labelled, cancel),
            other => Err(ProbeError::NoCurve { experiment: other.name() }.into()),
        }
    }
}

/// The numbers of a probe that depend on the division; how its fits ended does not belong into a figure.
const METRICS: [&str; 7] = [
    "accuracy_frac",
    "macro_accuracy_frac",
    "top5_accuracy_frac",
    "top1_frac",
    "mean_distance_cells",
    "l2_mean",
    "blind_l2_mean",
];

fn push(rows: &mut Curves, place: &Place, score: &Score) {
    rows.experiment.push(score.experiment.as_str().into());
    rows.subject.push(score.subject.as_str().into());
    rows.site.push(score.site.as_str().into());
    rows.knob.push(place.knob.into());
    rows.at.push(place.at);
    rows.mark.push(place.mark.as_str().into());
    rows.metric.push(score.metric.into());
    rows.value.push(score.value.filter(|v| v.is_finite()));
    rows.stderr.push(score.stderr.filter(|_| score.value.is_some()));
    rows.n.push(score.n);
}

/// What one model for all patches says of each tested one.
pub(crate) struct Tested {
    /// Whether it hit the cell.
    pub hits: Vec<f64>,
    /// How far off it was, in cells.
    pub distances: Vec<f64>,
    /// Norm of each patch.
    pub norms: Vec<f32>,
    /// Image of each.
    pub images: Vec<crate::split::ImageKey>,
    /// Whether the fit reached its optimum.
    pub converged: bool,
}

impl Tested {
    /// The scores of those above a cut-off and of the others.
    fn divided(&self, site: &str, cutoff: f64) -> Vec<Score> {
        let mut scores = Vec::new();
        for (kind, outliers) in [("normal", false), ("outlier", true)] {
            let of_kind = |i: &usize| (f64::from(self.norms[*i]) > cutoff) == outliers;
            let rows: Vec<usize> = (0..self.norms.len()).filter(of_kind).collect();
            let images: Vec<_> = rows.iter().map(|&i| self.images[i]).collect();
            for (metric, values) in [("top1_frac", &self.hits), ("mean_distance_cells", &self.distances)] {
                let values: Vec<f64> = rows.iter().map(|&i| values[i]).collect();
                let found = clustered_mean(&values, &images).filter(|_| self.converged);
                scores.push(Score {
                    experiment: "position".to_owned(),
                    subject: kind.to_owned(),
                    site: site.to_owned(),
                    metric,
                    value: found.map(|f| f.0),
                    stderr: found.map(|f| f.1),
                    n: rows.len() as u64,
                    ..Score::default()
                });
            }
        }
        scores
    }
}
