//! COCO 20k: the part of COCO's training photos of 2014 on which objects are discovered, with their boxes.
//!
//! The list names 19,817 photos, `COCO_train2014_000000000009.jpg` a line, with or without a folder before it; it comes
//! with LOST as `datasets/coco_20k_filenames.txt` (Vo et al., "Toward Unsupervised, Multi-Object Discovery in
//! Large-Scale Image Collections", 2020).

use std::collections::BTreeSet;
use std::fs;

use super::{Dataset, base, below};
use crate::formats::coco::{image_number, with_boxes};
use crate::formats::listing::LooseFiles;
use crate::formats::lists::List;
use crate::source::{Entry, Manifest, Source};
use crate::spec::{DatasetError, DatasetSpec};

const LAYOUT: &str = "coco_20k_filenames.txt, annotations/instances_train2014.json and train2014/*.jpg (or \
    images/train2014/*.jpg)";
const LIST: &str = "coco_20k_filenames.txt";
const ANNOTATIONS: &str = "annotations/instances_train2014.json";

/// COCO 20k.
pub const COCO20K: Dataset = Dataset {
    name: "coco20k",
    about: "COCO 20k: 19,817 photos of train2014, without labels, with boxes of objects",
    layout: LAYOUT,
    splits: "all",
    official: &[],
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let photos = base(spec, &["train2014", "images/train2014"], "", LAYOUT)?;
    let annotations = spec.root.join(ANNOTATIONS);
    if !annotations.is_file() {
        return Err(DatasetError::missing(&annotations, LAYOUT));
    }
    let list = List::read(&spec.root.join(LIST), LAYOUT)?;
    let mut names = BTreeSet::new();
    for row in list.rows(["photo"]) {
        let row = row?;
        let name = row.cells[0].rsplit('/').next().unwrap_or_default();
        if image_number(name).is_none() || name.contains('\\') {
            return Err(row.wrong(format!("{name:?} is no photo of COCO, such as COCO_train2014_000000000009.jpg")));
        }
        if !names.insert(name.to_owned()) {
            return Err(row.wrong(format!("{name:?} is listed twice")));
        }
    }
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        let name = below(photos, &name);
        let path = spec.root.join(&name);
        // A listed photo that is not there would change the number without a word.
        let bytes = fs::metadata(&path).map_err(|_| DatasetError::missing(&path, LAYOUT))?.len();
        entries.push(Entry { name, label: None, bytes });
    }
    let photos = LooseFiles::new(&spec.root, Manifest { entries, classes: Vec::new() });
    Ok(with_boxes(Box::new(photos), annotations))
}
