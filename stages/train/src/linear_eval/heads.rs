//! The heads: what each sees, one step of all, and who classifies what well.
//!
//! A panel holds whole heads of one input side by side, `[dim, heads · classes]`, about 512 columns wide: wide enough for
//! the product to be fast, narrow enough that ImageNet's 52 heads are 52 pieces of work. A panel's loss, gradient and
//! update need no other panel.

use std::ops::Range;

use rayon::prelude::*;

use super::params::LinearEvalParams;
use crate::matmul::{Matrix, add_product_into};
use crate::random::SplitMix64;

/// Columns that a panel of several heads has at most.
const COLUMNS: usize = 512;
/// First weights of head h come from stream `WEIGHTS + h`.
const WEIGHTS: u64 = 1 << 32;

/// A head.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    /// `blocks4-avgpool-lr0.001`.
    pub name: String,
    /// Learning rate of the first step: that of a batch of 256 times what this batch is of it.
    pub rate: f64,
    /// Features that it reads.
    pub features: Range<usize>,
}

/// All heads in the order of `DINOv2`: blocks, average, rate. A sample has CLS of the sites and then the mean patch.
pub(super) fn heads(params: &LinearEvalParams, width: usize) -> Vec<Head> {
    let sites = params.read_sites().len();
    let mut heads = Vec::new();
    for &blocks in &params.last_blocks {
        for &avgpool in &params.avgpool {
            let features = (sites - usize::from(blocks)) * width..(sites + usize::from(avgpool)) * width;
            heads.extend(params.learning_rates.iter().map(|rate| Head {
                name: format!("blocks{blocks}{}-lr{rate}", if avgpool { "-avgpool" } else { "" }),
                rate: rate * f64::from(params.batch) / 256.0,
                features: features.clone(),
            }));
        }
    }
    heads
}

/// Heads of one input that are worked on together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Panel {
    /// Rate of each.
    rates: Vec<f64>,
    /// Features that they read.
    features: Range<usize>,
    classes: usize,
    /// [dim, heads · classes].
    pub weight: Vec<f32>,
    /// [heads · classes].
    pub bias: Vec<f32>,
    /// Momentum of `weight` and of `bias`.
    pub velocity: (Vec<f32>, Vec<f32>),
    /// Logits, then their gradient, [B, heads · classes].
    scratch: Vec<f32>,
}

/// Some samples: features [B, F] and classes [B].
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Batch {
    pub x: Vec<f32>,
    pub classes: Vec<Option<u32>>,
}

impl Panel {
    fn columns(&self) -> usize {
        self.bias.len()
    }

    /// `scratch` = X·W + b.
    fn logits(&self, scratch: &mut Vec<f32>, batch: &Batch) {
        let (rows, columns) = (batch.classes.len(), self.columns());
        scratch.clear();
        for _ in 0..rows {
            scratch.extend_from_slice(&self.bias);
        }
        let x = Matrix::of(&batch.x, batch.x.len() / rows.max(1)).every(self.features.start, 1, self.features.len());
        add_product_into(scratch, columns, (0, 1), 1.0, x, Matrix::of(&self.weight, columns));
    }

    /// One step; mean losses of the heads before it.
    fn step(&mut self, batch: &Batch, momentum: f32, course: f64) -> Vec<f64> {
        let (rows, columns) = (batch.classes.len(), self.columns());
        let mut scratch = std::mem::take(&mut self.scratch);
        self.logits(&mut scratch, batch);
        let mut losses = vec![0.0; self.rates.len()];
        let share = 1.0 / rows as f32;
        for (row, class) in scratch.chunks_exact_mut(columns).zip(&batch.classes) {
            // Only samples with a class teach.
            let class = class.map_or(usize::MAX, |c| c as usize);
            for (logits, loss) in row.chunks_exact_mut(self.classes).zip(&mut losses) {
                *loss += cross_entropy(logits, class, share);
            }
        }
        for loss in &mut losses {
            *loss /= rows as f64;
        }

        // V ← momentum·V + Xᵀ·G
        let gradient = Matrix::of(&scratch, columns);
        let x = Matrix::of(&batch.x, batch.x.len() / rows).every(self.features.start, 1, self.features.len());
        add_product_into(&mut self.velocity.0, columns, (0, 1), momentum, x.transposed(), gradient);
        for v in &mut self.velocity.1 {
            *v *= momentum;
        }
        for row in scratch.chunks_exact(columns) {
            self.velocity.1.iter_mut().zip(row).for_each(|(v, g)| *v += g);
        }
        let rates: Vec<f32> = self.rates.iter().map(|rate| (rate * course) as f32).collect();
        let rows = self.weight.chunks_exact_mut(columns).zip(self.velocity.0.chunks_exact(columns));
        for (row, velocity) in rows.chain([(&mut self.bias[..], &self.velocity.1[..])]) {
            let heads = row.chunks_exact_mut(self.classes).zip(velocity.chunks_exact(self.classes));
            for ((row, velocity), rate) in heads.zip(&rates) {
                row.iter_mut().zip(velocity).for_each(|(w, v)| *w -= rate * v);
            }
        }
        self.scratch = scratch;
        losses
    }

