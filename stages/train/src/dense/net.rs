//! Layers of a head: forward, and the derivative of their parameters. Features are given, so nothing goes further back.
//!
//! ```text
//! linear       z = W·x̂ + b,  x̂ = γ·(x − μ)/√(σ² + ε) + β with batch normalisation
//!              G = ∂zᵀ·x̄, s = Σ ∂z (x̄ = (x − μ)/√(σ² + ε)):  ∂W = G·γ + s⊗β, ∂b = s, ∂γ = Σ_k W∘G, ∂β = Wᵀs
//! transposed   z = W·gelu(u) + b,  u of the cell (2y + i, 2x + j) is U_ijᵀ·x + c;  gelu(u) = u·Φ(u)
//! bins         z = Σ_sites (W_patch·x + W_cls·cls) + b     CLS is the same at all patches, so it is multiplied once
//! ```
//!
//! γ and β of the batch normalisation are folded into W and b, so that it costs one pass over the features.
//! Source: dinov2 `eval/segmentation/models/decode_heads/linear_head.py`, `eval/depth/models/decode_heads/linear_head.py`;
//! vit-reg `DEIT-III/models_v2.py`; PyTorch `BatchNorm2d`, `ConvTranspose2d`.

use super::features::Features;
use super::recipe::{Recipe, SegmentHead, Task};
use super::resize::Field;
use super::tensor::{Tensor, convolution};
use crate::matmul::{Matrix, add_product, add_product_into, add_to_rows, product, sum_of_rows};
use crate::random::SplitMix64;

const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Which layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layers {
    Linear,
    Normalised,
    Transposed,
    /// Depth bins, with or without CLS.
    Bins {
        cls: bool,
    },
}

/// A head.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Net {
    pub layers: Layers,
    /// Logits of a cell.
    pub outputs: usize,
    /// Channels of a site.
    pub width: usize,
    /// What is learned.
    pub tensors: Vec<Tensor>,
    /// What is counted: running mean and variance.
    pub buffers: Vec<Tensor>,
}

/// What the way back needs of the way there.
pub(crate) struct Forward {
    pub logits: Field,
    /// Transposed: the values before GELU, `[h·w, 4·width]`.
    hidden: Vec<f32>,
}

/// Sums of one view's channels, for batch normalisation.
pub(crate) struct Sums {
    sum: Vec<f64>,
    squares: Vec<f64>,
    tokens: usize,
}

/// Mean and 1/√(variance + ε) of each channel.
pub(crate) struct Moments {
    mean: Vec<f32>,
    inverse: Vec<f32>,
}

