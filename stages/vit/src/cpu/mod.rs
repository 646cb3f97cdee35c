//! The CPU executor: one image on the calling thread, raw f32 buffers, fused row kernels around matrix products.
//!
//! Pre-norm `ViT`: `x += proj(attend(qkv(LN1 x)))`, `x += fc2(act(fc1(LN2 x)))`, `LN` at the end.
//! Biases of the residual branches are added by the `LayerNorm` pass before them, biases of the hidden layer by the
//! activation, so between two products each value is touched once. One image per call and one thread per image: threads
//! inside an op cost more than they give at these sizes, so the caller runs one call per core.
//!
//! After the first image of a size nothing is allocated but the outputs and what `gemm` needs for packing.

mod activation;
mod attention;
mod bf16;
mod edited;
mod matmul;
mod model;
mod rows;
mod text;
mod vectorised;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use self::attention::{Kept, Scores, attend};
pub use self::bf16::Kernel;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
pub(crate) use self::bf16::have_tiles;
use self::bf16::{Left, Multiplier};
use self::model::{Block, Ends};
pub(crate) use self::text::CpuText;
use crate::config::{Activation, VitConfig};
use crate::editor::{Editor, Then};
use crate::error::VitError;
use crate::executor::{blocks_needed, check_call, check_config, layout};
use crate::final_norm::FinalNorm;
use crate::pos_embed::Positions;
use crate::site::Site;
use crate::trace::{Encoder, Layout, Pixels, Request, SiteData, Trace};
use crate::weights::Params;

/// An encoder on the CPU. Share it by reference between threads.
pub struct CpuVit {
    config: VitConfig,
    ends: Ends,
    blocks: Blocks,
    /// Who multiplies bf16, where anything is.
    kernel: Option<Kernel>,
    final_norm: FinalNorm,
    positions: Positions<Arc<[f32]>>,
    /// Buffers that no call is using: as many as there were calls at once.
    idle: Mutex<Vec<Scratch>>,
}

/// The blocks in the precision of the encoder.
enum Blocks {
    F32(Vec<Block>),
    Bf16(bf16::Blocks),
}

/// Buffers of one forward pass.
#[derive(Default)]
struct Scratch {
    /// Patches as rows. `[gh·gw, 3·p·p]`
    pixels: Vec<f32>,
    /// Residual stream. `[N, D]`
    stream: Vec<f32>,
    /// `LayerNorm` output, then attention output. `[N, D]`
    branch: Vec<f32>,
    /// `[N, 3·D]`
    qkv: Vec<f32>,
    /// `[N, H]`, or `[N, 2·H]` for `SwiGLU`.
    hidden: Vec<f32>,
    scores: Scores,
    /// Rows of a left factor that is split.
    packed: Left,
    bf16: bf16::Scratch,
}

impl CpuVit {
    /// In f32: copies the parameters into the layout of the kernels.
    pub fn new(config: &VitConfig, params: &Params) -> Result<Self, VitError> {
        Self::f32(config, params, None)
    }

    /// In f32. By tiles the products are near-f32 (three bf16 products each, 4e-6); it is the fastest where there are
    /// any, and what `None` chooses there. Any other kernel means plain f32 by the widest vectors.
    pub fn f32(config: &VitConfig, params: &Params, kernel: Option<Kernel>) -> Result<Self, VitError> {
        let kernel = Some(chosen(kernel)?).filter(|kernel| *kernel == Kernel::Amx);
        let split = kernel.is_some();
        let blocks = |config: &VitConfig| {
            let blocks = (0..config.depth).map(|i| Block::new(config, params, i, split));
            Ok(Blocks::F32(blocks.collect::<Result<_, _>>()?))
        };
        Self::with_blocks(config, params, kernel, split, blocks)
    }

    /// In bf16 between the ends, by the best kernel of this machine, or by `kernel`.
    pub fn bf16(config: &VitConfig, params: &Params, kernel: Option<Kernel>) -> Result<Self, VitError> {
        let kernel = chosen(kernel)?;
        let blocks = |config: &VitConfig| Ok(Blocks::Bf16(bf16::Blocks::new(config, params)?));
        Self::with_blocks(config, params, Some(kernel), kernel == Kernel::Amx, blocks)
    }

