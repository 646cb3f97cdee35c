//! `vitals health`: the card of a model whose illness is known, of its healthy twin, and of a real model.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use acceptance::{expect_code, real_inputs, tables, vitals};
use datasets::{DatasetSpec, Raw};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_vitals-under-test");

fn said(folder: &Path, args: &[&str], code: i32) -> String {
    let output = vitals(BINARY, folder, args);
    expect_code(&output, code);
    String::from_utf8(if code == 0 { output.stdout } else { output.stderr }).unwrap()
}

fn card(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&said(folder, &[args, &["--json"]].concat(), 0)).unwrap()
}

fn number(card: &Value, path: &str) -> f64 {
    card.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {card:#}"))
}

/// Generated scenes as a folder of class folders of BMP files, which lose nothing.
fn scenes(folder: &Path, n: usize) {
    let mut spec = DatasetSpec::new("synthetic", "");
    spec.limit = Some(n);
    let source = datasets::open(&spec).unwrap();
    for i in 0..n {
        let Raw::Rgb(image) = source.read(i).unwrap() else { panic!("scenes are pixels") };
        let (w, h) = (image.width, image.height);
        let stride = (3 * w).div_ceil(4) * 4;
        let mut bytes = b"BM".to_vec();
        for field in [54 + stride * h, 0, 54, 40, w, h] {
            bytes.extend((field as u32).to_le_bytes());
        }
        bytes.extend([1, 0, 24, 0]);
        bytes.extend([0; 24]);
        for y in (0..h).rev() {
            let mut row: Vec<u8> = (0..w).flat_map(|x| [2, 1, 0].map(|c| image.data[3 * (y * w + x) + c])).collect();
            row.resize(stride, 0);
            bytes.extend(row);
        }
        let class = folder.join(format!("{}", i / 50));
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(class.join(format!("{i:04}.bmp")), bytes).unwrap();
    }
}

/// Breaks when a number of the card is not the planted one, or when a folder of files gives another than the same scenes.
#[test]
fn the_planted_illness_is_found_in_a_folder_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    scenes(&at.join("my scenes"), 160);
    std::fs::create_dir(at.join("my scenes/last")).unwrap();
    std::fs::write(at.join("my scenes/last/broken.png"), b"no picture").unwrap();
    let args = ["health", "planted", "--images", "my scenes", "--report", "card"];
    let files = card(at, &args);
    assert_eq!((&files["finding"], &files["schema"], &files["encoded"]), (&"artifacts".into(), &1.into(), &160.into()));
    // Breaks when a file that cannot be read is only counted.
    assert_eq!((&files["skipped"], files["skipped_files"][0]["name"].as_str()), (&1.into(), Some("last/broken.png")));
    // docs/planted.md: a share of 3.5 %, from block 3 on, 10.43 times the norm.
    let [low, high] = [0, 1].map(|i| number(&files, &format!("/outliers/share_interval/{i}")));
    assert!(low < 0.035 && 0.035 < high && high - low < 0.012, "{low} to {high}");
    // Breaks when the interval is of another score: it is 1.96 standard errors of this one.
    let sql = "SELECT stderr FROM scores WHERE experiment = 'detection' AND metric = 'share_frac'";
    let stderr = said(at, &["query", sql, "--store", "card/store", "--format", "json"], 0);
    let stderr = number(&serde_json::from_str(&stderr).unwrap(), "/0/stderr");
    assert!(((high - low) / (2.0 * 1.96 * stderr) - 1.0).abs() < 0.01, "{low} to {high}, {stderr}");
    assert_eq!(number(&files, "/outliers/onset_block") as u32, 3);
    assert!((number(&files, "/outliers/norm_ratio") - 10.43).abs() < 0.15);
    assert!((number(&files, "/attention/outlier_mass_frac") - 0.55).abs() < 0.05);
    // The most attended patches are the outliers; by chance as few as there are.
    assert!(number(&files, "/attention/overlap_frac") > 0.9 && number(&files, "/attention/overlap_chance_frac") < 0.1);
    assert!(number(&files, "/position_top1_frac/normal/value") > 0.8, "{files:#}");
    assert!(number(&files, "/position_top1_frac/outlier/value") < 0.1, "{files:#}");
    assert!(number(&files, "/pixels_l2/outlier/value") > 0.0);
    let verdict = files["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("Artifacts: ") && verdict.contains("from block 3 on"), "{verdict}");
    for name in ["report.html", "report.md", "study.toml", "store/ledger.jsonl"] {
        assert!(at.join("card").join(name).is_file(), "{name}");
    }
    let report = std::fs::read_to_string(at.join("card/report.html")).unwrap();
    assert!(report.contains(&verdict.replace('\'', "&#39;")), "the report has the verdict");
    assert!(report.contains("last/broken.png (") && report.contains("<div class=\"card bad\">"));
    // What is the same for every model is no part of a card.
    assert!(!report.contains("figure-fig11") && !report.contains("figure-fig12") && report.contains("figure-fig9"));
    // The same command again reuses everything, and in words says the same.
    let before = tables(&at.join("card/store"));
    let text = said(at, &args, 0);
    assert!(text.starts_with(verdict) && text.contains("\nplace ") && text.contains("card/report.html"), "{text}");
    assert!(before == tables(&at.join("card/store")));

    // The study beside the report is a study like any.
    assert!(said(at, &["status", "card/study.toml", "--store", "card/store"], 0).contains("All done"));

    let generated = card(at, &["health", "planted", "--images", "synthetic", "--limit", "160"]);
    for part in ["norms", "outliers", "places", "attention", "neighbour_cosine"] {
        assert_eq!(files[part], generated[part], "{part}");
    }
}

#[test]
fn the_twin_with_registers_is_told_that_they_work() {
    let folder = tempfile::tempdir().unwrap();
    let twin = card(folder.path(), &["health", "planted_reg4", "--images", "synthetic", "--limit", "60"]);
    assert_eq!(twin["finding"], "registers");
    assert_eq!(number(&twin, "/outliers/share_frac"), 0.0);
    assert!(twin["outliers"]["onset_block"].is_null() && twin["places"]["border_frac"].is_null());
    let registers = twin["registers"].as_array().unwrap();
    assert_eq!(registers.len(), 4);
    // √(2·8² + 2·84²) for the first, docs/planted.md; the others hold more content.
    let norm = number(&registers[0], "/norm_by_patch") * number(&twin, "/norms/median");
    assert!((norm - 118.9).abs() < 2.5, "{registers:?}");
    assert!(registers.iter().all(|r| number(r, "/norm_by_patch") > 10.0), "{registers:?}");
    // All four together have the planted mass.
    let sum: f64 = registers.iter().map(|r| number(r, "/attention_frac")).sum();
    assert!((sum - number(&twin, "/attention/register_mass_frac")).abs() < 1e-5);
    let verdict = twin["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("Clean: no patch is an outlier"), "{verdict}");
}

#[test]
fn what_cannot_be_examined_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("empty")).unwrap();
    std::fs::write(at.join("weights.pth"), b"no weights at all").unwrap();
    scenes(&at.join("few"), 5);
    for (args, code, words) in [
        (&["planted", "--images", "empty"][..], 4, "no image"),
        (&["planted", "--images", "few"], 4, "only 5"),
        (&["planted", "--images", "nowhere"], 4, "does not exist"),
        (&["planted", "--images", "synthetic", "--limit", "3"], 2, "--limit"),
        (&["planted", "--images", "synthetic", "--size", "100"], 2, "a multiple of 8"),
        (&["weights.pth", "--images", "synthetic"], 4, "weights.pth"),
        (&["dinov2_vits14", "--weights", "weights.pth", "--images", "synthetic"], 4, "weights.pth"),
        (&["dinov2_vits", "--images", "synthetic"], 2, "dinov2_vits14"),
    ] {
        let text = said(at, &[&["health"], args].concat(), code);
        assert!(text.contains(words), "{args:?}: {text}");
        assert!(!at.join("vitals-health").exists(), "{args:?} left something");
    }
}

