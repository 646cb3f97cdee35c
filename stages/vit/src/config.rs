//! What a vision transformer is: sizes and switches, no tensors.

use serde::Serialize;

/// One pre-norm `ViT`. Every family of the zoo is a value of this type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VitConfig {
    /// Number of blocks.
    pub depth: usize,
    /// Token width D.
    pub width: usize,
    /// Attention heads; the head size is `width / heads`.
    pub heads: usize,
    /// Patch side, px.
    pub patch_px: usize,
    /// Feed-forward network.
    pub mlp: Mlp,
    /// Epsilon of every `LayerNorm`.
    pub ln_eps: f64,
    /// Blocks multiply their two residual branches by learned vectors.
    pub layer_scale: bool,
    /// A `LayerNorm` between the position embedding and the first block (CLIP).
    pub ln_pre: bool,
    /// The patch projection has a bias (all but CLIP).
    pub patch_bias: bool,
    /// Register tokens R, placed between CLS and the patches, without position embedding.
    pub registers: usize,
    /// The learned position embedding.
    pub pos: PosEmbed,
}

/// Feed-forward network of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mlp {
    /// Hidden width (after gating for `SwiGlu`).
    pub hidden: usize,
    /// Activation.
    pub activation: Activation,
}

impl Mlp {
    /// Width of the first projection: the hidden width, twice for a gate.
    pub fn expanded(self) -> usize {
        match self.activation {
            Activation::Gelu | Activation::QuickGelu => self.hidden,
            Activation::SwiGlu => 2 * self.hidden,
        }
    }
}

/// Activation of the feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Exact GELU, x·Φ(x).
    Gelu,
    /// x·σ(1.702·x) (`OpenAI` CLIP).
    QuickGelu,
    /// SiLU(first half) × second half of a projection of width 2·hidden.
    SwiGlu,
}

/// A learned position embedding over a square training grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PosEmbed {
    /// Side of the training grid, patches.
    pub grid: usize,
    /// Whether the table begins with a row for CLS (DeiT-III has none).
    pub cls_slot: bool,
    /// How it is resized to another grid.
    pub interpolation: Interpolation,
}

/// Rule by which a position embedding is resized to another grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// `DINOv2` without registers, DINO: bicubic a=−0.75, step M/(n+0.1), skipped for the training grid.
    Offset,
    /// `DeiT` and MAE loaders, HF `dinov2`: bicubic a=−0.75, step M/n.
    Bicubic,
    /// `DINOv2` with registers, timm, `OpenCLIP`: antialiased bicubic a=−0.5, step M/n.
    Antialias,
}

impl VitConfig {
    /// Size of one head.
    pub fn head_dim(&self) -> usize {
        self.width / self.heads
    }

    /// CLS and registers: the tokens before the patches.
    pub fn prefix_tokens(&self) -> usize {
        1 + self.registers
    }
}
