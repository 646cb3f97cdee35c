//! Two images on a 2×2 grid with one register, whose every statistic can be told by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use schemas::tables::{Curves, Scores};

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

fn params() -> MeasureParams {
    MeasureParams { outlier_site: "block_1".into(), last_block: 1, truth_pixel_variance: Some(0.5) }
}

/// Both passes over the same pieces.
fn measured(pieces: &[TokenStats], onset: Option<u32>) -> (Scores, Curves) {
    let stage = Measure { params: params(), inputs: vec![], stats_sites: 1, partition: vec![] };
    let look = stage.params.look();
    let mut tally = Tally::default();
    for rows in pieces {
        tally.add(rows, look);
    }
    tally.finish();
    let onset = (onset, tally.resamples.spread(look.depth));
    let mut sweep = Sweep::new(stage.places(&mut tally, None), &mut tally);
    for rows in pieces {
        sweep.add(rows, look, &tally);
    }
    sweep.finish();
    (super::scores(&stage.params, &mut tally, &sweep, &onset), curves(&sweep, look.site, "attention_1"))
}

fn scores(rows: &TokenStats, onset: Option<u32>) -> Scores {
    measured(std::slice::from_ref(rows), onset).0
}

/// Value and standard error of a score.
fn estimate(scores: &Scores, key: [&str; 4]) -> (Option<f64>, Option<f64>) {
    let names = |i: usize| [&scores.experiment[i], &scores.subject[i], &scores.site[i], &scores.metric[i]];
    let at = (0..scores.value.len()).find(|&i| names(i).map(|n| &**n) == key);
    at.map_or_else(|| panic!("no score {key:?}"), |i| (scores.value[i], scores.stderr[i]))
}

fn find(scores: &Scores, key: [&str; 4]) -> Option<f64> {
    estimate(scores, key).0
}

/// A number of a curve: knob, place, experiment, subject, metric.
fn at(curves: &Curves, (knob, at): (&str, f64), key: [&str; 3]) -> (Option<f64>, Option<f64>, u64) {
    let names = |i: usize| [&curves.experiment[i], &curves.subject[i], &curves.metric[i]].map(|n| &**n);
    let found = (0..curves.at.len())
        .find(|&i| &*curves.knob[i] == knob && (curves.at[i] / at - 1.0).abs() < 1e-9 && names(i) == key);
    found.map_or_else(|| panic!("no {key:?} at {knob} {at}"), |i| (curves.value[i], curves.stderr[i], curves.n[i]))
}

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
    // Normal patches have cosines 0 0.1 0.3 and 0 0.1 0.2 0.3: mean 1/7, Σ(x − x̄)² = 0.24 − 1/7.
    near(["neighbour_cosine", "outlier", "patch_embed", "gap"], 0.9 - 1.0 / 7.0);
    let pooled = ((0.24 - 1.0 / 7.0) / 6.0f64).sqrt();
    near(["neighbour_cosine", "outlier", "patch_embed", "effect_size"], (0.9 - 1.0 / 7.0) / pooled);
}

#[test]
fn rows_may_come_in_any_pieces() {
    let all = two_images();
    let batch = schemas::Table::into_batch(all.clone()).unwrap();
    let pieces: Vec<TokenStats> =
        (0..batch.num_rows()).map(|i| schemas::Table::from_batch(&batch.slice(i, 1)).unwrap()).collect();
    assert_eq!(measured(&pieces, Some(1)), measured(&[all], Some(1)));
}

#[test]
fn errors_are_those_of_two_images() {
    let s = scores(&two_images(), Some(1));
    let stderr = |key| estimate(&s, key).1.unwrap();
    // Shares ¼ and 0 of four patches each: R = ⅛, residuals ±½ of 8 patches, twice for n/(n − 1).
    assert!((stderr(["detection", "outlier", "block_1", "share_frac"]) - 0.125).abs() < 1e-9);
    // Mean patch norms 34 and 13: s/√2 = 10.5.
    assert!((stderr(["norms", "patch", "block_1", "mean"]) - 10.5).abs() < 1e-6);
    // Attention to normal patches 0.3 and 0.6: s/√2 = 0.15.
    assert!((stderr(["attention", "normal", "attention_1", "mass_frac"]) - 0.15).abs() < 1e-6);
    // Outliers are in one image alone.
    assert_eq!(estimate(&s, ["attention", "outlier", "attention_1", "mass_frac"]).1, None);
}

