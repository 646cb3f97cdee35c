//! Describable Textures Dataset (r1.0.1): 47 classes, ten partitions into equal thirds.
//!
//! Source of the layout: <https://www.robots.ox.ac.uk/~vgg/data/dtd/>. A class is called by its folder. `train` is one
//! third and `trainval` two; the transfer protocol of Kornblith et al. takes the first partition.

use super::{Dataset, THREE, base, below};
use crate::formats::class_folders;
use crate::formats::listing::folders_in;
use crate::formats::lists::{self, Classes, List};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Official;

const LAYOUT: &str = "images/<class>/*.jpg, labels/{train,val,test}{1..10}.txt, with lines `banded/banded_0002.jpg`; or \
    dtd/ holding them";

/// DTD.
pub const DTD: Dataset = Dataset {
    name: "dtd",
    about: "Describable Textures",
    layout: LAYOUT,
    splits: "all; train, val, trainval, test of partition 1; partition:2:train, …",
    official: THREE,
    partitions: 10,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let base = base(spec, &["dtd", ""], "images", LAYOUT)?;
    let photos = below(base, "images");
    let Some((part, number)) = spec.split.official() else {
        return class_folders::open(&spec.root, &[&photos], None, &[]);
    };
    let mut classes = Classes::default();
    for class in folders_in(&spec.root.join(&photos))? {
        classes.push(&class).map_err(|what| DatasetError::malformed(&spec.root.join(&photos), what))?;
    }
    let parts: &[Official] = match part {
        Official::TrainVal => &[Official::Train, Official::Val],
        _ => &[part],
    };
    let mut images = Vec::new();
    for part in parts {
        let list = List::read(&spec.root.join(base).join(format!("labels/{part}{number}.txt")), LAYOUT)?;
        for row in list.rows(["image"]) {
            let row = row?;
            let path = row.cells[0];
            let (class, _) = path.split_once('/').ok_or_else(|| row.wrong(format!("{path:?} has no class folder")))?;
            images.push(row.image(below(&photos, path), row.class(class, &classes)?)?);
        }
    }
    lists::open(&spec.root, images, classes.into_names(), LAYOUT)
}
