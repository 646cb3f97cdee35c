//! Datasets with the truth of every pixel, in miniature: ADE20K, VOC, CamVid, Cityscapes, NYU, scenes.

use std::fs;

use datasets::decode::{Levels, decode_levels};
use datasets::{DatasetSpec, DenseTruth, Raw, ReadError, Source};
use png::{BitDepth, ColorType};
use proptest::prelude::*;

use crate::hostile::{damage, damaged};
use crate::{entries, fixture, laid_out, open};

/// A PNG of these packed rows.
fn png_of(width: u32, height: u32, colour: ColorType, depth: BitDepth, rows: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == ColorType::Indexed {
        // All entries look alike: who reads colours learns nothing.
        encoder.set_palette(vec![77; 256 * 3]);
    }
    encoder.write_header().unwrap().write_image_data(rows).unwrap();
    bytes
}

fn grey(width: u32, labels: &[u8]) -> Vec<u8> {
    png_of(width, labels.len() as u32 / width, ColorType::Grayscale, BitDepth::Eight, labels)
}

fn indexed(width: u32, labels: &[u8]) -> Vec<u8> {
    png_of(width, labels.len() as u32 / width, ColorType::Indexed, BitDepth::Eight, labels)
}

fn depth_png(width: u32, millimetres: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = millimetres.iter().flat_map(|depth| depth.to_be_bytes()).collect();
    png_of(width, millimetres.len() as u32 / width, ColorType::Grayscale, BitDepth::Sixteen, &bytes)
}

fn segments(height: usize, width: usize, labels: &[u8]) -> DenseTruth {
    DenseTruth { height, width, segments: Some(labels.to_vec()), depth_m: None }
}

fn truth(source: &dyn Source, index: usize) -> DenseTruth {
    source.dense_truth(index).unwrap().unwrap()
}

fn refused(source: &dyn Source, index: usize) -> String {
    let error = source.dense_truth(index).unwrap_err();
    assert_eq!(error.reason(), "bad annotation", "{error}");
    error.to_string()
}

/// Breaks if a photo gets another's annotation, labels are shifted, or a missing annotation goes unnoticed.
#[test]
fn ade20k() {
    let labels = [0, 1, 150, 0, 7, 7];
    let info = "Idx\tRatio\tTrain\tVal\tName\n1\t0.1576\t11664\t1172\twall\n2\t0.1072\t6046\t612\tbuilding, edifice\n";
    let dir = laid_out(&[
        ("images/training/ADE_train_00000001.jpg", b"t"),
        ("images/validation/ADE_val_00000001.jpg", b"a"),
        ("images/validation/ADE_val_00000002.jpg", b"b"),
        ("images/validation/ADE_val_00000003.jpg", b"c"),
        ("annotations/training/ADE_train_00000001.png", &grey(1, &[9])),
        ("annotations/validation/ADE_val_00000001.png", &grey(3, &labels)),
        ("annotations/validation/ADE_val_00000003.png", &depth_png(1, &[3])),
        ("objectInfo150.txt", info.as_bytes()),
    ]);
    let val = open("ade20k", dir.path(), "test").unwrap();
    assert_eq!(truth(&*val, 0), segments(2, 3, &labels));
    assert!(refused(&*val, 1).contains("ADE_val_00000002.png: is missing"));
    assert!(refused(&*val, 2).contains("16 bits a pixel"));
    assert!(matches!(val.dense_truth(3), Err(ReadError::OutOfRange { index: 3, len: 3 })));
    assert_eq!(val.segment_classes(), ["other", "wall", "building, edifice"]);
    assert_eq!(truth(&*open("ade20k", dir.path(), "train").unwrap(), 0), segments(1, 1, &[9]));
    assert_eq!(truth(&*open("ade20k", dir.path(), "all").unwrap(), 1), segments(2, 3, &labels));

    let digest = val.dense_annotations();
    assert_eq!(digest, open("ade20k", dir.path(), "test").unwrap().dense_annotations());
    // Photos alone are enough for whoever needs no masks.
    fs::remove_file(dir.path().join("objectInfo150.txt")).unwrap();
    fs::remove_dir_all(dir.path().join("annotations")).unwrap();
    let bare = open("ade20k", dir.path(), "test").unwrap();
    assert!(bare.segment_classes().is_empty());
    assert_ne!(bare.dense_annotations(), digest);
}

