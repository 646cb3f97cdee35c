//! `vitals why` names what made a result stale; `vitals compare` puts two stores or two models side by side.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use acceptance::{expect_code, tables, vitals};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_vitals-under-test");

/// A study of two models; `model` and `extract` are further keys of theirs.
fn study(folder: &Path, model: &str, extract: &str) {
    let text = format!(
        "title = \"why\"\ntables = [\"norms\"]\n[extract]\noutliers = {{ rule = \"valley\", images = 40 }}\n{extract}\n\
         [[model]]\nmodel = \"planted\"\n[model.planted]\n{model}\n[[model]]\nmodel = \"planted\"\nregisters = 4\n\
         [[dataset]]\ndataset = \"synthetic\"\nlimit = 48\n"
    );
    std::fs::write(folder.join("study.toml"), text).unwrap();
}

fn said(folder: &Path, args: &[&str], code: i32) -> String {
    let output = vitals(BINARY, folder, args);
    expect_code(&output, code);
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// What `why` says of a table of the model without registers.
fn why(folder: &Path, table: &str, more: &[&str]) -> String {
    said(folder, &[&["why", table, "study.toml", "--model", "planted"], more].concat(), 0)
}

/// Breaks when a cause is not named, is named where nothing changed, or when the chain to the inputs is cut.
#[test]
fn a_stale_result_tells_its_cause_and_a_fresh_one_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    study(at, "", "draws = 2");
    said(at, &["why", "scores", "study.toml"], 4);
    said(at, &["run", "study.toml"], 0);
    let before = tables(&at.join("vitals-store"));
    for table in ["scores", "token_stats", "cutoffs"] {
        let fresh = why(at, table, &[]);
        assert!(fresh.contains("finished, and reused") && !fresh.contains('→'), "{fresh}");
    }
    // A parameter: of the extraction, and of what reads it.
    study(at, "", "draws = 3");
    let stale = why(at, "token_vectors", &[]);
    assert!(stale.contains("stale") && stale.contains("\n    draws: 2 → 3\n"), "{stale}");
    let reader = why(at, "scores", &[]);
    assert!(
        reader.contains("`token_stats` of planted on synthetic differ") && reader.contains("draws: 2 → 3"),
        "{reader}"
    );
    // The calibration does not draw.
    assert!(why(at, "cutoffs", &[]).contains("finished, and reused"));
    // A weight, by the digest that stands for all of them.
    study(at, "erasure = 0.5", "draws = 2");
    let weights = why(at, "cutoffs", &[]);
    assert!(weights.contains("stale") && weights.contains("weights: \"planted-"), "{weights}");
    assert_eq!(weights.matches('→').count(), 1, "{weights}");
    // The images.
    study(at, "", "draws = 2");
    let images = why(at, "images", &["--limit", "24"]);
    assert!(
        images.contains("\n    dataset: ") && images.contains("(digest of the list of images: 48 → 24"),
        "{images}"
    );
    // Another version of the stage, as an older binary would have left it.
    let dir = run_of(&at.join("vitals-store/scores/model=planted/dataset=synthetic"));
    let old = dir.with_file_name("run=0000000000000000");
    std::fs::rename(&dir, &old).unwrap();
    let mut record: Value = serde_json::from_slice(&std::fs::read(old.join("meaning.json")).unwrap()).unwrap();
    let version = record["version"].take();
    record["version"] = 0.into();
    std::fs::write(old.join("meaning.json"), record.to_string()).unwrap();
    let older = why(at, "scores", &[]);
    assert!(older.contains(&format!("stage version: measure 0 → {version}")), "{older}");
    let json: Value = serde_json::from_str(&why(at, "scores", &["--json"])).unwrap();
    assert_eq!(json["steps"][0]["state"], "stale");
    assert_eq!(json["steps"][0]["others"][0]["difference"]["version"][0], 0);
    std::fs::write(old.join("meaning.json"), b"{").unwrap();
    assert!(why(at, "scores", &[]).contains("left no record"));
    std::fs::rename(&old, &dir).unwrap();
    std::fs::write(dir.join("meaning.json"), &before[&record_name(&before)]).unwrap();
    assert!(before == tables(&at.join("vitals-store")), "looking changed the store");
}

