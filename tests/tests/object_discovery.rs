//! Objects in real photos by real weights, where a machine has them.
//!
//! `VITALS_REAL` names the folder. The numbers of images found are those of another program: timm's encoder on the same
//! weights, the steps of LOST in numpy and scipy, boxes of the annotations by Python's XML parser and overlaps by torchvision.
//! Every one of its 2,160 boxes (60 photos, three kinds of features, twelve biases from −0.95 to 0) was that of `discover`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use acceptance::{expect_code, real_inputs, vitals};

const BINARY: &str = env!("CARGO_BIN_EXE_vitals-under-test");

const STUDY: &str = r#"
title = "objects"
max_skip_frac = 0.0
tables = ["table3", "fig13", "corloc"]
[extract]
outliers = { rule = "fixed", cutoff = 150.0 }
stats_sites = []
vector_sites = []
[portray]
images = 0
[discover]
datasets = ["voc"]
l2_biases = [-0.9, -0.85, -0.8, -0.5, 0.0]
[[model]]
model = "dinov2_vits14"
weights = "${VITALS_REAL}/weights/dinov2_vits14_imgfocus.safetensors"
[[dataset]]
dataset = "voc"
root = "${VITALS_REAL}/VOCdevkit"
preprocess = { mode = "square", resize_px = 28 }
"#;

/// Breaks when any step between a file and a score differs: pixels, padding, positions, keys, LOST, annotations, overlaps.
#[test]
fn objects_of_voc_are_found_as_by_another_program() {
    let Some(_) = real_inputs("objects_of_voc_are_found_as_by_another_program") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("objects.toml"), STUDY).unwrap();
    expect_code(&vitals(BINARY, folder.path(), &["run", "objects.toml"]), 0);
    let rows = |sql: &str| -> Vec<serde_json::Value> {
        let output = vitals(BINARY, folder.path(), &["query", sql, "--format", "json"]);
        expect_code(&output, 0);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let curve = rows("SELECT subject, at, value, n FROM curves WHERE metric = 'corloc_frac' ORDER BY subject, at");
    let images = |row: &serde_json::Value| (row["value"].as_f64().unwrap() * row["n"].as_f64().unwrap()).round();
    let found: Vec<(f64, f64)> = curve.iter().map(|row| (row["at"].as_f64().unwrap(), images(row))).collect();
    let l2 = [(-0.9, 19.0), (-0.85, 23.0), (-0.8, 20.0), (-0.5, 13.0), (0.0, 13.0)];
    assert_eq!(found, [&l2[..], &[(0.0, 13.0)]].concat());
    // Without a bias every patch resembles every other, and the box is the whole image.
    let boxes = "SELECT count(*) AS n FROM boxes WHERE bias = 0 AND x0 = 0 AND y0 = 0 AND x1 >= 300 AND y1 >= 200 AND \
                 degree > 600";
    assert_eq!(rows(boxes)[0]["n"], 120, "raw and divided by their length");
    assert!(folder.path().join("vitals-report/figures/fig13.svg").is_file());
}
