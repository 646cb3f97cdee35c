//! Which rows teach and which are tested.
//!
//! Every split but one is by image: all tokens of an image fall on one side, since tokens of one image resemble each
//! other more than tokens of two. [`Split::SklearnRows`] splits rows, as the reproducibility study does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::numpy_random::RandomState;

/// An image of one of the two runs that an experiment may read: (run: 0 train, 1 test; index in its dataset).
pub type ImageKey = (u8, u32);

/// How a split is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Split {
    /// The dataset's own: one run is the training set, another the test set.
    Datasets,
    /// A share of all images, the head of `RandomState(seed).permutation`; the same for every kind of token.
    Random {
        /// Share of images tested, rounded up.
        test_frac: f64,
        /// Seed.
        seed: u32,
    },
    /// scikit-learn's `train_test_split(test_size = test_frac, random_state = seed)` of the images that have a token of
    /// the kind, in dataset order.
    Sklearn {
        /// Share tested, rounded up.
        test_frac: f64,
        /// Seed.
        seed: u32,
    },
    /// The same of the rows: tokens of one image may fall on both sides. For comparison with the study only.
    SklearnRows {
        /// Share tested, rounded up.
        test_frac: f64,
        /// Seed.
        seed: u32,
    },
    /// The first images in dataset order teach.
    First {
        /// Share of images that teach, rounded down.
        train_frac: f64,
    },
    /// The first images of every class teach.
    FirstOfClass {
        /// Share of each class that teaches, rounded down.
        train_frac: f64,
    },
    /// The last image of every `nth` in dataset order is tested.
    EveryNth {
        /// Period; 3 tests images 2, 5, 8 …
        nth: u32,
    },
}

/// An image that could take part, in dataset order.
pub type Labelled = (ImageKey, Option<i32>);

impl Split {
    /// Checks the ranges.
    pub fn check(&self) -> Result<(), ProbeError> {
        let bad = |name, value| Err(ProbeError::Range { name, value });
        match *self {
            Self::Random { test_frac: f, .. }
            | Self::Sklearn { test_frac: f, .. }
            | Self::SklearnRows { test_frac: f, .. }
                if !(f > 0.0 && f < 1.0) =>
            {
                bad("split.test_frac", f)
            }
            Self::First { train_frac: f } | Self::FirstOfClass { train_frac: f } if !(f > 0.0 && f < 1.0) => {
                bad("split.train_frac", f)
            }
            Self::EveryNth { nth } if nth < 2 => bad("split.nth", f64::from(nth)),
            _ => Ok(()),
        }
    }

    /// Row numbers that teach and that are tested. `rows` are the images of the rows, `all` every image of the runs.
    pub fn apply(&self, all: &[Labelled], rows: &[ImageKey]) -> (Vec<usize>, Vec<usize>) {
        let test = match *self {
            Self::SklearnRows { test_frac, seed } => {
                let head: BTreeSet<usize> = head(rows.len(), test_frac, seed).into_iter().collect();
                return (0..rows.len()).partition(|i| !head.contains(i));
            }
            Self::Datasets => rows.iter().filter(|k| k.0 == 1).copied().collect(),
            Self::Random { test_frac, seed } => pick(all.iter().map(|a| a.0), test_frac, seed),
            Self::Sklearn { test_frac, seed } => {
                let images: BTreeSet<ImageKey> = rows.iter().copied().collect();
                pick(images.into_iter(), test_frac, seed)
            }
            Self::First { train_frac } => {
                let first = (all.len() as f64 * train_frac).floor() as usize;
                all[first.min(all.len())..].iter().map(|a| a.0).collect()
            }
            Self::FirstOfClass { train_frac } => {
                let mut classes: BTreeMap<Option<i32>, Vec<ImageKey>> = BTreeMap::new();
                for (key, label) in all {
                    classes.entry(*label).or_default().push(*key);
                }
                classes
                    .values()
                    .flat_map(|of| &of[(of.len() as f64 * train_frac).floor() as usize..])
                    .copied()
                    .collect()
            }
            Self::EveryNth { nth } => {
                let nth = nth.max(2) as usize;
                all.iter().enumerate().filter(|(i, _)| i % nth == nth - 1).map(|(_, a)| a.0).collect::<BTreeSet<_>>()
            }
        };
        (0..rows.len()).partition(|&i| !test.contains(&rows[i]))
    }
}

