//! The stage `measure`: token tables of one run → scores.
//!
//! Standard errors: σ/√n for a mean, √(p(1−p)/n) for a share. Tokens of one image are not independent, so these are
//! lower bounds; the reports say n.

use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::{NormHistograms, Scores, TokenStats};
use schemas::{Canonical, Meaning, Name};
use serde::Serialize;

use crate::distribution::{Distribution, auc, sample_bytes};
use crate::onset::onset;
use crate::tally::Tally;

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

/// Token tables → scores. Version 1.
pub struct Measure {
    /// Meaning.
    pub params: MeasureParams,
    /// `token_stats` and `norm_histograms` of one extraction.
    pub inputs: Vec<TableRef>,
    /// Sites that `token_stats` has rows of: how many samples are in memory at once.
    pub stats_sites: usize,
    /// Hive folders.
    pub partition: Partition,
}

/// Kinds whose samples grow with the patches: all, normal, outlier.
const PATCH_KINDS: u64 = 3;
/// Samples of cosines, at `patch_embed` and `with_position`, and the copies that their AUC sorts.
const COSINES: u64 = 2 * PATCH_KINDS + 2;
/// A batch of 64 Ki rows in memory and as read, and the process.
const BASE_BYTES: u64 = 64 << 20;

impl Stage for Measure {
    fn name(&self) -> &'static str {
        "measure"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.inputs.clone()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        vec![TableSpec { table: "scores", partition: self.partition.clone() }]
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, inputs: &Sizes) -> Estimate {
        let rows = inputs.get("token_stats").copied().unwrap_or(0);
        let sites = self.stats_sites.max(1) as u64;
        Estimate {
            items: 1,
            tables: [("scores", engine::stage::TableSize { rows: 200, bytes: 16 << 10 })].into(),
            host_bytes: BASE_BYTES + sample_bytes(rows / sites) * (PATCH_KINDS * sites + COSINES),
            // Five million narrow rows a second, measured.
            secs: rows as f64 / 5e6,
            ..Estimate::default()
        }
    }

    fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let mut tally = Tally::default();
        for part in io.parts("token_stats")? {
            for batch in schemas::read_part_batches::<TokenStats>(&part)? {
                if io.cancelled() {
                    return Err(StageError::interrupted());
                }
                tally.add(&batch?, &self.params.outlier_site, self.params.truth_pixel_variance);
            }
        }
        tally.finish();
        let onset = onset(&io.read_all::<NormHistograms>()?);
        io.write(self.scores(&mut tally, onset))?;
        Ok(ShardReport { items: 1, skipped: 0 })
    }
}

impl Measure {
    /// Every score of a tally.
    pub fn scores(&self, tally: &mut Tally, onset: Option<u32>) -> Scores {
        let mut rows = Rows::default();
        for ((site, kind), norms) in &mut tally.norms {
            distribution(&mut rows, "norms", kind, site, norms);
            if &**kind == "patch" {
                shares(&mut rows, site, norms);
            }
        }
        self.detection(&mut rows, tally, onset);
        for ((site, kind), cosine) in &mut tally.cosine {
            distribution(&mut rows, "neighbour_cosine", kind, site, cosine);
        }
        for site in ["patch_embed", "with_position"] {
            let mut of = |kind| tally.cosine.get_mut(&(site, kind)).map(|d| d.values().to_vec()).unwrap_or_default();
            let (outlier, normal) = (of("outlier"), of("normal"));
            if let Some(auc) = auc(&outlier, &normal) {
                rows.push("neighbour_cosine", "outlier", site, "auc_frac", Some(auc), outlier.len() as u64);
            }
        }
        let attention = format!("attention_{}", self.params.last_block);
        for (kind, mass) in &tally.attention {
            rows.push("attention", kind, &attention, "mass_frac", mass.mean(), mass.n());
            rows.stderr(mass.std().map(|s| s / (mass.n() as f64).sqrt()));
        }
        let with = tally.images - tally.images_without;
        if with > 0 && !tally.attention.is_empty() {
            rows.share("attention", "outlier", &attention, "argmax_frac", tally.argmax_outlier, with);
        }
        rows.scores
    }

