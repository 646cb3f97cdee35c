//! `kill -9` at random instants, then the same command again: the same bytes as a run that was never disturbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use acceptance::{expect_code, tables, vitals};

const BINARY: &str = env!("CARGO_BIN_EXE_vitals-under-test");

/// Several shards of every kind of stage, so that kills fall into all of them.
const STUDY: &str = r#"
title = "kill"
max_skip_frac = 0.0
tables = ["norms"]
[extract]
outliers = { rule = "valley", images = 40 }
draws = 2
shard_images = 24
[[model]]
model = "planted"
[[dataset]]
dataset = "synthetic"
limit = 240
[[probe]]
experiment = "token_class"
train = "synthetic"
protocol = "study"
"#;

/// A small deterministic generator, so that a failure can be run again.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn killed_runs_end_with_the_bytes_of_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("study.toml"), STUDY).unwrap();
    let started = Instant::now();
    expect_code(&vitals(BINARY, folder.path(), &["run", "study.toml", "--store", "whole"]), 0);
    let whole = started.elapsed();
    let expected = tables(&folder.path().join("whole"));
    assert!(expected.keys().filter(|k| k.ends_with(".parquet")).count() >= 80, "{:?}", expected.keys());
    assert!(!expected.keys().any(|k| k.contains(".tmp")));

    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut kills = 0;
    for _ in 0..8 {
        let mut child = Command::new(BINARY)
            .args(["run", "study.toml", "--store", "killed"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Short against a whole run, so that many instants of it are met.
        std::thread::sleep(Duration::from_micros(next(&mut state) % (whole.as_micros() as u64 / 3 + 1)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(kills >= 4, "the run was over before it could be killed");
    expect_code(&vitals(BINARY, folder.path(), &["run", "study.toml", "--store", "killed"]), 0);
    let resumed = tables(&folder.path().join("killed"));
    assert_eq!(expected.keys().collect::<Vec<_>>(), resumed.keys().collect::<Vec<_>>());
    for (name, bytes) in &expected {
        assert!(*bytes == resumed[name], "{name} differs");
    }
}

#[test]
fn threads_change_nothing_and_a_finished_study_is_reused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("study.toml"), STUDY).unwrap();
    for (store, threads) in [("one", "1"), ("three", "3")] {
        let args = ["run", "study.toml", "--limit", "60", "--store", store, "--threads", threads];
        expect_code(&vitals(BINARY, folder.path(), &args), 0);
    }
    let one = tables(&folder.path().join("one"));
    assert!(one == tables(&folder.path().join("three")), "the number of threads changed a table");
    let again = vitals(BINARY, folder.path(), &["run", "study.toml", "--limit", "60", "--store", "one"]);
    expect_code(&again, 0);
    assert!(String::from_utf8_lossy(&again.stdout).contains("0 shards done"));
    assert!(one == tables(&folder.path().join("one")), "a finished part was modified");
}

#[test]
fn shards_that_run_one_by_one_make_the_same_store() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("study.toml"), STUDY).unwrap();
    let study = ["study.toml", "--limit", "60"];
    expect_code(&vitals(BINARY, folder.path(), &[&["run"], &study[..], &["--store", "whole"]].concat()), 0);
    let plan = vitals(BINARY, folder.path(), &[&["plan"], &study[..], &["--store", "pieces", "--json"]].concat());
    expect_code(&plan, 0);
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    for step in plan["steps"].as_array().unwrap() {
        // Backwards: a shard depends on nothing but its inputs.
        for shard in step["todo"].as_array().unwrap().iter().rev() {
            let (id, shard) = (step["id"].as_str().unwrap(), shard.to_string());
            let run = [&["run"], &study[..], &["--store", "pieces", "--stage", id, "--shard", &shard]].concat();
            expect_code(&vitals(BINARY, folder.path(), &run), 0);
            // Again: done already is success.
            let again = vitals(BINARY, folder.path(), &run);
            expect_code(&again, 0);
            assert!(String::from_utf8_lossy(&again.stdout).contains("\"already_done\":true"));
        }
    }
    assert!(tables(&folder.path().join("whole")) == tables(&folder.path().join("pieces")));
}
