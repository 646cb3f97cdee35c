//! Parameters in the layout that the kernels want: transposed once, `LayerScale` folded into the projection before it.
//!
//! `x + s∘(W·h + b) = x + (s∘W)·h + s∘b`: the fold removes a pass over the residual stream, and costs one rounding per
//! weight.

use super::bf16::{Left, Multiplier, Split};
use super::matmul::{Matrix, matmul};
use super::rows::LayerNorm;
use crate::config::VitConfig;
use crate::error::VitError;
use crate::weights::Params;

/// `y = x·Wᵀ (+ b)` in f32.
pub(super) struct Linear {
    weight: Weight,
    inputs: usize,
    outputs: usize,
    /// `[out]`; added by the caller, who fuses it with what follows.
    pub bias: Vec<f32>,
}

enum Weight {
    /// `[in, out]`
    Plain(Vec<f32>),
    /// Near-f32 by bf16 tiles.
    Split(Split),
}

/// Side of a tile of the transposition, in f32: a cache line.
const TILE: usize = 16;

impl Linear {
    /// From a `PyTorch` weight `[out, in]`, row `o` multiplied by `row_scale[o]`.
    fn new(weight: &[f32], bias: &[f32], row_scale: Option<&[f32]>, split: bool) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        let scale = |o: usize| row_scale.map_or(1.0, |s| s[o]);
        let bias = bias.iter().enumerate().map(|(o, b)| b * scale(o)).collect();
        let weight = if split {
            Weight::Split(Split::new(outputs, inputs, |o, i| weight[o * inputs + i] * scale(o)))
        } else {
            Weight::Plain(transposed(weight, inputs, outputs, scale))
        };
        Linear { weight, inputs, outputs, bias }
    }

    /// `y = x·Wᵀ`, or `y += x·Wᵀ`, without the bias; rows of `x` are `x_stride` apart. `multiplier` is there where
    /// weights are split, and `packed` is a buffer.
    pub fn apply(
        &self,
        (x, x_stride): (&[f32], usize),
        rows: usize,
        y: &mut [f32],
        accumulate: bool,
        (multiplier, packed): (Option<&Multiplier>, &mut Left),
    ) {
        match (&self.weight, multiplier) {
            (Weight::Plain(weight), _) => {
                let a = Matrix::rows(x, rows, self.inputs, x_stride);
                let b = Matrix::rows(weight, self.inputs, self.outputs, self.outputs);
                matmul(y, self.outputs, a, b, 1.0, accumulate);
            }
            (Weight::Split(split), Some(multiplier)) => {
                split.apply(multiplier, (x, x_stride), rows, y, accumulate, packed);
            }
            (Weight::Split(_), None) => unreachable!("a split weight without its multiplier"),
        }
    }
}

/// `[out, in]` → `[in, out]`, each output scaled.
fn transposed(weight: &[f32], inputs: usize, outputs: usize, scale: impl Fn(usize) -> f32) -> Vec<f32> {
    let mut transposed = vec![0.0; weight.len()];
    // By tiles: a whole row at a time would touch a new cache line with every value written.
    for o in (0..outputs).step_by(TILE) {
        for i in (0..inputs).step_by(TILE) {
            for o in o..(o + TILE).min(outputs) {
                for i in i..(i + TILE).min(inputs) {
                    transposed[i * outputs + o] = weight[o * inputs + i] * scale(o);
                }
            }
        }
    }
    transposed
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

/// What is around the blocks: f32 in every precision, for the first rounding is the one that norms remember longest.
pub(super) struct Ends {
    pub patch_embed: Linear,
    pub ln_pre: Option<LayerNorm>,
    pub norm: LayerNorm,
}

impl Ends {
    pub fn new(config: &VitConfig, params: &Params, split: bool) -> Result<Self, VitError> {
        let d = config.width;
        let patch_values = 3 * config.patch_px * config.patch_px;
        let zeros = vec![0.0; d];
        let patch_bias = if config.patch_bias { params.get("patch_embed.bias", &[d])? } else { &zeros };
        let patch_weight = params.get("patch_embed.weight", &[d, patch_values])?;
        let patch_embed = Linear::new(patch_weight, patch_bias, None, split);
        Ok(Ends {
            patch_embed,
            ln_pre: if config.ln_pre { Some(layer_norm(config, params, "ln_pre")?) } else { None },
            norm: layer_norm(config, params, "norm")?,
        })
    }
}

/// The layer norm `name`.
pub(super) fn layer_norm(config: &VitConfig, params: &Params, name: &str) -> Result<LayerNorm, VitError> {
    Ok(LayerNorm {
        weight: params.get(&format!("{name}.weight"), &[config.width])?.to_vec(),
        bias: params.get(&format!("{name}.bias"), &[config.width])?.to_vec(),
        eps: config.ln_eps as f32,
    })
}

/// Factors of the two branches of block `i`.
pub(super) fn layer_scales<'p>(
    config: &VitConfig,
    params: &'p Params,
    i: usize,
) -> Result<[Option<&'p [f32]>; 2], VitError> {
    let get = |name: &str| params.get(&format!("blocks.{i}.{name}"), &[config.width]);
    Ok(if config.layer_scale { [Some(get("ls1")?), Some(get("ls2")?)] } else { [None, None] })
}

impl Block {
    /// Block `i`.
    pub fn new(config: &VitConfig, params: &Params, i: usize, split: bool) -> Result<Self, VitError> {
        let (d, hidden, expanded) = (config.width, config.mlp.hidden, config.mlp.expanded());
        let name = |part: &str| format!("blocks.{i}.{part}");
        let linear = |part: &str, outputs: usize, inputs: usize, scale: Option<&[f32]>| -> Result<Linear, VitError> {
            let weight = params.get(&format!("{}.weight", name(part)), &[outputs, inputs])?;
            Ok(Linear::new(weight, params.get(&format!("{}.bias", name(part)), &[outputs])?, scale, split))
        };
        let [ls1, ls2] = layer_scales(config, params, i)?;
        Ok(Block {
            norm1: layer_norm(config, params, &name("norm1"))?,
            qkv: linear("attn.qkv", 3 * d, d, None)?,
            proj: linear("attn.proj", d, d, ls1)?,
            norm2: layer_norm(config, params, &name("norm2"))?,
            fc1: linear("mlp.fc1", expanded, d, None)?,
            fc2: linear("mlp.fc2", d, hidden, ls2)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a value of an edge tile is lost or misplaced, or scaled by the factor of another output.
    #[test]
    fn weights_are_transposed_and_scaled_by_output() {
        for (outputs, inputs) in [(1, 1), (16, 32), (3, 40), (37, 50), (50, 15)] {
            let weight: Vec<f32> = (0..outputs * inputs).map(|k| k as f32).collect();
            let scale: Vec<f32> = (0..outputs).map(|o| (o % 4) as f32 + 0.5).collect();
            let linear = Linear::new(&weight, &vec![2.0; outputs], Some(&scale), false);
            assert_eq!((linear.inputs, linear.outputs), (inputs, outputs));
            let Weight::Plain(transposed) = &linear.weight else { panic!("not asked to split") };
            for (o, s) in scale.iter().enumerate() {
                for i in 0..inputs {
                    assert_eq!(transposed[i * outputs + o], weight[o * inputs + i] * s);
                }
                assert_eq!(linear.bias[o], 2.0 * s);
            }
        }
    }
}