/// Norms 10 12 100 14 and 10 12 14 16; attention 0.1 0.1 0.5 0.1 and 0.2 0.1 0.1 0.2. Breaks when places are counted
/// from the wrong end, or when images without outliers take part in the overlap of outliers.
#[test]
fn norm_and_attention_correspond_where_they_do() {
    let s = scores(&two_images(), Some(1));
    let of = |top, metric| find(&s, ["correspondence", top, "block_1", metric]).unwrap();
    assert_eq!((of("outlier", "overlap_frac"), of("outlier", "chance_frac")), (1.0, 0.25));
    // One of four is the least that 5 % can be: patch 2 = patch 2, patch 3 against patch 0.
    assert_eq!((of("top_5_percent", "overlap_frac"), of("top_5_percent", "chance_frac")), (0.5, 0.25));
    assert!(!s.subject.iter().any(|subject| &**subject == "top_10"), "an image has four patches");
    // Ranks 0 1 3 2 with 1 1 3 1, and 0 1 2 3 with 2.5 0.5 0.5 2.5: 3/√15 and 0.
    let expected = 3.0 / 15.0f64.sqrt() / 2.0;
    assert!((of("patch", "rank_correlation") - expected).abs() < 1e-9, "{}", of("patch", "rank_correlation"));
}

/// Breaks when the two passes see other tokens, or add in other precision.
#[test]
fn curves_at_the_runs_own_cutoff_are_the_scores() {
    run_cutoff_is_the_score(&two_images());
    // Two hundred outliers to an image: what f32 loses of their attention is far more than what f64 does.
    let many: Vec<Token> = (0..4)
        .flat_map(|image| {
            (0..400u16).map(move |i| {
                let (outlier, share) = (i % 2 == 1, 0.001 + 0.000_01 * (f32::from(i) + image as f32));
                (image, "patch", i, if outlier { 100.0 } else { 16.0 }, outlier, share, f32::from(i % 4))
            })
        })
        .collect();
    let in_f32: f32 = many.iter().filter(|t| t.0 == 0 && t.4).map(|t| t.5).sum();
    let in_f64: f64 = many.iter().filter(|t| t.0 == 0 && t.4).map(|t| f64::from(t.5)).sum();
    assert!((f64::from(in_f32) - in_f64).abs() > 1e-9, "data on which f32 differs: {in_f32} {in_f64}");
    run_cutoff_is_the_score(&stats(&many));
}

/// Norms up to 16 and from 100: the cut-off is the middle of the gap in logarithms.
fn run_cutoff_is_the_score(rows: &TokenStats) {
    let (s, c) = measured(std::slice::from_ref(rows), Some(1));
    let run = c.mark.iter().position(|m| m.split(' ').any(|m| m == "run")).unwrap();
    assert!((c.at[run] - 40.0).abs() < 1e-9, "{}", c.at[run]);
    for (experiment, subject, site, metric) in [
        ("detection", "outlier", "block_1", "share_frac"),
        ("detection", "outlier", "block_1", "precision_frac"),
        ("detection", "outlier", "block_1", "recall_frac"),
        ("neighbour_cosine", "outlier", "patch_embed", "mean"),
        ("neighbour_cosine", "normal", "patch_embed", "mean"),
        ("neighbour_cosine", "outlier", "patch_embed", "gap"),
        ("attention", "outlier", "attention_1", "mass_frac"),
    ] {
        let (value, stderr, _) = at(&c, ("cutoff", 40.0), [experiment, subject, metric]);
        let score = estimate(&s, [experiment, subject, site, metric]);
        let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-12,
            (a, b) => a == b,
        };
        assert!(near(value, score.0) && near(stderr, score.1), "{metric}: {value:?} ± {stderr:?}, not {score:?}");
    }
}

