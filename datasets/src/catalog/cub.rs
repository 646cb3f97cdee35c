//! Caltech-UCSD Birds 200-2011: four lists that share the number of an image.
//!
//! Source of the layout: <https://www.vision.caltech.edu/datasets/cub_200_2011/>. Class names are as in `classes.txt`,
//! with their numbers: `001.Black_footed_Albatross`.

use std::collections::HashMap;

use super::{Dataset, TRAIN_TEST, base, below};
use crate::formats::lists::{self, Classes, List};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "images/<class>/*.jpg, images.txt, image_class_labels.txt, train_test_split.txt, classes.txt; or \
    CUB_200_2011/ holding them";

/// CUB-200-2011.
pub const CUB: Dataset = Dataset {
    name: "cub",
    about: "CUB-200-2011 birds",
    layout: LAYOUT,
    splits: "all, train, test",
    official: TRAIN_TEST,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let base = base(spec, &["CUB_200_2011", ""], "images.txt", LAYOUT)?;
    let folder = spec.root.join(base);
    let read = |name: &str| List::read(&folder.join(name), LAYOUT);

    let list = read("classes.txt")?;
    let mut classes = Classes::default();
    for (place, row) in list.rows(["number", "class"]).enumerate() {
        let row = row?;
        let [number, class] = row.cells;
        if row.from_one(number)? as usize != place {
            return Err(row.wrong(format!("class number {number} where {} was expected", place + 1)));
        }
        classes.push(class).map_err(|what| row.wrong(what))?;
    }
    let classes = classes.into_names();

    let labels = read("image_class_labels.txt")?;
    let labels = by_image(&labels, "class", |cell| {
        let number: usize = cell.parse().ok()?;
        let label = number.checked_sub(1).filter(|label| *label < classes.len())?;
        Some(label as u32)
    })?;
    let trains = read("train_test_split.txt")?;
    let trains = by_image(&trains, "0 or 1", |cell| match cell {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    })?;

    let mut images = Vec::new();
    for row in read("images.txt")?.rows(["number", "image"]) {
        let row = row?;
        let [number, path] = row.cells;
        let absent = |list| row.wrong(format!("image {number} is not in {list}"));
        let label = *labels.get(number).ok_or_else(|| absent("image_class_labels.txt"))?;
        let train = *trains.get(number).ok_or_else(|| absent("train_test_split.txt"))?;
        let image = row.image(below(base, &format!("images/{path}")), label)?;
        if (spec.split != Split::Train || train) && (spec.split != Split::Test || !train) {
            images.push(image);
        }
    }
    lists::open(&spec.root, images, classes, LAYOUT)
}

/// What a list says of each image, by the image's number.
fn by_image<'a, T>(
    list: &'a List,
    column: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<HashMap<&'a str, T>, DatasetError> {
    let mut found = HashMap::new();
    for row in list.rows(["number", column]) {
        let row = row?;
        let [number, cell] = row.cells;
        let value = read(cell).ok_or_else(|| row.wrong(format!("{cell:?} where a {column} was expected")))?;
        if found.insert(number, value).is_some() {
            return Err(row.wrong(format!("image {number} is listed twice")));
        }
    }
    Ok(found)
}
