//! The study file. Every key is here with its default; `docs/study.md` explains them with examples.
//!
//! Relative `root` and `weights` are relative to the study file; `store` and `report` to the current folder. `${NAME}`
//! in a path is taken from the environment, so that one preset serves many machines.

use std::path::{Path, PathBuf};

use engine::Budget;
use schemas::outlier::OutlierPolicy;
use serde::Deserialize;

use self::heads::{DenseTable, LinearEvalTable, ZeroShotTable};
use super::mistake::mistake;
use crate::failure::{Code, Failure};

/// A whole study.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyFile {
    /// Title of the report.
    pub title: String,
    /// Sentences under the title.
    #[serde(default, deserialize_with = "one_or_several")]
    pub notes: Vec<String>,
    /// Folder of results.
    #[serde(default = "default_store")]
    pub store: PathBuf,
    /// Folder of the report.
    #[serde(default = "default_report")]
    pub report: PathBuf,
    /// Tables and figures to make; empty: all that have numbers.
    #[serde(default)]
    pub tables: Vec<String>,
    /// A run fails when more than this share of a dataset's images was skipped.
    #[serde(default = "default_max_skip_frac")]
    pub max_skip_frac: f64,
    /// Limits that `plan` and `run` refuse to break.
    #[serde(default)]
    pub budget: Budget,
    /// What to read from each pass.
    #[serde(default)]
    pub extract: ExtractTable,
    /// Maps of the first images.
    #[serde(default)]
    pub portray: PortrayTable,
    /// Boxes around objects.
    #[serde(default)]
    pub discover: DiscoverTable,
    /// Models.
    #[serde(rename = "model")]
    pub models: Vec<ModelTable>,
    /// Datasets.
    #[serde(rename = "dataset")]
    pub datasets: Vec<DatasetTable>,
    /// Fits.
    #[serde(default, rename = "probe")]
    pub probes: Vec<ProbeTable>,
    /// Heads on patch features.
    #[serde(default)]
    pub dense: Vec<DenseTable>,
    /// Linear classifiers learned by gradient steps.
    #[serde(default)]
    pub linear_eval: Vec<LinearEvalTable>,
    /// Classes from their names.
    #[serde(default)]
    pub zero_shot: Vec<ZeroShotTable>,
}

fn default_store() -> PathBuf {
    "vitals-store".into()
}

fn default_report() -> PathBuf {
    "vitals-report".into()
}

fn default_max_skip_frac() -> f64 {
    0.01
}

/// `[extract]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExtractTable {
    /// Which patches are outliers.
    pub outliers: OutlierPolicy,
    /// Site whose norms tell outliers; `last` is the last block.
    pub outlier_site: String,
    /// Sites with one row per token.
    pub stats_sites: Vec<String>,
    /// Sites whose sampled tokens are kept.
    pub vector_sites: Vec<String>,
    /// Sites whose CLS and mean patch are kept; `+norm` after a block reads it through the final norm.
    pub pooled: Vec<String>,
    /// Random tokens of each kind per image.
    pub draws: u16,
    /// Every patch once instead.
    pub every_patch: bool,
    /// Seed of the draws and of the calibration pass.
    pub seed: u64,
    /// The first so many images are kept as pictures.
    pub pictures: u32,
    /// Images per shard.
    pub shard_images: u64,
    /// f32, bf16 or f16.
    pub precision: String,
    /// A patch whose luminance varies less than this is known to hold nothing (generated scenes).
    pub truth_pixel_variance: Option<f64>,
    /// Neighbours as the study's DeiT-III code takes them: rows go on in the next row.
    pub wrapped_neighbours: bool,
}

impl Default for ExtractTable {
    fn default() -> Self {
        Self {
            outliers: OutlierPolicy::Valley { images: 200 },
            outlier_site: "last".into(),
            stats_sites: vec!["last".into()],
            vector_sites: vec!["final".into()],
            pooled: vec!["final".into()],
            draws: 5,
            every_patch: false,
            seed: 0,
            pictures: 4,
            shard_images: 1024,
            precision: "f32".into(),
            truth_pixel_variance: None,
            wrapped_neighbours: false,
        }
    }
}

/// `[portray]`: attention, norms and principal components of the first images, as pictures.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PortrayTable {
    /// The first so many images of each dataset; 0: none.
    pub images: u32,
    /// Side of what the model is shown, px; the dataset's own by default.
    pub size_px: Option<usize>,
    /// Blocks whose attention is kept; empty: the last.
    pub blocks: Vec<u16>,
    /// Sites whose principal components are kept.
    pub sites: Vec<String>,
    /// Datasets, by name in tables; empty: all.
    pub datasets: Vec<String>,
}

impl Default for PortrayTable {
    fn default() -> Self {
        Self { images: 4, size_px: None, blocks: Vec::new(), sites: vec!["final".into()], datasets: Vec::new() }
    }
}

