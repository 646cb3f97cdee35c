//! The official layouts as others unpacked them, when `VITALS_REAL` points at them.

use std::path::Path;

use crate::open;

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn real_folders_open_and_decode() {
    let Some(real) = std::env::var_os("VITALS_REAL") else {
        eprintln!("skipped: set VITALS_REAL to the folder of real inputs");
        return;
    };
    let expected = [
        ("imagenet", "imagenet", "test", 200),
        ("imagenet", "imagenet", "every:3@2:test", 66),
        ("caltech101", "caltech-101", "class:2/3:train", 416),
        ("caltech101", "caltech-101", "class:2/3:test", 208),
        ("cifar10", "cifar-10-batches-bin", "train", 1500),
        ("cifar10", "cifar-10-batches-bin", "test", 400),
        ("voc", "VOCdevkit", "all", 60),
        ("ade20k", "ADEChallengeData2016", "test", 3),
        ("nyu", "nyu", "test", 3),
    ];
    for (name, folder, split, count) in expected {
        let source = open(name, &Path::new(&real).join(folder), split).unwrap();
        assert_eq!(source.manifest().entries.len(), count, "{name} {split}");
        for index in [0, count / 2, count - 1] {
            match source.read(index).unwrap() {
                datasets::Raw::Encoded(bytes) => assert!(datasets::decode(&bytes).is_ok(), "{name} {index}"),
                datasets::Raw::Rgb(image) => assert_eq!(image.data.len(), 32 * 32 * 3),
            }
        }
    }
}

/// Counted by `grep -c '<object>'`; breaks when an annotation is not found or an object is lost.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn real_annotations_are_read() {
    let Some(real) = std::env::var_os("VITALS_REAL") else {
        eprintln!("skipped: set VITALS_REAL to the folder of real inputs");
        return;
    };
    let source = open("voc", &Path::new(&real).join("VOCdevkit"), "all").unwrap();
    let boxes = |index| source.truth(index).unwrap().unwrap().boxes;
    let all: Vec<_> = (0..60).flat_map(boxes).collect();
    let of = |mark: fn(&datasets::Object) -> bool| all.iter().filter(|o| mark(o)).count();
    assert_eq!((all.len(), of(|o| o.difficult), of(|o| o.truncated)), (172, 22, 85));
}