    fn with_blocks(
        config: &VitConfig,
        params: &Params,
        kernel: Option<Kernel>,
        split: bool,
        blocks: impl FnOnce(&VitConfig) -> Result<Blocks, VitError>,
    ) -> Result<Self, VitError> {
        check_config(config)?;
        Ok(CpuVit {
            config: config.clone(),
            ends: Ends::new(config, params, split)?,
            blocks: blocks(config)?,
            kernel,
            final_norm: FinalNorm::new(config, params)?,
            positions: Positions::new(config, params)?,
            idle: Mutex::default(),
        })
    }

    fn encode_with(
        &self,
        images: &[&Pixels],
        want: &Request,
        editor: Option<&dyn Editor>,
    ) -> Result<Vec<Trace>, VitError> {
        let Some(layout) = check_call(&self.config, images, want)? else { return Ok(Vec::new()) };
        let mut scratch = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let traces = images.iter().map(|image| self.forward(image, layout, want, editor, &mut scratch)).collect();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        Ok(traces)
    }

    fn forward(
        &self,
        image: &Pixels,
        layout: Layout,
        want: &Request,
        editor: Option<&dyn Editor>,
        scratch: &mut Scratch,
    ) -> Trace {
        let d = self.config.width;
        let mut taps = Taps::new(want, layout);
        // Tiles are configured for this pass and released at its end.
        let multiplier = self.kernel.map(Multiplier::of_this_machine);
        let multiplier = multiplier.as_ref();
        self.embed(image, layout, multiplier, scratch, &mut taps);
        let needed = blocks_needed(&self.config, want);
        match &self.blocks {
            Blocks::F32(blocks) => {
                for (i, block) in blocks[..needed].iter().enumerate() {
                    let block = (block, i as u16);
                    let then = editor.map(|editor| self.edit(editor, block, layout, multiplier, scratch));
                    if then != Some(Then::Skip) {
                        self.block(block, multiplier, scratch, editor, &mut taps);
                    }
                    taps.tokens(Site::Block(i as u16), &scratch.stream, d, d);
                }
            }
            Blocks::Bf16(blocks) => {
                if let Some(multiplier) = multiplier {
                    blocks.run(needed, multiplier, &mut scratch.stream, &mut scratch.bf16, &mut taps);
                }
            }
        }
        if want.wants(Site::Final) {
            self.ends.norm.apply(&scratch.stream, &mut scratch.branch);
            taps.tokens(Site::Final, &scratch.branch, d, d);
        }
        taps.trace
    }

    /// Pixels → residual stream before the first block.
    fn embed(
        &self,
        image: &Pixels,
        layout: Layout,
        multiplier: Option<&Multiplier>,
        scratch: &mut Scratch,
        taps: &mut Taps,
    ) {
        let d = self.config.width;
        let (tokens, patches) = (layout.tokens(), layout.patches());
        patch_rows(image, self.config.patch_px, &mut scratch.pixels);
        scratch.stream.resize(tokens * d, 0.0);
        scratch.branch.resize(tokens * d, 0.0);
        let (prefix, rest) = scratch.stream.split_at_mut(layout.prefix() * d);
        prefix.copy_from_slice(&self.positions.prefix);
        rows::fill_rows(rest, &self.ends.patch_embed.bias);
        let rows = (scratch.pixels.as_slice(), scratch.pixels.len() / patches);
        self.ends.patch_embed.apply(rows, patches, rest, true, (multiplier, &mut scratch.packed));
        taps.tokens(Site::PatchEmbed, rest, d, d);
        let made = |values: Vec<f32>| Ok::<_, Infallible>(values.into());
        let Ok(positions) = self.positions.on((layout.grid_h, layout.grid_w), made);
        rows::add(rest, &positions);
        if let Some(norm) = &self.ends.ln_pre {
            norm.apply(&scratch.stream, &mut scratch.branch);
            std::mem::swap(&mut scratch.stream, &mut scratch.branch);
        }
        taps.tokens(Site::WithPosition, &scratch.stream, d, d);
    }