/// The control: a real model of the smallest size, whose norms have one mode (the paper's Fig. 4c).
#[test]
fn a_real_model_without_artifacts_is_told_so() {
    let Some(real) = real_inputs("a_real_model_without_artifacts_is_told_so") else { return };
    let folder = tempfile::tempdir().unwrap();
    let weights = real.join("weights/dinov2_vits14_imgfocus.safetensors");
    let images = real.join("imagenet");
    let args =
        ["health", weights.to_str().unwrap(), "--images", images.to_str().unwrap(), "--limit", "60", "--size", "224"];
    let card = card(folder.path(), &args);
    assert_eq!((&card["model"], &card["finding"]), (&"dinov2_vits14_imgfocus".into(), &"clean".into()));
    assert_eq!(card["norms"]["two_modes"], false);
    assert_eq!(number(&card, "/outliers/share_frac"), 0.0);
    let verdict = card["verdict"].as_str().unwrap();
    assert!(verdict.contains("no patch is an outlier") && verdict.contains("one mode"), "{verdict}");
    // Patches of a real model know something of their places.
    let (seen, blind) = ("/position_distance_cells/normal/value", "/position_blind_distance_cells");
    assert!(number(&card, seen) < 0.9 * number(&card, blind), "{card:#}");
    assert!(card["position_top1_frac"]["outlier"].is_null());
}