#[test]
fn curves_fall_from_all_patches_to_none() {
    let (_, c) = measured(&[two_images()], Some(1));
    let share = |knob| at(&c, knob, ["detection", "outlier", "share_frac"]).0;
    // Strictly above the smallest norm, which two of eight patches have; none is above the largest.
    assert_eq!((share(("cutoff", 10.0)), share(("cutoff", 100.0))), (Some(0.75), Some(0.0)));
    assert_eq!(share(("cutoff", 150.0)), Some(0.0));
    let any = at(&c, ("cutoff", 40.0), ["detection", "outlier", "images_with_frac"]);
    assert_eq!((any.0, any.2), (Some(0.5), 2));
    // Of nothing above there is no precision and no mean; recall is 0.
    assert_eq!(at(&c, ("cutoff", 150.0), ["detection", "outlier", "precision_frac"]).0, None);
    assert_eq!(at(&c, ("cutoff", 150.0), ["neighbour_cosine", "outlier", "gap"]).0, None);
    assert_eq!(at(&c, ("cutoff", 150.0), ["detection", "outlier", "recall_frac"]).0, Some(0.0));
    // The largest fifth of eight norms: above index 0.8 · 7 = 5.6, between 14 and 16.
    let fifth = at(&c, ("top_frac", 0.2), ["detection", "outlier", "cutoff_norm"]).0.unwrap();
    assert!((fifth - 15.2).abs() < 1e-5, "{fifth}");
    assert_eq!(share(("top_frac", 0.2)), Some(0.25));
    assert_eq!(at(&c, ("top_frac", 0.2), ["detection", "outlier", "share_frac"]).1, None, "asked for, not found");
}

#[test]
fn an_interval_of_the_onset_needs_every_block() {
    let s = scores(&two_images(), Some(1));
    assert!(!s.metric.iter().any(|m| &**m == "onset_p5_block"));
    let row = s.metric.iter().position(|m| &**m == "onset_block").unwrap();
    assert_eq!(&*s.note[row], "no interval: `stats_sites` has 1 of the 2 blocks");
    let mut both = two_images();
    for image in 0..2u32 {
        let mut early = two_images();
        early.site.fill("block_0".into());
        early.norm.fill(10.0);
        let batch = schemas::Table::into_batch(early).unwrap();
        let mut rows: TokenStats = schemas::Table::from_batch(&batch.slice(image as usize * 6, 6)).unwrap();
        schemas::Table::append(&mut both, &mut rows);
    }
    let batch = schemas::Table::into_batch(both).unwrap();
    let piece = |start, n| -> TokenStats { schemas::Table::from_batch(&batch.slice(start, n)).unwrap() };
    let pieces = [piece(12, 6), piece(0, 6), piece(18, 6), piece(6, 6)];
    let s = measured(&pieces, Some(1)).0;
    let of = |metric| find(&s, ["detection", "outlier", "all blocks", metric]);
    assert_eq!((of("onset_p5_block"), of("onset_p95_block")), (Some(1.0), Some(1.0)));
    // Only image 0 has an onset; of the resamples that draw anything, (1 − e⁻¹)/(1 − e⁻²) = 73 % draw it. Four errors.
    assert!((of("onset_none_frac").unwrap() - 0.269).abs() < 0.13, "{:?}", of("onset_none_frac"));
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
    // 200 resamples of 200 bins for each of the two blocks, where every block is there.
    let kept = |samples: u64| (64 << 20) + samples * (16 << 20);
    let resamples = 2 * 200 * 200 * 8;
    // Twelve sites of ImageNet: three kinds each, and cosines at one of them.
    assert_eq!(memory(12, 12 * 1_280_000 * 257), kept(3 * 12 + 6) + resamples);
    assert_eq!(memory(1, 1 << 40), kept(3 + 6));
    // 200 images of 257 tokens take next to nothing.
    assert!(memory(12, 12 * 200 * 257) < 80 << 20);
}
