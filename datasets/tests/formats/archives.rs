//! Tars through the catalogue: ImageNet's archives and `WebDataset` shards. Their formats have tests of their own.

use datasets::DatasetError;

use crate::{bytes, entries, fixture, laid_out, open, tar_of};

#[test]
fn the_training_tar_of_tars_is_read_in_place() {
    let fish = tar_of(&[("n01440764_2.JPEG", b"fish 2"), ("n01440764_10.JPEG", b"fish 10")]);
    let fox = tar_of(&[("n02119789_1.JPEG", &fixture("rgb420.jpg"))]);
    let dir = laid_out(&[("ILSVRC2012_img_train.tar", &tar_of(&[("n02119789.tar", &fox), ("n01440764.tar", &fish)]))]);
    for split in ["train", "all"] {
        let source = open("imagenet_tar", dir.path(), split).unwrap();
        assert_eq!(source.manifest().classes, ["n01440764", "n02119789"]);
        let labels: Vec<_> = entries(&*source).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, [Some(0), Some(0), Some(1)]);
        assert_eq!(bytes(&*source, 0), b"fish 10");
        assert_eq!(bytes(&*source, 1), b"fish 2");
        assert_eq!(bytes(&*source, 2), fixture("rgb420.jpg"));
    }
    assert!(matches!(open("imagenet_tar", dir.path(), "test"), Err(DatasetError::Missing { .. })));
}

#[test]
fn both_archives_at_once_must_be_told_apart_by_a_split() {
    let dir = laid_out(&[("ILSVRC2012_img_train.tar", b""), ("ILSVRC2012_img_val.tar", b"")]);
    assert!(matches!(open("imagenet_tar", dir.path(), "all"), Err(DatasetError::NoSplit { .. })));
}

#[test]
fn webdataset_splits_are_the_starts_of_shard_names() {
    let train = tar_of(&[("000.jpg", &fixture("grey.jpg")), ("000.cls", b"1")]);
    let val = tar_of(&[("v.png", &fixture("grey.png"))]);
    let dir = laid_out(&[("train-000.tar", &train), ("val-000.tar", &val)]);
    let source = open("webdataset", dir.path(), "train").unwrap();
    assert_eq!(entries(&*source), [("train-000.tar/000.jpg", Some(1))]);
    assert_eq!(source.manifest().classes, ["0", "1"]);
    assert_eq!(bytes(&*source, 0), fixture("grey.jpg"));
    assert_eq!(entries(&*open("webdataset", dir.path(), "test").unwrap()), [("val-000.tar/v.png", None)]);
    assert_eq!(open("webdataset", dir.path(), "all").unwrap().manifest().entries.len(), 2);
    assert!(open("webdataset", &dir.path().join("val-000.tar"), "all").is_ok());
}

#[test]
fn a_pattern_of_shards_is_opened_though_it_is_no_path() {
    let shard = |class: &[u8]| tar_of(&[("a.jpg", b"a"), ("a.cls", class)]);
    let dir = laid_out(&[("train-000.tar", &shard(b"0")), ("train-001.tar", &shard(b"1")), ("x.tar", &shard(b"2"))]);
    let source = open("webdataset", &dir.path().join("train-{000..001}.tar"), "all").unwrap();
    assert_eq!(entries(&*source), [("train-000.tar/a.jpg", Some(0)), ("train-001.tar/a.jpg", Some(1))]);
    let error = |pattern: &str, split| open("webdataset", &dir.path().join(pattern), split).err().unwrap();
    // The same shards for train and for test would score a probe on what it was fitted on.
    assert!(matches!(error("train-{000..001}.tar", "test"), DatasetError::NoSplit { .. }));
    let missing = error("train-{000..002}.tar", "all").to_string();
    assert!(missing.contains("train-002.tar does not exist"), "{missing}");
    let nowhere = error("nowhere/train-{000..001}.tar", "all").to_string();
    assert!(nowhere.contains("nowhere/train-000.tar does not exist"), "{nowhere}");
}

#[test]
fn a_shard_replaced_while_in_use_is_a_read_error() {
    let dir = laid_out(&[("x.tar", &tar_of(&[("000.jpg", &[7; 5000])]))]);
    let source = open("webdataset", dir.path(), "all").unwrap();
    std::fs::write(dir.path().join("x.tar"), [0; 1000]).unwrap();
    assert_eq!(source.read(0).unwrap_err().reason(), "shorter than indexed");
}