#[test]
fn ade20k_classes_are_counted_from_one_without_gaps() {
    for (info, complaint) in [
        ("Idx\tName\n2\twall\n", "class 2 stands where class 1 should"),
        ("Idx\tName\n1\twall\n1\twall\n", "class 1 stands where class 2 should"),
        ("Idx\tName\nwall\t1\n", "not a number from 1"),
        ("Idx\tName\n1\n", "has no columns"),
    ] {
        let dir = laid_out(&[("images/validation/a.jpg", b"a"), ("objectInfo150.txt", info.as_bytes())]);
        let error = open("ade20k", dir.path(), "test").err().unwrap().to_string();
        assert!(error.contains(complaint), "{error}");
    }
}

/// Breaks if colours of the palette are read, or the lists of `Main` are followed.
#[test]
fn voc_masks_are_indices_and_follow_the_lists_of_segmentation() {
    let dir = laid_out(&[
        ("VOC2012/JPEGImages/2007_000032.jpg", b"a"),
        ("VOC2012/JPEGImages/2007_000033.jpg", b"b"),
        ("VOC2012/JPEGImages/2007_000034.jpg", b"no mask"),
        ("VOC2012/SegmentationClass/2007_000032.png", &indexed(2, &[0, 15, 255, 20])),
        ("VOC2012/SegmentationClass/2007_000033.png", &png_of(5, 1, ColorType::Indexed, BitDepth::Four, &[0x1f, 0x2e, 0x30])),
        ("VOC2012/ImageSets/Segmentation/train.txt", b"2007_000033\n2007_000032\n"),
        ("VOC2012/ImageSets/Segmentation/val.txt", b"2007_000034\n"),
        ("VOC2012/ImageSets/Segmentation/trainval.txt", b"2007_999999\n"),
        ("VOC2012/ImageSets/Main/train.txt", b"2007_000034\n"),
        (
            "VOC2012/Annotations/2007_000032.xml",
            b"<annotation><object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object></annotation>",
        ),
    ]);
    let all = open("voc_seg", dir.path(), "all").unwrap();
    let names = [("VOC2012/JPEGImages/2007_000032.jpg", None), ("VOC2012/JPEGImages/2007_000033.jpg", None)];
    assert_eq!(entries(&*all), names);
    assert_eq!(truth(&*all, 0), segments(2, 2, &[0, 15, 255, 20]));
    assert_eq!(truth(&*all, 1), segments(1, 5, &[1, 15, 2, 14, 3]));
    assert_eq!(all.segment_classes()[15], "person");
    assert_eq!(all.truth(0).unwrap().unwrap().boxes[0].class.as_deref(), Some("dog"));
    assert_eq!(entries(&*open("voc_seg", dir.path(), "train").unwrap()), names);
    // A listed photo without a mask is an item, and an error once its mask is asked for; one without a photo is no dataset.
    let val = open("voc_seg", &dir.path().join("VOC2012"), "test").unwrap();
    assert_eq!(entries(&*val), [("JPEGImages/2007_000034.jpg", None)]);
    assert!(refused(&*val, 0).contains("is missing"));
    assert!(open("voc_seg", dir.path(), "trainval").err().unwrap().to_string().contains("does not exist"));
}

