//! Bad input is a counted row or three clear lines with a documented exit code; it is never a panic and never silence.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Output;

use acceptance::{expect_code, vitals};

const BINARY: &str = env!("CARGO_BIN_EXE_vitals-under-test");

/// A 24-bit BMP of one colour: an image that needs no encoder to write.
fn bmp(side: u32) -> Vec<u8> {
    let row = (side * 3).div_ceil(4) * 4;
    let mut bytes = b"BM".to_vec();
    for field in [54 + row * side, 0, 54, 40, side, side] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes.extend((0..row * side).map(|i| (i * 7 % 251) as u8));
    bytes
}

fn photos(folder: &Path) {
    let photos = folder.join("photos");
    std::fs::create_dir(&photos).unwrap();
    for i in 0..6 {
        std::fs::write(photos.join(format!("good{i}.bmp")), bmp(100)).unwrap();
    }
    std::fs::write(photos.join("cut.jpg"), &[0xff, 0xd8, 0xff, 0xe0, 0, 16][..]).unwrap();
    std::fs::write(photos.join("empty.png"), b"").unwrap();
    std::fs::write(photos.join("letter.jpg"), b"Dear reader, this is no photo.").unwrap();
    std::fs::write(photos.join("renamed.png"), bmp(90)).unwrap();
}

fn study(folder: &Path, extra: &str, dataset: &str) {
    let text = format!("title = \"bad\"\n{extra}\n[[model]]\nmodel = \"planted\"\n[[dataset]]\n{dataset}\n");
    std::fs::write(folder.join("study.toml"), text).unwrap();
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn three_lines(output: &Output, code: i32, mentions: &[&str]) {
    expect_code(output, code);
    let text = stderr(output);
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('{')).collect();
    assert!(lines.len() <= 3 && lines[0].starts_with("error: "), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    for mention in mentions {
        assert!(text.contains(mention), "no `{mention}` in:\n{text}");
    }
}

#[test]
fn unreadable_files_are_counted_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path());
    study(folder.path(), "max_skip_frac = 0.5", "dataset = \"photos\"\nroot = \"photos\"");
    expect_code(&vitals(BINARY, folder.path(), &["run", "study.toml"]), 0);
    let sql = "SELECT name, reason FROM skipped ORDER BY name";
    let rows = vitals(BINARY, folder.path(), &["query", sql, "--format", "csv"]);
    expect_code(&rows, 0);
    let text = String::from_utf8_lossy(&rows.stdout).into_owned();
    assert_eq!(text.lines().count(), 4, "{text}");
    for name in ["cut.jpg", "empty.png", "letter.jpg"] {
        assert!(text.contains(name), "{text}");
    }
    // A wrong extension is no fault of the pixels.
    let sql = "SELECT name FROM images ORDER BY name";
    let rows = vitals(BINARY, folder.path(), &["query", sql, "--format", "csv"]);
    let text = String::from_utf8_lossy(&rows.stdout).into_owned();
    assert_eq!(text.lines().count(), 8, "{text}");
    assert!(text.contains("renamed.png"), "{text}");
    let report = std::fs::read_to_string(folder.path().join("vitals-report/report.md")).unwrap();
    assert!(report.contains("skipped"), "{report}");
}

#[test]
fn too_many_skipped_images_fail_the_run() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path());
    let run = || vitals(BINARY, folder.path(), &["run", "study.toml"]);
    // Three of ten are few, unless none is allowed.
    study(folder.path(), "", "dataset = \"photos\"\nroot = \"photos\"");
    expect_code(&run(), 0);
    study(folder.path(), "max_skip_frac = 0", "dataset = \"photos\"\nroot = \"photos\"");
    three_lines(&run(), 4, &["3 of 10", "`cut.jpg`: "]);
    std::fs::write(folder.path().join("photos/more.jpg"), b"x").unwrap();
    study(folder.path(), "max_skip_frac = 0.1", "dataset = \"photos\"\nroot = \"photos\"");
    // Twice: what is finished when the second run begins must not make it succeed.
    for _ in 0..2 {
        three_lines(&run(), 4, &["4 of 11", "max_skip_frac", "`cut.jpg`: ", "SELECT name, reason FROM skipped"]);
    }
}

