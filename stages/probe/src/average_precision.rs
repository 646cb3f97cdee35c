//! Average precision of a ranking, in the eleven points of Pascal VOC 2007.
//!
//! Test images in descending order of their score; at each distinct score precision and recall of all from there up.
//! `AP = 1/11 · Σ_{r ∈ {0, 0.1, …, 1}} max {precision at a recall ≥ r}` (Everingham et al. 2010, §4.2), the metric of
//! the transfer protocol for VOC 2007 (Kornblith et al. 2019; `SimCLR` §B.8). Images of one score come together, so that
//! ties do not depend on an order.

/// A test image: score, whether it has the class, weight.
pub type Ranked = (f64, bool, f64);

/// The average precision; `None` without a positive image. `ranked` is in descending order of the score.
pub fn eleven_points(ranked: &[Ranked]) -> Option<f64> {
    let all: f64 = ranked.iter().filter(|r| r.1).map(|r| r.2).sum();
    if all <= 0.0 {
        return None;
    }
    let (mut hits, mut seen) = (0.0, 0.0);
    let mut curve: Vec<(f64, f64)> = Vec::new(); // recall, precision
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        hits += tied.iter().filter(|r| r.1).map(|r| r.2).sum::<f64>();
        seen += tied.iter().map(|r| r.2).sum::<f64>();
        if seen > 0.0 {
            curve.push((hits / all, hits / seen));
        }
    }
    let at = |recall: f64| {
        // A recall of 3/10 reaches the point 0.3 whatever its last bit.
        curve.iter().filter(|(r, _)| *r >= recall - 1e-12).map(|(_, p)| *p).fold(0.0, f64::max)
    };
    Some((0..=10).map(|i| at(f64::from(i) / 10.0)).sum::<f64>() / 11.0)
}

/// In descending order of the score.
pub fn sorted(mut ranked: Vec<Ranked>) -> Vec<Ranked> {
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn ap(scores: &[f64], truth: &[u8]) -> f64 {
        eleven_points(&sorted(scores.iter().zip(truth).map(|(s, t)| (*s, *t == 1, 1.0)).collect())).unwrap()
    }

    #[test]
    fn closed_forms_of_short_rankings() {
        assert_eq!(ap(&[3.0, 2.0, 1.0], &[1, 1, 0]), 1.0);
        // One positive, found second: precision ½ at every recall.
        assert!((ap(&[3.0, 2.0, 1.0], &[0, 1, 0]) - 0.5).abs() < 1e-12);
        // Found first and third: 1 up to recall ½ (six points), ⅔ above (five).
        assert!((ap(&[3.0, 2.0, 1.0], &[1, 0, 1]) - (6.0 + 5.0 * 2.0 / 3.0) / 11.0).abs() < 1e-12);
        // All tied: the share of positives, whatever their order.
        assert!((ap(&[1.0; 4], &[1, 0, 0, 1]) - 0.5).abs() < 1e-12);
        assert!((ap(&[1.0; 4], &[0, 1, 1, 0]) - 0.5).abs() < 1e-12);
        assert_eq!(eleven_points(&[(1.0, false, 1.0)]), None);
    }

    /// scikit-learn's `precision_recall_curve` on these scores, eleven points of its envelope:
    /// `np.mean([p[r >= t - 1e-12].max() for t in np.linspace(0, 1, 11)])`.
    #[test]
    fn the_curve_is_scikit_learns() {
        let scores: Vec<f64> = (0..40).map(|i| f64::from(i * 37 % 41 % 23)).collect();
        let truth: Vec<u8> = (0..40).map(|i| u8::from((i * 29 + i / 3) % 7 < 2)).collect();
        let scikit = 0.6155080213903744;
        assert!((ap(&scores, &truth) - scikit).abs() < 1e-12, "{}", ap(&scores, &truth));
    }

    #[test]
    fn a_weight_counts_as_so_many_images() {
        let once = sorted(vec![(3.0, true, 2.0), (2.0, false, 3.0), (1.0, true, 1.0), (0.5, true, 0.0)]);
        let often = [(3.0, true), (3.0, true), (2.0, false), (2.0, false), (2.0, false), (1.0, true)];
        let often = often.map(|(score, hit)| (score, hit, 1.0));
        assert_eq!(eleven_points(&once), eleven_points(&often));
    }
}
