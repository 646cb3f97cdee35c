//! Class names become vectors: the classifier of zero-shot evaluation, made once for a model and a list of classes.
//!
//! ```text
//! vector of a class = unit(Σ over templates of unit(text encoder(template filled with the name)))
//! ```
//!
//! The map that takes an image's CLS to the same channels is in the same checkpoint, and is written beside them (table
//! `heads`), so that whatever has `final` CLS vectors can be classified without the model.
//!
//! Folders of `ImageNet` are called by their `WordNet` ids; those are replaced by `OpenCLIP`'s curated names. Any other
//! class is called by its own name, underscores read as spaces.
//!
//! Source: `mlfoundations/open_clip` `zero_shot_classifier.py`, `zero_shot_metadata.py` (MIT; names and templates as
//! `tests/golden/zero_shot/data.py` copied them); `docs/protocols/zero_shot.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use engine::{
    ErrorKind, Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec,
};
use schemas::tables::{ClassVectors, Heads};
use schemas::{Canonical, Meaning};
use serde::Serialize;
use thiserror::Error;
use vit::text::class_vector;
use vit::{DeviceChoice, TextConfig, TextEncoder, TextWeights, VitError};

use crate::cost::size;

/// Reads the weights of a text tower, when the first shard needs them.
pub type OpenText = Arc<dyn Fn() -> Result<TextWeights, VitError> + Send + Sync>;

/// Everything that can change a class vector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbedClassesParams {
    /// Sizes and activation of the text tower.
    pub text: TextConfig,
    /// Digest of the weight file.
    pub weights: String,
    /// What the templates are filled with, by class number; see [`class_names`].
    pub classes: Vec<String>,
    /// Prompts with `{}` where the name goes; see [`templates`].
    pub templates: Vec<String>,
}

impl Meaning for EmbedClassesParams {}

/// Class names or templates that make no classifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EmbedClassesError {
    /// Nothing to embed.
    #[error("`{0}` is empty; name at least one")]
    Nothing(&'static str),
    /// The same text for every class.
    #[error("template `{0}` has no {{}} for the name of a class, so that it tells none from another")]
    NoPlace(String),
    /// A list of templates that does not exist.
    #[error("no templates are called `{0}`; write openai (80), simple (7), or a list of prompts with {{}}")]
    Unknown(String),
}

impl From<EmbedClassesError> for StageError {
    fn from(e: EmbedClassesError) -> Self {
        Self::new(ErrorKind::Config, &e, "", "correct the study file")
    }
}

impl EmbedClassesParams {
    /// Whether there are classes, and templates that tell them apart.
    pub fn check(&self) -> Result<(), EmbedClassesError> {
        if self.classes.is_empty() {
            return Err(EmbedClassesError::Nothing("classes"));
        }
        if self.templates.is_empty() {
            return Err(EmbedClassesError::Nothing("templates"));
        }
        match self.templates.iter().find(|template| !template.contains(PLACE)) {
            Some(template) => Err(EmbedClassesError::NoPlace(template.clone())),
            None => Ok(()),
        }
    }
}

/// Where the name goes.
const PLACE: &str = "{}";
const OPENAI: &str = include_str!("embed_classes/templates.txt");
/// The subset that `OpenAI` found to do nearly as well.
const SIMPLE: [&str; 7] = [
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
];
const IMAGENET: &str = include_str!("embed_classes/imagenet.txt");

/// The templates called `openai` (80) or `simple` (7).
pub fn templates(name: &str) -> Result<Vec<String>, EmbedClassesError> {
    match name {
        "openai" => Ok(OPENAI.lines().map(str::to_owned).collect()),
        "simple" => Ok(SIMPLE.map(str::to_owned).into()),
        _ => Err(EmbedClassesError::Unknown(name.to_owned())),
    }
}

/// What to call the classes of a dataset: curated names of `WordNet` ids, else their own with spaces for underscores.
pub fn class_names(classes: &[String]) -> Vec<String> {
    let curated: BTreeMap<&str, &str> = IMAGENET.lines().filter_map(|line| line.split_once(' ')).collect();
    let name =
        |class: &String| curated.get(class.as_str()).map_or_else(|| class.replace('_', " "), |name| (*name).to_owned());
    classes.iter().map(name).collect()
}

/// Class names → `class_vectors`, and the image projection as a row of `heads`. Version 1.
pub struct EmbedClasses {
    /// Name of the model, for errors.
    pub model: String,
    /// Its text tower.
    pub open: OpenText,
    /// Meaning.
    pub params: EmbedClassesParams,
    /// Hive folders.
    pub partition: Partition,
    /// Where it runs.
    pub device: DeviceChoice,
    /// Threads that encode; one is enough for a GPU.
    pub threads: usize,
}

/// Name of the head that holds the image projection, and of its tensor.
pub const IMAGE_PROJECTION: (&str, &str) = ("image_projection", "weight");

