//! CLIP's text tower in candle operations, in f32: what runs on a GPU, and the reference of [`crate::cpu`]'s.
//!
//! Texts of one call are padded to the longest with the id 0; no token sees what follows it, so padding changes nothing.

use candle_core::{DType, Device, Tensor};

use super::Loader;
use super::block::{Block, Norm};
use crate::error::VitError;
use crate::executor::check_config;
use crate::text::TextConfig;
use crate::weights::Params;

/// A text tower.
pub struct CandleText {
    config: TextConfig,
    device: Device,
    /// `[V, W]`
    tokens: Tensor,
    /// `[context, W]`
    positions: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    /// `[W, E]`
    projection: Tensor,
}

impl CandleText {
    /// Copies the parameters to the device.
    pub fn on(config: &TextConfig, params: &Params, device: &Device) -> Result<Self, VitError> {
        let like = config.blocks();
        check_config(&like)?;
        let load = Loader { params, device, dtype: DType::F32 };
        Ok(Self {
            tokens: load.tensor("token_embedding", &[config.vocabulary, config.width])?,
            positions: load.tensor("positions", &[config.context, config.width])?,
            blocks: (0..config.depth).map(|i| Block::load(&load, &like, i)).collect::<Result<_, _>>()?,
            norm: load.norm("norm", &like)?,
            projection: load.tensor("text_projection", &[config.embedding, config.width])?.t()?.contiguous()?,
            device: device.clone(),
            config: config.clone(),
        })
    }

    /// Ids of some texts → `[texts, E]`.
    pub fn embed(&self, texts: &[Vec<u32>]) -> Result<Vec<f32>, VitError> {
        let seen: Vec<&[u32]> = texts.iter().map(|ids| self.config.until_end(ids)).collect::<Result<_, _>>()?;
        let (batch, longest) = (seen.len(), seen.iter().map(|ids| ids.len()).max().unwrap_or(0));
        if batch == 0 {
            return Ok(Vec::new());
        }
        let pad = |ids: &&[u32]| ids.iter().copied().chain(std::iter::repeat_n(0, longest - ids.len())).collect();
        let ids: Vec<u32> = seen.iter().flat_map(|ids| -> Vec<u32> { pad(ids) }).collect();
        let ids = Tensor::from_vec(ids, batch * longest, &self.device)?;
        let tokens = self.tokens.index_select(&ids, 0)?.reshape((batch, longest, self.config.width))?;
        let mut x = tokens.broadcast_add(&self.positions.narrow(0, 0, longest)?)?; // [B, N, W]
        let mask: Vec<f32> = (0..longest)
            .flat_map(|row| (0..longest).map(move |col| if col > row { f32::NEG_INFINITY } else { 0.0 }))
            .collect();
        let mask = Tensor::from_vec(mask, (longest, longest), &self.device)?;
        for block in &self.blocks {
            x = block.forward_masked(&x, &mask)?;
        }
        let ends: Vec<u32> = seen.iter().enumerate().map(|(i, ids)| (i * longest + ids.len() - 1) as u32).collect();
        let rows = x.reshape((batch * longest, self.config.width))?;
        let ends = rows.index_select(&Tensor::from_vec(ends, batch, &self.device)?, 0)?;
        Ok(self.norm.apply(&ends)?.matmul(&self.projection)?.flatten_all()?.to_vec1()?)
    }
}