fn run_of(folder: &Path) -> PathBuf {
    std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

fn record_name(tables: &BTreeMap<String, Vec<u8>>) -> String {
    let mut names = tables.keys().filter(|n| n.starts_with("scores/model=planted/") && n.ends_with("meaning.json"));
    names.next().unwrap().clone()
}

#[test]
fn what_does_not_exist_is_told_with_what_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    study(at, "", "");
    std::fs::create_dir(at.join("vitals-store")).unwrap();
    let unknown = said(at, &["why", "score", "study.toml"], 2);
    assert!(unknown.contains("did you mean `scores`") && unknown.contains("token_stats"), "{unknown}");
    assert!(said(at, &["why", "table1", "study.toml"], 2).contains("ask for scores"));
    let model = said(at, &["why", "scores", "study.toml", "--model", "plant"], 2);
    assert!(model.contains("did you mean `planted`") && model.contains("planted_reg4"), "{model}");
    assert!(why(at, "scores", &[]).contains("new: the store has no run of it"));
    let nowhere = said(at, &["compare", "vitals-store", "nowhere"], 4);
    assert!(nowhere.contains("no store at nowhere") && nowhere.contains("--models"), "{nowhere}");
    assert!(said(at, &["compare", "vitals-store"], 2).contains("--models"));
    assert!(said(at, &["compare", "vitals-store", "vitals-store"], 4).contains("no scores"));
    assert!(said(at, &["compare", "a", "b", "--fail-above", "-1"], 2).contains("--fail-above"));
}

type Key = [String; 6];

/// Every score of a store that is a number, with its standard error, by name.
fn scores(folder: &Path, store: &str) -> BTreeMap<Key, (f64, Option<f64>)> {
    let sql = "SELECT model, dataset, experiment, subject, site, metric, value, stderr FROM scores";
    let output = vitals(BINARY, folder, &["query", sql, "--store", store, "--format", "json"]);
    expect_code(&output, 0);
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let row = |r: &Value| Some((key(r), (r["value"].as_f64()?, r["stderr"].as_f64())));
    rows.iter().filter_map(row).collect()
}

fn key(row: &Value) -> Key {
    ["model", "dataset", "experiment", "subject", "site", "metric"].map(|k| row[k].as_str().unwrap().to_owned())
}

/// Breaks when a number stands beside another's twin, is lost, or when z is not the difference in standard errors.
#[test]
fn every_score_stands_beside_its_twin() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    study(at, "", "");
    said(at, &["run", "study.toml", "--store", "monday"], 0);
    said(at, &["run", "study.toml", "--store", "tuesday", "--limit", "32"], 0);
    let (monday, tuesday) = (scores(at, "monday"), scores(at, "tuesday"));
    let json: Value = serde_json::from_str(&said(at, &["compare", "monday", "tuesday", "--json"], 0)).unwrap();
    let numbers = json["numbers"].as_array().unwrap();
    let both = monday.keys().filter(|k| tuesday.contains_key(*k)).count();
    assert!(both > 50 && numbers.len() == both, "{} of {both}", numbers.len());
    let mut last = f64::INFINITY;
    for n in numbers {
        let ((a, a_error), (b, b_error)) = (monday[&key(n)], tuesday[&key(n)]);
        let near = |key: &str, x: f64, of: f64| (n[key].as_f64().unwrap() - x).abs() <= 1e-12 * of.abs();
        // Decimal digits and back move last bits.
        assert!(near("a", a, a) && near("b", b, b) && near("difference", b - a, a.abs() + b.abs()), "{n}");
        let error = a_error.zip(b_error).map(|(a, b)| (a * a + b * b).sqrt());
        // What another order of summing changes is no difference.
        if (b - a).abs() <= 1e-12 * a.abs().max(b.abs()) {
            assert!(n["z"].is_null() || n["z"] == 0.0, "{n}");
            continue;
        }
        if let (Some(z), Some(error)) = (n["z"].as_f64(), error.filter(|e| *e > 0.0)) {
            assert!((z - (b - a) / error).abs() < 1e-9 * z.abs().max(1.0), "{n}");
            assert!(z.abs() <= last, "{z} after {last}");
            last = z.abs();
        }
    }
    let csv = said(at, &["compare", "monday", "tuesday", "--csv"], 0);
    assert_eq!(csv.lines().count(), both + 1);
    let text = said(at, &["compare", "monday", "tuesday"], 0);
    assert!(text.contains("planted on synthetic: ") && text.contains("first block: 3"), "{text}");
    let failed = said(at, &["compare", "monday", "tuesday", "--fail-above", "0"], 6);
    assert!(failed.contains("more than 0 of them"), "{failed}");

    let same = said(at, &["compare", "monday", "monday", "--fail-above", "0"], 0);
    assert!(same.contains("numbers in both") && same.contains(", 0 differ"), "{same}");

    // Two models of one store: the twin with registers has no outliers.
    let models = ["compare", "monday", "--models", "planted", "planted_reg4"];
    let text = said(at, &models, 0);
    assert!(text.contains("→ 0 % of patches are outliers") && text.contains("first block: 3 → none"), "{text}");
    let json: Value = serde_json::from_str(&said(at, &[&models[..], &["--json"]].concat(), 0)).unwrap();
    let share = |n: &&Value| n["metric"] == "share_frac";
    let share = json["numbers"].as_array().unwrap().iter().find(share).unwrap();
    assert_eq!((&share["b"], &share["model"]), (&Value::from(0.0), &Value::from("planted → planted_reg4")));
    let unknown = said(at, &["compare", "monday", "--models", "planted", "planted_reg"], 4);
    assert!(unknown.contains("did you mean `planted_reg4`"), "{unknown}");
}