#[test]
fn camvid_has_its_masks_in_folders_of_their_own() {
    let dir = laid_out(&[
        ("train/b.png", b"1"),
        ("train/a.jpg", b"1"),
        ("trainannot/a.png", &grey(2, &[11, 3])),
        ("trainannot/b.png", &grey(2, &[4, 3])),
        ("val/v.png", b"2"),
        ("valannot/v.png", &png_of(3, 1, ColorType::Grayscale, BitDepth::Two, &[0b01_10_11_00])),
        ("classes.txt", b"sky\nbuilding\n"),
    ]);
    let train = open("masks", dir.path(), "train").unwrap();
    assert_eq!(entries(&*train), [("train/a.jpg", None), ("train/b.png", None)]);
    assert_eq!(truth(&*train, 0), segments(1, 2, &[11, 3]));
    assert_eq!(train.segment_classes(), ["sky", "building"]);
    // Two bits a pixel hold 1 2 3, which a reader of greys would stretch to 85 170 255.
    assert_eq!(truth(&*open("masks", dir.path(), "val").unwrap(), 0), segments(1, 3, &[1, 2, 3]));
    for split in ["all", "trainval"] {
        let both = open("masks", dir.path(), split).unwrap();
        assert_eq!(entries(&*both).len(), 3, "{split}");
        assert_eq!(truth(&*both, 2), segments(1, 3, &[1, 2, 3]));
    }
    assert!(open("masks", dir.path(), "test").err().unwrap().to_string().contains("does not exist"));
    // A selection keeps photo and mask together.
    let mut spec = DatasetSpec::new("masks", dir.path());
    spec.split = "every:3@1:test".parse().unwrap();
    let one = datasets::open(&spec).unwrap();
    assert_eq!((entries(&*one), truth(&*one, 0)), (vec![("train/b.png", None)], segments(1, 2, &[4, 3])));
    assert_eq!(one.segment_classes().len(), 2);
    assert!(one.dense_truth(1).unwrap().is_none());
}

#[test]
fn cityscapes_numbers_become_train_numbers() {
    let dir = laid_out(&[
        ("leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png", b"1"),
        ("leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png", b"2"),
        ("gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png", &grey(4, &[7, 33, 0, 1])),
        ("gtFine/train/aachen/aachen_000000_000019_gtFine_color.png", b"no"),
        ("gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png", &grey(3, &[26, 29, 11])),
    ]);
    let all = open("cityscapes", dir.path(), "all").unwrap();
    assert_eq!(truth(&*all, 0), segments(1, 4, &[0, 18, 255, 255]));
    assert_eq!(truth(&*all, 1), segments(1, 3, &[13, 255, 2]));
    assert_eq!(all.segment_classes()[13], "car");
    assert_eq!(entries(&*open("cityscapes", dir.path(), "test").unwrap()).len(), 1);
}

/// Breaks if 16 bits are cut to 8, bytes are exchanged, or metres and millimetres are mixed up.
#[test]
fn nyu_depth_is_in_millimetres() {
    let photo = fixture("grey.jpg");
    let dir = laid_out(&[
        ("train/kitchen/rgb_00001.jpg", &photo),
        ("train/kitchen/sync_depth_00001.png", &depth_png(2, &[0, 1000])),
        ("test/bath/rgb_00045.jpg", &photo),
        ("test/bath/sync_depth_00045.png", &depth_png(3, &[1, 9999, 65535])),
        ("test/bath/rgb_00046.jpg", &photo),
        ("test/bath/sync_depth_00046.png", &grey(1, &[3])),
    ]);
    let test = open("nyu", dir.path(), "test").unwrap();
    assert_eq!(truth(&*test, 0).depth_m.unwrap(), [0.001, 9.999, 65.535]);
    assert!(refused(&*test, 1).contains("16-bit grey, in millimetres"));
    let train = open("nyu", dir.path(), "train").unwrap();
    assert_eq!(truth(&*train, 0), DenseTruth { height: 1, width: 2, segments: None, depth_m: Some(vec![0.0, 1.0]) });

    // With a list, what it names is the split, wherever the folders are.
    fs::write(
        dir.path().join("nyudepthv2_test_files_with_gt.txt"),
        "bath/rgb_00045.jpg bath/sync_depth_00045.png 518.8579\n",
    )
    .unwrap();
    let listed = open("nyu", dir.path(), "test").unwrap();
    assert_eq!(entries(&*listed), [("test/bath/rgb_00045.jpg", None)]);
    assert_eq!(truth(&*listed, 0).depth_m.unwrap(), [0.001, 9.999, 65.535]);
    let text = "/kitchen/rgb_00001.jpg /kitchen/sync_depth_00001.png 518.8579\n";
    fs::write(dir.path().join("nyu_train.txt"), text).unwrap();
    fs::rename(dir.path().join("train"), dir.path().join("sync")).unwrap();
    let listed = open("nyu", dir.path(), "train").unwrap();
    assert_eq!(entries(&*listed), [("sync/kitchen/rgb_00001.jpg", None)]);
    assert_eq!(truth(&*listed, 0).depth_m.unwrap(), [0.0, 1.0]);
    for (text, complaint) in [
        ("/kitchen/rgb_00002.jpg /kitchen/sync_depth_00002.png 518\n", "does not exist"),
        ("kitchen/rgb_00001.jpg\n", "has no depth"),
        ("../rgb_00001.jpg ../sync_depth_00001.png 518\n", "not a path below"),
        ("kitchen/rgb_00001.jpg ../../x.png 518\n", "not a path below"),
        ("kitchen/rgb_00001.jpg a.png 518\nkitchen/rgb_00001.jpg b.png 518\n", "is listed with"),
    ] {
        fs::write(dir.path().join("nyu_train.txt"), text).unwrap();
        let error = open("nyu", dir.path(), "train").err().unwrap().to_string();
        assert!(error.contains(complaint), "{error}");
    }
}

