//! The rows of `scores` that both passes and the histograms give.

use schemas::Name;
use schemas::tables::Scores;

use crate::clusters::{Clusters, Estimate};
use crate::distribution::auc;
use crate::resample::{NoSpread, Spread};
use crate::stage::MeasureParams;
use crate::sweep::{Exceed, Sweep};
use crate::tally::{PLACES, Sample, Tally};

/// Block of the onset, and how sure it is.
pub type Onset = (Option<u32>, Result<Spread, NoSpread>);

/// Every score.
pub fn scores(params: &MeasureParams, tally: &mut Tally, sweep: &Sweep, onset: &Onset) -> Scores {
    let mut rows = Rows::default();
    for ((site, kind), norms) in &mut tally.norms {
        distribution(&mut rows, "norms", kind, site, norms);
        if let ("patch", Some(exceed)) = (&**kind, sweep.exceed.get(site)) {
            shares(&mut rows, site, norms, exceed);
        }
    }
    detection(params, &mut rows, tally);
    onset_rows(&mut rows, onset, tally);
    for ((site, kind), cosine) in &mut tally.cosine {
        distribution(&mut rows, "neighbour_cosine", kind, site, cosine);
    }
    for ((site, contrast), placements) in PLACES.into_iter().zip(&tally.contrast).zip(&sweep.placements) {
        let sorted = |kind| tally.cosine.get(&(site, kind)).map_or(&[][..], |s| s.values.sorted());
        let (outlier, normal) = (sorted("outlier"), sorted("normal"));
        let n = outlier.len() as u64;
        if let Some(auc) = auc(outlier, normal) {
            rows.push("neighbour_cosine", "outlier", site, "auc_frac", Some(auc), n);
            rows.stderr(placements.auc().and_then(|e| e.stderr));
        }
        for (metric, estimate) in [("gap", contrast.gap()), ("effect_size", contrast.effect())] {
            rows.estimate(["neighbour_cosine", "outlier", site, metric], estimate, n);
        }
    }
    let attention = format!("attention_{}", params.last_block);
    for (kind, mass) in &tally.attention {
        rows.clustered(["attention", kind, &attention, "mass_frac"], mass);
    }
    let with = tally.images - tally.images_without;
    if with > 0 && !tally.attention.is_empty() {
        let p = tally.argmax_outlier as f64 / with as f64;
        rows.push("attention", "outlier", &attention, "argmax_frac", Some(p), with);
        rows.stderr(Some((p * (1.0 - p) / with as f64).sqrt()));
    }
    correspondence(params, &mut rows, tally);
    rows.scores
}

fn detection(params: &MeasureParams, rows: &mut Rows, tally: &mut Tally) {
    let site = params.outlier_site.as_str();
    let name: Name = site.into();
    let mut median = |kind: &str| {
        let norms = tally.norms.get_mut(&(name.clone(), kind.into()));
        norms.map_or((0, None), |d| (d.values.n(), d.values.quantile(0.5)))
    };
    let ((outliers, of_outliers), (_, of_normals)) = (median("outlier"), median("normal"));
    rows.clustered(["detection", "outlier", site, "share_frac"], &tally.share);
    if let (Some(outlier), Some(normal)) = (of_outliers, of_normals) {
        rows.push("detection", "outlier", site, "norm_ratio", Some(outlier / normal), outliers);
    }
    rows.push("detection", "outlier", site, "images_without", Some(tally.images_without as f64), tally.images);
    if params.truth_pixel_variance.is_some() {
        rows.clustered(["detection", "outlier", site, "precision_frac"], &tally.precision);
        rows.clustered(["detection", "outlier", site, "recall_frac"], &tally.recall);
    }
}

fn onset_rows(rows: &mut Rows, (onset, spread): &Onset, tally: &Tally) {
    let patches = tally.share.totals()[1] as u64;
    let key = ["detection", "outlier", "all blocks"];
    let mut push = |metric, value: Option<f64>, n, note: &str| {
        rows.push(key[0], key[1], key[2], metric, value, n);
        rows.note(note);
    };
    let none = if onset.is_none() { "no block has a patch above 4 × its median" } else { "" };
    match spread {
        Err(why) => {
            let both = if none.is_empty() { why.to_string() } else { format!("{none}; {why}") };
            push("onset_block", onset.map(f64::from), patches, &both);
        }
        Ok(spread) => {
            push("onset_block", onset.map(f64::from), patches, none);
            if let Some((low, high)) = spread.interval {
                push("onset_p5_block", Some(f64::from(low)), spread.images, "");
                push("onset_p95_block", Some(f64::from(high)), spread.images, "");
            }
            push("onset_none_frac", Some(spread.none_frac), spread.images, "");
        }
    }
}

fn correspondence(params: &MeasureParams, rows: &mut Rows, tally: &Tally) {
    let site = params.outlier_site.as_str();
    for (top, overlap, chance, images) in tally.overlaps() {
        rows.estimate(["correspondence", top, site, "overlap_frac"], Some(overlap), images);
        rows.estimate(["correspondence", top, site, "chance_frac"], Some(chance), images);
    }
    if tally.rank_correlation.images() > 0 {
        let name = ["correspondence", "patch", site, "rank_correlation"];
        rows.estimate(name, tally.rank_correlation.ratio(), tally.rank_correlation.images());
    }
}

fn distribution(rows: &mut Rows, experiment: &str, kind: &str, site: &str, sample: &mut Sample) {
    let stderr = sample.stderr();
    let d = &mut sample.values;
    let note = d.note();
    rows.push(experiment, kind, site, "mean", d.mean(), d.n());
    rows.stderr(stderr);
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
fn shares(rows: &mut Rows, site: &str, norms: &mut Sample, exceed: &Exceed) {
    for ((metric, _), share) in exceed.limits.iter().zip(&exceed.shares) {
        rows.clustered(["norms", "patch", site, metric], share);
    }
    let valley = schemas::outlier::valley(norms.values.values());
    rows.push(
        "norms",
        "patch",
        site,
        "valley_depth",
        Some(f64::from(valley.depth)),
        norms.values.values().len() as u64,
    );
    rows.note(if valley.cutoff.is_some() { "two modes" } else { "one mode" });
}

/// Scores under construction.
#[derive(Default)]
pub(crate) struct Rows {
    /// The rows so far.
    pub scores: Scores,
}

impl Rows {
    /// A number without an error.
    pub fn push(&mut self, experiment: &str, subject: &str, site: &str, metric: &str, value: Option<f64>, n: u64) {
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

    /// A number with its error, where it is defined.
    fn estimate(&mut self, [experiment, subject, site, metric]: [&str; 4], estimate: Option<Estimate>, n: u64) {
        let Some(estimate) = estimate else { return };
        self.push(experiment, subject, site, metric, Some(estimate.value), n);
        self.stderr(estimate.stderr);
    }

    /// A share of tokens, of as many as stand in its denominator.
    fn clustered(&mut self, name: [&str; 4], share: &Clusters<2>) {
        self.estimate(name, share.ratio(), share.totals()[1] as u64);
    }

    /// The standard error of the last number.
    pub fn stderr(&mut self, stderr: Option<f64>) {
        if let Some(last) = self.scores.stderr.last_mut() {
            *last = stderr;
        }
    }

    /// What a reader must know of the last number.
    pub fn note(&mut self, note: &str) {
        if let Some(last) = self.scores.note.last_mut() {
            *last = note.into();
        }
    }
}
