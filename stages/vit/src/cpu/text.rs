//! CLIP's text tower on the CPU: the blocks of [`super::CpuVit`] under a causal mask, over texts of any lengths at once.
//!
//! The rows of all texts lie one after another, `[ΣN, W]`: norms and products take them together, so that weights are
//! read once for many short texts; attention takes one text at a time. A text ends at its largest id (the first of
//! them), whose token alone is normalised and projected.

use super::bf16::{Left, Multiplier};
use super::matmul::{Matrix, matmul};
use super::model::{Block, layer_norm};
use super::rows::{self, LayerNorm, divide_columns, softmax_numerators};
use super::{Kernel, activation, chosen};
use crate::config::Activation;
use crate::error::VitError;
use crate::executor::check_config;
use crate::text::TextConfig;
use crate::weights::Params;

/// A text tower.
pub struct CpuText {
    config: TextConfig,
    /// `[V, W]`
    tokens: Vec<f32>,
    /// `[context, W]`
    positions: Vec<f32>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    /// `[E, W]`
    projection: Vec<f32>,
    kernel: Option<Kernel>,
}

impl CpuText {
    /// Copies the parameters into the layout of the kernels.
    pub fn new(config: &TextConfig, params: &Params) -> Result<Self, VitError> {
        let like = config.blocks();
        check_config(&like)?;
        let kernel = Some(chosen(None)?).filter(|kernel| *kernel == Kernel::Amx);
        let blocks = (0..config.depth).map(|i| Block::new(&like, params, i, kernel.is_some()));
        Ok(Self {
            tokens: params.get("token_embedding", &[config.vocabulary, config.width])?.to_vec(),
            positions: params.get("positions", &[config.context, config.width])?.to_vec(),
            blocks: blocks.collect::<Result<_, _>>()?,
            norm: layer_norm(&like, params, "norm")?,
            projection: params.get("text_projection", &[config.embedding, config.width])?.to_vec(),
            kernel,
            config: config.clone(),
        })
    }

    /// Ids of some texts → `[texts, E]`.
    pub fn embed(&self, texts: &[Vec<u32>]) -> Result<Vec<f32>, VitError> {
        let d = self.config.width;
        let seen: Vec<&[u32]> = texts.iter().map(|ids| self.config.until_end(ids)).collect::<Result<_, _>>()?;
        let multiplier = self.kernel.map(Multiplier::of_this_machine);
        let mut stream = Vec::with_capacity(seen.iter().map(|ids| ids.len()).sum::<usize>() * d);
        for ids in &seen {
            for (&id, position) in ids.iter().zip(self.positions.chunks_exact(d)) {
                let token = &self.tokens[id as usize * d..][..d];
                stream.extend(token.iter().zip(position).map(|(t, p)| t + p));
            }
        }
        let lengths: Vec<usize> = seen.iter().map(|ids| ids.len()).collect();
        self.run(&mut stream, &lengths, multiplier.as_ref());

        let mut ends = Vec::with_capacity(texts.len() * d);
        let mut row = 0;
        for length in lengths {
            row += length;
            ends.extend_from_slice(&stream[(row - 1) * d..row * d]);
        }
        let mut normed = vec![0.0; ends.len()];
        self.norm.apply(&ends, &mut normed);
        let e = self.config.embedding;
        let mut out = vec![0.0; texts.len() * e];
        let weight = Matrix::rows(&self.projection, e, d, d).transposed();
        matmul(&mut out, e, Matrix::rows(&normed, texts.len(), d, d), weight, 1.0, false);
        Ok(out)
    }

    fn run(&self, stream: &mut [f32], lengths: &[usize], multiplier: Option<&Multiplier>) {
        let (d, heads) = (self.config.width, self.config.heads);
        let rows = stream.len() / d;
        let packed = &mut Left::default();
        let (mut branch, mut qkv, mut scores) = (vec![0.0; rows * d], vec![0.0; rows * 3 * d], Vec::new());
        let mut hidden = vec![0.0; rows * self.config.mlp.expanded()];
        for block in &self.blocks {
            block.norm1.apply_then_add(stream, &block.proj.bias, &mut branch);
            rows::fill_rows(&mut qkv, &block.qkv.bias);
            block.qkv.apply((&branch, d), rows, &mut qkv, true, (multiplier, packed));
            let mut start = 0;
            for &n in lengths {
                let (text, out) = (start * 3 * d..(start + n) * 3 * d, start * d..(start + n) * d);
                attend_before(&qkv[text], n, heads, &mut branch[out], &mut scores);
                start += n;
            }
            block.proj.apply((&branch, d), rows, stream, true, (multiplier, packed));

            block.norm2.apply_then_add(stream, &block.fc2.bias, &mut branch);
            block.fc1.apply((&branch, d), rows, &mut hidden, false, (multiplier, packed));
            match self.config.mlp.activation {
                Activation::Gelu => activation::bias_gelu(&mut hidden, &block.fc1.bias),
                Activation::QuickGelu => activation::bias_quick_gelu(&mut hidden, &block.fc1.bias),
                Activation::SwiGlu => activation::bias_swiglu(&mut hidden, &block.fc1.bias),
            }
            block.fc2.apply((&hidden, block.fc1.bias.len()), rows, stream, true, (multiplier, packed));
        }
    }
}

/// `qkv` `[N, 3·W]` → `out` `[N, W]`, each token looking at itself and those before it.
fn attend_before(qkv: &[f32], tokens: usize, heads: usize, out: &mut [f32], scores: &mut Vec<f32>) {
    let width = qkv.len() / tokens / 3;
    let size = width / heads;
    let scale = 1.0 / (size as f32).sqrt();
    scores.resize(tokens * tokens, 0.0);
    let scores = &mut scores[..tokens * tokens];
    let mut sums = vec![0.0; tokens];
    for head in 0..heads {
        let part = |which: usize| Matrix::rows(&qkv[which * width + head * size..], tokens, size, 3 * width);
        matmul(scores, tokens, part(0), part(1).transposed(), scale, false);
        for (row, (line, sum)) in scores.chunks_exact_mut(tokens).zip(&mut sums).enumerate() {
            let (seen, later) = line.split_at_mut(row + 1);
            softmax_numerators(seen, row + 1, std::slice::from_mut(sum));
            later.fill(0.0);
        }
        matmul(&mut out[head * size..], width, Matrix::rows(scores, tokens, tokens, tokens), part(2), 1.0, false);
        divide_columns(out, width, head * size, size, &sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a token sees a later one, or the mask is off by one: values are 1, 2, 3 and all scores equal, so
    /// that means are 1, 3/2, 2.
    #[test]
    fn a_token_looks_at_itself_and_those_before() {
        let qkv: Vec<f32> = (1..=3u8).flat_map(|v| [0.0, 0.0, 0.0, 0.0, f32::from(v), -f32::from(v)]).collect();
        let mut out = [0.0; 6];
        attend_before(&qkv, 3, 1, &mut out, &mut vec![9.0; 100]);
        assert_eq!(out, [1.0, -1.0, 1.5, -1.5, 2.0, -2.0]);
    }
}
