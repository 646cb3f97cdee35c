//! The tensors of a file against those of a model: which goes where, and what does not fit.
//!
//! Three liberties are taken, each of which a checkpoint needs. The position grid is the file's (models are published
//! at several resolutions). A position table without a CLS row, where the model has one, gets a row of zeros (timm
//! folds that row into the CLS token). Axes of length 1 in front are dropped (`[1, 1, D]` is a token).

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::Checkpoint;
use super::naming::{self, Place};
use super::params::Params;
use super::shapes::expected;
use crate::config::{Activation, VitConfig};
use crate::error::{Mismatch, VitError};
use crate::zoo::{self, ModelSpec};

/// Which tensors make a model.
pub(super) struct Plan {
    pub(super) config: VitConfig,
    pub(super) naming: &'static str,
    pub(super) leftover: Vec<String>,
    /// Canonical name, shape, and the names in the file that are stacked into it.
    parameters: Vec<(String, Vec<usize>, Vec<String>)>,
    /// The position table in the file has no CLS row and the model has one.
    zero_cls_row: bool,
}

/// Tensors of the file by the parameter they make: parts in order, with their shapes.
struct Found {
    parts: BTreeMap<String, Vec<Option<String>>>,
    unused: Vec<String>,
    leftover: Vec<String>,
}

/// Decides what makes `spec`, or lists everything that keeps the file from it.
pub(super) fn plan(spec: &ModelSpec, checkpoint: &Checkpoint) -> Result<Plan, VitError> {
    let keys: Vec<&str> = checkpoint.tensors.keys().map(|key| naming::unwrapped(key)).collect();
    let path = checkpoint.files.first().cloned().unwrap_or_default();
    let Some(naming) = naming::recognise(&keys) else {
        let shown: Vec<&str> = keys.iter().copied().take(5).collect();
        let problem = format!(
            "{} tensors with names of no known ViT ({}); known are the official, timm, Hugging Face and OpenCLIP names",
            keys.len(),
            shown.join(", ")
        );
        return Err(VitError::weights(&path, problem));
    };
    let found = sort(checkpoint, naming.place);
    let shapes = stacked_shapes(checkpoint, &found);
    let mut config = spec.config.clone();
    let mut zero_cls_row = false;
    if let Some(rows) = shapes.get("pos_embed").and_then(|shape| shape.first())
        && let Some((grid, zero_row)) = grid_of(*rows, config.pos.cls_slot)
    {
        config.pos.grid = grid;
        zero_cls_row = zero_row;
    }
    let mut mismatch = Mismatch {
        path,
        model: spec.name.clone(),
        naming: naming.name,
        missing: Vec::new(),
        unused: found.unused.clone(),
        misshaped: Vec::new(),
        fits: Vec::new(),
    };
    let mut parameters = Vec::new();
    let mut taken = BTreeSet::new();
    for (name, shape) in expected(&config) {
        taken.insert(name.clone());
        let whole = found.parts.get(&name).and_then(|parts| parts.iter().cloned().collect::<Option<Vec<String>>>());
        let (Some(names), Some(has)) = (whole, shapes.get(&name)) else {
            mismatch.missing.push(name);
            continue;
        };
        let mut wants = shape.clone();
        if name == "pos_embed" && zero_cls_row {
            wants[0] -= 1;
        }
        if *has == trimmed(&wants) {
            parameters.push((name, shape, names));
        } else {
            mismatch.misshaped.push(format!("{}: file {has:?}, model {wants:?}", names.join(" + ")));
        }
    }
    let extra = found.parts.iter().filter(|(name, _)| !taken.contains(*name));
    mismatch.unused.extend(extra.flat_map(|(_, names)| names.iter().flatten().cloned()));
    if !(mismatch.missing.is_empty() && mismatch.unused.is_empty() && mismatch.misshaped.is_empty()) {
        mismatch.fits = sizes(&shapes, checkpoint, &found).map(|sizes| zoo::with_sizes(&sizes)).unwrap_or_default();
        mismatch.fits.retain(|name| *name != spec.name);
        return Err(VitError::Mismatch(Box::new(mismatch)));
    }
    let mut leftover = grouped(&found.leftover);
    leftover.extend(checkpoint.aside.iter().cloned());
    Ok(Plan { config, naming: naming.name, leftover, parameters, zero_cls_row })
}

/// Reads what was planned.
pub(super) fn read(plan: &Plan, checkpoint: &Checkpoint) -> Result<Params, VitError> {
    let mut params = Params::default();
    for (name, shape, parts) in &plan.parameters {
        let mut data = Vec::with_capacity(shape.iter().product());
        if name == "pos_embed" && plan.zero_cls_row {
            data.resize(plan.config.width, 0.0);
        }
        for part in parts {
            data.extend(checkpoint.read(part)?);
        }
        params.insert(name, shape.clone(), data);
    }
    Ok(params)
}

