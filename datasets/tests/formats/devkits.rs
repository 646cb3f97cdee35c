//! The datasets whose labels are MATLAB files, in miniature: Stanford Cars and Oxford Flowers.

use std::fs;

use tempfile::TempDir;

use crate::transfer::{check, missing, refusal};
use crate::{fixture, laid_out, open};

pub fn cars() -> TempDir {
    let photo = fixture("grey.jpg");
    let of = |name: &str| fixture(&format!("devkits/{name}"));
    laid_out(&[
        ("stanford_cars/devkit/cars_meta.mat", &of("cars_meta.mat")),
        ("stanford_cars/devkit/cars_train_annos.mat", &of("cars_train_annos.mat")),
        ("stanford_cars/cars_test_annos_withlabels.mat", &of("cars_test_annos_withlabels.mat")),
        ("stanford_cars/cars_train/00001.jpg", &photo),
        ("stanford_cars/cars_train/00002.jpg", &photo),
        ("stanford_cars/cars_test/00001.jpg", &photo),
    ])
}

/// Breaks if classes are not counted from 1, or photos of the same name in the two folders are mixed up.
#[test]
fn stanford_cars() {
    let dir = cars();
    let root = dir.path().join("stanford_cars");
    let classes = ["AM General Hummer SUV 2000", "Audi S4 Sedan 2007", "BMW Z4 Convertible 2012"];
    let (train, test) = ([("cars_train/00001.jpg", 2), ("cars_train/00002.jpg", 0)], [("cars_test/00001.jpg", 1)]);
    check("cars", &root, &classes, &[("train", &train), ("test", &test)]);
    assert_eq!(open("cars", dir.path(), "all").unwrap().manifest().entries.len(), 3);
    let labels = "cars_test_annos_withlabels.mat";
    fs::rename(root.join(labels), root.join("devkit").join(labels)).unwrap();
    check("cars", &root, &classes, &[("test", &test)]);
    fs::rename(root.join("devkit").join(labels), root.join("devkit/cars_test_annos.mat")).unwrap();
    assert!(missing("cars", &root, "test").contains(labels));
}

pub fn flowers() -> TempDir {
    let photo = fixture("grey.jpg");
    let (labels, sets) = (fixture("devkits/imagelabels.mat"), fixture("devkits/setid.mat"));
    let photos: Vec<String> = (1..=6).map(|n| format!("flowers-102/jpg/image_{n:05}.jpg")).collect();
    let mut files: Vec<(&str, &[u8])> = photos.iter().map(|name| (name.as_str(), photo.as_slice())).collect();
    files.extend([("flowers-102/imagelabels.mat", &*labels), ("flowers-102/setid.mat", &*sets)]);
    laid_out(&files)
}

/// Labels 2 1 3 1 2 3; training 3 2 1, validation 5, test 6 4. Breaks if either is counted from 0.
#[test]
fn oxford_flowers() {
    let dir = flowers();
    let [one, two, three] = [("jpg/image_00001.jpg", 1), ("jpg/image_00002.jpg", 0), ("jpg/image_00003.jpg", 2)];
    let [four, five, six] = [("jpg/image_00004.jpg", 0), ("jpg/image_00005.jpg", 1), ("jpg/image_00006.jpg", 2)];
    check(
        "flowers",
        &dir.path().join("flowers-102"),
        &["1", "2", "3"],
        &[
            ("train", &[one, two, three]),
            ("val", &[five]),
            ("trainval", &[one, two, three, five]),
            ("test", &[four, six]),
            ("all", &[one, two, three, four, five, six]),
        ],
    );
    fs::remove_file(dir.path().join("flowers-102/setid.mat")).unwrap();
    assert!(missing("flowers", dir.path(), "train").contains("setid.mat does not exist"));
    fs::write(dir.path().join("flowers-102/setid.mat"), fixture("devkits/imagelabels.mat")).unwrap();
    assert!(refusal("flowers", dir.path(), "train").contains("no array of numbers is called \"trnid\""));
}
