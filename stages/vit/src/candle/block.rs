//! One pre-norm block in candle operations: `x += s₁·proj(attend(LN1 x))`, `x += s₂·fc2(act(fc1(LN2 x)))`.

use candle_core::{D, DType, Tensor};
use candle_nn::ops::{layer_norm, sigmoid, softmax_last_dim};

use super::{Loader, Taps, edited};
use crate::config::{Activation, VitConfig};
use crate::editor::Editor;
use crate::error::VitError;
use crate::site::Site;
use crate::trace::Layout;

/// Attention scores held at once, unless the whole matrix is asked for: 1 GiB in f32.
const SCORES: usize = 1 << 28;

/// A `LayerNorm` over the last axis.
pub(super) struct Norm {
    pub weight: Tensor,
    pub bias: Tensor,
    pub eps: f32,
}

impl Norm {
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, VitError> {
        Ok(layer_norm(&x.contiguous()?, &self.weight, &self.bias, self.eps)?)
    }
}

/// `[B, N, in]·[in, out]` as one product of `B·N` rows.
pub(super) fn matmul(x: &Tensor, weight: &Tensor) -> Result<Tensor, VitError> {
    let (batch, tokens, inputs) = x.dims3()?;
    let product = x.reshape((batch * tokens, inputs))?.matmul(weight)?;
    Ok(product.reshape((batch, tokens, weight.dim(1)?))?)
}

struct Linear {
    /// `[in, out]`
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn load(load: &Loader, name: &str, outputs: usize, inputs: usize) -> Result<Self, VitError> {
        Ok(Linear {
            weight: load.tensor(&format!("{name}.weight"), &[outputs, inputs])?.t()?.contiguous()?,
            bias: load.tensor(&format!("{name}.bias"), &[outputs])?,
        })
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor, VitError> {
        Ok(matmul(x, &self.weight)?.broadcast_add(&self.bias)?)
    }
}

/// Parameters of a block.
pub(super) struct Block {
    heads: usize,
    activation: Activation,
    norm1: Norm,
    qkv: Linear,
    proj: Linear,
    ls1: Option<Tensor>,
    norm2: Norm,
    fc1: Linear,
    fc2: Linear,
    ls2: Option<Tensor>,
}

impl Block {
    pub fn load(load: &Loader, config: &VitConfig, i: usize) -> Result<Self, VitError> {
        let d = config.width;
        let name = |part: &str| format!("blocks.{i}.{part}");
        let scale = |part: &str| config.layer_scale.then(|| load.tensor(&name(part), &[d])).transpose();
        let (hidden, expanded) = (config.mlp.hidden, config.mlp.expanded());
        Ok(Block {
            heads: config.heads,
            activation: config.mlp.activation,
            norm1: load.norm(&name("norm1"), config)?,
            qkv: Linear::load(load, &name("attn.qkv"), 3 * d, d)?,
            proj: Linear::load(load, &name("attn.proj"), d, d)?,
            ls1: scale("ls1")?,
            norm2: load.norm(&name("norm2"), config)?,
            fc1: Linear::load(load, &name("mlp.fc1"), expanded, d)?,
            fc2: Linear::load(load, &name("mlp.fc2"), d, hidden)?,
            ls2: scale("ls2")?,
        })
    }

    /// `[B, N, D]` → `[B, N, D]`
    pub fn forward(
        &self,
        x: &Tensor,
        i: u16,
        layout: Layout,
        editor: Option<&dyn Editor>,
        taps: &mut Taps,
    ) -> Result<Tensor, VitError> {
        let branch = self.proj.apply(&self.attend(&self.qkv.apply(&self.norm1.apply(x)?)?, i, taps)?)?;
        let x = add_scaled(x, &branch, self.ls1.as_ref())?;
        let mut hidden = self.hidden(&x)?;
        if let Some(editor) = editor.filter(|editor| editor.wants_hidden(i)) {
            hidden = edited::hidden(editor, i, layout, &hidden)?;
        }
        add_scaled(&x, &self.fc2.apply(&hidden)?, self.ls2.as_ref())
    }