/// Breaks if MATLAB's order of axes, chunks that span photos, or numbers from 1 are taken for others.
#[test]
fn nyu_in_matlab_files() {
    let (photos, splits) = (fixture("devkits/nyu_depth_v2_labeled.mat"), fixture("devkits/splits.mat"));
    let dir = laid_out(&[("nyu_depth_v2_labeled.mat", &photos), ("splits.mat", &splits)]);
    let of = |split: &str| open("nyu_mat", dir.path(), split).unwrap();
    let names = |source: &dyn Source| entries(source).iter().map(|(name, _)| name[25..].to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&*of("all")), ["00001", "00002", "00003", "00004", "00005"]);
    assert_eq!(names(&*of("train")), ["00001", "00003"]);
    let test = of("test");
    assert_eq!(names(&*test), ["00002", "00005"]);
    for (index, photo) in [(0, 1_u8), (1, 4)] {
        let Raw::Rgb(image) = test.read(index).unwrap() else { panic!("a file") };
        assert_eq!((image.height, image.width), (4, 6));
        let expected: Vec<u8> = (0..24).flat_map(|at| [10 * photo, 10 * (at / 6), 10 * (at % 6)]).collect();
        assert_eq!(image.data, expected);
        let dense = truth(&*test, index);
        assert_eq!((dense.height, dense.width, dense.segments), (4, 6, None));
        for (at, depth) in dense.depth_m.unwrap().into_iter().enumerate() {
            let expected = f64::from(photo) + (at / 6) as f64 / 10.0 + (at % 6) as f64 / 100.0;
            assert_eq!(depth, expected as f32, "{at}");
        }
    }
    assert!(matches!(test.read(2), Err(ReadError::OutOfRange { index: 2, len: 2 })));
    fs::remove_file(dir.path().join("splits.mat")).unwrap();
    assert!(open("nyu_mat", dir.path(), "test").err().unwrap().to_string().contains("splits.mat does not exist"));
    fs::write(dir.path().join("nyu_depth_v2_labeled.mat"), &splits).unwrap();
    assert!(open("nyu_mat", dir.path(), "all").is_err());
}

#[test]
fn scenes_know_segments_and_depth_of_every_pixel() {
    let mut spec = DatasetSpec::new("synthetic", "");
    spec.limit = Some(5);
    let scenes = datasets::open(&spec).unwrap();
    assert_eq!(scenes.segment_classes(), ["sky", "wall", "ground", "object"]);
    for index in 0..5 {
        let (dense, truth) = (truth(&*scenes, index), scenes.truth(index).unwrap().unwrap());
        assert_eq!((dense.height, dense.width), (96, 96));
        assert_eq!((dense.segments, dense.depth_m), (truth.segments, truth.depth));
    }
    assert!(scenes.dense_truth(5).unwrap().is_none());
    // A dataset without such truth has none, and no error.
    let dir = laid_out(&[("a.jpg", b"a")]);
    assert!(open("photos", dir.path(), "all").unwrap().dense_truth(0).unwrap().is_none());
}

