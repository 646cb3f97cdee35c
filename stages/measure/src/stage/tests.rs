//! Two images on a 2×2 grid with one register, whose every statistic can be told by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// (image, kind, index, norm, outlier, attention, variance)
type Token = (u32, &'static str, u16, f32, bool, f32, f32);

fn stats(tokens: &[Token]) -> TokenStats {
    let mut t = TokenStats::default();
    for &(image, kind, index, norm, outlier, attention, variance) in tokens {
        let patch = kind == "patch";
        t.image.push(image);
        t.site.push("block_1".into());
        t.kind.push(kind.into());
        t.index.push(index);
        t.row.push(patch.then_some(index / 2));
        t.col.push(patch.then_some(index % 2));
        t.norm.push(norm);
        t.outlier.push(outlier);
        t.neighbour_cosine.push(patch.then_some(if outlier { 0.9 } else { 0.1 * f32::from(index) }));
        t.neighbour_cosine_position.push(patch.then_some(0.5));
        t.cls_attention.push(Some(attention));
        t.pixel_variance.push(patch.then_some(variance));
    }
    t
}

fn two_images() -> TokenStats {
    stats(&[
        (0, "cls", 0, 5.0, false, 0.1, 0.0),
        (0, "register", 0, 90.0, false, 0.1, 0.0),
        (0, "patch", 0, 10.0, false, 0.1, 1.0),
        (0, "patch", 1, 12.0, false, 0.1, 1.0),
        (0, "patch", 2, 100.0, true, 0.5, 0.0),
        (0, "patch", 3, 14.0, false, 0.1, 0.0),
        (1, "cls", 0, 7.0, false, 0.3, 0.0),
        (1, "register", 0, 92.0, false, 0.1, 0.0),
        (1, "patch", 0, 10.0, false, 0.2, 1.0),
        (1, "patch", 1, 12.0, false, 0.1, 1.0),
        (1, "patch", 2, 14.0, false, 0.1, 1.0),
        (1, "patch", 3, 16.0, false, 0.2, 1.0),
    ])
}

fn scores(rows: &TokenStats, onset: Option<u32>) -> Scores {
    let params = MeasureParams { outlier_site: "block_1".into(), last_block: 1, truth_pixel_variance: Some(0.5) };
    let mut tally = Tally::default();
    tally.add(rows, "block_1", params.truth_pixel_variance);
    tally.finish();
    Measure { params, inputs: vec![], stats_sites: 1, partition: vec![] }.scores(&mut tally, onset)
}

fn find(scores: &Scores, key: [&str; 4]) -> Option<f64> {
    let [experiment, subject, site, metric] = key;
    (0..scores.value.len())
        .find(|&i| {
            (&*scores.experiment[i], &*scores.subject[i], &*scores.site[i], &*scores.metric[i])
                == (experiment, subject, site, metric)
        })
        .unwrap_or_else(|| panic!("no score {key:?}"))
        .pipe(|i| scores.value[i])
}

trait Pipe: Sized {
    fn pipe<R>(self, f: impl FnOnce(Self) -> R) -> R {
        f(self)
    }
}
impl Pipe for usize {}

#[test]
fn every_statistic_of_two_small_images() {
    let s = scores(&two_images(), Some(1));
    let near = |key: [&str; 4], expected: f64| {
        let value = find(&s, key).unwrap();
        assert!((value - expected).abs() < 1e-6, "{key:?}: {value}, not {expected}");
    };
    near(["norms", "cls", "block_1", "mean"], 6.0);
    near(["norms", "register_0", "block_1", "max"], 92.0);
    near(["norms", "patch", "block_1", "median"], 13.0);
    near(["norms", "normal", "block_1", "median"], 12.0);
    near(["detection", "outlier", "block_1", "share_frac"], 1.0 / 8.0);
    near(["detection", "outlier", "block_1", "norm_ratio"], 100.0 / 12.0);
    near(["detection", "outlier", "all blocks", "onset_block"], 1.0);
    near(["detection", "outlier", "block_1", "images_without"], 1.0);
    // Image 0 has one flat patch that is found and one that is not; no false alarm.
    near(["detection", "outlier", "block_1", "precision_frac"], 1.0);
    near(["detection", "outlier", "block_1", "recall_frac"], 0.5);
    near(["norms", "patch", "block_1", "share_above_2x_median_frac"], 1.0 / 8.0);
    // The outlier's cosine of 0.9 exceeds all others.
    near(["neighbour_cosine", "outlier", "patch_embed", "auc_frac"], 1.0);
    near(["neighbour_cosine", "outlier", "with_position", "auc_frac"], 0.5);
    near(["attention", "outlier", "attention_1", "mass_frac"], 0.5);
    near(["attention", "outlier", "attention_1", "argmax_frac"], 1.0);
    near(["attention", "register", "attention_1", "mass_frac"], 0.1);
    near(["attention", "normal", "attention_1", "mass_frac"], 0.45);
}

#[test]
fn rows_may_come_in_any_pieces() {
    let all = two_images();
    let batch = schemas::Table::into_batch(all.clone()).unwrap();
    let mut tally = Tally::default();
    for i in 0..batch.num_rows() {
        let one: TokenStats = schemas::Table::from_batch(&batch.slice(i, 1)).unwrap();
        tally.add(&one, "block_1", Some(0.5));
    }
    tally.finish();
    let params = MeasureParams { outlier_site: "block_1".into(), last_block: 1, truth_pixel_variance: Some(0.5) };
    let pieces = Measure { params, inputs: vec![], stats_sites: 1, partition: vec![] }.scores(&mut tally, Some(1));
    assert_eq!(pieces, scores(&all, Some(1)));
}

#[test]
fn a_model_without_outliers_says_so() {
    let mut rows = two_images();
    rows.outlier.fill(false);
    let s = scores(&rows, None);
    assert_eq!(find(&s, ["detection", "outlier", "all blocks", "onset_block"]), None);
    assert_eq!(find(&s, ["detection", "outlier", "block_1", "images_without"]), Some(2.0));
    assert!(!s.metric.iter().any(|m| &**m == "norm_ratio"));
}

#[test]
fn memory_grows_with_sites_and_rows_up_to_the_samples_that_are_kept() {
    let memory = |stats_sites: usize, rows: u64| {
        let params = MeasureParams { outlier_site: "block_1".into(), last_block: 1, truth_pixel_variance: None };
        let stage = Measure { params, inputs: vec![], stats_sites, partition: vec![] };
        stage.estimate(&Sizes::from([("token_stats", rows)])).host_bytes
    };
    let kept = |samples: u64| (64 << 20) + samples * (16 << 20);
    // Twelve sites of ImageNet: three kinds each, and cosines at one of them.
    assert_eq!(memory(12, 12 * 1_280_000 * 257), kept(3 * 12 + 8));
    assert_eq!(memory(1, 1 << 40), kept(3 + 8));
    // 200 images of 257 tokens take next to nothing.
    assert!(memory(12, 12 * 200 * 257) < 80 << 20);
}
