//! The stage `measure`: token tables of one run → scores, and the same against the cut-off → curves.
//!
//! Two passes: what the second counts (shares above twice the median, curves between the smallest and the largest norm,
//! placements of cosines) needs numbers of the first. Standard errors take images as independent (`clusters.rs`).

use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::{Cutoffs, NormHistograms, TokenStats};
use schemas::{Canonical, Meaning, Name};
use serde::Serialize;

use crate::curves::curves;
use crate::distribution::sample_bytes;
use crate::onset::onset;
use crate::resample::resample_bytes;
use crate::scores::scores;
use crate::sweep::{Place, Sweep, places};
use crate::tally::{Look, Tally};

/// What is measured, beyond what the tables say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasureParams {
    /// Site that tells outliers.
    pub outlier_site: String,
    /// Last block, for the name of its attention.
    pub last_block: usize,
    /// Patches whose luminance varies less than this are known to hold nothing: the truth that detection is held to.
    pub truth_pixel_variance: Option<f64>,
}

impl Meaning for MeasureParams {}

impl MeasureParams {
    fn look(&self) -> Look<'_> {
        Look { site: &self.outlier_site, flat_below: self.truth_pixel_variance, depth: self.last_block + 1 }
    }
}

/// Token tables → scores and curves. History of versions: 1, the first; 2, standard errors over images instead of
/// tokens, the gap of cosines and its effect size, an interval of the onset, correspondence of norm and attention, and
/// the table `curves`.
pub struct Measure {
    /// Meaning.
    pub params: MeasureParams,
    /// `token_stats` and `norm_histograms` of one extraction; `cutoffs` of its calibration, where it had one, puts the
    /// run's mark on the very norm.
    pub inputs: Vec<TableRef>,
    /// Sites that `token_stats` has rows of: how many samples are in memory at once.
    pub stats_sites: usize,
    /// Hive folders.
    pub partition: Partition,
}

/// Kinds whose samples grow with the patches: all, normal, outlier.
const PATCH_KINDS: u64 = 3;
/// Samples of cosines, at `patch_embed` and `with_position`.
const COSINES: u64 = 2 * PATCH_KINDS;
/// A batch of 64 Ki rows in memory and as read, the curves, and the process.
const BASE_BYTES: u64 = 64 << 20;

impl Stage for Measure {
    fn name(&self) -> &'static str {
        "measure"
    }

    fn version(&self) -> u32 {
        2
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.inputs.clone()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        ["scores", "curves"].map(|table| TableSpec { table, partition: self.partition.clone() }).into()
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, inputs: &Sizes) -> Estimate {
        let rows = inputs.get("token_stats").copied().unwrap_or(0);
        let sites = self.stats_sites.max(1) as u64;
        // Of some blocks there is nothing to resample.
        let blocks = self.params.last_block as u64 + 1;
        let resamples = if sites >= blocks { resample_bytes(blocks) } else { 0 };
        let size = |rows, bytes| engine::stage::TableSize { rows, bytes };
        Estimate {
            items: 1,
            tables: [("scores", size(200, 16 << 10)), ("curves", size(500, 24 << 10))].into(),
            host_bytes: BASE_BYTES + resamples + sample_bytes(rows / sites) * (PATCH_KINDS * sites + COSINES),
            // Two passes; a million narrow rows a second in an unoptimised build, measured, and at least twice that here.
            secs: rows as f64 / 2e6,
            ..Estimate::default()
        }
    }

    fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let look = self.params.look();
        let mut tally = Tally::default();
        each(io, |rows| tally.add(rows, look))?;
        tally.finish();
        let spread = tally.resamples.spread(look.depth);
        let onset = (onset(&io.read_all::<NormHistograms>()?), spread);
        let calibrated = calibrated(&io.read_all::<Cutoffs>()?, look.site);
        let mut sweep = Sweep::new(self.places(&mut tally, calibrated), &mut tally);
        each(io, |rows| sweep.add(rows, look, &tally))?;
        sweep.finish();
        io.write(scores(&self.params, &mut tally, &sweep, &onset))?;
        let attention = format!("attention_{}", self.params.last_block);
        io.write(curves(&sweep, look.site, &attention))?;
        Ok(ShardReport { items: 1, skipped: 0 })
    }
}

impl Measure {
    /// Where the curves are taken: none without patches.
    fn places(&self, tally: &mut Tally, calibrated: Option<f64>) -> Vec<Place> {
        let run = calibrated.or_else(|| tally.run_cutoff());
        let patches: (Name, Name) = (self.params.outlier_site.as_str().into(), "patch".into());
        let Some(norms) = tally.norms.get_mut(&patches).map(|s| &mut s.values) else { return Vec::new() };
        let (Some(smallest), Some(largest)) = (norms.min(), norms.max()) else { return Vec::new() };
        let valley = schemas::outlier::valley(norms.values()).cutoff.map(f64::from);
        let marks = [("run", run), ("paper", Some(150.0)), ("study", Some(100.0)), ("valley", valley)];
        let marks: Vec<(&str, f64)> = marks.into_iter().filter_map(|(mark, at)| Some((mark, at?))).collect();
        places(norms.values(), (smallest, largest), &marks)
    }
}

/// The cut-off of the calibration at a site.
fn calibrated(cutoffs: &Cutoffs, site: &str) -> Option<f64> {
    let at = cutoffs.site.iter().position(|s| **s == *site)?;
    cutoffs.cutoff[at].map(f64::from)
}

/// One pass over the tokens.
fn each(io: &ShardIo<'_>, mut take: impl FnMut(&TokenStats)) -> Result<(), StageError> {
    for part in io.parts("token_stats")? {
        for batch in schemas::read_part_batches::<TokenStats>(&part)? {
            if io.cancelled() {
                return Err(StageError::interrupted());
            }
            take(&batch?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