    /// Of each head, samples whose class comes first, and among the first five; equal logits go to the lower class.
    fn count(&self, batch: &Batch) -> Vec<(u64, u64)> {
        let mut scratch = Vec::new();
        self.logits(&mut scratch, batch);
        let mut right = vec![(0, 0); self.rates.len()];
        for (row, class) in scratch.chunks_exact(self.columns()).zip(&batch.classes) {
            let Some(class) = class.map(|c| c as usize).filter(|c| *c < self.classes) else { continue };
            for (logits, right) in row.chunks_exact(self.classes).zip(&mut right) {
                let own = logits[class];
                let before = logits.iter().enumerate().filter(|(c, v)| **v > own || (**v == own && *c < class)).count();
                // A head that has run away classifies nothing.
                let known = own.is_finite();
                right.0 += u64::from(known && before == 0);
                right.1 += u64::from(known && before < 5);
            }
        }
        right
    }
}

/// −log softmax of a class. `logits` become its gradient times `share`.
fn cross_entropy(logits: &mut [f32], class: usize, share: f32) -> f64 {
    if class >= logits.len() {
        logits.fill(0.0);
        return 0.0;
    }
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let own = logits[class] - largest;
    let mut sum = 0.0_f32;
    for v in logits.iter_mut() {
        *v = (*v - largest).exp();
        sum += *v;
    }
    let scale = share / sum;
    for v in logits.iter_mut() {
        *v *= scale;
    }
    logits[class] -= share;
    f64::from(sum.ln()) - f64::from(own)
}

/// Every head with its weights.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heads {
    /// In the order of `DINOv2`.
    pub all: Vec<Head>,
    pub panels: Vec<Panel>,
    pub classes: usize,
    /// Channels of a vector.
    pub width: usize,
    momentum: f32,
}

impl Heads {
    /// With first weights from the seed.
    pub(super) fn new(params: &LinearEvalParams, width: usize, classes: usize) -> Self {
        let heads = heads(params, width);
        let mut groups: Vec<Range<usize>> = Vec::new();
        for i in 0..heads.len() {
            match groups.last_mut() {
                Some(g) if heads[g.start].features == heads[i].features && (g.len() + 1) * classes <= COLUMNS => {
                    g.end += 1;
                }
                _ => groups.push(i..i + 1),
            }
        }
        let panels = groups.into_par_iter().map(|group| {
            let features = heads[group.start].features.clone();
            let columns = group.len() * classes;
            let mut weight = vec![0.0; features.len() * columns];
            for (place, head) in group.clone().enumerate() {
                // Drawn head by head, class by class, so that it does not matter who stands beside whom.
                let mut random = SplitMix64::new(params.seed, WEIGHTS + head as u64);
                for class in 0..classes {
                    let column = place * classes + class;
                    for i in 0..features.len() {
                        weight[i * columns + column] = (params.init_std * random.normal()) as f32;
                    }
                }
            }
            Panel {
                rates: heads[group].iter().map(|h| h.rate).collect(),
                classes,
                velocity: (vec![0.0; weight.len()], vec![0.0; columns]),
                bias: vec![0.0; columns],
                weight,
                features,
                scratch: Vec::new(),
            }
        });
        Self { panels: panels.collect(), all: heads, classes, width, momentum: params.momentum as f32 }
    }

    /// One step of all heads at a part `course` of their rates; mean losses before it.
    pub(super) fn step(&mut self, batch: &Batch, course: f64) -> Vec<f64> {
        let momentum = self.momentum;
        let losses: Vec<Vec<f64>> = self.panels.par_iter_mut().map(|p| p.step(batch, momentum, course)).collect();
        losses.concat()
    }

    /// Of each head, samples whose class comes first, and among the first five.
    pub(super) fn count(&self, batch: &Batch) -> Vec<(u64, u64)> {
        let right: Vec<Vec<(u64, u64)>> = self.panels.par_iter().map(|p| p.count(batch)).collect();
        right.concat()
    }

    /// Weight [classes, dim] and bias [classes] of a head.
    pub(super) fn tensors(&self, head: usize) -> (Vec<f32>, Vec<f32>) {
        let mut first = 0;
        for panel in &self.panels {
            let place = head - first;
            if place < panel.rates.len() {
                let own = place * self.classes..(place + 1) * self.classes;
                let weight = own
                    .clone()
                    .flat_map(|column| panel.weight.iter().skip(column).step_by(panel.columns()).copied())
                    .collect();
                return (weight, panel.bias[own].to_vec());
            }
            first += panel.rates.len();
        }
        (Vec::new(), Vec::new())
    }
}

#[cfg(test)]
mod tests;
