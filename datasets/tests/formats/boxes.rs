//! Boxes of annotations, found beside photos in their official layouts.

use datasets::{BoxPx, Object, ReadError, Source};

use crate::{entries, laid_out, open};

const CAT: &[u8] = b"<annotation><object><name>cat</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>\
    <xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>";

fn boxes(source: &dyn Source, index: usize) -> Vec<Object> {
    source.truth(index).unwrap().unwrap().boxes
}

/// Breaks when a box goes with another photo (also behind a split), a photo without an annotation is said to have no
/// objects, or a broken annotation passes for either.
#[test]
fn photos_of_voc_have_the_boxes_beside_them() {
    let dir = laid_out(&[
        ("VOC2012/JPEGImages/a.jpg", b"a"),
        ("VOC2012/JPEGImages/b.jpg", b"b"),
        ("VOC2012/JPEGImages/c.jpg", b"c"),
        ("VOC2012/JPEGImages/d.jpg", b"d"),
        ("VOC2012/Annotations/b.xml", CAT),
        ("VOC2012/Annotations/c.xml", b"<annotation></annotation>"),
        ("VOC2012/Annotations/d.xml", b"<annotation>"),
        ("VOC2012/ImageSets/Main/trainval.txt", b"b\nd\n"),
        ("VOC2012/ImageSets/Main/val.txt", b"c\n"),
    ]);
    let cat = Object { difficult: true, ..Object::plain(Some("cat".into()), BoxPx { x0: 0, y0: 1, x1: 30, y1: 40 }) };
    let all = open("voc", dir.path(), "all").unwrap();
    assert_eq!(all.truth(0).unwrap(), None);
    assert_eq!(boxes(&*all, 1), std::slice::from_ref(&cat));
    assert!(boxes(&*all, 2).is_empty() && all.truth(99).unwrap().is_none());
    let error = all.truth(3).unwrap_err();
    assert!(matches!(error, ReadError::Annotation { .. }) && error.to_string().contains("d.xml"), "{error}");
    assert_eq!(error.reason(), "bad annotation");
    let of = |split| open("voc", &dir.path().join("VOC2012"), split).unwrap();
    assert_eq!(entries(&*of("trainval")), [("JPEGImages/b.jpg", None), ("JPEGImages/d.jpg", None)]);
    assert_eq!(boxes(&*of("trainval"), 0), [cat]);
    assert_eq!(entries(&*of("val")), entries(&*of("test")));
}

const INSTANCES: &[u8] = br#"{"annotations": [
    {"image_id": 9, "bbox": [1, 2, 3, 4], "category_id": 1, "iscrowd": 0},
    {"image_id": 25, "bbox": [5, 6, 7, 8], "category_id": 1, "iscrowd": 1}], "categories": [{"id": 1, "name": "dog"}]}"#;

/// Breaks when annotations that were added or mended later leave a run's fingerprint as it was.
#[test]
fn annotations_are_told_apart_by_their_sizes() {
    let dir = laid_out(&[("JPEGImages/a.jpg", b"a"), ("JPEGImages/b.jpg", b"b")]);
    let state = || open("voc", dir.path(), "all").unwrap().annotations();
    let none = state();
    let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join("Annotations").join(name), bytes).unwrap();
    std::fs::create_dir(dir.path().join("Annotations")).unwrap();
    put("a.xml", CAT);
    let one = state();
    std::fs::remove_file(dir.path().join("Annotations/a.xml")).unwrap();
    put("b.xml", CAT);
    let other = state();
    assert!(none != one && one != other && none != other && other == state());
}

/// Breaks when photos that are not listed are taken, the order is that of the list, or boxes go with another photo.
#[test]
fn coco20k_is_its_list_with_boxes() {
    let photo = |number: u32| format!("images/train2014/COCO_train2014_{number:012}.jpg");
    let (first, second, third) = (photo(9), photo(25), photo(30));
    let files: [(&str, &[u8]); 5] = [
        (&first, b"a"),
        (&second, b"bb"),
        (&third, b"c"),
        ("annotations/instances_train2014.json", INSTANCES),
        ("coco_20k_filenames.txt", b"train2014/COCO_train2014_000000000025.jpg\nCOCO_train2014_000000000009.jpg\n"),
    ];
    let dir = laid_out(&files);
    let source = open("coco20k", dir.path(), "all").unwrap();
    assert_eq!(entries(&*source), [(first.as_str(), None), (second.as_str(), None)]);
    assert_eq!(source.manifest().entries[1].bytes, 2);
    let dog = |x0, y0, x1, y1| Object::plain(Some("dog".into()), BoxPx { x0, y0, x1, y1 });
    assert_eq!(boxes(&*source, 0), [dog(1, 2, 4, 6)]);
    assert_eq!(boxes(&*source, 1), [Object { crowd: true, ..dog(5, 6, 12, 14) }]);
}

#[test]
fn what_coco20k_lacks_is_named() {
    let photo = ("train2014/COCO_train2014_000000000009.jpg", &b"a"[..]);
    let listed = |text: &'static str| ("coco_20k_filenames.txt", text.as_bytes());
    let instances = ("annotations/instances_train2014.json", &b"{"[..]);
    let refused = |files: &[(&str, &[u8])]| {
        let dir = laid_out(files);
        open("coco20k", dir.path(), "all").err().unwrap().to_string()
    };
    assert!(refused(&[listed("x")]).contains("train2014"));
    assert!(refused(&[photo]).contains("instances_train2014.json does not exist"));
    assert!(refused(&[photo, instances]).contains("coco_20k_filenames.txt does not exist"));
    let gone = listed("COCO_train2014_000000000010.jpg\n");
    assert!(refused(&[photo, instances, gone]).contains("000000000010.jpg does not exist"));
    let twice = listed("COCO_train2014_000000000009.jpg\nCOCO_train2014_000000000009.jpg");
    assert!(refused(&[photo, instances, twice]).contains("line 2"));
    assert!(refused(&[photo, instances, listed("holiday.jpg")]).contains("no photo of COCO"));
    // Half a gigabyte is parsed when the first box is asked for.
    let dir = laid_out(&[photo, instances, listed("COCO_train2014_000000000009.jpg")]);
    let source = open("coco20k", dir.path(), "all").unwrap();
    assert!(matches!(source.truth(0), Err(ReadError::Annotation { .. })));
}
