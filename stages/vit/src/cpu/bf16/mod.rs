//! The bf16 executor: both factors of every product after the patch embedding are bf16, sums and all else are f32.
//!
//! Rounded are: weights (after `LayerScale` is folded in), the outputs of both layer norms, queries (scaled), keys,
//! values, softmax numerators, attention output, hidden layer. In f32 stay: the patch embedding, the residual stream,
//! layer norms, softmax, activations, biases, and every sum. That is less rounding than PyTorch's autocast does, which
//! also rounds each product, so deviations are smaller.
//!
//! One kernel ([`block`]), three ways to compute it; the layout ([`layout`]) is the same for all.

mod amx;
mod attention;
mod avx512;
mod block;
mod epilogue;
mod layout;
mod linear;
mod model;
mod pages;
mod proof;
mod rounding;
mod split;
#[cfg(test)]
mod tests;

#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
pub(crate) use self::amx::tests::have_tiles;
use self::attention::{Heads, Place};
pub use self::block::Kernel;
pub(super) use self::block::Multiplier;
pub(super) use self::layout::Left;
use self::layout::{Block, SIDE};
pub(super) use self::model::Blocks;
use self::model::Encoder;
pub(super) use self::split::Split;
use super::Taps;
use super::attention::Kept;
use crate::config::Activation;
use crate::site::Site;

/// Buffers of one forward pass.
#[derive(Default)]
pub(super) struct Scratch {
    /// Output of a layer norm.
    normed: Left,
    heads: Heads,
    attended: Left,
    hidden: Left,
    /// Gates of `SwiGLU`, one per row block.
    gates: Vec<Block>,
    /// Queries, keys or values for a tap. `[N, D]`
    tapped: [Vec<f32>; 3],
}

impl Blocks {
    /// Runs the first `count` blocks on the residual stream `[N, D]`.
    pub fn run(
        &self,
        count: usize,
        multiplier: &Multiplier,
        stream: &mut [f32],
        scratch: &mut Scratch,
        taps: &mut Taps,
    ) {
        for (i, encoder) in self.encoders[..count].iter().enumerate() {
            self.attention(encoder, i as u16, multiplier, stream, scratch, taps);
            self.mlp(encoder, multiplier, stream, scratch);
            taps.tokens(Site::Block(i as u16), stream, self.width, self.width);
        }
    }

    fn attention(
        &self,
        encoder: &Encoder,
        i: u16,
        multiplier: &Multiplier,
        stream: &mut [f32],
        scratch: &mut Scratch,
        taps: &mut Taps,
    ) {
        let Scratch { normed, heads, attended, tapped, .. } = scratch;
        let tokens = stream.len() / self.width;
        norm(&encoder.norm1, &encoder.proj_bias, stream, normed);
        heads.resize(tokens, self.heads, self.head_tiles);
        let sites = [Site::Query(i), Site::Key(i), Site::Value(i)];
        for (site, tapped) in sites.into_iter().zip(&mut *tapped) {
            tapped.resize(if taps.want.wants(site) { stream.len() } else { 0 }, 0.0);
        }
        let size = self.width / self.heads;
        let scale = 1.0 / (size as f32).sqrt();
        encoder.qkv.blocks(multiplier, normed, tokens, |row_block, panel, rows, block| {
            let bias = encoder.qkv.bias(panel);
            let place = Place::of(panel, self.heads, self.head_tiles);
            let columns = SIDE.min(size - place.tile * SIDE);
            let first = place.head * size + place.tile * SIDE;
            // Empty, and so nothing, where no tap wants it.
            let rows_of = tapped[place.part].chunks_exact_mut(self.width).skip(row_block * SIDE);
            for (values, out) in block.0[..rows].iter().zip(rows_of) {
                for ((out, v), b) in out[first..first + columns].iter_mut().zip(values).zip(bias) {
                    *out = *v + *b;
                }
            }
            heads.take(place, (row_block, rows), block, bias, scale);
        });
        for (site, tapped) in sites.into_iter().zip(&*tapped) {
            if !tapped.is_empty() {
                taps.tokens(site, tapped, self.width, self.width);
            }
        }
        let mut kept = Kept::new(taps.want, i, self.heads, tokens);
        attended.resize(tokens, encoder.proj.k_tiles());
        heads.attend(multiplier, tokens, attended, &mut kept);
        taps.trace.full.extend(kept.into_sites());
        self.add_product(&encoder.proj, multiplier, attended, stream);
    }

    fn mlp(&self, encoder: &Encoder, multiplier: &Multiplier, stream: &mut [f32], scratch: &mut Scratch) {
        let Scratch { normed, hidden, gates, .. } = scratch;
        let tokens = stream.len() / self.width;
        norm(&encoder.norm2, &encoder.fc2_bias, stream, normed);
        hidden.resize(tokens, encoder.fc2.k_tiles());
        gates.resize(tokens.div_ceil(SIDE), Block::zero());
        let fc1 = &encoder.fc1;
        fc1.blocks(multiplier, normed, tokens, |row_block, panel, rows, block| match self.activation {
            Activation::Gelu => {
                epilogue::gelu_tile(block, rows, fc1.bias(panel), hidden.tile_mut(row_block, panel));
            }
            Activation::QuickGelu => {
                epilogue::quick_gelu_tile(block, rows, fc1.bias(panel), hidden.tile_mut(row_block, panel));
            }
            // Panels of gates and of values alternate.
            Activation::SwiGlu if panel.is_multiple_of(2) => {
                gates[row_block].clone_from(block);
            }
            Activation::SwiGlu => {
                let tile = hidden.tile_mut(row_block, panel / 2);
                let biases = [fc1.bias(panel - 1), fc1.bias(panel)];
                epilogue::gated_tile(&gates[row_block], block, rows, biases, tile);
            }
        });
        self.add_product(&encoder.fc2, multiplier, hidden, stream);
    }

    /// `stream += x·Wᵀ`; the layer norm before the branch has added the bias.
    fn add_product(&self, linear: &linear::Linear, multiplier: &Multiplier, x: &Left, stream: &mut [f32]) {
        let d = self.width;
        linear.blocks(multiplier, x, stream.len() / d, |row_block, panel, rows, block| {
            let x = &mut stream[row_block * SIDE * d..][..rows * d];
            epilogue::add_to(block, x, d, panel * SIDE);
        });
    }
}

/// `normed ← LN(stream)`, then `stream += bias`.
fn norm(norm: &super::rows::LayerNorm, bias: &[f32], stream: &mut [f32], normed: &mut Left) {
    let d = bias.len();
    normed.resize(stream.len() / d, d.div_ceil(SIDE));
    for (i, x) in stream.chunks_mut(SIDE * d).enumerate() {
        epilogue::norm_panel(x, bias, norm, normed.panel_mut(i));
    }
}
