//! The blocks' parameters, rounded and packed once at load.

use super::layout::SIDE;
use super::linear::Linear;
use crate::config::{Activation, VitConfig};
use crate::cpu::model::{layer_norm, layer_scales};
use crate::cpu::rows::LayerNorm;
use crate::error::VitError;
use crate::weights::Params;

/// One block of the transformer.
pub(super) struct Encoder {
    pub norm1: LayerNorm,
    /// Outputs `[3][head][width of a head in whole tiles]`.
    pub qkv: Linear,
    /// Inputs `[head][width of a head in whole tiles]`.
    pub proj: Linear,
    /// Added by the layer norm before the branch. `[D]`
    pub proj_bias: Vec<f32>,
    pub norm2: LayerNorm,
    /// `SwiGLU`: panels of 32 gates and of 32 values in turn.
    pub fc1: Linear,
    pub fc2: Linear,
    /// Added by the layer norm before the branch. `[D]`
    pub fc2_bias: Vec<f32>,
}

/// All blocks.
pub(in crate::cpu) struct Blocks {
    pub(super) encoders: Vec<Encoder>,
    pub(super) width: usize,
    pub(super) heads: usize,
    /// Tiles of the width of a head.
    pub(super) head_tiles: usize,
    pub(super) activation: Activation,
}

impl Blocks {
    pub fn new(config: &VitConfig, params: &Params) -> Result<Self, VitError> {
        Ok(Blocks {
            encoders: (0..config.depth).map(|i| encoder(config, params, i)).collect::<Result<_, _>>()?,
            width: config.width,
            heads: config.heads,
            head_tiles: (config.width / config.heads).div_ceil(SIDE),
            activation: config.mlp.activation,
        })
    }
}

fn encoder(config: &VitConfig, params: &Params, i: usize) -> Result<Encoder, VitError> {
    let d = config.width;
    let name = |part: &str| format!("blocks.{i}.{part}");
    let get = |part: &str, shape: &[usize]| params.get(&name(part), shape);
    let [ls1, ls2] = layer_scales(config, params, i)?;
    let folded = |bias: &[f32], scale: Option<&[f32]>| -> Vec<f32> {
        bias.iter().enumerate().map(|(o, b)| b * scale.map_or(1.0, |s| s[o])).collect()
    };

    let (size, padded) = (d / config.heads, (d / config.heads).next_multiple_of(SIDE));
    let heads_width = config.heads * padded;
    // Index among the real ones of an index among the padded ones.
    let real = |p: usize| (p % padded < size).then(|| p / padded * size + p % padded);
    let (qkv, qkv_bias) = (get("attn.qkv.weight", &[3 * d, d])?, get("attn.qkv.bias", &[3 * d])?);
    let row = |o: usize| real(o % heads_width).map(|r| o / heads_width * d + r);
    let qkv = Linear::new(
        3 * heads_width,
        d,
        |o, k| row(o).map_or(0.0, |r| qkv[r * d + k]),
        |o| row(o).map_or(0.0, |r| qkv_bias[r]),
    );
    let (proj, proj_bias) = (get("attn.proj.weight", &[d, d])?, get("attn.proj.bias", &[d])?);
    let scale1 = |o: usize| ls1.map_or(1.0, |s| s[o]);
    let proj = Linear::new(d, heads_width, |o, k| real(k).map_or(0.0, |k| proj[o * d + k] * scale1(o)), |_| 0.0);

    let hidden = config.mlp.hidden;
    let gated = config.mlp.activation == Activation::SwiGlu;
    let expanded = config.mlp.expanded();
    let (fc1, fc1_bias) = (get("mlp.fc1.weight", &[expanded, d])?, get("mlp.fc1.bias", &[expanded])?);
    let tiles = hidden.div_ceil(SIDE);
    // Row of the official matrix, whose first half are gates.
    let row = |o: usize| {
        let (panel, column) = (o / SIDE, o % SIDE);
        let (half, r) = if gated { (panel % 2, panel / 2 * SIDE + column) } else { (0, o) };
        (r < hidden).then_some(half * hidden + r)
    };
    let fc1 = Linear::new(
        if gated { 2 * tiles * SIDE } else { hidden },
        d,
        |o, k| row(o).map_or(0.0, |r| fc1[r * d + k]),
        |o| row(o).map_or(0.0, |r| fc1_bias[r]),
    );
    let (fc2, fc2_bias) = (get("mlp.fc2.weight", &[d, hidden])?, get("mlp.fc2.bias", &[d])?);
    let scale2 = |o: usize| ls2.map_or(1.0, |s| s[o]);
    let fc2 = Linear::new(d, hidden, |o, k| fc2[o * hidden + k] * scale2(o), |_| 0.0);

    Ok(Encoder {
        norm1: layer_norm(config, params, &name("norm1"))?,
        qkv,
        proj,
        proj_bias: folded(proj_bias, ls1),
        norm2: layer_norm(config, params, &name("norm2"))?,
        fc1,
        fc2,
        fc2_bias: folded(fc2_bias, ls2),
    })
}