impl Net {
    /// A new head on `sites` sites of `width` channels.
    pub(crate) fn new(recipe: &Recipe, width: usize, sites: usize, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed, 0);
        let channels = width * sites;
        let (layers, outputs) = match &recipe.task {
            Task::Segments(task) => {
                let layers = match task.head {
                    SegmentHead::Linear { batch_norm: false } => Layers::Linear,
                    SegmentHead::Linear { batch_norm: true } => Layers::Normalised,
                    SegmentHead::Transposed => Layers::Transposed,
                };
                (layers, usize::from(task.labels.classes))
            }
            Task::Depth(task) => (Layers::Bins { cls: task.cls }, task.bins),
        };
        let (mut tensors, mut buffers) = (Vec::new(), Vec::new());
        match layers {
            Layers::Linear | Layers::Bins { .. } => {}
            Layers::Normalised => {
                tensors.push(Tensor::filled("batch_norm.weight", &[channels], 1.0));
                tensors.push(Tensor::filled("batch_norm.bias", &[channels], 0.0));
                buffers.push(Tensor::filled("batch_norm.running_mean", &[channels], 0.0));
                buffers.push(Tensor::filled("batch_norm.running_var", &[channels], 1.0));
            }
            Layers::Transposed => {
                // PyTorch's default for a transposed convolution: inputs of an output are counted as outputs·kernel.
                let bound = ((channels * 4) as f64).sqrt().recip();
                tensors.push(Tensor::uniform("up.weight", &[channels, channels, 2, 2], bound, &mut random));
                tensors.push(Tensor::uniform("up.bias", &[channels], bound, &mut random));
            }
        }
        let inputs = if layers == (Layers::Bins { cls: true }) { 2 * channels } else { channels };
        tensors.extend(convolution(outputs, inputs, recipe.init, &mut random));
        Self { layers, outputs, width, tensors, buffers }
    }

    /// Cells of the answer along one side of a patch.
    pub(crate) fn finer(&self) -> usize {
        if self.layers == Layers::Transposed { 2 } else { 1 }
    }

    /// Whether it needs the sums of a step's channels.
    pub(crate) fn counts(&self) -> bool {
        self.layers == Layers::Normalised
    }

    /// Weight and bias of the last layer.
    fn last(&self) -> (&[f32], &[f32]) {
        let n = self.tensors.len();
        (&self.tensors[n - 2].values, &self.tensors[n - 1].values)
    }

    /// Takes plain features where it took standardised ones: W·(x − μ)/σ + b = (W/σ)·x + b − (W/σ)·μ.
    pub(crate) fn absorb(&mut self, scaling: &Moments) {
        let channels = scaling.mean.len();
        let [weight, bias] = &mut self.tensors[..] else { return };
        let inputs = weight.values.len() / bias.values.len().max(1);
        // With CLS, each site has as many channels again, which are as they are.
        let each = if inputs == channels { channels } else { inputs / channels * self.width };
        for (row, b) in weight.values.chunks_exact_mut(inputs).zip(&mut bias.values) {
            let mut moved = f64::from(*b);
            for c in 0..channels {
                let at = if inputs == channels { c } else { c / self.width * each + c % self.width };
                row[at] *= scaling.inverse[c];
                moved -= f64::from(row[at]) * f64::from(scaling.mean[c]);
            }
            *b = moved as f32;
        }
    }

    /// With batch normalisation: subtracts and divides, and counts the running mean and variance.
    pub(crate) fn normalise(&mut self, sums: &[Sums]) -> Option<Moments> {
        if self.layers != Layers::Normalised {
            return None;
        }
        let [running_mean, running_var] = &mut self.buffers[..] else { return None };
        let mut all = Sums::none(running_mean.values.len());
        for sums in sums {
            all.add(sums);
        }
        let n = all.tokens as f64;
        for c in 0..running_mean.values.len() {
            let (mean, variance) = all.channel(c);
            let unbiased = variance * n / (n - 1.0).max(1.0);
            let moved = |old: f32, new: f64| (f64::from(old) * (1.0 - MOMENTUM) + MOMENTUM * new) as f32;
            running_mean.values[c] = moved(running_mean.values[c], mean);
            running_var.values[c] = moved(running_var.values[c], unbiased);
        }
        Some(all.moments())
    }

    /// The head as it answers when it no longer learns: batch normalisation by the running mean and variance, folded into
    /// one 1×1 convolution.
    pub(crate) fn folded(&self) -> Self {
        let ([gamma, beta, weight, bias], [mean, variance]) = (&self.tensors[..], &self.buffers[..]) else {
            return self.clone();
        };
        let (mut weight, mut bias) = (weight.clone(), bias.clone());
        let channels = gamma.values.len();
        for (row, b) in weight.values.chunks_exact_mut(channels).zip(&mut bias.values) {
            let mut moved = f64::from(*b);
            for (c, w) in row.iter_mut().enumerate() {
                let scale = f64::from(gamma.values[c]) / (f64::from(variance.values[c]) + EPS).sqrt();
                moved += f64::from(*w) * (f64::from(beta.values[c]) - scale * f64::from(mean.values[c]));
                *w = (f64::from(*w) * scale) as f32;
            }
            *b = moved as f32;
        }
        Self { layers: Layers::Linear, tensors: vec![weight, bias], buffers: Vec::new(), ..*self }
    }

    /// Logits. With batch normalisation, of tokens that [`Moments::apply`] was applied to.
    pub(crate) fn forward(&self, features: &Features) -> Forward {
        let (weight, bias) = self.last();
        let (h, w, k, channels) = (features.h, features.w, self.outputs, features.channels());
        let tokens = Matrix::of(&features.tokens, channels);
        let mut hidden = Vec::new();
        let (h, w, values) = match self.layers {
            Layers::Linear => {
                let mut values = product(tokens, Matrix::of(weight, channels).transposed());
                add_to_rows(&mut values, bias);
                (h, w, values)
            }
            Layers::Normalised => {
                let (gamma, beta) = (&self.tensors[0].values, &self.tensors[1].values);
                let scaled: Vec<f32> =
                    weight.chunks_exact(channels).flat_map(|row| row.iter().zip(gamma).map(|(w, g)| w * g)).collect();
                let mut moved = bias.to_vec();
                add_product(&mut moved, Matrix::of(weight, channels), Matrix::of(beta, 1));
                let mut values = product(tokens, Matrix::of(&scaled, channels).transposed());
                add_to_rows(&mut values, &moved);
                (h, w, values)
            }
            Layers::Transposed => {
                let (up, up_bias) = (&self.tensors[0].values, &self.tensors[1].values);
                hidden = product(tokens, Matrix::of(up, 4 * channels));
                let four: Vec<f32> = up_bias.iter().flat_map(|b| [*b; 4]).collect();
                add_to_rows(&mut hidden, &four);
                let active: Vec<f32> = hidden.iter().map(|u| gelu(*u).0).collect();
                let mut values = vec![0.0; 4 * h * w * k];
                for quarter in 0..4 {
                    let active = Matrix::of(&active, 4 * channels).every(quarter, 4, channels);
                    let mut logits = product(active, Matrix::of(weight, channels).transposed());
                    add_to_rows(&mut logits, bias);
                    for (cell, logits) in logits.chunks_exact(k).enumerate() {
                        let at = quarter_cell((h, w), cell, quarter);
                        values[at * k..(at + 1) * k].copy_from_slice(logits);
                    }
                }
                (2 * h, 2 * w, values)
            }
            Layers::Bins { cls } => {
                let (width, mut moved) = (features.width, bias.to_vec());
                let mut values = vec![0.0; h * w * k];
                let each = if cls { 2 * width } else { width };
                let weight = Matrix::of(weight, channels / width * each);
                for site in 0..channels / width {
                    let own = tokens.every(site * width, 1, width);
                    add_product(&mut values, own, weight.every(site * each, 1, width).transposed());
                    if cls {
                        let cls = Matrix::of(&features.cls[site * width..(site + 1) * width], 1);
                        add_product(&mut moved, weight.every(site * each + width, 1, width), cls);
                    }
                }
                add_to_rows(&mut values, &moved);
                (h, w, values)
            }
        };
        Forward { logits: Field { h, w, k, values }, hidden }
    }

    /// Derivative with respect to each tensor, from the one with respect to the logits.
    pub(crate) fn backward(&self, features: &Features, forward: &Forward, by_logits: &[f32]) -> Vec<Vec<f32>> {
        let (weight, _) = self.last();
        let (k, channels) = (self.outputs, features.channels());
        let tokens = Matrix::of(&features.tokens, channels);
        let by_logits_t = Matrix::of(by_logits, k).transposed();
        match self.layers {
            Layers::Linear => vec![product(by_logits_t, tokens), sum_of_rows(by_logits, k)],
            Layers::Normalised => {
                let (gamma, beta) = (&self.tensors[0].values, &self.tensors[1].values);
                let mut by_weight = product(by_logits_t, tokens);
                let by_bias = sum_of_rows(by_logits, k);
                let (mut by_gamma, mut by_beta) = (vec![0.0; channels], vec![0.0; channels]);
                for ((g, w), s) in by_weight.chunks_exact_mut(channels).zip(weight.chunks_exact(channels)).zip(&by_bias)
                {
                    for c in 0..channels {
                        by_gamma[c] += w[c] * g[c];
                        by_beta[c] += w[c] * s;
                        g[c] = g[c] * gamma[c] + s * beta[c];
                    }
                }
                vec![by_gamma, by_beta, by_weight, by_bias]
            }
            Layers::Transposed => {
                let (mut active, mut slope) = (Vec::new(), Vec::new());
                for u in &forward.hidden {
                    let (value, derivative) = gelu(*u);
                    active.push(value);
                    slope.push(derivative);
                }
                let mut by_hidden = vec![0.0; active.len()];
                let mut by_weight = vec![0.0; k * channels];
                let mut own = vec![0.0; features.h * features.w * k];
                for quarter in 0..4 {
                    for (cell, own) in own.chunks_exact_mut(k).enumerate() {
                        let at = quarter_cell((features.h, features.w), cell, quarter);
                        own.copy_from_slice(&by_logits[at * k..(at + 1) * k]);
                    }
                    let active = Matrix::of(&active, 4 * channels).every(quarter, 4, channels);
                    add_product(&mut by_weight, Matrix::of(&own, k).transposed(), active);
                    let (own, weight) = (Matrix::of(&own, k), Matrix::of(weight, channels));
                    add_product_into(&mut by_hidden, 4 * channels, (quarter, 4), 1.0, own, weight);
                }
                by_hidden.iter_mut().zip(&slope).for_each(|(v, s)| *v *= s);
                let by_up = product(tokens.transposed(), Matrix::of(&by_hidden, 4 * channels));
                let by_up_bias =
                    sum_of_rows(&by_hidden, 4 * channels).chunks_exact(4).map(|four| four.iter().sum()).collect();
                vec![by_up, by_up_bias, by_weight, sum_of_rows(by_logits, k)]
            }
            Layers::Bins { cls } => {
                let (width, by_bias) = (features.width, sum_of_rows(by_logits, k));
                let each = if cls { 2 * width } else { width };
                let inputs = channels / width * each;
                let mut by_weight = vec![0.0; k * inputs];
                for site in 0..channels / width {
                    let own = tokens.every(site * width, 1, width);
                    add_product_into(&mut by_weight, inputs, (site * each, 1), 1.0, by_logits_t, own);
                    if cls {
                        let cls = Matrix::of(&features.cls[site * width..(site + 1) * width], width);
                        let sums = Matrix::of(&by_bias, 1);
                        add_product_into(&mut by_weight, inputs, (site * each + width, 1), 1.0, sums, cls);
                    }
                }
                vec![by_weight, by_bias]
            }
        }
    }
}

