//! Scores against other programs, and their errors in closed form.

use super::super::confusion::MeanIou;
use super::super::depth_error::DepthScore;
use super::*;

fn counts(pixels: &[(u8, u8)]) -> Counts {
    let mut counts = Counts::new(2);
    for &(t, a) in pixels {
        counts.pixel(t, a);
    }
    counts
}

/// For a mean over groups of equal size the jackknife is the textbook's √(s²/n).
#[test]
fn the_jackknife_of_a_mean_is_its_standard_error() {
    let groups = [counts(&[(0, 0), (0, 0)]), counts(&[(0, 0), (0, 1)]), counts(&[(0, 1), (0, 1)])];
    let found = over_segments(&[&groups], Counts::accuracy);
    assert_eq!((found.value, found.std), (Some(0.5), None));
    assert_eq!(found.without, [0.25, 0.5, 0.75]);
    let stderr = found.stderr.unwrap_or_default();
    assert!((stderr - (0.25f64 / 3.0).sqrt()).abs() < 1e-12, "{stderr}");
    // Two heads, of which the second is always right: their mean halves the error.
    let right = [counts(&[(0, 0); 2]), counts(&[(0, 0); 2]), counts(&[(0, 0); 2])];
    let found = over_segments(&[&groups, &right], Counts::accuracy);
    assert_eq!((found.value, found.std), (Some(0.75), Some(0.125f64.sqrt())));
    assert!((found.stderr.unwrap_or_default() - stderr / 2.0).abs() < 1e-12);
    assert_eq!(over_segments(&[&groups[..1]], Counts::accuracy).stderr, None);
}

#[test]
fn depth_is_a_mean_over_images() {
    let found = over_depth(&[&[(0, [1.0, 0.0, 0.0]), (1, [3.0, 0.0, 0.0])]], 0);
    assert_eq!((found.value, found.std, found.stderr), (Some(2.0), None, Some(1.0)));
    assert_eq!(found.without, [3.0, 1.0]);
}

/// Scores of random answers by scikit-learn and numpy: `tests/golden/dense_metrics.py`.
#[derive(serde::Deserialize)]
struct Reference {
    classes: usize,
    segments: Vec<SegmentScores>,
    depth: DepthScores,
}

#[derive(serde::Deserialize)]
struct SegmentScores {
    truth: Vec<u8>,
    answer: Vec<u8>,
    iou: Vec<Option<f64>>,
    miou: f64,
    miou_all: f64,
    miou_judged: f64,
    accuracy: f64,
    mean_accuracy: f64,
}

#[derive(serde::Deserialize)]
struct DepthScores {
    size: [usize; 2],
    truth: Vec<f32>,
    answer: Vec<f32>,
    crop: [u32; 4],
    mean: [f64; 3],
    stderr: [f64; 3],
}

fn near(found: Option<f64>, wanted: f64) {
    assert!(found.is_some_and(|f| (f - wanted).abs() < 1e-9), "{found:?} {wanted}");
}

#[test]
fn scores_are_those_of_scikit_learn_and_numpy() -> serde_json::Result<()> {
    let reference: Reference = serde_json::from_str(include_str!("metrics.json"))?;
    for case in &reference.segments {
        let counted = |judged: usize| {
            let mut counts = Counts::new(judged);
            case.truth.iter().zip(&case.answer).for_each(|(t, a)| counts.pixel(*t, *a));
            counts
        };
        let counts = counted(reference.classes);
        for (class, iou) in case.iou.iter().enumerate() {
            let found = counts.iou(class, MeanIou::present());
            assert!(found.is_some() == iou.is_some() && (found.unwrap_or(0.0) - iou.unwrap_or(0.0)).abs() < 1e-9);
        }
        near(counts.miou(MeanIou::present()), case.miou);
        near(counts.miou(MeanIou::all(1e-6)), case.miou_all);
        near(counted(8).miou(MeanIou::present()), case.miou_judged);
        near(counts.accuracy(), case.accuracy);
        near(counts.mean_accuracy(), case.mean_accuracy);
    }
    let DepthScores { size: [h, w], truth, answer, crop, mean, stderr } = reference.depth;
    let rule = DepthScore { above_m: 0.001, below_m: 10.0, crop: Some(crop) };
    let images = truth.chunks(h * w).zip(answer.chunks(h * w)).enumerate().map(|(image, (truth, answer))| {
        let mut errors = DepthErrors::default();
        for (i, (t, d)) in truth.iter().zip(answer).enumerate() {
            if rule.holds(*t, i / w, i % w) {
                errors.pixel(*t, *d);
            }
        }
        (image, errors.scores().unwrap_or_default())
    });
    let images: Vec<_> = images.collect();
    for which in 0..3 {
        let found = over_depth(&[&images], which);
        near(found.value, mean[which]);
        near(found.stderr, stderr[which]);
    }
    Ok(())
}

#[test]
fn the_first_of_equals_is_the_answer() {
    assert_eq!((largest(&[1.0, 2.0, 2.0]), largest(&[0.0; 3]), largest(&[0.0, -1.0, 5.0])), (1, 0, 2));
}

/// Breaks when the rounding of a mean is taken for a spread.
#[test]
fn equal_numbers_have_no_spread() {
    assert_eq!((deviation(&[0.1; 7]), deviation(&[0.1]), squares(&[])), (Some(0.0), None, 0.0));
    assert!((squares(&[1.0, 2.0, 6.0]) - 14.0).abs() < 1e-12);
}