    /// `[B, N, D]` → `[B, N, D]`, each token looking where `mask` `[N, N]` is 0 and not where it is −∞.
    pub fn forward_masked(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor, VitError> {
        let (batch, tokens, d) = x.dims3()?;
        let [queries, keys, values] = self.heads(&self.qkv.apply(&self.norm1.apply(x)?)?)?;
        let attention = softmax_last_dim(&queries.matmul(&keys)?.broadcast_add(mask)?)?; // [B, heads, N, N]
        let output = attention.matmul(&values)?.transpose(1, 2)?.reshape((batch, tokens, d))?;
        let x = add_scaled(x, &self.proj.apply(&output)?, self.ls1.as_ref())?;
        add_scaled(&x, &self.fc2.apply(&self.hidden(&x)?)?, self.ls2.as_ref())
    }

    /// Hidden units of the feed-forward network after the activation.
    fn hidden(&self, x: &Tensor) -> Result<Tensor, VitError> {
        let hidden = self.fc1.apply(&self.norm2.apply(x)?)?;
        Ok(match self.activation {
            Activation::Gelu => hidden.gelu_erf()?,
            Activation::QuickGelu => (&hidden * sigmoid(&(&hidden * 1.702)?)?)?,
            Activation::SwiGlu => {
                let halves = hidden.chunk(2, D::Minus1)?;
                (halves[0].contiguous()?.silu()? * halves[1].contiguous()?)?
            }
        })
    }

    /// `[1, N, D]` → the softmax row of CLS, mean over heads, `[N]`.
    pub fn cls_row(&self, x: &Tensor) -> Result<Vec<f32>, VitError> {
        let [queries, keys, _] = self.heads(&self.qkv.apply(&self.norm1.apply(x)?)?)?;
        let row = softmax_rows(&queries, &keys, &[0])?.to_dtype(DType::F32)?; // [1, heads, 1, N]
        Ok(row.mean(1)?.flatten_all()?.to_vec1()?)
    }

    /// `[B, N, 3·D]` → scaled queries and values `[B, heads, N, size]`, keys `[B, heads, size, N]` between them.
    fn heads(&self, qkv: &Tensor) -> Result<[Tensor; 3], VitError> {
        let (batch, tokens, width) = qkv.dims3()?;
        let size = width / 3 / self.heads;
        let parts = qkv.reshape((batch, tokens, 3, self.heads, size))?.permute((2, 0, 3, 1, 4))?; // [3, B, heads, N, size]
        Ok([
            (parts.get(0)?.contiguous()? / (size as f64).sqrt())?,
            parts.get(1)?.transpose(2, 3)?.contiguous()?,
            parts.get(2)?.contiguous()?,
        ])
    }

    /// `[B, N, 3·D]` → `[B, N, D]`
    fn attend(&self, qkv: &Tensor, i: u16, taps: &mut Taps) -> Result<Tensor, VitError> {
        let (batch, tokens, width) = qkv.dims3()?;
        let d = width / 3;
        for (part, site) in [Site::Query(i), Site::Key(i), Site::Value(i)].into_iter().enumerate() {
            taps.offer(site, &qkv.narrow(2, part * d, d)?)?;
        }
        let [queries, keys, values] = self.heads(qkv)?;
        if taps.want.wants(Site::AttentionRows(i)) {
            taps.offer(Site::AttentionRows(i), &softmax_rows(&queries, &keys, &taps.want.queries)?)?;
        }

        let whole = taps.want.wants(Site::Attention(i));
        let affordable = (SCORES / (batch * self.heads * tokens)).max(1);
        let rows = if whole { tokens } else { affordable.min(tokens) };
        let mut outputs = Vec::new();
        for start in (0..tokens).step_by(rows) {
            let block = queries.narrow(2, start, rows.min(tokens - start))?.contiguous()?;
            let attention = softmax_last_dim(&block.matmul(&keys)?)?; // [B, heads, rows, N]
            taps.offer(Site::Attention(i), &attention)?;
            if start == 0 {
                taps.offer(Site::ClsAttention(i), &attention.narrow(2, 0, 1)?.squeeze(2)?)?;
            }
            outputs.push(attention.matmul(&values)?);
        }
        let output = Tensor::cat(&outputs, 2)?; // [B, heads, N, size]
        Ok(output.transpose(1, 2)?.reshape((batch, tokens, d))?)
    }
}

/// Softmax rows of some tokens, `[B, heads, Q, N]`.
fn softmax_rows(queries: &Tensor, keys: &Tensor, tokens: &[usize]) -> Result<Tensor, VitError> {
    let tokens: Vec<u32> = tokens.iter().map(|&token| token as u32).collect();
    let chosen = queries.index_select(&Tensor::new(tokens, queries.device())?, 2)?;
    Ok(softmax_last_dim(&chosen.matmul(keys)?)?)
}

fn add_scaled(x: &Tensor, branch: &Tensor, scale: Option<&Tensor>) -> Result<Tensor, VitError> {
    Ok(match scale {
        Some(scale) => (x + branch.broadcast_mul(scale)?)?,
        None => (x + branch)?,
    })
}
