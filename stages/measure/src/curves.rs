//! The rows of `curves`: what the tables would say with another cut-off.
//!
//! Experiments, subjects, sites and metrics are named as in `scores`. New here are `images_with_frac` (share of images
//! with any patch above), `gap` (mean cosine of those above minus that of the others) and, at shares, `cutoff_norm`
//! (the quantile that the share stands for).

use schemas::tables::Curves;

use crate::clusters::{Clusters, Estimate};
use crate::sweep::{Above, Place, Sweep};

/// Experiment, metric, and where it is collected.
type Ratio = (&'static str, &'static str, fn(&Above) -> &Clusters<2>);

const RATIOS: [Ratio; 5] = [
    ("detection", "share_frac", |a| &a.share),
    ("detection", "images_with_frac", |a| &a.any),
    ("detection", "precision_frac", |a| &a.precision),
    ("detection", "recall_frac", |a| &a.recall),
    ("attention", "mass_frac", |a| &a.attention),
];

/// Every row. `site` tells outliers, `attention` is the site of the attention.
pub fn curves(sweep: &Sweep, site: &str, attention: &str) -> Curves {
    let mut rows = Curves::default();
    // What is not defined at a place (precision of nothing) is null; what was not measured at any has no rows.
    let measured = |of: fn(&Above) -> &Clusters<2>| sweep.places.iter().any(|(_, above)| of(above).ratio().is_some());
    let ratios: Vec<Ratio> = RATIOS.into_iter().filter(|(_, _, of)| measured(*of)).collect();
    for (place, above) in &sweep.places {
        if place.knob == "top_frac" {
            let norm = Some(Estimate { value: place.cutoff, stderr: None });
            push(&mut rows, place, ("detection", "outlier", site, "cutoff_norm"), norm, above.share.totals()[1]);
        }
        for (experiment, metric, of) in &ratios {
            let at = if *experiment == "attention" { attention } else { site };
            let clusters = of(above);
            let mut estimate = clusters.ratio();
            // A share that was asked for is no finding.
            if place.knob == "top_frac" && *metric == "share_frac" {
                estimate = estimate.map(|e| Estimate { stderr: None, ..e });
            }
            push(&mut rows, place, (experiment, "outlier", at, metric), estimate, clusters.totals()[1]);
        }
        cosines(&mut rows, place, above);
    }
    rows
}

fn cosines(rows: &mut Curves, place: &Place, above: &Above) {
    let [_, m, _, k] = above.gap.totals();
    if m + k > 0.0 {
        let at = "patch_embed";
        push(rows, place, ("neighbour_cosine", "outlier", at, "mean"), above.cosine.ratio(), m);
        push(rows, place, ("neighbour_cosine", "normal", at, "mean"), above.others.ratio(), k);
        push(rows, place, ("neighbour_cosine", "outlier", at, "gap"), above.gap.difference(), m);
    }
}

fn push(
    rows: &mut Curves,
    place: &Place,
    (experiment, subject, site, metric): (&str, &str, &str, &str),
    estimate: Option<Estimate>,
    n: f64,
) {
    rows.experiment.push(experiment.into());
    rows.subject.push(subject.into());
    rows.site.push(site.into());
    rows.knob.push(place.knob.into());
    rows.at.push(place.at);
    rows.mark.push(place.mark.as_str().into());
    rows.metric.push(metric.into());
    rows.value.push(estimate.map(|e| e.value));
    rows.stderr.push(estimate.and_then(|e| e.stderr));
    rows.n.push(n as u64);
}
