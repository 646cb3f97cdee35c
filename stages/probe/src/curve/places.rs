//! Where a probe is repeated: norms as cut-offs, and shares of the largest norms.
//!
//! As for the curves of the token statistics (`docs/protocols/threshold.md`): norms even in their logarithm, the papers'
//! two, the run's own and the valley; shares of all patches, whose cut-off is their quantile.

use schemas::outlier::{quantile_sorted, valley};

/// Shares of the largest norms.
const TOP_FRACS: [f64; 5] = [0.01, 0.02, 0.05, 0.1, 0.2];
/// The study's share.
const STUDY_FRAC: f64 = 0.05;

/// A place of a knob.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// `cutoff` or `top_frac`.
    pub knob: &'static str,
    /// Where the knob stands.
    pub at: f64,
    /// What this place is, or empty.
    pub mark: String,
    /// Norm above which a patch counts.
    pub cutoff: f64,
}

/// Places for norms in ascending order. Marks within 1 % of each other that divide the patches alike share one.
pub(super) fn places(norms: &[f32], steps: u32, run: Option<f64>) -> Vec<Place> {
    let below = |cutoff: f64| norms.partition_point(|&norm| f64::from(norm) <= cutoff);
    let valley = valley(&mut norms.to_vec()).cutoff.map(f64::from);
    let mut places: Vec<Place> = Vec::new();
    for (mark, cutoff) in [("run", run), ("paper", Some(150.0)), ("study", Some(100.0)), ("valley", valley)] {
        let Some(cutoff) = cutoff else { continue };
        let alike = |p: &&mut Place| (p.cutoff / cutoff - 1.0).abs() < 0.01 && below(p.cutoff) == below(cutoff);
        match places.iter_mut().find(alike) {
            Some(place) => place.mark += &format!(" {mark}"),
            None => places.push(Place { knob: "cutoff", at: cutoff, mark: mark.to_owned(), cutoff }),
        }
    }
    if let (Some(&smallest), Some(&largest)) = (norms.first(), norms.last())
        && 0.0 < smallest
        && smallest < largest
    {
        let (smallest, ratio) = (f64::from(smallest), f64::from(largest) / f64::from(smallest));
        let last = f64::from(steps.max(2) - 1);
        places.extend((0..steps.max(2)).map(|step| {
            let cutoff = smallest * ratio.powf(f64::from(step) / last);
            Place { knob: "cutoff", at: cutoff, mark: String::new(), cutoff }
        }));
    }
    places.sort_by(|a, b| a.at.total_cmp(&b.at));
    places.extend(TOP_FRACS.iter().filter_map(|&at| {
        let mark = if at == STUDY_FRAC { "study" } else { "" };
        let cutoff = f64::from(quantile_sorted(norms, 1.0 - at)?);
        Some(Place { knob: "top_frac", at, mark: mark.to_owned(), cutoff })
    }));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_span_the_norms_and_bear_their_marks() {
        let norms: Vec<f32> = (0..=99).map(|i| 10.0 + 10.0 * i as f32).collect();
        let all = places(&norms, 3, Some(151.0));
        let cutoffs: Vec<(f64, &str)> =
            all.iter().filter(|p| p.knob == "cutoff").map(|p| ((p.at * 10.0).round() / 10.0, &*p.mark)).collect();
        // 150 is a norm of the list, so 150 and 151 divide alike; √(10·1000) = 100, the study's own.
        assert_eq!(cutoffs, [(10.0, ""), (100.0, "study"), (100.0, ""), (151.0, "run paper"), (1000.0, "")]);
        let five = all.iter().find(|p| p.knob == "top_frac" && p.at == 0.05);
        assert_eq!(five.map(|p| (&*p.mark, p.cutoff)), Some(("study", 950.5)));
        assert!(places(&[], 3, None).iter().all(|p| !p.mark.is_empty()), "nothing but the papers' two");
    }
}