#[test]
fn a_study_that_makes_no_sense_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let run = || vitals(BINARY, folder.path(), &["run", "study.toml"]);
    study(folder.path(), "max_skip_fraction = 0.1", "dataset = \"synthetic\"");
    three_lines(&run(), 3, &["line 2", "max_skip_frac"]);
    study(folder.path(), "", "dataset = \"sinthetic\"");
    three_lines(&run(), 3, &["synthetic"]);
    study(folder.path(), "", "dataset = \"photos\"\nroot = \"nowhere\"");
    three_lines(&run(), 4, &["nowhere"]);
    study(folder.path(), "[extract]\noutlier_site = \"block_12\"", "dataset = \"synthetic\"\nlimit = 4");
    three_lines(&run(), 3, &["block_12", "8 blocks"]);
    study(folder.path(), "[budget]\nhours = 0.000001", "dataset = \"synthetic\"\nlimit = 400");
    three_lines(&run(), 3, &["budget.hours"]);
    three_lines(&vitals(BINARY, folder.path(), &["run", "no-such.toml"]), 3, &["no-such.toml"]);
    assert_eq!(vitals(BINARY, folder.path(), &["run", "--nonsense"]).status.code(), Some(2));
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = |model: &str, weights: &str| {
        let text = format!(
            "title = \"w\"\n[[model]]\nmodel = \"{model}\"\nweights = \"{weights}\"\n[[dataset]]\ndataset = \"synthetic\"\nlimit = 2\n"
        );
        std::fs::write(folder.path().join("study.toml"), text).unwrap();
        vitals(BINARY, folder.path(), &["run", "study.toml"])
    };
    three_lines(&run("dinov2_vits14", "missing.safetensors"), 4, &["missing.safetensors"]);
    three_lines(&run("dinov2_vits15", "missing.safetensors"), 3, &["dinov2_vits14"]);
    std::fs::write(folder.path().join("random.safetensors"), [7u8; 4096]).unwrap();
    three_lines(&run("dinov2_vits14", "random.safetensors"), 4, &["random.safetensors"]);
    let smallest = "deit3_vitti16_224";
    for (file, wrong) in [("nan.safetensors", f32::NAN), ("inf.safetensors", f32::INFINITY)] {
        std::fs::write(folder.path().join(file), whole(smallest, "blocks.11.ls2", wrong)).unwrap();
        three_lines(&run(smallest, file), 4, &[file, "blocks.11.ls2", &wrong.to_string()]);
    }
    // The same file without it runs: nothing else was wrong with it.
    std::fs::write(folder.path().join("good.safetensors"), whole(smallest, "blocks.11.ls2", 0.25)).unwrap();
    expect_code(&run(smallest, "good.safetensors"), 0);
}

