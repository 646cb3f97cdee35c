//! Real weights on real photos, where a machine has them: norms, cosine and attention are those of PyTorch and timm.
//!
//! `VITALS_REAL` names the folder; its `reference.json` holds what the reference implementation gave on the same files
//! (norms of 200 photos at 224 px after every block). Tolerance 1e-3 relative: both sides compute in f32, in another
//! order; the largest difference seen is near 1e-6.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use acceptance::{expect_code, real_inputs, vitals};

const BINARY: &str = env!("CARGO_BIN_EXE_vitals-under-test");

const STUDY: &str = r#"
title = "real"
max_skip_frac = 0.0
tables = ["norms", "fig3", "fig7"]
[extract]
stats_sites = ["block_0", "block_5", "block_11"]
draws = 1
[[model]]
model = "dinov2_vits14"
weights = "${VITALS_REAL}/weights/dinov2_vits14_imgfocus.safetensors"
[[dataset]]
dataset = "imagenet"
root = "${VITALS_REAL}/imagenet"
split = "test"
"#;

#[test]
fn norms_and_cosine_are_those_of_the_reference() {
    let Some(real) = real_inputs("norms_and_cosine_are_those_of_the_reference") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("real.toml"), STUDY).unwrap();
    expect_code(&vitals(BINARY, folder.path(), &["run", "real.toml"]), 0);
    let sql = "SELECT experiment, subject, site, metric, value FROM scores";
    let output = vitals(BINARY, folder.path(), &["query", sql, "--format", "json"]);
    expect_code(&output, 0);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let ours = |key: [&str; 4]| {
        let row = rows.iter().find(|r| [&r["experiment"], &r["subject"], &r["site"], &r["metric"]] == key);
        row.unwrap_or_else(|| panic!("no score {key:?}"))["value"].as_f64().unwrap()
    };
    let reference: serde_json::Value =
        serde_json::from_slice(&std::fs::read(real.join("reference.json")).unwrap()).unwrap();
    let near = |key: [&str; 4], expected: &serde_json::Value| {
        let (ours, expected) = (ours(key), expected.as_f64().unwrap());
        assert!((ours / expected - 1.0).abs() < 1e-3, "{key:?}: {ours}, the reference has {expected}");
    };
    for block in [0, 5, 11] {
        let of_block = &reference["norms"]["real"]["blocks"][block];
        for metric in ["median", "p95", "p99", "max"] {
            near(["norms", "patch", &format!("block_{block}"), metric], &of_block[metric]);
        }
    }
    for metric in ["mean", "median", "p5", "p95"] {
        let expected = &reference["neighbour_cosine"]["real"][metric];
        near(["neighbour_cosine", "patch", "patch_embed", metric], expected);
    }
    // The control without artifacts: nothing above twice the median, so no outliers and one mode.
    assert_eq!(ours(["detection", "outlier", "block_11", "share_frac"]), 0.0);
}

#[test]
fn a_trace_has_every_site_and_the_norms_of_the_reference() {
    let Some(real) = real_inputs("a_trace_has_every_site_and_the_norms_of_the_reference") else { return };
    let folder = tempfile::tempdir().unwrap();
    let reference: serde_json::Value =
        serde_json::from_slice(&std::fs::read(real.join("reference.json")).unwrap()).unwrap();
    let map = &reference["maps"]["real"]["0_eval224"];
    let image = real.join(map["file"].as_str().unwrap());
    let weights = real.join("weights/dinov2_vits14_imgfocus.safetensors");
    let args = ["trace", "--model", "dinov2_vits14", "--weights", weights.to_str().unwrap(), "--image"];
    let rest = [image.to_str().unwrap(), "--sites", "all", "--out", "t.safetensors"];
    expect_code(&vitals(BINARY, folder.path(), &[&args[..], &rest[..]].concat()), 0);
    let bytes = std::fs::read(folder.path().join("t.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("pixels").unwrap().shape(), [3, 224, 224]);
    assert_eq!(file.tensor("block_11").unwrap().shape(), [257, 384]);
    assert_eq!(file.tensor("patch_embed").unwrap().shape(), [256, 384]);
    let attention = file.tensor("attention_11").unwrap();
    assert_eq!(attention.shape(), [6, 257, 257]);
    // Head mean of CLS on CLS, as PyTorch has it.
    let value = |i: usize| f32::from_le_bytes(attention.data()[4 * i..4 * i + 4].try_into().unwrap());
    let on_cls = (0..6).map(|head| f64::from(value(head * 257 * 257))).sum::<f64>() / 6.0;
    let expected = map["attention_on_cls"].as_f64().unwrap();
    assert!((on_cls - expected).abs() < 1e-4, "{on_cls}, the reference has {expected}");
}