/// `[discover]`: boxes around objects, found without supervision by LOST and scored against those of the dataset.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoverTable {
    /// Datasets, by name in tables; empty: none.
    pub datasets: Vec<String>,
    /// `key`, `query`, `value` or `block`.
    pub features: Vec<String>,
    /// Of so many of the last blocks.
    pub layers: usize,
    /// Patches of lowest degree among which a box may begin to grow.
    pub k_patches: u32,
    /// Biases of the Gram matrix of features as they are; empty: these are not used.
    pub raw_biases: Vec<f64>,
    /// Biases of the Gram matrix of features divided by their length; empty: these are not used.
    pub l2_biases: Vec<f64>,
    /// Boxes by `TokenCut` too, with this threshold of its graph; 0.2 is its authors'.
    pub tokencut_tau: Option<f64>,
    /// Leave out objects marked as difficult or truncated.
    pub no_hard: bool,
    /// The steps of the first so many images are kept as pictures.
    pub pictures: u32,
}

impl Default for DiscoverTable {
    fn default() -> Self {
        Self {
            datasets: Vec::new(),
            features: vec!["key".into()],
            layers: 1,
            k_patches: 100,
            raw_biases: vec![0.0],
            // No product of unit vectors is above 1: at −1 rounding alone would decide.
            l2_biases: (-19..=0).map(|twentieths| f64::from(twentieths) / 20.0).collect(),
            tokencut_tau: None,
            no_hard: false,
            pictures: 3,
        }
    }
}

/// `[[model]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTable {
    /// A name of `vitals models ls`, or `planted`.
    pub model: String,
    /// Name in tables; the model's name by default.
    pub name: Option<String>,
    /// Weight file, or hf:owner/repo[/file]. Planted models need none.
    pub weights: Option<String>,
    /// same, proxy, own or unstated: whether these weights are those of the published numbers.
    #[serde(default = "default_provenance")]
    pub provenance: String,
    /// One sentence on the weights.
    #[serde(default)]
    pub note: String,
    /// Another number of register tokens than the name says.
    pub registers: Option<usize>,
    /// Another rule for position embeddings: offset, bicubic or antialias.
    pub interpolation: Option<String>,
    /// Dials of a planted model.
    pub planted: Option<PlantedTable>,
    /// Tokens that are overwritten while it runs.
    pub edit: Option<extract::Edit>,
    /// Registers that it is given while it runs.
    pub test_time_registers: Option<TestTimeTable>,
}

/// `[model.test_time_registers]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TestTimeTable {
    /// How many are appended.
    pub registers: u16,
    /// So many hidden units move to them.
    pub neurons: u32,
    /// The first so many images show which units those are.
    pub images: u32,
    /// Of this dataset, by name in tables; the first that the model runs on by default.
    pub dataset: Option<String>,
    /// Blocks whose units are looked at; empty: all.
    pub blocks: Vec<u16>,
}

impl Default for TestTimeTable {
    fn default() -> Self {
        Self { registers: 1, neurons: 10, images: 500, dataset: None, blocks: Vec::new() }
    }
}

fn default_provenance() -> String {
    "unstated".into()
}

/// `[model.planted]`: how far the planted truth is turned down. See docs/planted.md.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlantedTable {
    /// Share of detections that are random, 0 to 1.
    pub detection_noise: Option<f64>,
    /// Share of local content that outliers lose, 0 to 1.
    pub erasure: Option<f64>,
    /// How fast an outlier's gathering falls off with distance.
    pub gather_decay: Option<f64>,
    /// Share of the masks without class evidence, 0 to 1.
    pub evidence_loss: Option<f64>,
    /// Gain of the norm in the last block's keys.
    pub key_gain: Option<f64>,
    /// Seed of the fixed permutations.
    pub seed: Option<u64>,
}

/// `[[dataset]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetTable {
    /// A name of `vitals datasets ls`.
    pub dataset: String,
    /// Name in tables and in `[[probe]]`; the dataset's name by default.
    pub name: Option<String>,
    /// Folder or file.
    #[serde(default)]
    pub root: String,
    /// all, train, val, trainval, test, partition:1:train, class:2/3:train, every:3@2:test.
    #[serde(default = "default_split")]
    pub split: String,
    /// Only these classes.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Shuffle with this seed before `limit`.
    pub shuffle_seed: Option<u64>,
    /// Whose shuffle: `own`, or `torch` for the order of `torch.randperm` at that seed.
    #[serde(default = "default_shuffle")]
    pub shuffle: String,
    /// At most this many images.
    pub limit: Option<usize>,
    /// Seed of generated data.
    #[serde(default)]
    pub seed: u64,
    /// How pixels are made.
    #[serde(default)]
    pub preprocess: PreprocessTable,
    /// Published protocols that this follows, `paper` or `study`: only such numbers can agree or differ.
    #[serde(default)]
    pub follows: Vec<String>,
    /// What departs from those protocols, in words; a `--limit` is named by itself.
    #[serde(default)]
    pub departures: Vec<String>,
    /// Models to run on it, by name in tables; empty: all.
    #[serde(default)]
    pub models: Vec<String>,
    /// `draws` of `[extract]`, for this dataset.
    pub draws: Option<u16>,
    /// `every_patch` of `[extract]`, for this dataset.
    pub every_patch: Option<bool>,
    /// Whether tokens are measured; a dataset for dense heads alone need not be.
    #[serde(default = "yes")]
    pub extract: bool,
}

