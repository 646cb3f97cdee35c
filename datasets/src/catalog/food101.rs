//! Food-101: 101 classes of 750 training and 250 test images.
//!
//! Source of the layout: <https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/>. Labels are places in
//! `meta/classes.txt`, which is sorted.

use super::{Dataset, TRAIN_TEST, base, below};
use crate::formats::lists::{self, List};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "images/<class>/*.jpg, meta/classes.txt, meta/{train,test}.txt, with lines `apple_pie/1005649`; or \
    food-101/ holding them";

/// Food-101.
pub const FOOD101: Dataset = Dataset {
    name: "food101",
    about: "Food-101 dishes",
    layout: LAYOUT,
    splits: "all, train, test",
    official: TRAIN_TEST,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let base = base(spec, &["food-101", ""], "meta", LAYOUT)?;
    let meta = spec.root.join(base).join("meta");
    let classes = List::read(&meta.join("classes.txt"), LAYOUT)?.classes()?;
    let parts: &[&str] = match spec.split {
        Split::Train => &["train"],
        Split::Test => &["test"],
        _ => &["train", "test"],
    };
    let mut images = Vec::new();
    for part in parts {
        for row in List::read(&meta.join(format!("{part}.txt")), LAYOUT)?.rows(["image"]) {
            let row = row?;
            let path = row.cells[0];
            let (class, _) = path.split_once('/').ok_or_else(|| row.wrong(format!("{path:?} has no class folder")))?;
            images.push(row.image(below(base, &format!("images/{path}.jpg")), row.class(class, &classes)?)?);
        }
    }
    lists::open(&spec.root, images, classes.into_names(), LAYOUT)
}