/// The first ⌈frac·n⌉ of a seeded permutation of 0 … n − 1.
fn head(n: usize, frac: f64, seed: u32) -> Vec<usize> {
    let mut order = RandomState::new(seed).permutation(n);
    order.truncate((n as f64 * frac).ceil() as usize);
    order
}

fn pick(images: impl Iterator<Item = ImageKey>, frac: f64, seed: u32) -> BTreeSet<ImageKey> {
    let images: Vec<ImageKey> = images.collect();
    head(images.len(), frac, seed).into_iter().map(|i| images[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(n: u32) -> Vec<Labelled> {
        (0..n).map(|i| ((0, i), Some(i as i32 % 2))).collect()
    }

    #[test]
    fn sklearns_split_is_sklearns() {
        // train_test_split(np.arange(n), test_size=.2, random_state=seed), scikit-learn 1.9.1.
        let split = Split::Sklearn { test_frac: 0.2, seed: 42 };
        let rows: Vec<ImageKey> = (0..11).map(|i| (0, i)).collect();
        assert_eq!(split.apply(&[], &rows).1, [0, 5, 9]);
        let split = Split::SklearnRows { test_frac: 0.2, seed: 0 };
        assert_eq!(split.apply(&[], &rows[..6]), (vec![0, 1, 3, 4], vec![2, 5]));
    }

    #[test]
    fn no_image_is_on_both_sides() {
        let all = images(20);
        // Three tokens an image; some images have none.
        let rows: Vec<ImageKey> = (0..60).map(|i| (0, i / 3)).filter(|k| k.1 % 5 != 0).collect();
        for split in [
            Split::Random { test_frac: 0.3, seed: 1 },
            Split::Sklearn { test_frac: 0.3, seed: 1 },
            Split::First { train_frac: 0.6 },
            Split::FirstOfClass { train_frac: 0.5 },
            Split::EveryNth { nth: 3 },
        ] {
            let (train, test) = split.apply(&all, &rows);
            let side = |side: &[usize]| side.iter().map(|&i| rows[i]).collect::<BTreeSet<_>>();
            assert!(side(&train).is_disjoint(&side(&test)), "{split:?}");
            assert!(!train.is_empty() && !test.is_empty() && train.len() + test.len() == rows.len());
        }
    }

    #[test]
    fn order_splits_are_closed_forms() {
        let all = images(9);
        let rows: Vec<ImageKey> = all.iter().map(|a| a.0).collect();
        assert_eq!(Split::First { train_frac: 2.0 / 3.0 }.apply(&all, &rows).1, [6, 7, 8]);
        assert_eq!(Split::EveryNth { nth: 3 }.apply(&all, &rows).1, [2, 5, 8]);
        // Classes 0: 0 2 4 6 8 and 1: 1 3 5 7; the first half of each, rounded down, teaches.
        assert_eq!(Split::FirstOfClass { train_frac: 0.5 }.apply(&all, &rows).0, [0, 1, 2, 3]);
        assert_eq!(Split::Datasets.apply(&all, &[(0, 4), (1, 4)]), (vec![0], vec![1]));
    }

    #[test]
    fn impossible_splits_are_refused() {
        assert!(Split::First { train_frac: 1.0 }.check().is_err());
        assert!(Split::Random { test_frac: f64::NAN, seed: 0 }.check().is_err());
        assert!(Split::EveryNth { nth: 1 }.check().is_err());
        assert!(Split::Datasets.check().is_ok());
    }
}
