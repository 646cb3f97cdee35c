//! The model's final `LayerNorm`, on the host, for tokens of earlier blocks.
//!
//! `LN(x) = (x − mean)/√(var + eps)·w + b`. `DINOv2`'s linear evaluation reads CLS of the last n blocks, each through the
//! *final* norm (`get_intermediate_layers(norm=True)`); a tap needs that of a few tokens, not of a whole site.

use crate::config::VitConfig;
use crate::error::VitError;
use crate::weights::Params;

/// Weights of the final `LayerNorm`.
#[derive(Debug, Clone)]
pub struct FinalNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f64,
}

impl FinalNorm {
    /// From the parameters `norm.weight` and `norm.bias`.
    pub fn new(config: &VitConfig, params: &Params) -> Result<Self, VitError> {
        let d = [config.width];
        Ok(Self {
            weight: params.get("norm.weight", &d)?.to_vec(),
            bias: params.get("norm.bias", &d)?.to_vec(),
            eps: config.ln_eps,
        })
    }

    /// Normalises one token, `[D]`.
    pub fn apply(&self, token: &[f32]) -> Vec<f32> {
        let n = token.len() as f64;
        let mean = token.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let var = token.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        let scale = 1.0 / (var + self.eps).sqrt();
        let affine = self.weight.iter().zip(&self.bias);
        token
            .iter()
            .zip(affine)
            .map(|(&x, (&w, &b))| ((f64::from(x) - mean) * scale * f64::from(w) + f64::from(b)) as f32)
            .collect()
    }
}
