//! Folders: ImageNet, Caltech-101, VOC, ADE20K, NYU, own photos.

use datasets::{DatasetError, Raw};

use crate::{bytes, entries, laid_out, open};

#[test]
fn imagenet_folders_share_one_list_of_classes() {
    let dir = laid_out(&[
        ("train/n02/b.JPEG", b"2b"),
        ("train/n01/z.JPEG", b"1z"),
        ("train/n01/a.JPEG", b"1a"),
        ("train/n01/.DS_Store", b"no"),
        ("val/n02/v.JPEG", b"2v"),
        ("val/n03/w.JPEG", b"3w"),
    ]);
    let all = open("imagenet", dir.path(), "all").unwrap();
    assert_eq!(all.manifest().classes, ["n01", "n02", "n03"]);
    let expected = [
        ("train/n01/a.JPEG", Some(0)),
        ("train/n01/z.JPEG", Some(0)),
        ("train/n02/b.JPEG", Some(1)),
        ("val/n02/v.JPEG", Some(1)),
        ("val/n03/w.JPEG", Some(2)),
    ];
    assert_eq!(entries(&*all), expected);
    assert_eq!(all.manifest().entries[0].bytes, 2);
    assert_eq!(bytes(&*all, 4), b"3w");
    // n01 is not in val: were labels places among val's own folders, a probe fitted on train would score wrong ones.
    let val = open("imagenet", dir.path(), "test").unwrap();
    assert_eq!(entries(&*val), expected[3..]);
    let train = open("imagenet", dir.path(), "train").unwrap();
    assert_eq!(entries(&*train), expected[..3]);
    assert_eq!(train.manifest().classes, val.manifest().classes);
    assert_eq!(train.manifest().classes, all.manifest().classes);
}

#[test]
fn a_split_without_its_folder_is_missing() {
    let dir = laid_out(&[("train/n01/a.JPEG", b"a")]);
    assert_eq!(entries(&*open("imagenet", dir.path(), "all").unwrap()), [("train/n01/a.JPEG", Some(0))]);
    let Err(DatasetError::Missing { path, .. }) = open("imagenet", dir.path(), "test") else { panic!("it opened") };
    assert_eq!(path, dir.path().join("val"));
}

#[test]
fn caltech_leaves_the_background_out_and_splits_within_classes() {
    let mut files: Vec<(String, &[u8])> = Vec::new();
    for (class, count) in [("Faces", 3), ("ant", 5), ("BACKGROUND_Google", 2)] {
        files.extend((1..=count).map(|n| (format!("101_ObjectCategories/{class}/image_{n:04}.jpg"), &b"x"[..])));
    }
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let dir = laid_out(&files);
    let train = open("caltech101", dir.path(), "class:2/3:train").unwrap();
    let test = open("caltech101", &dir.path().join("101_ObjectCategories"), "class:2/3:test").unwrap();
    assert_eq!(train.manifest().classes, ["Faces", "ant"]);
    let labels = |source: &dyn datasets::Source| -> Vec<u32> {
        source.manifest().entries.iter().map(|entry| entry.label.unwrap()).collect()
    };
    assert_eq!(labels(&*train), [0, 0, 1, 1, 1]);
    assert_eq!(labels(&*test), [0, 1, 1]);
    assert_eq!(test.manifest().entries[0].name, "Faces/image_0003.jpg");
    assert!(matches!(open("caltech101", dir.path(), "train"), Err(DatasetError::NoSplit { .. })));
}

#[test]
fn voc_follows_its_lists() {
    let dir = laid_out(&[
        ("VOC2012/JPEGImages/2007_000027.jpg", b"a"),
        ("VOC2012/JPEGImages/2007_000032.jpg", b"b"),
        ("VOC2012/JPEGImages/2007_000039.jpg", b"c"),
        ("VOC2012/ImageSets/Main/train.txt", b"2007_000032\n"),
        ("VOC2012/ImageSets/Main/val.txt", b"2007_000039 1\n2007_999999 -1\n"),
    ]);
    assert_eq!(open("voc", dir.path(), "all").unwrap().manifest().entries.len(), 3);
    let train = open("voc", &dir.path().join("VOC2012"), "train").unwrap();
    assert_eq!(entries(&*train), [("JPEGImages/2007_000032.jpg", None)]);
    let Err(error) = open("voc", dir.path(), "test") else { panic!("a listed photo is missing") };
    assert!(error.to_string().contains("lists 2 images, of which 1"), "{error}");
}

#[test]
fn ade_and_nyu_are_photos_at_their_places() {
    let dir = laid_out(&[
        ("images/validation/ADE_val_00000001.jpg", b"a"),
        ("annotations/validation/ADE_val_00000001.png", b"no"),
        ("test/scene/rgb_00000.jpg", b"b"),
        ("test/scene/sync_depth_00000.png", b"no"),
    ]);
    let ade = open("ade20k", dir.path(), "test").unwrap();
    assert_eq!(entries(&*ade), [("images/validation/ADE_val_00000001.jpg", None)]);
    let nyu = open("nyu", dir.path(), "test").unwrap();
    assert_eq!(entries(&*nyu), [("test/scene/rgb_00000.jpg", None)]);
}

