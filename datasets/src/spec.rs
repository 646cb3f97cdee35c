//! Which dataset, which part of it, in which order: everything that decides what a run reads.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::catalog;
use crate::select::select;
use crate::source::Source;

/// One side of a train/test split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The side fitted on.
    Train,
    /// The side scored on.
    Test,
}

/// A split by image. Written `all`, `train`, `test`, `class:2/3:train` or `every:3@2:test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(try_from = "String", into = "String")]
pub enum Split {
    /// Every image.
    #[default]
    All,
    /// The dataset's own training images.
    Train,
    /// The dataset's own test (or validation) images.
    Test,
    /// Within each class, in dataset order, the first ⌊n · numerator / denominator⌋ images train, the rest test.
    ClassFraction {
        /// Share of train, upper.
        numerator: u32,
        /// Share of train, lower.
        denominator: u32,
        /// Which side.
        part: Part,
    },
    /// Images whose index in dataset order is `residue` modulo `k` test, the others train.
    EveryKth {
        /// The period.
        k: u32,
        /// The residue that tests.
        residue: u32,
        /// Which side.
        part: Part,
    },
}

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
    #[error("{text:?} is not a split; write all, train, test, class:2/3:train or every:3@2:test")]
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

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Train => f.write_str("train"),
            Self::Test => f.write_str("test"),
            Self::ClassFraction { numerator, denominator, part } => {
                write!(f, "class:{numerator}/{denominator}:{part}")
            }
            Self::EveryKth { k, residue, part } => write!(f, "every:{k}@{residue}:{part}"),
        }
    }
}

impl FromStr for Split {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let parsed = match text {
            "all" => Some(Self::All),
            "train" => Some(Self::Train),
            "test" => Some(Self::Test),
            _ => compound(text),
        };
        parsed.ok_or_else(|| DatasetError::BadSplit { text: text.to_owned() })
    }
}

fn compound(text: &str) -> Option<Split> {
    let (rule, part) = text.rsplit_once(':')?;
    let part = match part {
        "train" => Part::Train,
        "test" => Part::Test,
        _ => return None,
    };
    if let Some(share) = rule.strip_prefix("class:") {
        let (numerator, denominator) = share.split_once('/')?;
        let (numerator, denominator) = (numerator.parse().ok()?, denominator.parse().ok()?);
        (0 < numerator && numerator < denominator).then_some(Split::ClassFraction { numerator, denominator, part })
    } else {
        let (k, residue) = rule.strip_prefix("every:")?.split_once('@')?;
        let (k, residue) = (k.parse().ok()?, residue.parse().ok()?);
        (k > 1 && residue < k).then_some(Split::EveryKth { k, residue, part })
    }
}

impl TryFrom<String> for Split {
    type Error = DatasetError;

    fn try_from(text: String) -> Result<Self, DatasetError> {
        text.parse()
    }
}

impl From<Split> for String {
    fn from(split: Split) -> Self {
        split.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn splits_are_read_as_they_are_written() {
        for text in ["all", "train", "test", "class:2/3:train", "class:1/2:test", "every:3@2:test", "every:10@0:train"]
        {
            assert_eq!(text.parse::<Split>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn splits_that_would_be_empty_or_whole_are_refused() {
        for text in [
            "",
            "val",
            "class:3/3:train",
            "class:0/3:train",
            "every:3@3:test",
            "every:1@0:test",
            "class:2/3",
            "every:x@0:test",
        ] {
            assert!(text.parse::<Split>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_folder_names_the_nearest_that_exists() {
        let dir = tempfile::tempdir().unwrap();
        let error = DatasetError::missing(&dir.path().join("a/b/c"), "photos");
        let DatasetError::Missing { existing, .. } = &error else { panic!("{error}") };
        assert_eq!(existing, dir.path());
    }
}
