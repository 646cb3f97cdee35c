//! CIFAR's records, and Parquet files as the Hugging Face hub stores them.

use datasets::{DatasetError, Raw};

use crate::{bytes, entries, fixture, laid_out, open};

/// A record whose red, green and blue planes count from different starts.
fn record(labels: &[u8], start: u8) -> Vec<u8> {
    let plane = |offset: u8| (0..1024_u32).map(move |at| (at as u8).wrapping_add(start).wrapping_add(offset));
    labels.iter().copied().chain(plane(0)).chain(plane(50)).chain(plane(100)).collect()
}

#[test]
fn cifar10_planes_are_interleaved_and_batches_follow_each_other() {
    let names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
    let batch = [record(&[3], 0), record(&[9], 1)].concat();
    let dir = laid_out(&[
        ("data_batch_2.bin", &record(&[1], 2)),
        ("data_batch_1.bin", &batch),
        ("test_batch.bin", &record(&[0], 3)),
        ("batches.meta.txt", names.as_bytes()),
    ]);
    let all = open("cifar10", dir.path(), "all").unwrap();
    assert_eq!(all.manifest().classes[3], "cat");
    let expected = [
        ("data_batch_1.bin#00000", Some(3)),
        ("data_batch_1.bin#00001", Some(9)),
        ("data_batch_2.bin#00000", Some(1)),
        ("test_batch.bin#00000", Some(0)),
    ];
    assert_eq!(entries(&*all), expected);
    for index in 0..4 {
        let Raw::Rgb(image) = all.read(index).unwrap() else { panic!("not pixels") };
        let start = index as u8;
        assert_eq!((image.width, image.height), (32, 32));
        assert_eq!(image.data[..6], [start, start + 50, start + 100, start + 1, start + 51, start + 101]);
    }
    assert_eq!(entries(&*open("cifar10", dir.path(), "test").unwrap()), expected[3..]);
    assert_eq!(entries(&*open("cifar10", dir.path(), "train").unwrap()), expected[..3]);
}

#[test]
fn cifar100_takes_the_fine_label() {
    let dir = laid_out(&[("train.bin", &record(&[4, 77], 0)), ("test.bin", &record(&[19, 99], 0))]);
    let all = open("cifar100", dir.path(), "all").unwrap();
    assert_eq!(entries(&*all), [("train.bin#00000", Some(77)), ("test.bin#00000", Some(99))]);
    assert_eq!(all.manifest().classes.len(), 100);
}

#[test]
fn cifar_files_of_a_wrong_size_or_label_are_refused() {
    let mut cut = record(&[3], 0);
    cut.pop();
    for bad in [cut, record(&[10], 0)] {
        let dir = laid_out(&[("data_batch_1.bin", &bad)]);
        let Err(error) = open("cifar10", dir.path(), "all") else { panic!("it opened") };
        assert!(matches!(error, DatasetError::Malformed { .. }), "{error}");
    }
    // What is missing of the training images is a training file.
    let no_train = laid_out(&[("test_batch.bin", &record(&[3], 0))]);
    let Err(DatasetError::Missing { path, .. }) = open("cifar10", no_train.path(), "train") else {
        panic!("it opened")
    };
    assert_eq!(path, no_train.path().join("data_batch_1.bin"));
    let empty = laid_out(&[("data_batch_1.bin", b"")]);
    assert!(matches!(open("cifar10", empty.path(), "all"), Err(DatasetError::Empty { .. })));
}

/// Three rows: the JPEG and PNG fixtures and a null; written once with pyarrow by `make_fixtures.py`.
#[test]
fn hub_parquet_gives_images_labels_and_class_names() {
    let dir = laid_out(&[
        ("data/train-00000-of-00001.parquet", &fixture("hub.parquet")),
        ("data/validation-00000-of-00001.parquet", &fixture("hub.parquet")),
    ]);
    let source = open("hf_parquet", dir.path(), "train").unwrap();
    let name = "data/train-00000-of-00001.parquet#00000";
    let expected: Vec<_> = [Some(1), Some(0), None].into_iter().enumerate().collect();
    for ((entry, label), (row, expected)) in entries(&*source).into_iter().zip(expected) {
        assert_eq!((entry, label), (format!("{name}{row}").as_str(), expected));
    }
    assert_eq!(source.manifest().classes, ["cat", "dog"]);
    assert_eq!(bytes(&*source, 0), fixture("grey.jpg"));
    assert_eq!(bytes(&*source, 1), fixture("grey.png"));
    assert_eq!(source.read(2).unwrap_err().reason(), "no embedded image");
    assert_eq!(open("hf_parquet", dir.path(), "test").unwrap().manifest().entries.len(), 3);
    let all = open("hf_parquet", dir.path(), "all").unwrap();
    assert_eq!(all.manifest().entries.len(), 6);
    assert_eq!(bytes(&*all, 4), fixture("grey.png"));
    assert_eq!(all.read(6).unwrap_err().reason(), "no such item");
}

/// A disk that fails is not a corrupt file: who reads the reason would throw good data away.
#[test]
fn a_parquet_file_that_is_gone_cannot_be_read() {
    let dir = laid_out(&[("x.parquet", &fixture("hub.parquet"))]);
    let source = open("hf_parquet", dir.path(), "all").unwrap();
    std::fs::remove_file(dir.path().join("x.parquet")).unwrap();
    assert_eq!(source.read(0).unwrap_err().reason(), "cannot read");
}
