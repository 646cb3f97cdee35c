//! The command line: what a newcomer types first, and the presets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use acceptance::{expect_code, vitals};

const BINARY: &str = env!("CARGO_BIN_EXE_vitals-under-test");

fn stdout(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = vitals(BINARY, folder.path(), args);
    expect_code(&output, 0);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_has_help_with_its_options() {
    let top = stdout(&["--help"]);
    for command in [
        "run", "plan", "status", "report", "query", "health", "why", "compare", "models", "datasets", "trace", "doctor",
    ] {
        assert!(top.contains(command), "{command} is not in the help");
        assert!(stdout(&[command, "--help"]).len() > 50);
    }
    for command in ["run", "query", "health", "why", "compare", "trace"] {
        assert!(stdout(&[command, "--help"]).contains("Example"), "{command} shows no example");
    }
    assert!(top.contains("Examples:") && top.contains("Exit codes:"));
}

/// Breaks when a kernel is refused without a reason, or another is used than said; and a forced one must run.
#[test]
fn the_doctor_says_what_is_used_and_why_not_more() {
    let said = stdout(&["doctor"]);
    let used: Vec<&str> = said.lines().filter(|line| line.ends_with("yes, used")).collect();
    assert_eq!(used.len(), 1, "{said}");
    for kernel in vit::cpu::Kernel::ALL {
        let line = said.lines().find(|line| line.starts_with(&format!("cpu:{kernel} "))).unwrap();
        match kernel.refusal() {
            None => assert!(line.contains("  yes"), "{said}"),
            Some(why) => assert!(line.contains(&format!("  no: {why}")), "{said}"),
        }
    }
    assert!(said.lines().any(|line| line.starts_with("bf16 on the CPU") && used[0].starts_with(&line[17..])), "{said}");
}

#[test]
fn the_zoo_and_the_catalogue_are_listed() {
    let models = stdout(&["models", "ls"]);
    for name in [
        "dino_vits16",
        "dino_vitb8",
        "dinov2_vits14",
        "dinov2_vitg14_reg4",
        "deit3_vitti16_224",
        "deit3_vitl16_384",
        "deit3_vith14_224",
        "openclip_vitb32",
        "openclip_vitl14",
        "openclip_vith14",
        "mae_vitb16",
        "mae_vith14",
    ] {
        assert!(models.lines().any(|l| l.split_whitespace().next() == Some(name)), "{name} is not in:\n{models}");
    }
    let datasets = stdout(&["datasets", "ls"]);
    for name in ["imagenet", "cifar10", "cifar100", "caltech101", "voc", "photos", "webdataset", "synthetic"] {
        assert!(datasets.contains(name), "{name} is not in:\n{datasets}");
    }
}

/// Presets need data that is not here; what must hold everywhere is that they are understood. Everything that a study
/// file can get wrong is checked before data and weights are looked for, so exit code 4 says that all of it was right.
#[test]
fn presets_fail_on_missing_data_only() {
    let studies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../studies");
    for entry in std::fs::read_dir(studies).unwrap() {
        let path = entry.unwrap().path();
        let folder = tempfile::tempdir().unwrap();
        let output = std::process::Command::new(BINARY)
            .args(["plan", path.to_str().unwrap(), "--limit", "8"])
            .current_dir(folder.path())
            // No network is asked for weights, and variables point nowhere.
            .env("HF_ENDPOINT", "http://127.0.0.1:9")
            .env("HF_HOME", folder.path())
            .envs(
                ["VITALS_REAL", "CIFAR10", "IMAGENET", "PROBES", "ADE20K", "NYU", "VOC", "COCO"]
                    .map(|v| (v, "/nowhere")),
            )
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code();
        let embedded = path.ends_with("embedded.toml");
        assert_eq!(code, Some(if embedded { 0 } else { 4 }), "{}:\n{text}", path.display());
        assert!(embedded || text.contains("/nowhere"), "{}:\n{text}", path.display());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{} creates something", path.display());
    }
}

#[test]
fn planning_costs_nothing_and_status_tells_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let args = |command| [command, "--limit", "64"];
    let plan = vitals(BINARY, folder.path(), &args("plan"));
    expect_code(&plan, 0);
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.contains("extract planted scenes-train") && plan.contains("probe planted scenes position final"));
    let json = vitals(BINARY, folder.path(), &[&args("plan")[..], &["--json"]].concat());
    expect_code(&json, 0);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let todo: usize = json["steps"].as_array().unwrap().iter().map(|s| s["todo"].as_array().unwrap().len()).sum();
    let status = vitals(BINARY, folder.path(), &args("status"));
    expect_code(&status, 0);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(todo >= 20 && status.contains(&format!("\n{todo} shards missing in ")), "{todo}: {status}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "looking creates nothing");
}

/// Breaks when each dataset finds neurons of its own (train and test would be two models), when two numbers of
/// registers cannot share a search, or when a change that needs f32 is refused after an hour of work only.
#[test]
fn changed_models_are_planned_with_one_search_for_neurons() {
    let folder = tempfile::tempdir().unwrap();
    let study = |precision: &str| {
        format!(
            r#"
title = "changed"
[extract]
precision = "{precision}"
[[model]]
model = "planted"
test_time_registers = {{ registers = 1 }}
[[model]]
model = "planted"
test_time_registers = {{ registers = 4 }}
[[dataset]]
dataset = "synthetic"
name = "train"
limit = 20
[[dataset]]
dataset = "synthetic"
name = "test"
limit = 20
seed = 7
"#
        )
    };
    std::fs::write(folder.path().join("f32.toml"), study("f32")).unwrap();
    let output = vitals(BINARY, folder.path(), &["plan", "f32.toml"]);
    expect_code(&output, 0);
    let plan = String::from_utf8(output.stdout).unwrap();
    assert_eq!(plan.lines().filter(|l| l.contains("find_neurons")).count(), 1, "{plan}");
    assert_eq!(plan.lines().filter(|l| l.contains("extract")).count(), 4, "{plan}");
    std::fs::write(folder.path().join("bf16.toml"), study("bf16")).unwrap();
    let output = vitals(BINARY, folder.path(), &["plan", "bf16.toml"]);
    expect_code(&output, 3);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("needs f32"), "{said}");
}