    fn block(
        &self,
        (block, i): (&Block, u16),
        multiplier: Option<&Multiplier>,
        scratch: &mut Scratch,
        editor: Option<&dyn Editor>,
        taps: &mut Taps,
    ) {
        let Scratch { stream, branch, qkv, hidden, scores, packed, .. } = scratch;
        let d = self.config.width;
        let tokens = stream.len() / d;

        block.norm1.apply_then_add(stream, &block.proj.bias, branch);
        qkv.resize(tokens * 3 * d, 0.0);
        rows::fill_rows(qkv, &block.qkv.bias);
        block.qkv.apply((branch, d), tokens, qkv, true, (multiplier, packed));
        for (part, site) in [Site::Query(i), Site::Key(i), Site::Value(i)].into_iter().enumerate() {
            taps.tokens(site, &qkv[part * d..], d, 3 * d);
        }
        let mut kept = Kept::new(taps.want, i, self.config.heads, tokens);
        attend(qkv, tokens, self.config.heads, branch, scores, &mut kept);
        taps.trace.full.extend(kept.into_sites());
        block.proj.apply((branch, d), tokens, stream, true, (multiplier, packed));

        block.norm2.apply_then_add(stream, &block.fc2.bias, branch);
        let expanded = block.fc1.bias.len();
        hidden.resize(tokens * expanded, 0.0);
        block.fc1.apply((branch, d), tokens, hidden, false, (multiplier, packed));
        match self.config.mlp.activation {
            Activation::Gelu => activation::bias_gelu(hidden, &block.fc1.bias),
            Activation::QuickGelu => activation::bias_quick_gelu(hidden, &block.fc1.bias),
            Activation::SwiGlu => activation::bias_swiglu(hidden, &block.fc1.bias),
        }
        let stride = self.edit_hidden(editor, i, taps.trace.layout, hidden, expanded);
        block.fc2.apply((hidden, stride), tokens, stream, true, (multiplier, packed));
    }
}

/// The kernel asked for, if this machine has it, else the best.
fn chosen(kernel: Option<Kernel>) -> Result<Kernel, VitError> {
    kernel.map_or_else(|| Ok(Kernel::best()), Kernel::check)
}

/// `[3, height, width]` → one row `(c, y, x)` per patch, as the patch projection reads it.
fn patch_rows(image: &Pixels, patch_px: usize, out: &mut Vec<f32>) {
    let (grid_h, grid_w) = (image.height / patch_px, image.width / patch_px);
    out.resize(image.data.len(), 0.0);
    let mut lines = out.chunks_exact_mut(patch_px);
    for row in 0..grid_h {
        for col in 0..grid_w {
            for channel in 0..3 {
                for y in 0..patch_px {
                    let from = (channel * image.height + row * patch_px + y) * image.width + col * patch_px;
                    if let Some(line) = lines.next() {
                        line.copy_from_slice(&image.data[from..from + patch_px]);
                    }
                }
            }
        }
    }
}

/// Collects what the request names.
struct Taps<'a> {
    want: &'a Request,
    trace: Trace,
}

impl<'a> Taps<'a> {
    fn new(want: &'a Request, layout: Layout) -> Self {
        Taps { want, trace: Trace::empty(layout) }
    }

    /// Offers rows of `width` values that are `stride` apart.
    fn tokens(&mut self, site: Site, data: &[f32], width: usize, stride: usize) {
        let rows = data.chunks(stride).map(|row| &row[..width]);
        if self.want.norms.contains(&site) {
            self.trace.norms.insert(site, rows.clone().map(rows::norm).collect());
        }
        if self.want.full.contains(&site) {
            let shape = vec![rows.len(), width];
            let mut values = Vec::with_capacity(rows.len() * width);
            rows.for_each(|row| values.extend_from_slice(row));
            self.trace.full.insert(site, SiteData { shape, data: values });
        }
    }
}

impl Encoder for CpuVit {
    fn config(&self) -> &VitConfig {
        &self.config
    }

    fn layout(&self, height: usize, width: usize) -> Result<Layout, VitError> {
        layout(&self.config, height, width)
    }

    fn encode(&self, images: &[&Pixels], want: &Request) -> Result<Vec<Trace>, VitError> {
        self.encode_with(images, want, None)
    }

    fn encode_edited(&self, images: &[&Pixels], want: &Request, editor: &dyn Editor) -> Result<Vec<Trace>, VitError> {
        match self.blocks {
            Blocks::F32(_) => self.encode_with(images, want, Some(editor)),
            Blocks::Bf16(_) => Err(VitError::NotEditable),
        }
    }

    fn final_norm(&self) -> &FinalNorm {
        &self.final_norm
    }
}
