//! Components of features whose covariance is known, and those that scikit-learn finds.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// Features `mean + a·s₁·e₁ + b·s₂·e₂` with signs s = ±1 in every combination, e₁ and e₂ orthogonal: eigenvalues a², b².
fn crossed(a: f32, b: f32) -> Vec<f32> {
    let (e1, e2) = ([0.6, 0.0, 0.8, 0.0], [0.0, 0.6, 0.0, -0.8]);
    let mut features = Vec::new();
    for (s, t) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
        features.extend((0..4).map(|i| 50.0 + a * s * e1[i] + b * t * e2[i]));
    }
    features
}

/// Breaks when the mean is not taken off, when variance is divided by n − 1, or when scores are not divided by σ.
#[test]
fn scores_are_deviations_in_units_of_sigma() {
    let moments = Moments::of(&crossed(3.0, 1.0), 4);
    let scores = moments.basis().scores(&crossed(3.0, 1.0));
    assert_eq!(scores.len(), 3);
    for (score, share) in scores.iter().zip([0.9, 0.1]) {
        assert!((score.share_frac - share).abs() < 1e-5, "{}", score.share_frac);
        assert!(score.values.iter().all(|v| (v.abs() - 1.0).abs() < 1e-5), "{score:?}");
    }
    // There is no third direction: no share, and no noise blown up to one σ.
    assert_eq!(scores[2], Scores { share_frac: 0.0, values: vec![0.0; 4] });
}

/// Breaks when the part between the means of two sets is lost, or weighted wrongly.
#[test]
fn moments_of_parts_add_to_those_of_the_whole() {
    let features: Vec<f32> =
        (0..7 * 33).map(|i| ((i * i) as f32 * 0.37).sin() * 10.0 + (i % 7) as f32 * 100.0).collect();
    let whole = Moments::of(&features, 7);
    for cut in [7, 7 * 9, 7 * 32] {
        let mut parts = Moments::of(&features[..cut], 7);
        parts.add(&Moments::of(&features[cut..], 7));
        parts.add(&Moments::of(&[], 7));
        assert_eq!(parts.patches, 33);
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9 * (1.0 + b.abs()));
        assert!(close(&parts.mean, &whole.mean) && close(&parts.scatter, &whole.scatter), "cut at {cut}");
    }
}

#[test]
fn skewness_fixes_the_sign() {
    let scores = |values: Vec<f32>| Scores { share_frac: 1.0, values };
    for values in [vec![-1.0, -1.0, 2.0], vec![1.0, 1.0, -2.0]] {
        let cubes = cubes(&values);
        assert_eq!(oriented(scores(values), cubes).values, [-1.0, -1.0, 2.0]);
    }
}

#[test]
fn a_constant_image_has_no_components() {
    for n in [1, 20] {
        let features = vec![3.5; n * 5];
        let scores = Moments::of(&features, 5).basis().scores(&features);
        assert!(scores.iter().all(|s| s.share_frac == 0.0 && s.values.iter().all(|&v| v == 0.0)));
    }
}

/// `benches/peers/pca_sklearn.py` wrote it: `n d`, features, then per component the share of the variance and the scores
/// of `PCA(whiten=True)`, times √(n/(n − 1)), which makes its σ the one of the population.
const SCIKIT_LEARN: &str = include_str!("pca_sklearn.txt");

/// Breaks when the components are not those of scikit-learn: |cos| ≥ 0.9999 between scores, shares to 1e-6.
#[test]
fn scikit_learn_finds_the_same_components() {
    let mut numbers = SCIKIT_LEARN.split_ascii_whitespace().map(|word| word.parse::<f64>().unwrap());
    let mut next = |count: usize| -> Vec<f64> { numbers.by_ref().take(count).collect() };
    let (n, d) = (next(1)[0] as usize, next(1)[0] as usize);
    let features: Vec<f32> = next(n * d).into_iter().map(|x| x as f32).collect();
    let ours = Moments::of(&features, d).basis().scores(&features);
    assert_eq!(ours.len(), 3);
    for ours in ours {
        let share = next(1)[0];
        let theirs = next(n);
        assert!((ours.share_frac - share).abs() < 1e-6, "{} {share}", ours.share_frac);
        let values: Vec<f64> = ours.values.iter().map(|&v| f64::from(v)).collect();
        let cosine = dot(&values, &theirs) / (dot(&values, &values) * dot(&theirs, &theirs)).sqrt();
        assert!(cosine.abs() >= 0.9999, "{cosine}");
        let largest = values.iter().zip(&theirs).map(|(a, b)| (a.abs() - b.abs()).abs()).fold(0.0, f64::max);
        assert!(largest < 1e-4, "scores differ by {largest}");
    }
}
