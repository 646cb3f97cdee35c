//! Oxford 102 Flowers: training and validation sets of 10 images per class, and a test set of all others.
//!
//! Source of the layout: <https://www.robots.ox.ac.uk/~vgg/data/flowers/102/>. `imagelabels.mat` has the class of image n
//! at place n, counted from 1; `setid.mat` has the images of the sets. Neither names the classes, so they are called by
//! their official numbers, `1` … `102`.

use super::{Dataset, THREE, base, below};
use crate::formats::classes::MAX_CLASSES;
use crate::formats::lists::{self, Labelled};
use crate::formats::mat5;
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Official;

const LAYOUT: &str = "jpg/image_00001.jpg, …, imagelabels.mat, setid.mat; or flowers-102/ or 102flowers/ holding them";

/// Oxford 102 Flowers.
pub const FLOWERS: Dataset = Dataset {
    name: "flowers",
    about: "Oxford 102 Flowers",
    layout: LAYOUT,
    splits: "all, train, val, trainval, test",
    official: THREE,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let base = base(spec, &["flowers-102", "102flowers", ""], "jpg", LAYOUT)?;
    let folder = spec.root.join(base);
    let (label_file, set_file) = (folder.join("imagelabels.mat"), folder.join("setid.mat"));
    let labels = mat5::read(&label_file, LAYOUT, |bytes| mat5::integers(bytes, "labels"))?;
    if let Some(place) = labels.iter().position(|label| !(1..=MAX_CLASSES).contains(label)) {
        let what = format!("image {} has label {}", place + 1, labels[place]);
        return Err(DatasetError::malformed(&label_file, what));
    }
    let sets: &[&'static str] = match spec.split.official().map(|(part, _)| part) {
        Some(Official::Train) => &["trnid"],
        Some(Official::Val) => &["valid"],
        Some(Official::TrainVal) => &["trnid", "valid"],
        Some(Official::Test) => &["tstid"],
        None => &["trnid", "valid", "tstid"],
    };
    let mut images = Vec::new();
    for set in sets {
        for number in mat5::read(&set_file, LAYOUT, |bytes| mat5::integers(bytes, set))? {
            let label = (number as usize).checked_sub(1).and_then(|place| labels.get(place));
            let unknown =
                || DatasetError::malformed(&set_file, format!("{set} has image {number} of {}", labels.len()));
            let name = below(base, &format!("jpg/image_{number:05}.jpg"));
            images.push(Labelled::new(name, label.ok_or_else(unknown)? - 1, &set_file)?);
        }
    }
    // Numbers from 1, as in the official file.
    let classes = (1..=labels.iter().max().copied().unwrap_or_default()).map(|number| number.to_string()).collect();
    lists::open(&spec.root, images, classes, LAYOUT)
}
