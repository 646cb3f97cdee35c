//! The candle executor: the same forward pass as [`crate::cpu`] in plain tensor operations, on any device.
//!
//! It is the reference that the fused kernels are held equal to, and what runs on a GPU. Exact GELU is `gelu_erf`
//! (candle's `gelu` is the tanh approximation). Requested sites come back to the host in f32; norms are reduced on the
//! device, in f32 whatever the precision, because squares of outlier norms overflow f16.

mod block;
mod edited;
#[cfg(test)]
mod tests;
mod text;

use candle_core::{D, DType, Device, Tensor};

use self::block::{Block, Norm};
pub(crate) use self::text::CandleText;
use crate::config::VitConfig;
use crate::editor::{Editor, Then};
use crate::error::VitError;
use crate::executor::{DeviceChoice, Precision, blocks_needed, check_call, check_config, layout};
use crate::final_norm::FinalNorm;
use crate::pos_embed::Positions;
use crate::site::Site;
use crate::trace::{Encoder, Layout, Pixels, Request, SiteData, Trace};
use crate::weights::Params;

/// Images per call on a GPU: enough to fill it at ViT-S, little enough to keep ViT-g in memory.
const CUDA_BATCH: usize = 32;

/// An encoder made of candle tensors.
pub struct CandleVit {
    config: VitConfig,
    device: Device,
    dtype: DType,
    /// CLS with its position, then the registers. `[1, 1 + R, D]`
    prefix: Tensor,
    /// By grid, `[1, gh·gw, D]`.
    positions: Positions<Tensor>,
    /// `[3·p·p, D]`
    patch_weight: Tensor,
    patch_bias: Option<Tensor>,
    ln_pre: Option<Norm>,
    blocks: Vec<Block>,
    norm: Norm,
    final_norm: FinalNorm,
}

/// Reads parameters on to a device.
struct Loader<'a> {
    params: &'a Params,
    device: &'a Device,
    dtype: DType,
}

impl Loader<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, VitError> {
        Ok(Tensor::from_slice(self.params.get(name, shape)?, shape, self.device)?.to_dtype(self.dtype)?)
    }

    fn norm(&self, name: &str, config: &VitConfig) -> Result<Norm, VitError> {
        Ok(Norm {
            weight: self.tensor(&format!("{name}.weight"), &[config.width])?,
            bias: self.tensor(&format!("{name}.bias"), &[config.width])?,
            eps: config.ln_eps as f32,
        })
    }
}

impl CandleVit {
    /// Copies the parameters to the device that was asked for.
    pub fn new(
        config: &VitConfig,
        params: &Params,
        device: &DeviceChoice,
        precision: Precision,
    ) -> Result<Self, VitError> {
        Self::on(config, params, &device.resolve()?, precision.dtype())
    }

    pub(crate) fn on(config: &VitConfig, params: &Params, device: &Device, dtype: DType) -> Result<Self, VitError> {
        check_config(config)?;
        let d = config.width;
        let load = Loader { params, device, dtype };
        let positions = Positions::new(config, params)?;
        let prefix = Tensor::from_slice(&positions.prefix, (1, config.prefix_tokens(), d), device)?.to_dtype(dtype)?;
        let patch_values = 3 * config.patch_px * config.patch_px;
        Ok(CandleVit {
            prefix,
            positions,
            patch_weight: load.tensor("patch_embed.weight", &[d, patch_values])?.t()?.contiguous()?,
            patch_bias: if config.patch_bias { Some(load.tensor("patch_embed.bias", &[d])?) } else { None },
            ln_pre: if config.ln_pre { Some(load.norm("ln_pre", config)?) } else { None },
            blocks: (0..config.depth).map(|i| Block::load(&load, config, i)).collect::<Result<_, _>>()?,
            norm: load.norm("norm", config)?,
            final_norm: FinalNorm::new(config, params)?,
            config: config.clone(),
            device: device.clone(),
            dtype,
        })
    }

    fn positions(&self, layout: &Layout) -> Result<Tensor, VitError> {
        let shape = (1, layout.patches(), self.config.width);
        self.positions.on((layout.grid_h, layout.grid_w), |values| {
            Ok(Tensor::from_vec(values, shape, &self.device)?.to_dtype(self.dtype)?)
        })
    }

