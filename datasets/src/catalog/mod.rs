//! What datasets are called and where their parts lie: one file per meaning, one line in [`CATALOG`].

mod ade20k;
mod aircraft;
mod caltech101;
mod cars;
mod cifar;
mod coco;
mod cub;
mod dtd;
mod flowers;
mod food101;
mod hub;
mod imagenet;
mod masks;
mod nyu;
mod nyu_mat;
mod pets;
mod photos;
mod places205;
mod sun397;
mod synthetic;
mod voc;
mod voc2007;
mod voc_seg;

use std::path::Path;

use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::{Official, Split};

/// A dataset that can be opened by name.
pub struct Dataset {
    /// Its name in a study.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// What is expected at `root`.
    pub layout: &'static str,
    /// The splits, in words.
    pub splits: &'static str,
    /// The parts that its authors made, or that it may be laid out in.
    pub official: &'static [Official],
    /// How many partitions into these parts the authors made, where several.
    pub partitions: u32,
    /// Opens the official split that the spec names, or everything; [`crate::open`] does the rest.
    pub open: fn(&DatasetSpec) -> Result<Box<dyn Source>, DatasetError>,
}

/// Training and test images.
const TRAIN_TEST: &[Official] = &[Official::Train, Official::Test];
/// Training, validation and test images.
const THREE: &[Official] = &[Official::Train, Official::Val, Official::TrainVal, Official::Test];

impl Dataset {
    /// Whether the dataset has such a split; splits by rule it always has.
    pub fn offers(&self, split: Split) -> bool {
        let one_of_several = !matches!(split, Split::Partition { number, .. } if number > self.partitions);
        split.official().is_none_or(|(part, _)| self.official.contains(&part) && one_of_several)
    }
}

/// Every dataset.
pub const CATALOG: &[Dataset] = &[
    synthetic::SYNTHETIC,
    imagenet::IMAGENET,
    imagenet::IMAGENET_TAR,
    places205::PLACES205,
    aircraft::AIRCRAFT,
    aircraft::AIRCRAFT_FAMILY,
    aircraft::AIRCRAFT_MANUFACTURER,
    cifar::CIFAR10,
    cifar::CIFAR100,
    cub::CUB,
    caltech101::CALTECH101,
    cars::CARS,
    dtd::DTD,
    flowers::FLOWERS,
    food101::FOOD101,
    pets::PETS,
    sun397::SUN397,
    voc2007::VOC2007,
    voc::VOC,
    voc_seg::VOC_SEG,
    coco::COCO20K,
    ade20k::ADE20K,
    masks::MASKS,
    masks::CITYSCAPES_FINE,
    nyu::NYU,
    nyu_mat::NYU_MAT,
    photos::PHOTOS,
    photos::FOLDERS,
    hub::WEBDATASET,
    hub::HF_PARQUET,
];

/// All names.
pub fn names() -> Vec<&'static str> {
    CATALOG.iter().map(|dataset| dataset.name).collect()
}

/// The dataset of this name, or an error that lists the nearest names.
pub fn find(name: &str) -> Result<&'static Dataset, DatasetError> {
    CATALOG
        .iter()
        .find(|dataset| dataset.name == name)
        .ok_or_else(|| DatasetError::Unknown { name: name.to_owned(), nearest: nearest(name, names().into_iter()) })
}

/// The three names closest to a misspelt one.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let distance = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase());
    let mut ranked: Vec<(usize, &str)> = names.map(|other| (distance(other), other)).collect();
    ranked.sort_unstable();
    ranked.iter().take(3).map(|(_, other)| *other).collect::<Vec<_>>().join(", ")
}

fn no_split(spec: &DatasetSpec, offered: &'static str) -> DatasetError {
    DatasetError::NoSplit { name: spec.name.clone(), split: spec.split.to_string(), offered }
}

/// The root must be there before anything below it is looked for.
fn check_root(root: &Path, layout: &str) -> Result<(), DatasetError> {
    if root.as_os_str().is_empty() {
        return Err(DatasetError::NoRoot { expected: layout.to_owned() });
    }
    if root.exists() { Ok(()) } else { Err(DatasetError::missing(root, layout)) }
}

/// The first of some folders below the root in which `marker` lies: a root may be a dataset's own folder, or the folder
/// that its archive was unpacked in.
fn base<'a>(spec: &DatasetSpec, folders: &[&'a str], marker: &str, layout: &str) -> Result<&'a str, DatasetError> {
    check_root(&spec.root, layout)?;
    let found = folders.iter().find(|folder| spec.root.join(folder).join(marker).exists());
    found.copied().ok_or_else(|| DatasetError::missing(&spec.root.join(folders[0]).join(marker), layout))
}

/// `base/name`, or the name alone where the base is the root.
fn below(base: &str, name: &str) -> String {
    if base.is_empty() { name.to_owned() } else { format!("{base}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let mut sorted = names();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), CATALOG.len());
        for name in names() {
            assert!(find(name).is_ok_and(|dataset| dataset.name == name));
        }
    }

    #[test]
    fn a_misspelt_name_is_told_its_nearest() {
        let Err(DatasetError::Unknown { nearest, .. }) = find("cifar_10") else { panic!("it was found") };
        assert!(nearest.starts_with("cifar10"), "{nearest}");
    }
}
