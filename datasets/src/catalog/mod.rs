//! What datasets are called and where their parts lie: one file per meaning, one line in [`CATALOG`].

mod ade20k;
mod caltech101;
mod cifar;
mod hub;
mod imagenet;
mod nyu;
mod photos;
mod synthetic;
mod voc;

use std::path::Path;

use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec, Split};

/// A dataset that can be opened by name.
pub struct Dataset {
    /// Its name in a study.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// What is expected at `root`.
    pub layout: &'static str,
    /// The official splits.
    pub splits: &'static str,
    /// Opens the official split that the spec names, or everything; [`crate::open`] does the rest.
    pub open: fn(&DatasetSpec) -> Result<Box<dyn Source>, DatasetError>,
}

/// Every dataset.
pub const CATALOG: &[Dataset] = &[
    synthetic::SYNTHETIC,
    imagenet::IMAGENET,
    imagenet::IMAGENET_TAR,
    caltech101::CALTECH101,
    cifar::CIFAR10,
    cifar::CIFAR100,
    voc::VOC,
    ade20k::ADE20K,
    nyu::NYU,
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

/// Refuses the official splits for a dataset that has none.
fn whole(spec: &DatasetSpec) -> Result<(), DatasetError> {
    match spec.split {
        Split::Train | Split::Test => Err(no_split(spec, "all, class:…, every:…")),
        _ => Ok(()),
    }
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
