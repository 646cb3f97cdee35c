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
        ("voc_seg", "VOCdevkit-seg", "trainval", 3),
        ("masks", "camvid", "train", 48),
        ("masks", "camvid", "val", 24),
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

/// Pixels of every label, and sums of depth, as Pillow reads them (`golden/make_real_labels.py`). Breaks when labels are
/// stretched, taken for colours, or those of another photo.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn real_labels_and_depths_are_those_that_pillow_reads() {
    let Some(real) = std::env::var_os("VITALS_REAL") else {
        eprintln!("skipped: set VITALS_REAL to the folder of real inputs");
        return;
    };
    let lines = include_str!("../golden/real_labels.tsv").lines();
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 81);
    for line in lines {
        let [name, split, index, height, width, expected] = line[..] else { panic!("{line:?}") };
        let folders =
            [("masks", "camvid"), ("ade20k", "ADEChallengeData2016"), ("voc_seg", "VOCdevkit-seg"), ("nyu", "nyu")];
        let folder = folders.iter().find(|(known, _)| *known == name).unwrap().1;
        let source = open(name, &Path::new(&real).join(folder), split).unwrap();
        let truth = source.dense_truth(index.parse().unwrap()).unwrap().unwrap();
        assert_eq!((truth.height.to_string(), truth.width.to_string()), (height.to_owned(), width.to_owned()));
        let found = if let Some(depths) = truth.depth_m {
            let millimetres: Vec<u64> = depths.iter().map(|depth| (depth * 1000.0).round() as u64).collect();
            let known = millimetres.iter().filter(|depth| **depth > 0).count();
            format!("known:{known} sum:{}", millimetres.iter().sum::<u64>())
        } else {
            let mut counts = [0; 256];
            truth.segments.unwrap().into_iter().for_each(|label| counts[usize::from(label)] += 1);
            let present = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            present.map(|(label, count)| format!("{label}:{count}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found, expected, "{name} {split} {index}");
    }
}
