//! Which dataset, which part of it, in which order: everything that decides what a run reads.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::catalog;
use crate::select::select;
use crate::source::Source;
use crate::split::Split;

/// Which images to read, and in which order.
///
/// The order of operations is fixed: split, then classes, then shuffle, then limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// Name in the catalogue ([`catalog::names`]).
    pub name: String,
    /// Where it lies; what is expected there is in the catalogue entry. Empty for generated data.
    #[serde(default)]
    pub root: PathBuf,
    /// Which images.
    #[serde(default)]
    pub split: Split,
    /// Only these classes, by name; empty for all. Labels keep their numbers.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Shuffle with this seed; without it, dataset order.
    #[serde(default)]
    pub shuffle_seed: Option<u64>,
    /// At most this many images. For generated data, how many to generate.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Seed of generated data.
    #[serde(default)]
    pub seed: u64,
}

impl DatasetSpec {
    /// A whole dataset in its own order.
    pub fn new(name: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            root: root.into(),
            split: Split::All,
            classes: Vec::new(),
            shuffle_seed: None,
            limit: None,
            seed: 0,
        }
    }
}

/// Opens what a spec names: reads its index, not its images.
pub fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let dataset = catalog::find(&spec.name)?;
    if !dataset.offers(spec.split) {
        let split = spec.split.to_string();
        return Err(DatasetError::NoSplit { name: spec.name.clone(), split, offered: dataset.splits });
    }
    let source = (dataset.open)(spec)?;
    let selected = select(source, spec)?;
    if selected.manifest().entries.is_empty() {
        return Err(DatasetError::Empty { name: spec.name.clone(), root: spec.root.clone() });
    }
    Ok(selected)
}

/// A dataset could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No such name in the catalogue.
    #[error("no dataset is called {name:?}; nearest: {nearest}")]
    Unknown {
        /// What was asked.
        name: String,
        /// The closest names.
        nearest: String,
    },
    /// Nothing says where the dataset lies.
    #[error("the dataset needs a root; expected there: {expected}")]
    NoRoot {
        /// What should be there.
        expected: String,
    },
    /// A file or folder is not where it should be.
    #[error("{path} does not exist; {existing} does (expected {expected})")]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// The nearest folder above it that exists.
        existing: PathBuf,
        /// What should be there.
        expected: String,
    },
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Bytes that are not in the format they should be in.
    #[error("{path}: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// A Parquet file with images.
    #[error(transparent)]
    Parquet(#[from] schemas::foreign::ForeignError),
    /// The dataset has no such split.
    #[error("dataset {name:?} has no {split} split; it has: {offered}")]
    NoSplit {
        /// The dataset.
        name: String,
        /// What was asked.
        split: String,
        /// What there is.
        offered: &'static str,
    },
    /// A class that the dataset does not have.
    #[error("no class is called {name:?}; nearest: {nearest}")]
    UnknownClass {
        /// What was asked.
        name: String,
        /// The closest names.
        nearest: String,
    },
    /// A split by class of images without labels.
    #[error("split {split} needs labels, but {name:?} has none")]
    Unlabelled {
        /// The dataset.
        name: String,
        /// What was asked.
        split: String,
    },
    /// A split that does not parse.
    #[error(
        "{text:?} is not a split; write all, train, val, trainval, test, partition:2:train, class:2/3:train or every:3@2:test"
    )]
    BadSplit {
        /// What was written.
        text: String,
    },
    /// Nothing is left to read.
    #[error("dataset {name:?} at {root:?} has no images under this split, these classes and this limit")]
    Empty {
        /// The dataset.
        name: String,
        /// Where.
        root: PathBuf,
    },
}

impl DatasetError {
    /// `path` is missing: names the nearest folder above it that exists.
    pub(crate) fn missing(path: &Path, expected: impl Into<String>) -> Self {
        let existing = path
            .ancestors()
            .skip(1)
            .find(|parent| !parent.as_os_str().is_empty() && parent.exists())
            .map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        Self::Missing { path: path.to_path_buf(), existing, expected: expected.into() }
    }

    pub(crate) fn malformed(path: &Path, what: impl fmt::Display) -> Self {
        Self::Malformed { path: path.to_path_buf(), what: what.to_string() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_missing_folder_names_the_nearest_that_exists() {
        let dir = tempfile::tempdir().unwrap();
        let error = DatasetError::missing(&dir.path().join("a/b/c"), "photos");
        let DatasetError::Missing { existing, .. } = &error else { panic!("{error}") };
        assert_eq!(existing, dir.path());
    }
}
