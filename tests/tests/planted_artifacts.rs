//! The strongest test: a model whose artifacts are known, measured from pixels to report by the binary alone.
//!
//! Breaks when anything between the pixels and the report changes a number: decoding, the encoder, the taps, the
//! sampling, the probes. The dials then show that the tool can also say no.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use acceptance::{expect_code, vitals};

const BINARY: &str = env!("CARGO_BIN_EXE_vitals-under-test");

/// (dataset, experiment, subject, metric) → value, of one model.
fn scores(folder: &Path, model: &str) -> BTreeMap<[String; 4], f64> {
    let sql = format!("SELECT dataset, experiment, subject, metric, value FROM scores WHERE model = '{model}'");
    let output = vitals(BINARY, folder, &["query", &sql, "--format", "json"]);
    expect_code(&output, 0);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.iter()
        .filter_map(|r| {
            let key = ["dataset", "experiment", "subject", "metric"].map(|k| text(r, k));
            r["value"].as_f64().map(|v| (key, v))
        })
        .collect()
}

fn get(scores: &BTreeMap<[String; 4], f64>, key: [&str; 4]) -> f64 {
    *scores.get(&key.map(str::to_owned)).unwrap_or_else(|| panic!("no score {key:?}"))
}

#[test]
fn every_truth_of_the_embedded_study_holds() {
    let folder = tempfile::tempdir().unwrap();
    let output = vitals(BINARY, folder.path(), &["run", "--limit", "700", "--check"]);
    expect_code(&output, 0);
    let report = std::fs::read_to_string(folder.path().join("vitals-report/report.html")).unwrap();
    // A link to follow is nothing that the page loads.
    let loads = report.replace("<a href=\"http", "");
    assert!(!loads.contains("src=\"http") && !loads.contains("href=\"http"), "the page is not self-contained");

    let planted = scores(folder.path(), "planted");
    let twin = scores(folder.path(), "planted_reg4");
    // Norm ratio by block, in closed form: 1 before block 3, then √(2·8² + 2·n²)/11.47 with n = 60, 68, 76, 84, 84.
    let sql = "SELECT site, subject, value FROM scores WHERE model = 'planted' AND dataset = 'scenes-test' \
               AND experiment = 'norms' AND metric = 'median' AND (subject = 'outlier' OR subject = 'normal')";
    let output = vitals(BINARY, folder.path(), &["query", sql, "--format", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let median = |site: &str, subject: &str| {
        rows.iter().find(|r| r["site"] == site && r["subject"] == subject).unwrap()["value"].as_f64().unwrap()
    };
    for (block, expected) in [1.0, 1.0, 1.05, 7.5, 8.48, 9.45, 10.43, 10.43].iter().enumerate() {
        let site = format!("block_{block}");
        let ratio = median(&site, "outlier") / median(&site, "normal");
        assert!((ratio - expected).abs() < 0.06, "{site}: {ratio}, not {expected}");
    }
    // One class of ten: permuted labels fall to chance, 0.1 ± 3 standard errors of 500 images.
    for subject in ["cls", "normal", "outlier"] {
        let accuracy = get(&planted, ["scenes-permuted", "token_class", subject, "accuracy_frac"]);
        assert!((0.04..0.16).contains(&accuracy), "{subject}: {accuracy}");
    }
    assert_eq!(get(&twin, ["scenes-test", "detection", "outlier", "share_frac"]), 0.0);
    assert!(!twin.contains_key(&["scenes-test", "detection", "outlier", "onset_block"].map(str::to_owned)));
    let pixels = |kind: &str, metric: &str| get(&planted, ["scenes", "pixels", kind, metric]);
    assert!(pixels("outlier", "l2_mean") > 2.0 * pixels("normal", "l2_mean"));
    register_neurons_are_the_planted_ones(folder.path());
    maps_show_what_was_planted(folder.path());
}

/// Breaks when activations are read at another place, tokens are taken for outliers that are none, or units are
/// counted from elsewhere: of 4,096 hidden units eight write the norm, the first two of blocks 3 to 6.
fn register_neurons_are_the_planted_ones(folder: &Path) {
    let sql = "SELECT block, unit, on_others FROM register_neurons";
    let rows: Vec<serde_json::Value> =
        serde_json::from_slice(&vitals(BINARY, folder, &["query", sql, "--format", "json"]).stdout).unwrap();
    let mut units: Vec<(u64, u64)> =
        rows.iter().map(|r| (r["block"].as_u64().unwrap(), r["unit"].as_u64().unwrap())).collect();
    units.sort_unstable();
    assert_eq!(units, [(3, 0), (3, 1), (4, 0), (4, 1), (5, 0), (5, 1), (6, 0), (6, 1)]);
    assert!(rows.iter().all(|r| r["on_others"].as_f64().unwrap() < 1e-3), "{rows:?}");
}

/// Breaks when a map is of another token, head or image than it says: in images with outliers, the patch of the
/// largest norm is where CLS looks most, and in the twin it is not.
fn maps_show_what_was_planted(folder: &Path) {
    let sql = "SELECT model, image, quantity, cells FROM maps WHERE dataset = 'scenes-test' AND \
               ((quantity = 'norm' AND site = 'block_7') OR \
               (quantity = 'attention' AND site = 'attention_7' AND of = 'cls' AND part = 'mean'))";
    let rows: Vec<serde_json::Value> =
        serde_json::from_slice(&vitals(BINARY, folder, &["query", sql, "--format", "json"]).stdout).unwrap();
    let map = |model: &str, image: u64, quantity: &str| -> Vec<f64> {
        let row = rows.iter().find(|r| r["model"] == model && r["image"] == image && r["quantity"] == quantity);
        row.unwrap()["cells"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let argmax = |map: &[f64]| (0..map.len()).fold(0, |best, i| if map[i] > map[best] { i } else { best });
    let mut with_outliers = 0;
    for image in 0..6 {
        let norms = map("planted", image, "norm");
        assert_eq!(norms.len(), 144);
        let outliers: Vec<usize> = (0..144).filter(|&i| norms[i] > 60.0).collect();
        if outliers.is_empty() {
            continue;
        }
        with_outliers += 1;
        assert!(outliers.contains(&argmax(&map("planted", image, "attention"))), "image {image}");
        let twin = map("planted_reg4", image, "norm");
        assert!(outliers.iter().all(|&i| twin[i] < 14.0), "image {image}");
        assert!(!outliers.contains(&argmax(&map("planted_reg4", image, "attention"))), "image {image}");
    }
    assert!(with_outliers > 2, "of six scenes {with_outliers} have outliers");
}

#[test]
fn dials_slide_to_chance() {
    let folder = tempfile::tempdir().unwrap();
    let study = r#"
title = "dials"
tables = ["norms", "truth"]
[extract]
outliers = { rule = "valley", images = 200 }
draws = 8
truth_pixel_variance = 4e-5
[[model]]
model = "planted"
name = "random detections"
planted = { detection_noise = 1.0 }
[[model]]
model = "planted"
name = "no erasure"
planted = { erasure = 0.0 }
[[dataset]]
dataset = "synthetic"
name = "scenes"
limit = 400
[[probe]]
experiment = "position"
train = "scenes"
split = { every_nth = { nth = 3 } }
standardise = "floor"
separate = true
"#;
    std::fs::write(folder.path().join("dials.toml"), study).unwrap();
    let output = vitals(BINARY, folder.path(), &["run", "dials.toml", "--check"]);
    expect_code(&output, 6);
    let random = scores(folder.path(), "random detections");
    let detection = |metric| get(&random, ["scenes", "detection", "outlier", metric]);
    // 3.5 % of patches are flat: what chance would hit.
    assert!(detection("precision_frac") < 0.10 && detection("recall_frac") < 0.10);
    // The norms have two modes all the same: only the pixels tell that these are the wrong patches.
    assert!((detection("norm_ratio") - 10.43).abs() < 0.3);
    let kept = scores(folder.path(), "no erasure");
    let position = |kind| get(&kept, ["scenes", "position", kind, "top1_frac"]);
    assert!(position("outlier") > 0.90 && position("normal") > 0.90, "{} {}", position("outlier"), position("normal"));
    assert_eq!(get(&kept, ["scenes", "detection", "outlier", "precision_frac"]), 1.0);
}
