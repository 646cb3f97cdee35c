//! FGVC-Aircraft (2013b): 100 variants, 70 families, 30 manufacturers.
//!
//! Source of the layout: <https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/>, read by torchvision's
//! `datasets/fgvc_aircraft.py` in the same way. Labels are places in `variants.txt`, `families.txt` or
//! `manufacturers.txt`.

use super::{Dataset, THREE, base, below};
use crate::formats::lists::{self, List};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Official;

const LAYOUT: &str = "images/*.jpg, images_{variant,family,manufacturer}_{train,val,trainval,test}.txt, variants.txt, \
    families.txt, manufacturers.txt; or data/ or fgvc-aircraft-2013b/data/ holding them";
const SPLITS: &str = "all, train, val, trainval, test";

/// Variants: the level that is measured.
pub const AIRCRAFT: Dataset = Dataset {
    name: "aircraft",
    about: "FGVC-Aircraft, variants",
    layout: LAYOUT,
    splits: SPLITS,
    official: THREE,
    partitions: 0,
    open: |spec| open(spec, "variant", "variants.txt"),
};

/// Families.
pub const AIRCRAFT_FAMILY: Dataset = Dataset {
    name: "aircraft_family",
    about: "FGVC-Aircraft, families",
    open: |spec| open(spec, "family", "families.txt"),
    ..AIRCRAFT
};

/// Manufacturers.
pub const AIRCRAFT_MANUFACTURER: Dataset = Dataset {
    name: "aircraft_manufacturer",
    about: "FGVC-Aircraft, manufacturers",
    open: |spec| open(spec, "manufacturer", "manufacturers.txt"),
    ..AIRCRAFT
};

fn open(spec: &DatasetSpec, level: &str, classes: &str) -> Result<Box<dyn Source>, DatasetError> {
    let base = base(spec, &["fgvc-aircraft-2013b/data", "data", ""], "images", LAYOUT)?;
    let folder = spec.root.join(base);
    let classes = List::read(&folder.join(classes), LAYOUT)?.classes()?;
    let parts = match spec.split.official() {
        Some((part, _)) => vec![part],
        None => vec![Official::TrainVal, Official::Test],
    };
    let mut images = Vec::new();
    for part in parts {
        let list = List::read(&folder.join(format!("images_{level}_{part}.txt")), LAYOUT)?;
        for row in list.rows(["image", "class"]) {
            let row = row?;
            let [id, class] = row.cells;
            images.push(row.image(below(base, &format!("images/{id}.jpg")), row.class(class, &classes)?)?);
        }
    }
    lists::open(&spec.root, images, classes.into_names(), LAYOUT)
}
