//! Procedural scenes, generated in memory: [`crate::synthetic`].

use super::Dataset;
use crate::spec::DatasetSpec;
use crate::synthetic::Scenes;

/// How many scenes there are without a limit: the number on which the planted model was measured.
const DEFAULT_COUNT: usize = 2000;

/// Scenes.
pub const SYNTHETIC: Dataset = Dataset {
    name: "synthetic",
    about: "procedural 96×96 scenes with labels, boxes, masks, depth and flat cells; `seed` and `limit` choose which",
    layout: "nothing: no files are read",
    splits: "all, class:…, every:…",
    official: &[],
    partitions: 0,
    open: |spec: &DatasetSpec| {
        // A limit without a split or shuffle is how many to generate; otherwise it is applied after them, to the default.
        let plain = spec.split == crate::split::Split::All && spec.classes.is_empty() && spec.shuffle_seed.is_none();
        let count = spec.limit.filter(|_| plain).unwrap_or(DEFAULT_COUNT.max(spec.limit.unwrap_or(0)));
        Ok(Box::new(Scenes::new(spec.seed, count)))
    },
};
