//! Keys of what is learned by gradient steps, or from words: `[[dense]]`, `[[linear_eval]]`, `[[zero_shot]]`.

use serde::Deserialize;

/// `[[dense]]`: a head on patch features, learned from masks or depth.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseTable {
    /// Which protocol: `cells`, `quick_cells`, `dinov2_segmentation`, `study_segmentation`, `deit3_segmentation`, `depth_cells`,
    /// `nyu_lin1` or `nyu_lin4`.
    pub recipe: String,
    /// Dataset to learn from, by its name in tables.
    pub train: String,
    /// Dataset to score on.
    pub test: String,
    /// Name of the scores' dataset in tables; `test`'s name by default.
    pub name: Option<String>,
    /// Classes; the recipe's by default.
    pub classes: Option<u16>,
    /// Labels as annotated that are neither learned nor scored; the recipe's by default.
    pub ignore: Option<Vec<u8>>,
    /// Raw label 0 has no class and raw n is class n − 1, as in ADE20K; the recipe's by default.
    pub reduce_zero: Option<bool>,
    /// Rows and columns that images are squashed to, px; the recipe's by default.
    pub size_px: Option<[usize; 2]>,
    /// Random crops of each training image, for recipes that cut them.
    #[serde(default = "eight")]
    pub crops: u16,
    /// Passes over the stored views; the recipe's by default.
    pub epochs: Option<u32>,
    /// Optimiser steps instead.
    pub steps: Option<u64>,
    /// Seeds of the order, the initial weights and, the first of them, the crops: one head each.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// Control: each training image has the truth of another. Must come out at chance.
    #[serde(default)]
    pub permute_labels: bool,
    /// The first so many test images are kept as pictures with what is predicted of them.
    #[serde(default = "four")]
    pub pictures: u32,
}

fn one_seed() -> Vec<u64> {
    vec![0]
}

fn four() -> u32 {
    4
}

fn eight() -> u16 {
    8
}

/// `[[linear_eval]]`: DINOv2's linear classifiers, many at once, on whole-image vectors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearEvalTable {
    /// Dataset to learn from, by its name in tables.
    pub train: String,
    /// Dataset to score on.
    pub test: String,
    /// Name of the scores' dataset in tables; `test`'s name by default.
    pub name: Option<String>,
    /// Random resized crops of each training image; 0: the images as the extraction sees them.
    #[serde(default)]
    pub crops: u16,
    /// Optimiser steps; by default DINOv2's 12,500.
    pub steps: Option<u64>,
    /// Passes over the training views instead.
    pub epochs: Option<u32>,
    /// Views a step.
    pub batch: Option<u32>,
    /// Seed of the order, the initial weights and the crops.
    #[serde(default)]
    pub seed: u64,
    /// Trains a second time, without the images that choose a head, so that the published number is of heads that
    /// learned from all.
    #[serde(default)]
    pub twice: bool,
    /// Control: learn from shuffled labels. Must come out at chance.
    #[serde(default)]
    pub permute_labels: bool,
}

/// `[[zero_shot]]`: classes from their names, by a text encoder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZeroShotTable {
    /// Dataset to score on, by its name in tables.
    pub dataset: String,
    /// Name of the scores' dataset in tables; the dataset's by default.
    pub name: Option<String>,
    /// `openai` (80), `simple` (7), or sentences with `{}` where the class goes.
    #[serde(default = "openai")]
    pub templates: Templates,
    /// What the classes are called, in their order; the dataset's names by default.
    #[serde(default)]
    pub names: Vec<String>,
    /// Control: classes have the vectors of others. Must come out at chance.
    #[serde(default)]
    pub permute_labels: bool,
}

/// Sentences around a class name.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected openai, simple or a list of sentences with {}")]
pub enum Templates {
    /// A known set.
    Called(String),
    /// One's own.
    Own(Vec<String>),
}

fn openai() -> Templates {
    Templates::Called("openai".into())
}