/// Also: what has several numbers a pixel is refused, and so is what is no PNG.
#[test]
fn colours_are_no_labels() {
    for name in ["rgb.png", "rgba.png", "grey_alpha.png", "grey.jpg", "palette.gif"] {
        assert_eq!(
            decode_levels(&fixture(name)).unwrap_err().reason().split(' ').next(),
            Some("unsupported"),
            "{name}"
        );
    }
    assert_eq!(decode_levels(b"").unwrap_err().reason(), "empty file");
    assert_eq!(decode_levels(b"letter").unwrap_err().reason(), "not an image");
    let palette = fixture("palette.png");
    assert_eq!(decode_levels(&palette[..palette.len() / 2]).unwrap_err().reason(), "truncated png");
    let mut wide = palette;
    wide[16..24].copy_from_slice(&[0, 0, 0xf0, 0, 0, 0, 0xf0, 0]);
    assert!(["too many pixels", "corrupt png"].contains(&decode_levels(&wide).unwrap_err().reason()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Every depth of every kind comes back as it was packed, whatever the width does to the last byte of a row.
    #[test]
    fn packed_numbers_come_back(width in 1..40_usize, height in 1..6_usize, bits in 0..5_usize, seed in any::<u64>(), palette: bool) {
        let depth = [BitDepth::One, BitDepth::Two, BitDepth::Four, BitDepth::Eight, BitDepth::Sixteen][bits];
        let colour = if palette && bits < 4 { ColorType::Indexed } else { ColorType::Grayscale };
        let bits = 1 << bits;
        let numbers: Vec<u16> = (0..height * width)
            .map(|at| ((seed ^ at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u16 & ((1_u32 << bits) - 1) as u16)
            .collect();
        let mut rows = Vec::new();
        for row in numbers.chunks(width) {
            let digits: Vec<bool> = row.iter().flat_map(|number| (0..bits).rev().map(move |bit| number >> bit & 1 == 1)).collect();
            rows.extend(digits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |sum, (bit, one)| sum | (u8::from(*one) << (7 - bit)))));
        }
        let map = decode_levels(&png_of(width as u32, height as u32, colour, depth, &rows)).unwrap();
        prop_assert_eq!((map.height, map.width), (height, width));
        let read: Vec<u16> = match map.levels {
            Levels::Bytes(bytes) => bytes.into_iter().map(u16::from).collect(),
            Levels::Words(words) => words,
        };
        prop_assert_eq!(read, numbers);
    }

    #[test]
    fn damaged_masks_never_panic(which in 0..4_usize, damage in damage()) {
        let name = ["palette.png", "palette4.png", "grey16.png", "grey2.png"][which];
        if let Ok(map) = decode_levels(&damaged(fixture(name), &damage)) {
            let len = match map.levels {
                Levels::Bytes(bytes) => bytes.len(),
                Levels::Words(words) => words.len(),
            };
            prop_assert_eq!(len, map.height * map.width);
        }
    }

    /// Whatever the bytes are, they are read within limits.
    #[test]
    fn damaged_matlab_files_never_panic(damage in damage()) {
        let photos = damaged(fixture("devkits/nyu_depth_v2_labeled.mat"), &damage);
        let dir = laid_out(&[("nyu_depth_v2_labeled.mat", &photos)]);
        if let Ok(source) = open("nyu_mat", dir.path(), "all") {
            for index in 0..source.manifest().entries.len().min(8) {
                let _ = (source.read(index), source.dense_truth(index));
            }
        }
    }

    #[test]
    fn lists_of_nyu_and_classes_of_ade_never_panic(text in "[a-z0-9_./\\\\ \t\n]{0,80}") {
        let dir = laid_out(&[
            ("nyu_test.txt", text.as_bytes()),
            ("objectInfo150.txt", text.as_bytes()),
            ("images/validation/a.jpg", b"a"),
        ]);
        if let Ok(nyu) = open("nyu", dir.path(), "test") {
            prop_assert!(nyu.manifest().entries.len() <= text.lines().count());
        }
        if let Ok(ade) = open("ade20k", dir.path(), "test") {
            prop_assert!(ade.segment_classes().len() <= 151);
        }
    }
}