impl Sums {
    /// Of no view.
    pub(crate) fn none(channels: usize) -> Self {
        Self { sum: vec![0.0; channels], squares: vec![0.0; channels], tokens: 0 }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.sum, &other.sum), (&mut self.squares, &other.squares)] {
            mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        }
        self.tokens += other.tokens;
    }

    /// Mean and variance.
    fn channel(&self, c: usize) -> (f64, f64) {
        let n = self.tokens.max(1) as f64;
        let mean = self.sum[c] / n;
        (mean, (self.squares[c] / n - mean * mean).max(0.0))
    }

    pub(crate) fn moments(&self) -> Moments {
        let channels = (0..self.sum.len()).map(|c| self.channel(c));
        let (mean, inverse) =
            channels.map(|(mean, variance)| (mean as f32, (1.0 / (variance + EPS).sqrt()) as f32)).unzip();
        Moments { mean, inverse }
    }

    pub(crate) fn of(features: &Features) -> Self {
        let channels = features.channels();
        let (mut sum, mut squares) = (vec![0.0; channels], vec![0.0; channels]);
        for token in features.tokens.chunks_exact(channels) {
            for ((v, sum), squares) in token.iter().zip(&mut sum).zip(&mut squares) {
                let v = f64::from(*v);
                *sum += v;
                *squares += v * v;
            }
        }
        Self { sum, squares, tokens: features.h * features.w }
    }
}

impl Moments {
    /// (x − μ)/√(σ² + ε).
    pub(crate) fn apply(&self, features: &mut Features) {
        let channels = features.channels();
        for token in features.tokens.chunks_exact_mut(channels) {
            for ((v, mean), inverse) in token.iter_mut().zip(&self.mean).zip(&self.inverse) {
                *v = (*v - mean) * inverse;
            }
        }
    }
}

/// The cell of the doubled grid that quarter `2i + j` of a cell is.
fn quarter_cell((h, w): (usize, usize), cell: usize, quarter: usize) -> usize {
    debug_assert!(cell < h * w);
    let (y, x) = (cell / w, cell % w);
    (2 * y + quarter / 2) * 2 * w + 2 * x + quarter % 2
}

/// u·Φ(u) and its derivative.
fn gelu(u: f32) -> (f32, f32) {
    let below = 0.5 * (1.0 + libm::erff(u * std::f32::consts::FRAC_1_SQRT_2));
    let density = 0.398_942_3 * libm::expf(-0.5 * u * u);
    (u * below, below + u * density)
}

#[cfg(test)]
mod tests;
