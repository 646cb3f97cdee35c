//! Parameters in the layout that the kernels want: transposed once, `LayerScale` folded into the projection before it.
//!
//! `x + s∘(W·h + b) = x + (s∘W)·h + s∘b`: the fold removes a pass over the residual stream, and costs one rounding per
//! weight.

use super::matmul::{Matrix, matmul};
use super::rows::LayerNorm;
use crate::config::{Activation, VitConfig};
use crate::error::VitError;
use crate::weights::Params;

/// `y = x·Wᵀ (+ b)`, weights held as `[in, out]`.
pub(super) struct Linear {
    weight: Vec<f32>,
    inputs: usize,
    outputs: usize,
    /// `[out]`; added by the caller, who fuses it with what follows.
    pub bias: Vec<f32>,
}

impl Linear {
    /// From a `PyTorch` weight `[out, in]`, row `o` multiplied by `row_scale[o]`.
    fn new(weight: &[f32], bias: &[f32], row_scale: Option<&[f32]>) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        let mut transposed = vec![0.0; weight.len()];
        for (o, row) in weight.chunks_exact(inputs).enumerate() {
            let scale = row_scale.map_or(1.0, |s| s[o]);
            for (i, w) in row.iter().enumerate() {
                transposed[i * outputs + o] = w * scale;
            }
        }
        let bias = bias.iter().enumerate().map(|(o, b)| b * row_scale.map_or(1.0, |s| s[o])).collect();
        Linear { weight: transposed, inputs, outputs, bias }
    }

    /// `y = x·Wᵀ`, or `y += x·Wᵀ`, without the bias; rows of `x` are `x_stride` apart.
    pub fn apply(&self, x: &[f32], x_stride: usize, rows: usize, y: &mut [f32], accumulate: bool) {
        let a = Matrix::rows(x, rows, self.inputs, x_stride);
        let b = Matrix::rows(&self.weight, self.inputs, self.outputs, self.outputs);
        matmul(y, self.outputs, a, b, 1.0, accumulate);
    }
}

/// One block.
pub(super) struct Block {
    pub norm1: LayerNorm,
    pub qkv: Linear,
    pub proj: Linear,
    pub norm2: LayerNorm,
    pub fc1: Linear,
    pub fc2: Linear,
}

/// All parameters of a model.
pub(super) struct Model {
    /// CLS with its position, then the registers. `[1 + R, D]`
    pub prefix: Vec<f32>,
    /// Position table of the patches on the training grid. `[grid², D]`
    pub positions: Vec<f32>,
    pub patch_embed: Linear,
    pub ln_pre: Option<LayerNorm>,
    pub blocks: Vec<Block>,
    pub norm: LayerNorm,
}

impl Model {
    pub fn new(config: &VitConfig, params: &Params) -> Result<Self, VitError> {
        let d = config.width;
        let cells = config.pos.grid * config.pos.grid;
        let slots = usize::from(config.pos.cls_slot);
        let table = params.get("pos_embed", &[cells + slots, d])?;
        let (cls_position, positions) = table.split_at(slots * d);
        let mut prefix = params.get("cls_token", &[d])?.to_vec();
        for (token, position) in prefix.iter_mut().zip(cls_position) {
            *token += position;
        }
        if config.registers > 0 {
            prefix.extend_from_slice(params.get("register_tokens", &[config.registers, d])?);
        }
        let patch_values = 3 * config.patch_px * config.patch_px;
        let zeros = vec![0.0; d];
        let patch_bias = if config.patch_bias { params.get("patch_embed.bias", &[d])? } else { &zeros };
        let patch_embed = Linear::new(params.get("patch_embed.weight", &[d, patch_values])?, patch_bias, None);
        let norm = |name: &str| -> Result<LayerNorm, VitError> {
            Ok(LayerNorm {
                weight: params.get(&format!("{name}.weight"), &[d])?.to_vec(),
                bias: params.get(&format!("{name}.bias"), &[d])?.to_vec(),
                eps: config.ln_eps as f32,
            })
        };
        let linear = |name: &str, outputs: usize, inputs: usize, scale: Option<&[f32]>| -> Result<Linear, VitError> {
            let weight = params.get(&format!("{name}.weight"), &[outputs, inputs])?;
            Ok(Linear::new(weight, params.get(&format!("{name}.bias"), &[outputs])?, scale))
        };
        let hidden = config.mlp.hidden;
        let expanded = if config.mlp.activation == Activation::SwiGlu { 2 * hidden } else { hidden };
        let blocks = (0..config.depth).map(|i| {
            let name = |part: &str| format!("blocks.{i}.{part}");
            let (ls1, ls2) = if config.layer_scale {
                (Some(params.get(&name("ls1"), &[d])?), Some(params.get(&name("ls2"), &[d])?))
            } else {
                (None, None)
            };
            Ok(Block {
                norm1: norm(&name("norm1"))?,
                qkv: linear(&name("attn.qkv"), 3 * d, d, None)?,
                proj: linear(&name("attn.proj"), d, d, ls1)?,
                norm2: norm(&name("norm2"))?,
                fc1: linear(&name("mlp.fc1"), expanded, d, None)?,
                fc2: linear(&name("mlp.fc2"), d, hidden, ls2)?,
            })
        });
        Ok(Model {
            prefix,
            positions: positions.to_vec(),
            patch_embed,
            ln_pre: if config.ln_pre { Some(norm("ln_pre")?) } else { None },
            blocks: blocks.collect::<Result<_, VitError>>()?,
            norm: norm("norm")?,
        })
    }
}
