//! Splits by image: the parts that a dataset's authors made, and parts by rule.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::spec::DatasetError;

/// One side of a train/test split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The side fitted on.
    Train,
    /// The side scored on.
    Test,
}

/// A part of a dataset as its authors cut it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Official {
    /// Training images.
    Train,
    /// Validation images, where they are apart from the test images.
    Val,
    /// Training and validation images together: what a probe learns from once its parameters are chosen.
    TrainVal,
    /// Test images (validation images, where the answers for the test images are secret).
    Test,
}

/// A split by image. Written `all`, `train`, `val`, `trainval`, `test`, `partition:2:train`, `class:2/3:train` or
/// `every:3@2:test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(try_from = "String", into = "String")]
pub enum Split {
    /// Every image.
    #[default]
    All,
    /// The dataset's own training images.
    Train,
    /// The dataset's own validation images.
    Val,
    /// The dataset's own training and validation images together.
    TrainVal,
    /// The dataset's own test (or validation) images.
    Test,
    /// The same parts in one of several partitions that the authors made. The parts alone are those of the first.
    Partition {
        /// Which, from 1.
        number: u32,
        /// Which part of it.
        part: Official,
    },
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

impl Split {
    /// The authors' part that is asked for, and of which of their partitions.
    pub fn official(self) -> Option<(Official, u32)> {
        Some(match self {
            Self::Train => (Official::Train, 1),
            Self::Val => (Official::Val, 1),
            Self::TrainVal => (Official::TrainVal, 1),
            Self::Test => (Official::Test, 1),
            Self::Partition { number, part } => (part, number),
            Self::All | Self::ClassFraction { .. } | Self::EveryKth { .. } => return None,
        })
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

impl fmt::Display for Official {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::TrainVal => "trainval",
            Self::Test => "test",
        })
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Train => write!(f, "{}", Official::Train),
            Self::Val => write!(f, "{}", Official::Val),
            Self::TrainVal => write!(f, "{}", Official::TrainVal),
            Self::Test => write!(f, "{}", Official::Test),
            Self::Partition { number, part } => write!(f, "partition:{number}:{part}"),
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
            "val" => Some(Self::Val),
            "trainval" => Some(Self::TrainVal),
            "test" => Some(Self::Test),
            _ => compound(text),
        };
        parsed.ok_or_else(|| DatasetError::BadSplit { text: text.to_owned() })
    }
}

fn compound(text: &str) -> Option<Split> {
    let (rule, part) = text.rsplit_once(':')?;
    if let Some(number) = rule.strip_prefix("partition:") {
        let number = number.parse().ok().filter(|number| *number > 0)?;
        let part = match part {
            "train" => Official::Train,
            "val" => Official::Val,
            "trainval" => Official::TrainVal,
            "test" => Official::Test,
            _ => return None,
        };
        return Some(Split::Partition { number, part });
    }
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
        for text in [
            "all",
            "train",
            "val",
            "trainval",
            "test",
            "partition:10:val",
            "class:2/3:train",
            "class:1/2:test",
            "every:3@2:test",
            "every:10@0:train",
        ] {
            assert_eq!(text.parse::<Split>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn splits_that_would_be_empty_or_whole_are_refused() {
        for text in [
            "",
            "validation",
            "partition:0:train",
            "partition:1:all",
            "class:2/3:val",
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
}