fn sort(checkpoint: &Checkpoint, place: fn(&str) -> Place) -> Found {
    let mut found = Found { parts: BTreeMap::new(), unused: Vec::new(), leftover: Vec::new() };
    for key in checkpoint.tensors.keys() {
        let (name, k, of) = match place(naming::unwrapped(key)) {
            Place::Whole(name) => (name, 0, 1),
            Place::Part { name, k, of } => (name, k, of),
            Place::Leftover => {
                found.leftover.push(naming::unwrapped(key).to_owned());
                continue;
            }
            Place::Unknown => {
                found.unused.push(key.clone());
                continue;
            }
        };
        let parts = found.parts.entry(name).or_insert_with(|| vec![None; of]);
        match parts.get_mut(k) {
            Some(part @ None) if of == 1 || k < of => *part = Some(key.clone()),
            _ => found.unused.push(key.clone()),
        }
    }
    found
}

/// Shape of each parameter as the file has it: leading ones dropped, the patch projection flat, parts stacked.
fn stacked_shapes(checkpoint: &Checkpoint, found: &Found) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    for (name, parts) in &found.parts {
        let mut all =
            parts.iter().flatten().filter_map(|part| checkpoint.tensors.get(part)).map(|stored| &stored.shape);
        let Some(mut shape) = all.next().map(|shape| trimmed(shape)) else { continue };
        if let ("patch_embed.weight", [d, channels, height, width]) = (name.as_str(), shape.as_slice()) {
            shape = vec![*d, channels.saturating_mul(*height).saturating_mul(*width)];
        }
        for other in all {
            match (shape.split_first(), other.split_first()) {
                (Some((rows, rest)), Some((more, same))) if rest == same => shape[0] = rows.saturating_add(*more),
                _ => shape.clone_from(other),
            }
        }
        shapes.insert(name.clone(), shape);
    }
    shapes
}

fn trimmed(shape: &[usize]) -> Vec<usize> {
    let ones = shape.iter().take_while(|&&n| n == 1).count();
    shape[ones.min(shape.len().saturating_sub(1))..].to_vec()
}

/// Side of the square grid that `rows` positions are, and whether the CLS row must be added.
fn grid_of(rows: usize, cls_slot: bool) -> Option<(usize, bool)> {
    let side = |n: usize| Some(n.isqrt()).filter(|side| *side > 0 && side * side == n);
    if !cls_slot {
        return side(rows).map(|grid| (grid, false));
    }
    let with_row = rows.checked_sub(1).and_then(side).map(|grid| (grid, false));
    with_row.or_else(|| side(rows).map(|grid| (grid, true)))
}

/// No model has a width or depth beyond this; a file that says so is corrupt.
const LARGEST: usize = 1 << 20;

/// The sizes that the file itself has, to name the model that it fits.
fn sizes(shapes: &BTreeMap<String, Vec<usize>>, checkpoint: &Checkpoint, found: &Found) -> Option<VitConfig> {
    let axis = |name: &str, axis: usize| shapes.get(name)?.get(axis).copied();
    let width = axis("cls_token", 0)?;
    let block = |name: &String| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
    let depth = found.parts.keys().filter_map(block).max()?.saturating_add(1);
    let pixels = axis("patch_embed.weight", 1)?;
    let hidden = axis("blocks.0.mlp.fc2.weight", 1)?;
    if [width, depth, pixels, hidden].into_iter().any(|n| n == 0 || n > LARGEST) {
        return None;
    }
    let mut config = zoo::plain(depth, width, (pixels / 3).isqrt(), 1, crate::config::Interpolation::Bicubic);
    config.mlp.hidden = hidden;
    if axis("blocks.0.mlp.fc1.weight", 0)? == 2 * hidden {
        config.mlp.activation = Activation::SwiGlu;
    }
    config.layer_scale = found.parts.contains_key("blocks.0.ls1");
    config.ln_pre = found.parts.contains_key("ln_pre.weight");
    // From the file's own shape: a single register has lost its leading axis in `shapes`.
    let register_tokens = found.parts.get("register_tokens").and_then(|parts| parts.first()?.as_ref());
    config.registers = match register_tokens.and_then(|name| checkpoint.tensors.get(name)) {
        Some(stored) => stored.shape.iter().rev().nth(1).copied().unwrap_or(1),
        None => 0,
    };
    Some(config)
}

/// `head.weight, head.bias` as `head (2 tensors)`.
fn grouped(names: &[String]) -> Vec<String> {
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *groups.entry(name.split('.').next().unwrap_or(name)).or_default() += 1;
    }
    let counted = |(group, count): (&str, usize)| match count {
        1 => names.iter().find(|name| name.split('.').next() == Some(group)).cloned().unwrap_or_default(),
        _ => format!("{group} ({count} tensors)"),
    };
    groups.into_iter().map(counted).collect()
}
