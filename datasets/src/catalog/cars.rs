//! Stanford Cars: 196 makes, models and years.
//!
//! Its own page is gone; the layout is that of the archives, as torchvision's `datasets/stanford_cars.py` reads them. The
//! devkit's `cars_test_annos.mat` has no classes: the file with them was handed out apart.

use super::{Dataset, TRAIN_TEST, base, below};
use crate::formats::lists::{self, Classes, Labelled};
use crate::formats::mat5;
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "cars_train/*.jpg, cars_test/*.jpg, devkit/cars_meta.mat, devkit/cars_train_annos.mat, and \
    cars_test_annos_withlabels.mat beside devkit/ or in it; or stanford_cars/ holding them";

/// Stanford Cars.
pub const CARS: Dataset = Dataset {
    name: "cars",
    about: "Stanford Cars",
    layout: LAYOUT,
    splits: "all, train, test",
    official: TRAIN_TEST,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let base = base(spec, &["stanford_cars", ""], "devkit", LAYOUT)?;
    let folder = spec.root.join(base);
    let meta = folder.join("devkit/cars_meta.mat");
    let mut classes = Classes::default();
    for name in mat5::read(&meta, LAYOUT, |bytes| mat5::texts(bytes, "class_names"))? {
        classes.push(&name).map_err(|what| DatasetError::malformed(&meta, what))?;
    }
    let classes = classes.into_names();
    let test = ["cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat"];
    let test = test.into_iter().find(|file| folder.join(file).is_file()).unwrap_or(test[0]);
    let lists: &[(&str, &str)] = match spec.split {
        Split::Train => &[("devkit/cars_train_annos.mat", "cars_train")],
        Split::Test => &[(test, "cars_test")],
        _ => &[("devkit/cars_train_annos.mat", "cars_train"), (test, "cars_test")],
    };
    let mut images = Vec::new();
    for (list, photos) in lists {
        let list = folder.join(list);
        let annotations = mat5::read(&list, LAYOUT, |bytes| {
            mat5::structs(bytes, "annotations", ["fname", "class"], |image| Ok((image.text(0)?, image.integer(1)?)))
        })?;
        for (name, class) in annotations {
            let label = class.checked_sub(1).filter(|label| (*label as usize) < classes.len());
            let unknown = || format!("{name} has class {class} of {}", classes.len());
            let label = label.ok_or_else(|| DatasetError::malformed(&list, unknown()))?;
            images.push(Labelled::new(below(base, &format!("{photos}/{name}")), label, &list)?);
        }
    }
    lists::open(&spec.root, images, classes, LAYOUT)
}