    /// `[B, 3, h, w]` → `[B, gh·gw, 3·p·p]`, values of a patch in the order (c, y, x).
    fn patches(&self, images: &[&Pixels], layout: &Layout) -> Result<Tensor, VitError> {
        let p = self.config.patch_px;
        let batch = images.len();
        let values: Vec<f32> = images.iter().flat_map(|image| image.data.iter().copied()).collect();
        let pixels = Tensor::from_vec(values, (batch * 3, layout.grid_h, p, layout.grid_w * p), &self.device)?;
        Ok(pixels
            .to_dtype(self.dtype)?
            .reshape(&[batch, 3, layout.grid_h, p, layout.grid_w, p])?
            .permute([0, 2, 4, 1, 3, 5])?
            .reshape((batch, layout.patches(), 3 * p * p))?)
    }

    fn forward(
        &self,
        images: &[&Pixels],
        layout: Layout,
        want: &Request,
        editor: Option<&dyn Editor>,
    ) -> Result<Vec<Trace>, VitError> {
        let mut taps = Taps::new(want, layout, images.len());
        let patches = self.patches(images, &layout)?;
        let mut x = block::matmul(&patches, &self.patch_weight)?; // [B, gh·gw, D]
        if let Some(bias) = &self.patch_bias {
            x = x.broadcast_add(bias)?;
        }
        taps.offer(Site::PatchEmbed, &x)?;
        x = x.broadcast_add(&self.positions(&layout)?)?;
        let prefix = self.prefix.repeat((images.len(), 1, 1))?;
        x = Tensor::cat(&[&prefix, &x], 1)?; // [B, N, D]
        if let Some(norm) = &self.ln_pre {
            x = norm.apply(&x)?;
        }
        taps.offer(Site::WithPosition, &x)?;
        for (i, block) in self.blocks[..blocks_needed(&self.config, want)].iter().enumerate() {
            let i = i as u16;
            let mut then = Then::Execute;
            if let Some(editor) = editor {
                (x, then) = edited::stream(editor, (block, i), layout, x)?;
            }
            if then == Then::Execute {
                x = block.forward(&x, i, layout, editor, &mut taps)?;
            }
            taps.offer(Site::Block(i), &x)?;
        }
        if want.wants(Site::Final) {
            taps.offer(Site::Final, &self.norm.apply(&x)?)?;
        }
        Ok(taps.traces)
    }
}

/// Collects what the request names.
struct Taps<'a> {
    want: &'a Request,
    traces: Vec<Trace>,
}

impl<'a> Taps<'a> {
    fn new(want: &'a Request, layout: Layout, batch: usize) -> Self {
        Taps { want, traces: vec![Trace::empty(layout); batch] }
    }

    /// Offers a value whose first axis is the batch.
    fn offer(&mut self, site: Site, value: &Tensor) -> Result<(), VitError> {
        if self.want.norms.contains(&site) {
            let norms = value.to_dtype(DType::F32)?.sqr()?.sum(D::Minus1)?.sqrt()?; // [B, N]
            for (trace, norms) in self.traces.iter_mut().zip(norms.to_vec2()?) {
                trace.norms.insert(site, norms);
            }
        }
        if self.want.full.contains(&site) {
            let shape = value.dims()[1..].to_vec();
            let values: Vec<f32> = value.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            let each = shape.iter().product();
            for (trace, data) in self.traces.iter_mut().zip(values.chunks_exact(each)) {
                trace.full.insert(site, SiteData { shape: shape.clone(), data: data.to_vec() });
            }
        }
        Ok(())
    }
}

impl Encoder for CandleVit {
    fn config(&self) -> &VitConfig {
        &self.config
    }

    fn layout(&self, height: usize, width: usize) -> Result<Layout, VitError> {
        layout(&self.config, height, width)
    }

    fn encode(&self, images: &[&Pixels], want: &Request) -> Result<Vec<Trace>, VitError> {
        match check_call(&self.config, images, want)? {
            Some(layout) => self.forward(images, layout, want, None),
            None => Ok(Vec::new()),
        }
    }

    /// One image after the other, for an editor may skip a block of one and not of another.
    fn encode_edited(&self, images: &[&Pixels], want: &Request, editor: &dyn Editor) -> Result<Vec<Trace>, VitError> {
        let Some(layout) = check_call(&self.config, images, want)? else { return Ok(Vec::new()) };
        let mut traces = Vec::with_capacity(images.len());
        for image in images {
            traces.extend(self.forward(&[image], layout, want, Some(editor))?);
        }
        Ok(traces)
    }

    fn final_norm(&self) -> &FinalNorm {
        &self.final_norm
    }

    fn batch(&self) -> usize {
        if self.device.is_cpu() { 1 } else { CUDA_BATCH }
    }
}