/// A complete checkpoint, a quarter everywhere but for the last value of one tensor.
fn whole(model: &str, tensor: &str, last: f32) -> Vec<u8> {
    let tensors = vit::weights::expected(&vit::zoo::find(model).unwrap().config);
    assert!(tensors.iter().any(|(name, _)| name == tensor));
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(name, shape)| {
            let mut values = 0.25f32.to_le_bytes().repeat(shape.iter().product());
            if name == tensor {
                let at = values.len() - 4;
                values[at..].copy_from_slice(&last.to_le_bytes());
            }
            values
        })
        .collect();
    let views = tensors.iter().zip(&data).map(|((name, shape), bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// Breaks when a mistake is found only after weights were read: they are missing here, which would be exit code 4.
#[test]
fn a_mistake_in_the_study_is_found_before_any_weights_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let run = |head: &str, dataset: &str, probe: &str| {
        let text = format!(
            "title = \"w\"\n{head}\n[[model]]\nmodel = \"dinov2_vits14\"\nweights = \"missing.pth\"\n[[dataset]]\n\
             dataset = \"photos\"\nroot = \"nowhere\"\n{dataset}\n[[probe]]\nexperiment = \"position\"\n{probe}\n"
        );
        std::fs::write(folder.path().join("study.toml"), text).unwrap();
        vitals(BINARY, folder.path(), &["plan", "study.toml"])
    };
    let good = "train = \"photos\"";
    three_lines(&run("", "", good), 4, &["nowhere"]);
    for (head, dataset, probe, mention) in [
        ("tables = [\"tabel1\"]", "", good, "table1"),
        ("[extract]\nvector_sites = [\"block_12\"]", "", good, "block_12"),
        ("[extract]\npooled = [\"patch_embed\"]", "", good, "pooled"),
        ("", "split = \"trian\"", good, "trian"),
        ("", "follows = [\"papre\"]", good, "papre"),
        ("", "models = [\"dinov2_vits15\"]", good, "dinov2_vits14"),
        ("", "preprocess = { crop_px = 225 }", good, "225"),
        ("", "", "train = \"fotos\"", "photos"),
        ("", "", "train = \"photos\"\nsite = \"block_99\"", "block_99"),
        ("", "", "train = \"photos\"\nkinds = [\"cls\"]", "cls"),
        ("", "", "train = \"photos\"\nc = -1.0", "range"),
        ("", "", "train = [\"photos\", \"photos\"]", "name"),
        ("", "", "train = \"photos\"\nseeds = [1, 2]", "seeds"),
        ("", "", "train = \"photos\"\nsite = \"block_5\"", "add it to `vector_sites`"),
        ("[extract]\nvector_sites = []", "", good, "add it to `vector_sites`"),
    ] {
        three_lines(&run(head, dataset, probe), 3, &[mention]);
    }
    assert!(!folder.path().join("vitals-store").exists(), "a plan creates nothing");
}

/// Breaks when a probe that can only fail is found out after everything was encoded.
#[test]
fn a_probe_without_its_labels_or_vectors_is_refused_by_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path());
    let plan = |dataset: &str, probe: &str| {
        study(folder.path(), "", &format!("{dataset}\n[[probe]]\n{probe}"));
        vitals(BINARY, folder.path(), &["plan", "study.toml"])
    };
    let (own, scenes) = ("dataset = \"photos\"\nroot = \"photos\"", "dataset = \"synthetic\"\nlimit = 20");
    for experiment in ["token_class", "pooled_class"] {
        let probe = format!("experiment = \"{experiment}\"\ntrain = \"photos\"");
        three_lines(&plan(own, &probe), 3, &["dataset `photos` has no labels"]);
        let probe = format!("experiment = \"{experiment}\"\ntrain = \"synthetic\"");
        expect_code(&plan(scenes, &probe), 0);
        let key = if experiment == "token_class" { "`vector_sites`" } else { "`pooled`" };
        three_lines(&plan(scenes, &format!("{probe}\nsite = \"block_2\"")), 3, &["block_2", key, "under [extract]"]);
    }
    expect_code(&plan(own, "experiment = \"position\"\ntrain = \"photos\""), 0);
    // A name of the last block and `+norm` are read as in [extract].
    let probe = "experiment = \"pooled_class\"\ntrain = \"synthetic\"\nsite = \"last+norm\"";
    let dataset = format!("{scenes}\n[extract]\npooled = [\"block_7+norm\"]");
    expect_code(&plan(&dataset, probe), 0);
}