/// Classes of a shard: a minute or so of a large tower.
const SHARD_CLASSES: u64 = 250;
/// Ids of a filled template, as the 80 have them.
const IDS: u64 = 12;
/// f32 multiply-adds per second of one core in so narrow products.
const CORE_MACS_PER_SEC: f64 = 20e9;

impl EmbedClasses {
    /// Vectors of some classes, in their order.
    fn vectors(
        &self,
        encoder: &TextEncoder,
        classes: &[String],
        done: &(dyn Fn(usize) + Sync),
        cancel: &AtomicBool,
    ) -> Result<Vec<Vec<f32>>, StageError> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(class) = classes.get(i) else { return Ok(found) };
                if cancel.load(Ordering::Relaxed) {
                    return Err(StageError::interrupted());
                }
                let prompts: Vec<String> = self.params.templates.iter().map(|t| t.replace(PLACE, class)).collect();
                let embeddings = encoder.embed(&prompts).map_err(|e| self.refused(&e))?;
                let vector = class_vector(&embeddings).ok_or_else(|| {
                    let what = format!("class `{class}` has no direction: embeddings are not finite, or cancel");
                    StageError::new(ErrorKind::Missing, what, self.place(), "fetch the weights again")
                })?;
                found.push((i, vector));
                done(i);
            }
        };
        let mut all: Vec<(usize, Vec<f32>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads.max(1)).map(|_| scope.spawn(work)).collect();
            let ended = threads.into_iter().map(|t| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
            ended.collect::<Result<Vec<_>, StageError>>().map(|found| found.into_iter().flatten().collect())
        })?;
        all.sort_by_key(|(i, _)| *i);
        Ok(all.into_iter().map(|(_, vector)| vector).collect())
    }

    fn place(&self) -> String {
        format!("text encoder of model `{}`", self.model)
    }

    fn refused(&self, e: &VitError) -> StageError {
        let fix = "check `weights` of this model in the study: zero-shot classification needs a whole CLIP checkpoint";
        StageError::new(ErrorKind::Missing, e, self.place(), fix)
    }
}

impl Stage for EmbedClasses {
    fn name(&self) -> &'static str {
        "embed_classes"
    }

    fn version(&self) -> u32 {
        1 + vit::NUMBERS
    }

    fn inputs(&self) -> Vec<TableRef> {
        Vec::new()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        ["class_vectors", "heads"].map(|table| TableSpec { table, partition: self.partition.clone() }).into()
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, _: &Sizes) -> Estimate {
        let text = &self.params.text;
        let (classes, width) = (self.params.classes.len() as u64, text.width as u64);
        let per_id = (text.depth * (4 * text.width + 2 * text.mlp.hidden) * text.width) as u64;
        let macs = classes * self.params.templates.len() as u64 * IDS * per_id;
        let weights = 4 * (text.vocabulary as u64 * width + per_id);
        let projection = 4 * (text.embedding * text.image_width) as u64;
        Estimate {
            items: classes,
            items_per_shard: SHARD_CLASSES,
            tables: [("class_vectors", size(classes, 4 * text.embedding as u64)), ("heads", size(1, projection))]
                .into(),
            // As read and as the kernels have them.
            host_bytes: 2 * weights,
            secs: macs as f64 / (CORE_MACS_PER_SEC * self.threads.max(1) as f64),
            ..Estimate::default()
        }
    }

    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        self.params.check()?;
        let weights = (self.open)().map_err(|e| self.refused(&e))?;
        let encoder = TextEncoder::new(&weights, &self.device).map_err(|e| self.refused(&e))?;
        let mut heads = Heads::default();
        if shard.index == 0 {
            let projection = weights.image_projection().map_err(|e| self.refused(&e))?;
            let (head, tensor) = IMAGE_PROJECTION;
            heads.head.push(head.into());
            heads.tensor.push(tensor.into());
            heads.shape.push(format!("{}x{}", weights.config.embedding, weights.config.image_width).into());
            heads.values.push(projection.to_vec());
        }
        drop(weights);
        let (start, end) = (shard.items.start as usize, shard.items.end as usize);
        let classes = &self.params.classes[start..end];
        let finished = AtomicUsize::new(0);
        let done = |_| io.items_done(finished.fetch_add(1, Ordering::Relaxed) as u64 + 1);
        let vectors = self.vectors(&encoder, classes, &done, io.cancel_flag())?;
        let mut rows = ClassVectors::default();
        for (i, (name, vector)) in classes.iter().zip(&vectors).enumerate() {
            rows.class.push((start + i) as u32);
            rows.name.push(name.as_str().into());
            rows.templates.push(self.params.templates.len() as u32);
            rows.vector.push(vector);
        }
        io.write(rows)?;
        io.write(heads)?;
        Ok(ShardReport { items: classes.len() as u64, skipped: 0 })
    }
}

#[cfg(test)]
mod tests;
