#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use super::*;
use crate::source::Raw;

/// Ids 1..4 are leaves, whose sorted `WordNet` ids come in the order 4, 2, 3, 1.
const SYNSETS: &[u8] = include_bytes!("../../../tests/golden/synsets.mat");

fn pack(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn train_root(classes: &[&str]) -> tempfile::TempDir {
    let class_tars: Vec<_> = classes
        .iter()
        .map(|wnid| {
            let image = |number: u32| (format!("{wnid}_{number}.JPEG"), format!("{wnid} {number}").into_bytes());
            (format!("{wnid}.tar"), pack(&[image(2), image(10), image(1)]))
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(TRAIN), pack(&class_tars)).unwrap();
    dir
}

fn val_root(images: u32, ground_truth: &str) -> tempfile::TempDir {
    let files: Vec<_> = (1..=images)
        .rev()
        .map(|number| (format!("ILSVRC2012_val_{number:08}.JPEG"), format!("image {number}").into_bytes()))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(VAL), pack(&files)).unwrap();
    let devkit = [
        (format!("{DEVKIT}/readme.txt"), b"hello".to_vec()),
        (format!("{DEVKIT}/{GROUND_TRUTH}"), ground_truth.as_bytes().to_vec()),
        (format!("{DEVKIT}/{META}"), SYNSETS.to_vec()),
    ];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&pack(&devkit)).unwrap();
    fs::write(dir.path().join(format!("{DEVKIT}.tar.gz")), encoder.finish().unwrap()).unwrap();
    dir
}

fn unpack_devkit(root: &Path) {
    let archive = root.join(format!("{DEVKIT}.tar.gz"));
    tar::Archive::new(GzDecoder::new(File::open(&archive).unwrap())).unpack(root).unwrap();
    fs::remove_file(archive).unwrap();
}

fn message(result: Result<Box<dyn Source>, DatasetError>) -> String {
    result.err().unwrap().to_string()
}

/// Breaks if labels follow the order in the archive instead of the sorted ids, or if offsets of inner tars are relative.
#[test]
fn training_images_are_labelled_by_sorted_wnid() {
    let root = train_root(&["n02100735", "n01440764"]);
    let source = open_train(root.path()).unwrap();
    let manifest = source.manifest();
    assert_eq!(manifest.classes, ["n01440764", "n02100735"]);
    let entries: Vec<_> = manifest.entries.iter().map(|entry| (entry.name.as_str(), entry.label)).collect();
    assert_eq!(
        entries,
        [
            ("n01440764/n01440764_1.JPEG", Some(0)),
            ("n01440764/n01440764_10.JPEG", Some(0)),
            ("n01440764/n01440764_2.JPEG", Some(0)),
            ("n02100735/n02100735_1.JPEG", Some(1)),
            ("n02100735/n02100735_10.JPEG", Some(1)),
            ("n02100735/n02100735_2.JPEG", Some(1)),
        ]
    );
    assert_eq!(source.read(1).unwrap(), Raw::Encoded(b"n01440764 10".to_vec()));
    assert_eq!(source.read(5).unwrap(), Raw::Encoded(b"n02100735 2".to_vec()));
}

/// Breaks if ids are taken for labels, if inner nodes of the tree count as classes, or if lines follow archive order.
#[test]
fn validation_images_are_labelled_through_the_devkit() {
    let root = val_root(5, "1\n2\n3\n4\n1\n");
    let packed = open_val(root.path()).unwrap();
    unpack_devkit(root.path());
    for source in [packed, open_val(root.path()).unwrap()] {
        let manifest = source.manifest();
        assert_eq!(manifest.classes, ["n02096294", "n02100735", "n02110185", "n02119789"]);
        let labels: Vec<_> = manifest.entries.iter().map(|entry| entry.label.unwrap()).collect();
        assert_eq!(labels, [3, 1, 2, 0, 3]);
        assert_eq!(manifest.entries[1].name, "ILSVRC2012_val_00000002.JPEG");
        assert_eq!(source.read(1).unwrap(), Raw::Encoded(b"image 2".to_vec()));
    }
}

#[test]
fn a_ground_truth_of_another_length_is_refused() {
    let root = val_root(3, "1\n2\n");
    let message = message(open_val(root.path()));
    assert!(message.contains("2 lines for the 3 images") && message.contains("ground_truth.txt"), "{message}");
}

#[test]
fn lines_that_name_no_class_are_refused() {
    for (line, truth) in [(2, "1\nx\n3\n"), (1, "7\n1\n1\n"), (3, "1\n1\n5\n")] {
        let message = message(open_val(val_root(3, truth).path()));
        assert!(message.contains(&format!("line {line}:")), "{message}");
    }
}

/// Image numbers choose the line of the ground truth: a gap would shift all labels after it.
#[test]
fn a_gap_in_the_numbers_is_refused() {
    let root = val_root(2, "1\n2\n");
    let files = [1, 3].map(|number| (format!("ILSVRC2012_val_{number:08}.JPEG"), Vec::new()));
    fs::write(root.path().join(VAL), pack(&files)).unwrap();
    let message = message(open_val(root.path()));
    assert!(message.contains("ILSVRC2012_val_00000002.JPEG was expected"), "{message}");
}

#[test]
fn what_is_missing_is_named() {
    let empty = tempfile::tempdir().unwrap();
    assert!(message(open_train(empty.path())).contains(TRAIN));
    assert!(message(open_val(empty.path())).contains(VAL));
    let root = val_root(1, "1\n");
    fs::remove_file(root.path().join(format!("{DEVKIT}.tar.gz"))).unwrap();
    assert!(message(open_val(root.path())).contains("ILSVRC2012_devkit_t12.tar.gz"));
    fs::create_dir(root.path().join(DEVKIT)).unwrap();
    assert!(message(open_val(root.path())).contains("meta.mat"));
}

#[test]
fn wrong_train_archives_are_refused() {
    let root = train_root(&["n01440764", "n02100735", "n01440764"]);
    assert!(message(open_train(root.path())).contains("n01440764.tar twice"));
    fs::write(root.path().join(TRAIN), pack(&[("photo.jpg".into(), Vec::new())])).unwrap();
    assert!(message(open_train(root.path())).contains("\"photo.jpg\" where one tar per class was expected"));
    let inner = pack(&[("a.JPEG".into(), vec![1; 600])]);
    let cut = inner[..1000].to_vec();
    fs::write(root.path().join(TRAIN), pack(&[("n01440764.tar".into(), cut)])).unwrap();
    let message = message(open_train(root.path()));
    assert!(message.contains("in n01440764.tar, at byte 512: a.JPEG is said to hold 600 bytes"), "{message}");
}

#[test]
fn damaged_devkits_are_errors() {
    let root = val_root(1, "1\n");
    let archive = root.path().join(format!("{DEVKIT}.tar.gz"));
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    assert!(message(open_val(root.path())).contains("tar.gz"));
    fs::write(&archive, b"not gzip").unwrap();
    assert!(message(open_val(root.path())).contains("tar.gz"));
}
