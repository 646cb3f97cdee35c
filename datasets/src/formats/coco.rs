//! Boxes of COCO: `annotations/instances_train2014.json`.
//!
//! Half a gigabyte of JSON, most of it outlines that nobody here reads: it is parsed as a stream and only boxes are kept,
//! about 40 bytes each. A box `[x, y, width, height]` becomes the corners x, y, x + width, y + height, each rounded to a
//! whole pixel, halves to even (LOST `datasets.py`, Python's `round`). Crowds are kept and marked.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::source::{BoxPx, Manifest, Object, Raw, ReadError, Source, Truth, sizes_digest};

/// Largest coordinate.
const MAX_PX: f64 = 1e6;

/// The boxes of every image.
#[derive(Debug, Default)]
pub struct Instances {
    classes: HashMap<u32, String>,
    /// Image number → its boxes, in the order of the file, each with its class.
    boxes: HashMap<u64, Vec<Marked>>,
}

#[derive(Debug, Clone, Copy)]
struct Marked {
    class: u32,
    area: BoxPx,
    crowd: bool,
}

#[derive(Deserialize)]
struct Listed {
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    category_id: u32,
    bbox: [f64; 4],
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: u32,
    name: String,
}

impl Instances {
    /// Reads the file, or tells what is wrong with it.
    pub fn read(from: impl Read) -> Result<Self, String> {
        let file: Listed = serde_json::from_reader(from).map_err(|e| e.to_string())?;
        let mut all =
            Self { classes: file.categories.into_iter().map(|c| (c.id, c.name)).collect(), boxes: HashMap::new() };
        for (number, annotation) in file.annotations.iter().enumerate() {
            // A sliver that rounds to nothing has no overlap with anything.
            if let Some(area) = corners(annotation.bbox).map_err(|e| format!("annotation {number}: {e}"))? {
                let marked = Marked { class: annotation.category_id, area, crowd: annotation.iscrowd != 0 };
                all.boxes.entry(annotation.image_id).or_default().push(marked);
            }
        }
        Ok(all)
    }

    /// The objects of an image.
    pub fn objects(&self, image: u64) -> Vec<Object> {
        let boxes = self.boxes.get(&image).map_or(&[][..], Vec::as_slice);
        let object =
            |b: &Marked| Object { crowd: b.crowd, ..Object::plain(self.classes.get(&b.class).cloned(), b.area) };
        boxes.iter().map(object).collect()
    }
}

/// Photos with the boxes of an annotation file, which is read when the first of them is asked for.
pub fn with_boxes(photos: Box<dyn Source>, annotations: PathBuf) -> Box<dyn Source> {
    Box::new(Annotated { photos, annotations, instances: OnceLock::new() })
}

struct Annotated {
    photos: Box<dyn Source>,
    annotations: PathBuf,
    instances: OnceLock<Result<Instances, String>>,
}

impl Source for Annotated {
    fn manifest(&self) -> &Manifest {
        self.photos.manifest()
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        self.photos.read(index)
    }

    fn truth(&self, index: usize) -> Result<Option<Truth>, ReadError> {
        let Some(image) = self.manifest().entries.get(index).and_then(|e| image_number(&e.name)) else {
            return Ok(None);
        };
        let read = || {
            let file = File::open(&self.annotations).map_err(|e| e.to_string())?;
            Instances::read(BufReader::with_capacity(1 << 20, file))
        };
        match self.instances.get_or_init(read) {
            Ok(instances) => Ok(Some(Truth { boxes: instances.objects(image), ..Truth::default() })),
            Err(what) => Err(ReadError::Annotation { path: self.annotations.clone(), what: what.clone() }),
        }
    }

    fn annotations(&self) -> String {
        sizes_digest(std::iter::once(self.annotations.clone()))
    }
}

/// Whole pixels; none where nothing is left.
fn corners([x, y, width, height]: [f64; 4]) -> Result<Option<BoxPx>, String> {
    let whole = |v: f64| {
        let v = v.round_ties_even();
        if (0.0..=MAX_PX).contains(&v) { Ok(v as u32) } else { Err(format!("a box reaches to {v}")) }
    };
    let area = BoxPx { x0: whole(x)?, y0: whole(y)?, x1: whole(x + width)?, y1: whole(y + height)? };
    Ok((area.x0 < area.x1 && area.y0 < area.y1).then_some(area))
}

/// The number of an image by its name: `train2014/COCO_train2014_000000000009.jpg` is 9.
pub fn image_number(name: &str) -> Option<u64> {
    name.rsplit('_').next()?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = r#"{"info": {"year": 2014}, "images": [{"id": 9, "file_name": "a.jpg"}], "licenses": [],
        "annotations": [
            {"segmentation": [[1.5, 2.5]], "area": 3.0, "iscrowd": 0, "image_id": 9, "bbox": [0.5, 1.5, 2.0, 10.2],
             "category_id": 18, "id": 1},
            {"segmentation": {"counts": [1, 2], "size": [3, 4]}, "iscrowd": 1, "image_id": 9, "bbox": [3, 4, 5, 6],
             "category_id": 1, "id": 2},
            {"image_id": 9, "bbox": [7.0, 7.0, 0.2, 3.0], "category_id": 1}],
        "categories": [{"supercategory": "animal", "id": 18, "name": "dog"}]}"#;

    /// Breaks when corners are rounded before they are added, halves go up, outlines or crowds are lost, or a sliver
    /// becomes an object. Corners by Python: [round(z) for z in (0.5, 1.5, 2.5, 11.7)] is [0, 2, 2, 12].
    #[test]
    fn boxes_are_rounded_as_python_rounds() {
        let all = Instances::read(FILE.as_bytes()).unwrap();
        let dog = Object::plain(Some("dog".into()), BoxPx { x0: 0, y0: 2, x1: 2, y1: 12 });
        let crowd = Object { crowd: true, ..Object::plain(None, BoxPx { x0: 3, y0: 4, x1: 8, y1: 10 }) };
        assert_eq!(all.objects(9), [dog, crowd]);
        assert!(all.objects(8).is_empty());
        assert_eq!(image_number("train2014/COCO_train2014_000000000009.jpg"), Some(9));
        assert_eq!(image_number("COCO_train2014_x.jpg"), None);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        assert!(Instances::read(&b"{}"[..]).unwrap_err().contains("annotations"));
        let far = FILE.replace("[3, 4, 5, 6]", "[3, 4, 1e9, 6]");
        assert!(Instances::read(far.as_bytes()).unwrap_err().contains("annotation 1: a box reaches"));
        let negative = FILE.replace("[3, 4, 5, 6]", "[-3, 4, 5, 6]");
        assert!(Instances::read(negative.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_boxes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            drop(Instances::read(&bytes[..]));
        }

        #[test]
        fn a_damaged_file_has_no_impossible_box(at in 0..FILE.len(), byte in any::<u8>(), cut in 0..FILE.len()) {
            let mut bytes = FILE.as_bytes().to_vec();
            bytes[at] = byte;
            bytes.truncate(cut.max(at + 1));
            if let Ok(all) = Instances::read(&bytes[..]) {
                for marked in all.boxes.values().flatten() {
                    prop_assert!(marked.area.x0 < marked.area.x1 && marked.area.y0 < marked.area.y1);
                }
            }
        }

        #[test]
        fn any_numbers_are_a_box_or_told(corner in prop::array::uniform4(any::<f64>())) {
            drop(corners(corner));
        }
    }
}