/// Breaks when a command tells how to correct something else than what was written.
#[test]
fn a_fix_fits_the_command() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path());
    let run = |args: &[&str]| vitals(BINARY, folder.path(), args);
    three_lines(&run(&["datasets", "check", "photos"]), 2, &["needs a root", "as ROOT"]);
    three_lines(&run(&["datasets", "check", "photos", "photos", "--split", "train"]), 2, &["correct --split"]);
    three_lines(&run(&["models", "check", "planted", "x.pth"]), 2, &["formula"]);
    let missing = run(&["models", "check", "dinov2_vits14", "x.pth"]);
    three_lines(&missing, 4, &["x.pth", "correct the path"]);
    assert!(!stderr(&missing).contains("models check"), "{}", stderr(&missing));
    let trace = |option: &str, value: &str| {
        run(&[
            "trace",
            "--model",
            "dinov2_vits14",
            "--weights",
            "x.pth",
            "--image",
            "photos/good1.bmp",
            "--out",
            "t",
            option,
            value,
        ])
    };
    three_lines(&trace("--sites", "blok"), 2, &["blok", "names separated by commas"]);
    three_lines(&trace("--precision", "f64"), 2, &["unknown precision `f64`", "f32, bf16 or f16"]);
    three_lines(&trace("--size", "100"), 2, &["100 px", "a multiple of 14"]);
    three_lines(&trace("--device", "gpu"), 2, &["gpu", "cuda:N"]);
    expect_code(&run(&["datasets", "check", "synthetic"]), 0);
    let found = run(&["datasets", "check", "photos", "photos"]);
    expect_code(&found, 0);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(text.contains("10 images") && text.contains(" × not an image: letter.jpg"), "{text}");
}

/// Breaks when what cannot be printed is dropped in silence.
#[test]
fn a_full_disk_behind_stdout_is_an_error_and_a_closed_pipe_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let run = |stdout: std::process::Stdio| {
        let mut command = std::process::Command::new(BINARY);
        command.args(["models", "ls"]).current_dir(folder.path()).stdout(stdout).output().unwrap()
    };
    if let Ok(full) = std::fs::File::options().write(true).open("/dev/full") {
        three_lines(&run(full.into()), 5, &["No space left"]);
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    expect_code(&run(writer.into()), 0);
}

/// Breaks when truths are judged only where their table is shown.
#[test]
fn a_check_judges_truths_that_no_table_shows() {
    let folder = tempfile::tempdir().unwrap();
    // With every detection at random, what is true of the model is not true of it.
    let study = r#"
title = "dial"
tables = ["norms"]
[extract]
outliers = { rule = "valley", images = 20 }
truth_pixel_variance = 4e-5
[[model]]
model = "planted"
planted = { detection_noise = 1.0 }
[[dataset]]
dataset = "synthetic"
limit = 20
"#;
    std::fs::write(folder.path().join("study.toml"), study).unwrap();
    let run = || vitals(BINARY, folder.path(), &["run", "study.toml", "--check"]);
    expect_code(&run(), 6);
    assert!(stderr(&run()).contains("planted on synthetic: detection, outlier"), "{}", stderr(&run()));
}

/// `/dev/full` accepts an open and refuses every write with ENOSPC: a full disk without filling one.
#[test]
fn a_full_disk_and_a_read_only_folder_give_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    study(folder.path(), "", "dataset = \"synthetic\"\nlimit = 8");
    if Path::new("/dev/full").exists() {
        let store = folder.path().join("full");
        std::fs::create_dir(&store).unwrap();
        std::os::unix::fs::symlink("/dev/full", store.join("ledger.jsonl")).unwrap();
        let output = vitals(BINARY, folder.path(), &["run", "study.toml", "--store", "full"]);
        three_lines(&output, 5, &["No space left", "free some space"]);
        // The same command goes on once there is room.
        std::fs::remove_file(store.join("ledger.jsonl")).unwrap();
        expect_code(&vitals(BINARY, folder.path(), &["run", "study.toml", "--store", "full"]), 0);
    }
    // A file where the folder should be: refused for every user, root too.
    std::fs::write(folder.path().join("taken"), b"").unwrap();
    let output = vitals(BINARY, folder.path(), &["run", "study.toml", "--store", "taken/store"]);
    three_lines(&output, 5, &["taken"]);
}
