//! Oxford-IIIT Pets: 37 breeds of cats and dogs.
//!
//! Source of the layout: <https://www.robots.ox.ac.uk/~vgg/data/pets/>. A line is `Abyssinian_100 1 1 1`: image, class
//! from 1, species, breed within the species. A class is called as its images are, without their number.

use super::{Dataset, base, below};
use crate::formats::lists::{self, List};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Official;

const LAYOUT: &str = "images/*.jpg, annotations/{trainval,test}.txt, with lines `Abyssinian_100 1 1 1`; or \
    oxford-iiit-pet/ holding them";

/// Oxford-IIIT Pets.
pub const PETS: Dataset = Dataset {
    name: "pets",
    about: "Oxford-IIIT Pets, breeds",
    layout: LAYOUT,
    splits: "all, trainval, test",
    official: &[Official::TrainVal, Official::Test],
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let base = base(spec, &["oxford-iiit-pet", ""], "annotations", LAYOUT)?;
    let wanted = spec.split.official().map(|(part, _)| part);
    let mut names: Vec<Option<String>> = Vec::new();
    let mut images = Vec::new();
    // Both lists name the classes, so that they are the same in either split.
    for part in [Official::TrainVal, Official::Test] {
        let path = spec.root.join(base).join(format!("annotations/{part}.txt"));
        if wanted.is_some_and(|wanted| wanted != part) && !path.is_file() {
            continue;
        }
        for row in List::read(&path, LAYOUT)?.rows(["image", "class", "species", "breed"]) {
            let row = row?;
            let [id, label, ..] = row.cells;
            let label = row.from_one(label)?;
            let (class, _) = id.rsplit_once('_').ok_or_else(|| row.wrong(format!("{id:?} is not <breed>_<number>")))?;
            names.resize(names.len().max(label as usize + 1), None);
            let known = names[label as usize].get_or_insert_with(|| class.to_owned());
            if known != class {
                return Err(row.wrong(format!("class {} is both {known:?} and {class:?}", label + 1)));
            }
            if wanted.is_none_or(|wanted| wanted == part) {
                images.push(row.image(below(base, &format!("images/{id}.jpg")), label)?);
            }
        }
    }
    let classes = names.into_iter().enumerate();
    let classes = classes.map(|(label, name)| name.unwrap_or_else(|| (label + 1).to_string())).collect();
    lists::open(&spec.root, images, classes, LAYOUT)
}
