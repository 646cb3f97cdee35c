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
