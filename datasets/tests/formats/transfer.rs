//! The datasets of the transfer protocol: miniatures of each in its official layout, every split of it, and lists that contradict it.

use std::fs;
use std::path::Path;

use datasets::DatasetError;
use tempfile::TempDir;

use crate::{bytes, entries, fixture, laid_out, open};

type Expected<'a> = &'a [(&'a str, u32)];

/// A miniature: lists and devkit files with their contents, and photos.
pub fn miniature(lists: &[(&str, &str)], photos: &[&str]) -> TempDir {
    let photo = fixture("grey.jpg");
    let mut files: Vec<(&str, &[u8])> = lists.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    files.extend(photos.iter().map(|name| (*name, photo.as_slice())));
    laid_out(&files)
}

/// Opens every split, compares names, labels and classes, and decodes the first photo.
pub fn check(name: &str, root: &Path, classes: &[&str], splits: &[(&str, Expected)]) {
    for (split, expected) in splits {
        let source = open(name, root, split).unwrap_or_else(|error| panic!("{name} {split}: {error}"));
        let expected: Vec<_> = expected.iter().map(|(name, label)| (*name, Some(*label))).collect();
        assert_eq!(entries(&*source), expected, "{name} {split}");
        assert_eq!(source.manifest().classes, classes, "{name} {split}");
        assert_eq!(source.manifest().entries[0].bytes, fixture("grey.jpg").len() as u64);
        assert!(datasets::decode(&bytes(&*source, 0)).is_ok());
    }
}

/// Which file is missing, for a split.
pub fn missing(name: &str, root: &Path, split: &str) -> String {
    match open(name, root, split) {
        Err(error @ DatasetError::Missing { .. }) => error.to_string(),
        Err(error) => panic!("{name} {split}: {error}"),
        Ok(_) => panic!("{name} {split} opened"),
    }
}

pub fn refusal(name: &str, root: &Path, split: &str) -> String {
    open(name, root, split).err().unwrap_or_else(|| panic!("{name} {split} opened")).to_string()
}

const PLACES: &str = "data/vision/torralba/deeplearning/images256";

pub fn places() -> TempDir {
    let photos = ["a/abbey/gsun_1.jpg", "a/abbey/gsun_2.jpg", "a/apse/indoor/gsun_3.jpg", "b/bar/gsun_4.jpg"];
    let photos = photos.map(|name| format!("{PLACES}/{name}"));
    miniature(
        &[
            ("trainvalsplit_places205/train_places205.csv", "b/bar/gsun_4.jpg 2\na/abbey/gsun_2.jpg 0\n"),
            ("trainvalsplit_places205/val_places205.csv", "a/apse/indoor/gsun_3.jpg 1\na/abbey/gsun_1.jpg 0\n"),
        ],
        &photos.each_ref().map(String::as_str),
    )
}

/// Breaks if a class of one list only (bar) shifts labels, or if its name loses its second folder.
#[test]
fn places205() {
    let dir = places();
    let of = |name: &str| format!("{PLACES}/{name}");
    let [one, two, three, four] =
        ["a/abbey/gsun_1.jpg", "a/abbey/gsun_2.jpg", "a/apse/indoor/gsun_3.jpg", "b/bar/gsun_4.jpg"].map(of);
    let (train, val) = ([(two.as_str(), 0), (four.as_str(), 2)], [(one.as_str(), 0), (three.as_str(), 1)]);
    check("places205", dir.path(), &["abbey", "apse/indoor", "bar"], &[("train", &train)]);
    check("places205", dir.path(), &["abbey", "apse/indoor"], &[("test", &val)]);
    assert_eq!(open("places205", dir.path(), "all").unwrap().manifest().entries.len(), 4);
    let list = dir.path().join("trainvalsplit_places205/val_places205.csv");
    fs::write(&list, "a/abbey/gsun_1.jpg 0\na/apse/indoor/gsun_3.jpg 0\n").unwrap();
    assert!(refusal("places205", dir.path(), "test").contains("line 2: label 0 is both \"abbey\" and \"apse/indoor\""));
    fs::remove_file(&list).unwrap();
    assert!(missing("places205", dir.path(), "test").contains("val_places205.csv does not exist"));
}

/// Breaks if a name with spaces or a slash is cut, or labels follow the order of lists instead of `variants.txt`.
#[test]
fn aircraft() {
    let dir = miniature(
        &[
            ("fgvc-aircraft-2013b/data/variants.txt", "707-320\nF/A-18\nGulfstream IV\n"),
            ("fgvc-aircraft-2013b/data/families.txt", "Boeing 707\nF/A-18\n"),
            ("fgvc-aircraft-2013b/data/images_variant_train.txt", "0002 Gulfstream IV\n"),
            ("fgvc-aircraft-2013b/data/images_variant_val.txt", "0001 F/A-18\n"),
            ("fgvc-aircraft-2013b/data/images_variant_trainval.txt", "0002 Gulfstream IV\n0001 F/A-18\n"),
            ("fgvc-aircraft-2013b/data/images_variant_test.txt", "0003 707-320\n"),
            ("fgvc-aircraft-2013b/data/images_family_test.txt", "0003 Boeing 707\n"),
        ],
        &["0001", "0002", "0003"]
            .map(|id| format!("fgvc-aircraft-2013b/data/images/{id}.jpg"))
            .each_ref()
            .map(|n| &**n),
    );
    let classes = ["707-320", "F/A-18", "Gulfstream IV"];
    check(
        "aircraft",
        &dir.path().join("fgvc-aircraft-2013b/data"),
        &classes,
        &[
            ("train", &[("images/0002.jpg", 2)]),
            ("val", &[("images/0001.jpg", 1)]),
            ("trainval", &[("images/0001.jpg", 1), ("images/0002.jpg", 2)]),
            ("test", &[("images/0003.jpg", 0)]),
            ("all", &[("images/0001.jpg", 1), ("images/0002.jpg", 2), ("images/0003.jpg", 0)]),
        ],
    );
    let whole = "fgvc-aircraft-2013b/data/images/0003.jpg";
    check("aircraft", dir.path(), &classes, &[("test", &[(whole, 0)])]);
    check("aircraft_family", dir.path(), &["Boeing 707", "F/A-18"], &[("test", &[(whole, 0)])]);
    assert!(missing("aircraft_manufacturer", dir.path(), "test").contains("manufacturers.txt does not exist"));
    assert!(refusal("aircraft", dir.path(), "partition:1:train").contains("it has: all, train, val, trainval, test"));
}

pub const CUB: [(&str, &str); 4] = [
    ("CUB_200_2011/images.txt", "1 001.Auk/Auk_0002_1.jpg\n2 001.Auk/Auk_0001_2.jpg\n3 002.Wren/Wren_3.jpg\n"),
    ("CUB_200_2011/image_class_labels.txt", "1 1\n2 1\n3 2\n"),
    ("CUB_200_2011/train_test_split.txt", "1 0\n2 1\n3 1\n"),
    ("CUB_200_2011/classes.txt", "1 001.Auk\n2 002.Wren\n"),
];

/// Breaks if 1 (training) and 0 (test) change places, or the order of `images.txt` is taken for dataset order.
#[test]
fn cub() {
    let photos = ["001.Auk/Auk_0002_1.jpg", "001.Auk/Auk_0001_2.jpg", "002.Wren/Wren_3.jpg"];
    let dir = miniature(&CUB, &photos.map(|name| format!("CUB_200_2011/images/{name}")).each_ref().map(|n| &**n));
    check(
        "cub",
        &dir.path().join("CUB_200_2011"),
        &["001.Auk", "002.Wren"],
        &[
            ("train", &[("images/001.Auk/Auk_0001_2.jpg", 0), ("images/002.Wren/Wren_3.jpg", 1)]),
            ("test", &[("images/001.Auk/Auk_0002_1.jpg", 0)]),
        ],
    );
    assert_eq!(open("cub", dir.path(), "all").unwrap().manifest().entries.len(), 3);
    for (file, text, complaint) in [
        ("classes.txt", "2 002.Wren\n", "line 1: class number 2 where 1 was expected"),
        ("image_class_labels.txt", "1 3\n", "line 1: \"3\" where a class was expected"),
        ("image_class_labels.txt", "1 1\n", "line 2: image 2 is not in image_class_labels.txt"),
        ("train_test_split.txt", "1 yes\n", "line 1: \"yes\" where a 0 or 1 was expected"),
        ("train_test_split.txt", "1 1\n1 0\n", "line 2: image 1 is listed twice"),
        ("images.txt", "1\n", "line 1: \"1\" has no image"),
        ("images.txt", "1 ../../secret.jpg\n", "is not a path below the dataset's folder"),
    ] {
        let path = dir.path().join("CUB_200_2011").join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, text).unwrap();
        let error = refusal("cub", dir.path(), "all");
        assert!(error.contains(complaint) && error.contains(".txt"), "{error}");
        fs::write(&path, before).unwrap();
    }
}

/// Breaks if the ten partitions are mixed up, or a class without an image in a list shifts the labels.
#[test]
fn dtd() {
    let dir = miniature(
        &[
            ("dtd/labels/train1.txt", "woven/woven_0002.jpg\nbanded/banded_0001.jpg\n"),
            ("dtd/labels/val1.txt", "woven/woven_0001.jpg\n"),
            ("dtd/labels/test1.txt", "dotted/dotted_0001.jpg\n"),
            ("dtd/labels/test10.txt", "woven/woven_0002.jpg\n"),
        ],
        &[
            "dtd/images/woven/woven_0001.jpg",
            "dtd/images/woven/woven_0002.jpg",
            "dtd/images/banded/banded_0001.jpg",
            "dtd/images/dotted/dotted_0001.jpg",
        ],
    );
    let (banded, dotted) = (("images/banded/banded_0001.jpg", 0), ("images/dotted/dotted_0001.jpg", 1));
    let (first, second) = (("images/woven/woven_0001.jpg", 2), ("images/woven/woven_0002.jpg", 2));
    check(
        "dtd",
        &dir.path().join("dtd"),
        &["banded", "dotted", "woven"],
        &[
            ("train", &[banded, second]),
            ("val", &[first]),
            ("trainval", &[banded, first, second]),
            ("test", &[dotted]),
            ("partition:1:test", &[dotted]),
            ("partition:10:test", &[second]),
            ("all", &[banded, dotted, first, second]),
        ],
    );
    assert!(missing("dtd", dir.path(), "partition:2:val").contains("labels/val2.txt does not exist"));
    assert!(matches!(open("dtd", dir.path(), "partition:11:val"), Err(DatasetError::NoSplit { .. })));
}

#[test]
fn food101() {
    let dir = miniature(
        &[
            ("food-101/meta/classes.txt", "apple_pie\nwaffles\n"),
            ("food-101/meta/train.txt", "waffles/10\nwaffles/9\n"),
            ("food-101/meta/test.txt", "apple_pie/7\n"),
        ],
        &["food-101/images/waffles/10.jpg", "food-101/images/waffles/9.jpg", "food-101/images/apple_pie/7.jpg"],
    );
    let (pie, ten, nine) = (("images/apple_pie/7.jpg", 0), ("images/waffles/10.jpg", 1), ("images/waffles/9.jpg", 1));
    let root = dir.path().join("food-101");
    let splits: [(&str, Expected); 3] = [("train", &[ten, nine]), ("test", &[pie]), ("all", &[pie, ten, nine])];
    check("food101", &root, &["apple_pie", "waffles"], &splits);
    fs::remove_file(root.join("images/waffles/9.jpg")).unwrap();
    let error = missing("food101", &root, "train");
    assert!(error.contains("waffles/9.jpg does not exist") && error.contains("of which 1 are missing"), "{error}");
    fs::write(root.join("meta/train.txt"), "sushi/1\n").unwrap();
    assert!(refusal("food101", &root, "train").contains("train.txt: line 1: \"sushi\" is none of the 2 classes"));
    fs::write(root.join("meta/train.txt"), "/etc/passwd\n").unwrap();
    assert!(refusal("food101", &root, "train").contains("none of the 2 classes"));
    fs::write(root.join("meta/train.txt"), "waffles/../../../x\n").unwrap();
    assert!(refusal("food101", &root, "train").contains("not a path below"));
    fs::write(root.join("meta/classes.txt"), "waffles\nwaffles\n").unwrap();
    assert!(refusal("food101", &root, "test").contains("line 2: class \"waffles\" is listed twice"));
}

/// Breaks if a breed's name is cut at its first underscore, or a split without a breed has other labels.
#[test]
fn oxford_pets() {
    let dir = miniature(
        &[
            ("annotations/trainval.txt", "Abyssinian_100 1 1 1\namerican_bulldog_2 2 2 1\n"),
            ("annotations/test.txt", "american_bulldog_10 2 2 1\nbeagle_1 3 2 2\n"),
            ("annotations/list.txt", "#Image CLASS-ID SPECIES BREED ID\n"),
        ],
        &[
            "images/Abyssinian_100.jpg",
            "images/american_bulldog_2.jpg",
            "images/american_bulldog_10.jpg",
            "images/beagle_1.jpg",
        ],
    );
    let (cat, second) = (("images/Abyssinian_100.jpg", 0), ("images/american_bulldog_2.jpg", 1));
    let (tenth, beagle) = (("images/american_bulldog_10.jpg", 1), ("images/beagle_1.jpg", 2));
    check(
        "pets",
        dir.path(),
        &["Abyssinian", "american_bulldog", "beagle"],
        &[("trainval", &[cat, second]), ("test", &[tenth, beagle]), ("all", &[cat, tenth, second, beagle])],
    );
    assert!(refusal("pets", dir.path(), "train").contains("has no train split; it has: all, trainval, test"));
    fs::write(dir.path().join("annotations/test.txt"), "beagle_1 2 2 1\n").unwrap();
    assert!(refusal("pets", dir.path(), "all").contains("class 2 is both \"american_bulldog\" and \"beagle\""));
    fs::write(dir.path().join("annotations/test.txt"), "beagle_1\n").unwrap();
    assert!(refusal("pets", dir.path(), "test").contains("test.txt: line 1: \"beagle_1\" has no class"));
}

/// Breaks if the leading slash is taken for the root of the disk, or a class of two folders for one.
#[test]
fn sun397() {
    let dir = miniature(
        &[
            ("Partitions/ClassName.txt", "/a/abbey\n/a/apse/indoor\n/b/bar\n"),
            ("Partitions/Training_01.txt", "/a/apse/indoor/sun_2.jpg\n/a/abbey/sun_9.jpg\n"),
            ("Partitions/Testing_01.txt", "/a/abbey/sun_1.jpg\n"),
            ("Partitions/Testing_10.txt", "/a/abbey/sun_9.jpg\n"),
        ],
        &["SUN397/a/abbey/sun_1.jpg", "SUN397/a/abbey/sun_9.jpg", "SUN397/a/apse/indoor/sun_2.jpg"],
    );
    let (one, nine) = (("SUN397/a/abbey/sun_1.jpg", 0), ("SUN397/a/abbey/sun_9.jpg", 0));
    let apse = ("SUN397/a/apse/indoor/sun_2.jpg", 1);
    check(
        "sun397",
        dir.path(),
        &["abbey", "apse/indoor", "bar"],
        &[("train", &[nine, apse]), ("test", &[one]), ("partition:10:test", &[nine]), ("all", &[one, nine, apse])],
    );
    assert!(missing("sun397", dir.path(), "partition:2:train").contains("Training_02.txt does not exist"));
    fs::write(dir.path().join("Partitions/Testing_01.txt"), "/a/attic/sun_1.jpg\n").unwrap();
    assert!(refusal("sun397", dir.path(), "test").contains("\"attic\" is none of the 3 classes"));
    fs::write(dir.path().join("SUN397/stray.jpg"), "x").unwrap();
    assert!(refusal("sun397", dir.path(), "all").contains("stray.jpg: lies in no folder of ClassName.txt"));
}

pub fn voc() -> TempDir {
    let main = "VOCdevkit/VOC2007/ImageSets/Main";
    let lists: Vec<(String, &str)> = [
        ("train.txt", "000012\n"),
        ("val.txt", "000005\n000007\n"),
        ("trainval.txt", "000005\n000007\n000012\n"),
        ("test.txt", "000001\n"),
        ("chair_trainval.txt", "000005  1\n000007 -1\n000012 -1\n"),
        ("person_trainval.txt", "000005  0\n000007 -1\n000012  1\n"),
        ("chair_test.txt", "000001 -1\n"),
        ("person_test.txt", "000001  1\n"),
        // Lists of a part of trainval say nothing new.
        ("person_train.txt", "000012  1\n"),
    ]
    .map(|(name, text)| (format!("{main}/{name}"), text))
    .to_vec();
    let lists: Vec<(&str, &str)> = lists.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let photos = ["000001", "000005", "000007", "000012"].map(|id| format!("VOCdevkit/VOC2007/JPEGImages/{id}.jpg"));
    miniature(&lists, &photos.each_ref().map(String::as_str))
}

/// Breaks if 0 (difficult) is read as yes or as no, or an image without objects loses its label.
#[test]
fn voc2007() {
    let dir = voc();
    let root = dir.path().join("VOCdevkit/VOC2007");
    let [one, five] = [("JPEGImages/000001.jpg", 2), ("JPEGImages/000005.jpg", 1)];
    let [seven, twelve] = [("JPEGImages/000007.jpg", 0), ("JPEGImages/000012.jpg", 2)];
    check(
        "voc2007",
        &root,
        &["", "chair+person?", "person"],
        &[
            ("train", &[twelve]),
            ("val", &[five, seven]),
            ("trainval", &[five, seven, twelve]),
            ("test", &[one]),
            ("all", &[one, five, seven, twelve]),
        ],
    );
    let main = root.join("ImageSets/Main");
    for (file, text, complaint) in [
        ("person_test.txt", "000001 2\n", "person_test.txt: line 1: \"2\" is not 1, 0 or -1"),
        ("person_test.txt", "000009 1\n", "line 1: image \"000009\" is not in test.txt"),
        ("person_test.txt", "000001 1\n000001 1\n", "line 2: image \"000001\" is listed twice"),
        ("person_test.txt", "", "has 0 of the 1 images of test.txt"),
        ("person_test.txt", "000001\n", "line 1: \"000001\" has no 1, 0 or -1"),
    ] {
        fs::write(main.join(file), text).unwrap();
        let error = refusal("voc2007", &root, "test");
        assert!(error.contains(complaint), "{error}");
    }
    for file in ["test.txt", "person_test.txt", "chair_test.txt"] {
        fs::remove_file(main.join(file)).unwrap();
    }
    assert!(missing("voc2007", dir.path(), "test").contains("test.txt does not exist"));
    assert_eq!(open("voc2007", dir.path(), "all").unwrap().manifest().entries.len(), 3);
}

/// Each names what is not there, and says where it belongs.
#[test]
fn an_empty_folder_is_told_what_belongs_there() {
    let dir = laid_out(&[("notes.txt", b"nothing")]);
    for (name, split, first) in [
        ("places205", "test", "trainvalsplit_places205"),
        ("aircraft", "test", "images"),
        ("cub", "test", "images.txt"),
        ("cars", "test", "devkit"),
        ("dtd", "test", "images"),
        ("flowers", "test", "jpg"),
        ("food101", "test", "meta"),
        ("pets", "test", "annotations"),
        ("sun397", "test", "SUN397"),
        ("voc2007", "test", "ImageSets/Main"),
    ] {
        let error = missing(name, dir.path(), split);
        assert!(error.contains(&format!("{first} does not exist")) && error.contains("expected"), "{error}");
    }
}