fn yes() -> bool {
    true
}

fn default_shuffle() -> String {
    "own".into()
}

fn default_split() -> String {
    "all".into()
}

/// `preprocess = { … }` of a dataset.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreprocessTable {
    /// `eval` (the model's own), `short_side`, `square` or `none`.
    pub mode: Option<String>,
    /// Side to resize to, px.
    pub resize_px: Option<usize>,
    /// Side of the centre crop, px.
    pub crop_px: Option<usize>,
    /// bicubic or bilinear.
    pub filter: Option<String>,
    /// model (the family's mean and std) or unit (pixels in [0, 1], as the study feeds them).
    pub normalise: Option<String>,
}

/// `[[probe]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeTable {
    /// `token_class`, `pooled_class`, `knn`, `multi_label`, `position` or `pixels`.
    pub experiment: String,
    /// Dataset to fit on; several are repeats of one probe, whose numbers are averaged.
    #[serde(deserialize_with = "one_or_several")]
    pub train: Vec<String>,
    /// Dataset to score on; without it, `train` is split.
    pub test: Option<String>,
    /// Name of the scores' dataset in tables; `train`'s name by default.
    pub name: Option<String>,
    /// Site of the vectors; `last` is the last block.
    #[serde(default = "default_probe_site")]
    pub site: String,
    /// Tokens: `cls`, `register_0` …, `normal`, `outlier` (position and pixels: the last two); empty: all there are.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// dinov2 (C chosen on a tenth of train, then refitted), study (C = 1, four fifths against one fifth), or fixed.
    #[serde(default = "default_protocol")]
    pub protocol: String,
    /// C of `fixed`.
    pub c: Option<f64>,
    /// How one dataset is split into train and test, when there is no `test`; by image unless it says rows.
    pub split: Option<probe::Split>,
    /// Seed of the split for each dataset of `train`, instead of the one in `split`.
    #[serde(default)]
    pub seeds: Vec<u32>,
    /// none, or floor: divide by the standard deviation, with a floor.
    pub standardise: Option<String>,
    /// position: a model for each kind of token instead of one for all.
    #[serde(default)]
    pub separate: bool,
    /// position: `softmax`, `least_squares` or `flat_index`.
    #[serde(default = "default_position")]
    pub position: String,
    /// Ridge of pixels (1 by default) and of positions by regression (0 by default).
    pub penalty: Option<f64>,
    /// knn: so many neighbours vote.
    pub k: Option<Vec<u32>>,
    /// knn: similarities are divided by it.
    pub temperature: Option<f64>,
    /// knn: few-shot banks of so many images of each class.
    #[serde(default)]
    pub n_per_class: Vec<u32>,
    /// knn: how many such banks are drawn of each number.
    #[serde(default = "one")]
    pub tries: u32,
    /// Shuffle the labels: a control that must come out at chance.
    #[serde(default)]
    pub permute_labels: bool,
    /// At most so many draws per image.
    pub draws: Option<u16>,
    /// macro: choose C by the mean over classes.
    #[serde(default)]
    pub macro_average: bool,
    /// Asks again under so many cut-offs between outliers and normal patches; without it, only under the study's.
    pub curve_steps: Option<u32>,
}

fn one_or_several<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected text in quotes, or a list of it")]
    enum Texts {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Texts::deserialize(d)? {
        Texts::One(text) => vec![text],
        Texts::Several(texts) => texts,
    })
}

fn one() -> u32 {
    1
}

fn default_probe_site() -> String {
    "final".into()
}

fn default_position() -> String {
    "softmax".into()
}

fn default_protocol() -> String {
    "dinov2".into()
}

impl StudyFile {
    /// Reads a study file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Failure::new(
                Code::Config,
                format!("cannot read the study: {e}"),
                path.display(),
                "give the path of a study file; `vitals run` alone runs the embedded study",
            )
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses a study; `origin` is named in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|e| mistake(&e, text, origin))
    }
}

/// Replaces `${NAME}` by the environment's value.
pub fn expand(text: &str, key: &str) -> Result<String, Failure> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}') else { break };
        let name = &rest[start + 2..start + end];
        let value = std::env::var(name).map_err(|_| {
            let what = format!("the environment variable {name} is not set");
            Failure::new(
                Code::Config,
                what,
                format!("{key} = \"{text}\""),
                format!("set it: {name}=/path vitals run …"),
            )
        })?;
        out.push_str(&rest[..start]);
        out.push_str(&value);
        rest = &rest[start + end + 1..];
    }
    Ok(out + rest)
}

pub mod heads;
#[cfg(test)]
mod tests;