#[test]
fn wrong_images_are_items_so_that_they_are_counted_and_other_files_are_none() {
    let dir = laid_out(&[
        ("photo.JPG", &crate::fixture("grey.jpg")),
        ("letter.png", b"not a photo"),
        ("empty.jpeg", b""),
        ("notes.txt", b"not a photo"),
        ("README.md", b"about"),
        ("LICENCE", b"none"),
    ]);
    let source = open("photos", dir.path(), "all").unwrap();
    let reasons: Vec<_> = (0..3)
        .map(|index| match source.read(index).unwrap() {
            Raw::Encoded(bytes) => datasets::decode(&bytes).map_or_else(|error| error.reason(), |_| "decoded"),
            Raw::Rgb(_) => "pixels",
        })
        .collect();
    assert_eq!(entries(&*source), [("empty.jpeg", None), ("letter.png", None), ("photo.JPG", None)]);
    assert_eq!(reasons, ["empty file", "not an image", "decoded"]);
}

#[test]
fn a_missing_folder_is_named_with_its_nearest_parent() {
    let dir = laid_out(&[("here/x.jpg", b"x")]);
    for name in
        ["imagenet", "imagenet_tar", "caltech101", "cifar10", "voc", "photos", "folders", "webdataset", "hf_parquet"]
    {
        let Err(DatasetError::Missing { path, existing, .. }) = open(name, &dir.path().join("here/not/there"), "all")
        else {
            panic!("{name} opened nothing");
        };
        assert!(path.starts_with(dir.path().join("here/not/there")), "{name}");
        assert_eq!(existing, dir.path().join("here"), "{name}");
    }
}

#[test]
fn own_class_folders_have_official_splits_if_so_laid_out() {
    let dir = laid_out(&[("train/cat/1.png", b"1"), ("val/cat/2.png", b"2"), ("val/dog/3.png", b"3")]);
    assert_eq!(entries(&*open("folders", dir.path(), "train").unwrap()), [("train/cat/1.png", Some(0))]);
    assert_eq!(open("folders", dir.path(), "all").unwrap().manifest().entries.len(), 3);
    let sparse = laid_out(&[("train/ant/1.png", b"1"), ("train/bee/2.png", b"2"), ("test/bee/3.png", b"3")]);
    assert_eq!(entries(&*open("folders", sparse.path(), "test").unwrap()), [("test/bee/3.png", Some(1))]);
    let plain = laid_out(&[("cat/1.png", b"1")]);
    assert_eq!(open("folders", plain.path(), "all").unwrap().manifest().classes, ["cat"]);
    assert!(matches!(open("folders", plain.path(), "train"), Err(DatasetError::NoSplit { .. })));
}

/// Breaks when a lone split is taken for a dataset of one class, or a class called `test` for a split.
#[test]
fn a_split_may_stand_alone() {
    for split in ["train", "val", "test"] {
        let dir = laid_out(&[(&format!("{split}/cat/1.png"), b"1"), (&format!("{split}/dog/2.png"), b"2")]);
        let asked = if split == "train" { "train" } else { "test" };
        for asked in ["all", asked] {
            let source = open("folders", dir.path(), asked).unwrap();
            assert_eq!(source.manifest().classes, ["cat", "dog"], "{split} as {asked}");
            assert_eq!(source.manifest().entries.len(), 2);
        }
    }
    for other in ["cat/1.png", "test/1.png"] {
        let dir = laid_out(&[(other, b"1"), ("test/2.png", b"2")]);
        assert!(open("folders", dir.path(), "all").unwrap().manifest().classes.contains(&"test".to_owned()));
    }
}

#[test]
fn a_dataset_on_disk_needs_a_root() {
    for name in datasets::catalog::names().into_iter().filter(|name| *name != "synthetic") {
        let Err(error) = open(name, std::path::Path::new(""), "all") else { panic!("{name} opened nothing") };
        assert!(matches!(error, DatasetError::NoRoot { .. }), "{name}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    let dir = laid_out(&[("store/a.jpg", b"a"), ("set/cat/b.jpg", b"b")]);
    std::os::unix::fs::symlink(dir.path().join("store/a.jpg"), dir.path().join("set/cat/a.jpg")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("nowhere"), dir.path().join("set/cat/c.jpg")).unwrap();
    let source = open("folders", &dir.path().join("set"), "all").unwrap();
    assert_eq!(entries(&*source), [("cat/a.jpg", Some(0)), ("cat/b.jpg", Some(0)), ("cat/c.jpg", Some(0))]);
    assert_eq!(bytes(&*source, 0), b"a");
    assert_eq!(source.read(2).unwrap_err().reason(), "cannot read");
    let whole = source.manifest().clone();
    for (target, link) in [("set", "set/cat/up"), ("set/cat", "set/cat/here"), ("", "set/cat/out")] {
        std::os::unix::fs::symlink(dir.path().join(target), dir.path().join(link)).unwrap();
    }
    assert_eq!(*open("folders", &dir.path().join("set"), "all").unwrap().manifest(), whole);
    assert_eq!(entries(&*open("photos", &dir.path().join("set"), "all").unwrap()).len(), 3);
}

#[test]
fn folders_too_deep_are_an_error_and_not_left_out() {
    let path = |depth: usize| format!("{}x.jpg", "d/".repeat(depth));
    let dir = laid_out(&[(&path(16), b"deep")]);
    assert_eq!(entries(&*open("photos", dir.path(), "all").unwrap()), [(path(16).as_str(), None)]);
    let dir = laid_out(&[("a.jpg", b"a"), (&path(17), b"too deep")]);
    let Err(error) = open("photos", dir.path(), "all") else { panic!("an image was left out") };
    assert!(error.to_string().contains("more than 16 folders deep"), "{error}");
}
