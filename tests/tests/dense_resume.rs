//! A dense head whose training is killed twice goes on from the state that it kept, and ends with the bytes of a training
//! that was never disturbed: the loss curve and the scores among them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use acceptance::{expect_code, tables, vitals};

const BINARY: &str = env!("CARGO_BIN_EXE_vitals-under-test");
const STEPS: u64 = 2500;

/// A state is kept every 500 steps, so that four are kept before the end.
const STUDY: &str = r#"
title = "a head in training"
max_skip_frac = 0.0
tables = ["segmentation"]
[[model]]
model = "planted"
[[dataset]]
dataset = "synthetic"
name = "train"
limit = 40
extract = false
[[dataset]]
dataset = "synthetic"
name = "test"
limit = 20
seed = 1_000_000
extract = false
[[dense]]
recipe = "quick_cells"
train = "train"
test = "test"
steps = 2500
"#;

/// The only state that is kept below a store.
fn kept(store: &Path) -> Option<PathBuf> {
    tables(store)
        .into_keys()
        .find(|name| std::path::Path::new(name).extension().is_some_and(|end| end == "kept"))
        .map(|name| store.join(name))
}

/// Eight bytes of a state, at a place of its layout (`stages/train/src/dense/state.rs`): mark, number of heads, steps done,
/// sum and number of pending losses, rows of losses, and of each row step, loss and rate.
fn eight(state: &[u8], place: usize) -> [u8; 8] {
    *state[place..].first_chunk().unwrap()
}

const STEPS_DONE: usize = 16;
const FIRST_LOSS: usize = 56;

/// Runs the study and kills it as soon as it has kept a state of more than `done` steps; how many steps that has.
fn kill_after(folder: &Path, done: u64) -> u64 {
    let store = folder.join("killed");
    let mut child = Command::new(BINARY)
        .args(["run", "study.toml", "--store", "killed"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let mut found = None;
    let step = loop {
        assert!(child.try_wait().unwrap().is_none(), "the run was over before it could be killed");
        assert!(started.elapsed() < Duration::from_mins(2), "no state of more than {done} steps is kept");
        found = found.or_else(|| kept(&store));
        let state = found.as_ref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let step = if state.is_empty() { 0 } else { u64::from_le_bytes(eight(&state, STEPS_DONE)) };
        if step > done {
            break step;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    step
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in tables(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn rows(folder: &Path, store: &str, sql: &str) -> Vec<serde_json::Value> {
    let output = vitals(BINARY, folder, &["query", sql, "--store", store, "--format", "json"]);
    expect_code(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Breaks when something that a step depends on is not in the state, or when the state is not used.
#[test]
fn a_killed_training_goes_on_with_the_same_curve() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("study.toml"), STUDY).unwrap();
    expect_code(&vitals(BINARY, folder, &["run", "study.toml", "--store", "whole"]), 0);
    let expected = tables(&folder.join("whole"));
    let curve = rows(folder, "whole", "SELECT step, loss FROM losses ORDER BY step");
    assert_eq!(curve.last().unwrap()["step"], STEPS);

    let first = kill_after(folder, 0);
    let second = kill_after(folder, first);
    assert!((500..STEPS).contains(&first) && second > first, "{first} {second}");

    // A state with another first loss: only who goes on from it can have that loss in the curve.
    let path = kept(&folder.join("killed")).unwrap();
    copy(&folder.join("killed"), &folder.join("altered"));
    let altered = folder.join("altered").join(path.strip_prefix(folder.join("killed")).unwrap());
    let mut state = std::fs::read(&altered).unwrap();
    state[FIRST_LOSS..FIRST_LOSS + 8].copy_from_slice(&7.5_f64.to_le_bytes());
    std::fs::write(&altered, state).unwrap();
    expect_code(&vitals(BINARY, folder, &["run", "study.toml", "--store", "altered"]), 0);
    let other = rows(folder, "altered", "SELECT step, loss FROM losses ORDER BY step");
    assert_eq!(other[0]["loss"], 7.5);
    assert_eq!(other[1..], curve[1..]);

    expect_code(&vitals(BINARY, folder, &["run", "study.toml", "--store", "killed"]), 0);
    let resumed = tables(&folder.join("killed"));
    assert_eq!(expected.keys().collect::<Vec<_>>(), resumed.keys().collect::<Vec<_>>());
    for table in ["dense", "heads", "losses", "predictions", "replicates", "scores"] {
        assert!(expected.keys().any(|name| name.starts_with(&format!("{table}/"))), "no table {table}");
    }
    for (name, bytes) in &expected {
        assert!(*bytes == resumed[name], "{name} differs");
    }
}