    fn detection(&self, rows: &mut Rows, tally: &mut Tally, onset: Option<u32>) {
        let site = self.params.outlier_site.as_str();
        let name: Name = site.into();
        let mut median = |kind: &str| {
            tally.norms.get_mut(&(name.clone(), kind.into())).map_or((0, None), |d| (d.n(), d.quantile(0.5)))
        };
        let ((outliers, of_outliers), (normals, of_normals)) = (median("outlier"), median("normal"));
        let patches = outliers + normals;
        if patches > 0 {
            rows.share("detection", "outlier", site, "share_frac", outliers, patches);
        }
        if let (Some(outlier), Some(normal)) = (of_outliers, of_normals) {
            rows.push("detection", "outlier", site, "norm_ratio", Some(outlier / normal), outliers);
        }
        rows.push("detection", "outlier", "all blocks", "onset_block", onset.map(f64::from), patches);
        if onset.is_none() {
            rows.note("no block has a patch above 4 × its median");
        }
        rows.push("detection", "outlier", site, "images_without", Some(tally.images_without as f64), tally.images);
        if self.params.truth_pixel_variance.is_some() {
            let [hits, false_alarms, misses] = tally.detection;
            for (metric, others) in [("precision_frac", false_alarms), ("recall_frac", misses)] {
                if hits + others > 0 {
                    rows.share("detection", "outlier", site, metric, hits, hits + others);
                }
            }
        }
    }
}

fn distribution(rows: &mut Rows, experiment: &str, kind: &str, site: &str, d: &mut Distribution) {
    let note = d.note();
    rows.push(experiment, kind, site, "mean", d.mean(), d.n());
    rows.stderr(d.std().map(|s| s / (d.n() as f64).sqrt()));
    let quantiles = [("p5", 0.05), ("median", 0.5), ("p95", 0.95), ("p99", 0.99)];
    for (metric, q) in quantiles {
        rows.push(experiment, kind, site, metric, d.quantile(q), d.n());
        rows.note(&note);
    }
    rows.push(experiment, kind, site, "max", d.max(), d.n());
    rows.push(experiment, kind, site, "min", d.min(), d.n());
    rows.push(experiment, kind, site, "std", d.std(), d.n());
}

/// Shares above the cut-offs in use, and whether there are two modes at all.
fn shares(rows: &mut Rows, site: &str, norms: &mut Distribution) {
    let Some(median) = norms.quantile(0.5) else { return };
    let note = norms.note();
    let values = norms.values();
    let n = values.len() as u64;
    for (metric, cutoff) in
        [("share_above_150_frac", 150.0), ("share_above_100_frac", 100.0), ("share_above_2x_median_frac", 2.0 * median)]
    {
        let above = values.len() - values.partition_point(|&x| f64::from(x) <= cutoff);
        rows.share("norms", "patch", site, metric, above as u64, n);
        rows.note(&note);
    }
    let valley = schemas::outlier::valley(values);
    rows.push("norms", "patch", site, "valley_depth", Some(f64::from(valley.depth)), n);
    rows.note(if valley.cutoff.is_some() { "two modes" } else { "one mode" });
}

/// Scores under construction.
#[derive(Default)]
struct Rows {
    scores: Scores,
}

impl Rows {
    fn push(&mut self, experiment: &str, subject: &str, site: &str, metric: &str, value: Option<f64>, n: u64) {
        let s = &mut self.scores;
        s.experiment.push(experiment.into());
        s.subject.push(subject.into());
        s.site.push(site.into());
        s.metric.push(metric.into());
        s.value.push(value);
        s.std.push(None);
        s.stderr.push(None);
        s.n.push(n);
        s.draws.push(1);
        s.images_without.push(0);
        s.c.push(None);
        s.converged.push(true);
        s.note.push("".into());
    }

    fn share(&mut self, experiment: &str, subject: &str, site: &str, metric: &str, hits: u64, n: u64) {
        let p = hits as f64 / n as f64;
        self.push(experiment, subject, site, metric, Some(p), n);
        self.stderr(Some((p * (1.0 - p) / n as f64).sqrt()));
    }

    fn stderr(&mut self, stderr: Option<f64>) {
        if let Some(last) = self.scores.stderr.last_mut() {
            *last = stderr;
        }
    }

    fn note(&mut self, note: &str) {
        if let Some(last) = self.scores.note.last_mut() {
            *last = note.into();
        }
    }
}

#[cfg(test)]
mod tests;
