//! The text side of a CLIP checkpoint: its text tower and the two projections, as strictly as the image tower.
//!
//! The sizes are the file's. Every tensor is one of the text tower, one of the image tower, or a scale of the loss;
//! a name that is none of these is an error, and so is a tower with a tensor missing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::checkpoint::Checkpoint;
use super::naming::clip_text::{NAMINGS, TextNaming};
use super::naming::{self, Place};
use super::params::Params;
use super::source::WeightSource;
use crate::config::{Activation, Mlp};
use crate::error::{Mismatch, VitError};
use crate::text::{IMAGE_PROJECTION, TextConfig};

/// The parameters of a text tower.
#[derive(Debug, Clone, PartialEq)]
pub struct TextWeights {
    /// Sizes, as the file has them.
    pub config: TextConfig,
    /// Canonical tensors, exactly those of [`TextConfig::parameters`].
    pub params: Params,
}

impl TextWeights {
    /// The linear map from CLS after the final norm to the channels that texts have too, `[E, D]`.
    pub fn image_projection(&self) -> Result<&[f32], VitError> {
        self.params.get(IMAGE_PROJECTION, &[self.config.embedding, self.config.image_width])
    }
}

/// A weight file with a text tower whose names and shapes fit; no value was read.
pub struct TextHeader {
    /// Sizes, as the file has them.
    pub config: TextConfig,
    /// Which naming the file has.
    pub naming: &'static str,
    checkpoint: Checkpoint,
    plan: Plan,
}

/// Canonical name, shape, and the names in the file that are stacked into it.
type Plan = Vec<(String, Vec<usize>, Vec<String>)>;

impl TextHeader {
    /// Reads the tables of contents of `source`, after a download where one is needed. A file does not say its
    /// activation: it is that of the model's image tower.
    pub fn read(source: &WeightSource, activation: Activation, progress: &dyn Fn(u64, u64)) -> Result<Self, VitError> {
        Self::of(Checkpoint::open(&source.files(progress)?)?, activation)
    }

    fn of(checkpoint: Checkpoint, activation: Activation) -> Result<Self, VitError> {
        let path = checkpoint.files.first().cloned().unwrap_or_default();
        let has = |mark: &str| checkpoint.tensors.keys().any(|key| naming::unwrapped(key) == mark);
        let Some(naming) = NAMINGS.iter().find(|naming| has(naming.mark)) else {
            return Err(VitError::NoText { path, marks: NAMINGS.map(|naming| naming.mark).join(" nor ") });
        };
        let (config, plan) = plan(naming, &checkpoint, path)?;
        Ok(Self { config: config.with_activation(activation), naming: naming.name, checkpoint, plan })
    }

    /// The values, all finite.
    pub fn weights(&self) -> Result<TextWeights, VitError> {
        let turned = NAMINGS.iter().any(|naming| naming.name == self.naming && naming.turned);
        let mut params = Params::default();
        for (name, shape, parts) in &self.plan {
            let mut data = Vec::with_capacity(shape.iter().product());
            for part in parts {
                data.extend(self.checkpoint.read(part)?);
            }
            if turned && is_projection(name) {
                data = transposed(&data, shape[1], shape[0]);
            }
            params.insert(name, shape.clone(), data);
        }
        Ok(TextWeights { config: self.config.clone(), params })
    }
}

fn is_projection(name: &str) -> bool {
    name.ends_with("_projection")
}

/// `[rows, cols]` → `[cols, rows]`
fn transposed(data: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|c| (0..rows).map(move |r| data[r * cols + c])).collect()
}

fn plan(naming: &TextNaming, checkpoint: &Checkpoint, path: PathBuf) -> Result<(TextConfig, Plan), VitError> {
    let mut found: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    let mut unused = Vec::new();
    for key in checkpoint.tensors.keys() {
        let (name, k, of) = match (naming.place)(naming::unwrapped(key)) {
            Place::Whole(name) => (name, 0, 1),
            Place::Part { name, k, of } => (name, k, of),
            Place::Leftover => continue,
            Place::Unknown => {
                unused.push(key.clone());
                continue;
            }
        };
        match found.entry(name).or_insert_with(|| vec![None; of]).get_mut(k) {
            Some(part @ None) => *part = Some(key.clone()),
            _ => unused.push(key.clone()),
        }
    }
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (name, parts) in &found {
        let of = |part: &String| checkpoint.tensors.get(part).map(|stored| stored.shape.clone());
        let all: Vec<Vec<usize>> = parts.iter().flatten().filter_map(of).collect();
        // Parts are rows of one matrix; where they differ, the first stands and cannot fit.
        let Some(mut shape) = all.first().cloned().filter(|_| all.len() == parts.len()) else { continue };
        if let Some(rows) = shape.first_mut().filter(|_| all.iter().all(|part| *part == all[0])) {
            *rows = rows.saturating_mul(parts.len());
        }
        if naming.turned && is_projection(name) {
            shape.reverse();
        }
        shapes.insert(name.clone(), shape);
    }
    let Some(config) = sizes(&shapes) else {
        let problem = "its text tower has no sizes that a CLIP model has (width a multiple of 64, positions, blocks and both projections)";
        return Err(VitError::weights(&path, problem));
    };
    let mut mismatch = Mismatch {
        path,
        model: "CLIP text tower".to_owned(),
        naming: naming.name,
        missing: Vec::new(),
        unused,
        misshaped: Vec::new(),
        fits: Vec::new(),
    };
    let mut plan = Vec::new();
    for (name, wants) in config.parameters() {
        let parts: Vec<String> = found.remove(&name).into_iter().flatten().flatten().collect();
        match shapes.get(&name) {
            None => mismatch.missing.push(name),
            Some(has) if *has != wants => {
                mismatch.misshaped.push(format!("{}: file {has:?}, model {wants:?}", parts.join(" + ")));
            }
            Some(_) => plan.push((name, wants, parts)),
        }
    }
    mismatch.unused.extend(found.into_values().flatten().flatten());
    if mismatch.missing.is_empty() && mismatch.unused.is_empty() && mismatch.misshaped.is_empty() {
        return Ok((config, plan));
    }
    Err(VitError::Mismatch(Box::new(mismatch)))
}

/// No model has a size beyond this; a file that says so is corrupt.
const LARGEST: usize = 1 << 20;

/// The sizes that the file has, with exact GELU.
fn sizes(shapes: &BTreeMap<String, Vec<usize>>) -> Option<TextConfig> {
    let axis = |name: &str, axis: usize| shapes.get(name)?.get(axis).copied().filter(|n| (1..=LARGEST).contains(n));
    let block = |name: &String| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
    let width = axis("positions", 1)?;
    let depth = shapes.keys().filter_map(block).max()?.saturating_add(1);
    // Blocks are numbered without gaps, or one is missing: there are at most as many as tensors.
    (depth <= shapes.len()).then_some(())?;
    Some(TextConfig {
        depth,
        width,
        heads: TextConfig::heads_of(width)?,
        mlp: Mlp { hidden: axis("blocks.0.mlp.fc1.weight", 0)?, activation: Activation::Gelu },
        context: axis("positions", 0)?,
        vocabulary: axis("token_embedding", 0)?,
        embedding: axis("text_projection", 0)?,
        image_width: axis(IMAGE_PROJECTION, 1)?,
    })
}

#[cfg(test)]
mod tests;
