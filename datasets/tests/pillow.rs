//! Decoding, resizing and preprocessing equal Pillow 13 and torchvision bit for bit, on files made by
//! `golden/make_fixtures.py`, and on ImageNet photos when `VITALS_REAL` points at them.
//!
//! Any change of a rounding rule, a kernel, a crop offset, a colour conversion or an upsampling filter breaks these.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use datasets::resize::resize;
use datasets::{Crop, Filter, Preprocess, Resize, decode};
use sha2::{Digest, Sha256};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn sha(bytes: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.map(|byte| format!("{byte:02x}")).concat()
}

struct Case {
    file: Vec<u8>,
    name: String,
    filter: Filter,
    first: usize,
    second: usize,
    digest: String,
}

fn cases(kind: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(golden().join("expected.tsv")).unwrap();
    let lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    lines
        .filter(|fields| fields[0] == kind)
        .map(|fields| Case {
            file: std::fs::read(golden().join(fields[1])).unwrap(),
            name: fields[1..5].join(" "),
            filter: if fields[2] == "bilinear" { Filter::Bilinear } else { Filter::Bicubic },
            first: fields[3].parse().unwrap(),
            second: fields[4].parse().unwrap(),
            digest: fields[5].to_owned(),
        })
        .collect()
}

/// Fails with every case that differs, so that one run shows the whole picture.
fn all_equal(kind: &str, minimum: usize, digest: impl Fn(&Case) -> String) {
    let cases = cases(kind);
    assert!(cases.len() >= minimum, "only {} {kind} cases", cases.len());
    let differing: Vec<_> = cases.iter().filter(|case| digest(case) != case.digest).map(|case| &case.name).collect();
    assert!(differing.is_empty(), "{} of {} differ: {differing:#?}", differing.len(), cases.len());
}

#[test]
fn decoding_equals_pillow() {
    all_equal("decode", 30, |case| match decode(&case.file) {
        Ok(image) if (image.height, image.width) == (case.first, case.second) => sha(&image.data),
        other => format!("{:?}", other.map(|image| (image.height, image.width))),
    });
}

#[test]
fn resizing_equals_pillow() {
    all_equal("resize", 40, |case| {
        sha(&resize(&decode(&case.file).unwrap(), case.first, case.second, case.filter).data)
    });
}

#[test]
fn preprocessing_equals_torchvision_to_the_last_bit_of_the_floats() {
    all_equal("preprocess", 80, |case| {
        let preprocess = Preprocess::new(Resize::ShortSide(case.first), Crop::Centre(case.second), case.filter)
            .normalised(datasets::preprocess::IMAGENET_MEAN, datasets::preprocess::IMAGENET_STD);
        let planar = preprocess.apply(&decode(&case.file).unwrap()).unwrap();
        assert_eq!(preprocess.decode_and_apply(&case.file).unwrap(), planar, "{}", case.name);
        sha(&planar.data.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
    });
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn photos_equal_pillow_and_torchvision() {
    let Some(real) = std::env::var_os("VITALS_REAL") else {
        eprintln!("skipped: set VITALS_REAL to the folder of real inputs");
        return;
    };
    let folder = Path::new(&real).join("imagenet/val");
    let preprocess = Preprocess::new(Resize::ShortSide(256), Crop::Centre(224), Filter::Bicubic);
    let lines = std::fs::read_to_string(golden().join("photos.tsv")).unwrap();
    assert!(lines.lines().count() >= 40);
    for line in lines.lines() {
        let [name, decoded, cropped] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let file = std::fs::read(folder.join(name)).unwrap();
        assert_eq!(sha(&decode(&file).unwrap().data), decoded, "{name}");
        let planar = preprocess.decode_and_apply(&file).unwrap();
        let area = planar.height * planar.width;
        let byte = |value: f32| (value * 255.0).round() as u8;
        let pixels: Vec<u8> =
            (0..area).flat_map(|at| [0, 1, 2].map(|channel| byte(planar.data[channel * area + at]))).collect();
        assert_eq!(sha(&pixels), cropped, "{name}");
    }
}
