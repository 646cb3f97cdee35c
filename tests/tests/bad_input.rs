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
    study(folder.path(), "max_skip_frac = 0.1", "dataset = \"photos\"\nroot = \"photos\"");
    three_lines(&vitals(BINARY, folder.path(), &["run", "study.toml"]), 4, &["max_skip_frac"]);
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
    let nan = safetensors_of(&[("cls_token", vec![1, 1, 384], f32::NAN)]);
    std::fs::write(folder.path().join("nan.safetensors"), nan).unwrap();
    three_lines(&run("dinov2_vits14", "nan.safetensors"), 4, &["nan.safetensors"]);
}

fn safetensors_of(tensors: &[(&str, Vec<usize>, f32)]) -> Vec<u8> {
    let data: Vec<Vec<u8>> =
        tensors.iter().map(|(_, shape, v)| v.to_le_bytes().repeat(shape.iter().product())).collect();
    let views = tensors.iter().zip(&data).map(|((name, shape, _), bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap();
        (*name, view)
    });
    safetensors::serialize(views, None).unwrap()
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
