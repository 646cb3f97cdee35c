//! A model that a study uses: its name, what decides its numbers, and its encoder, opened when first needed.

use std::sync::{Arc, Mutex, PoisonError};

use engine::{ErrorKind, StageError};
use vit::executor::Precision;
use vit::{Encoder, VitConfig, VitError};

type Open = Box<dyn Fn() -> Result<Box<dyn Encoder>, VitError> + Send + Sync>;

/// One set of weights under a name.
pub struct Model {
    /// Name in tables and captions.
    pub name: String,
    /// Sizes and switches.
    pub config: VitConfig,
    /// SHA-256 of the weight file, or of the formula that made the weights.
    pub weights_digest: String,
    /// Precision of the forward pass.
    pub precision: Precision,
    open: Open,
    encoder: Mutex<Option<Arc<dyn Encoder>>>,
}

impl Model {
    /// A model whose encoder is made by `open` when the first shard needs it.
    pub fn new(
        name: String,
        config: VitConfig,
        weights_digest: String,
        precision: Precision,
        open: impl Fn() -> Result<Box<dyn Encoder>, VitError> + Send + Sync + 'static,
    ) -> Self {
        Self { name, config, weights_digest, precision, open: Box::new(open), encoder: Mutex::new(None) }
    }

    /// The encoder; the first call reads the weights.
    pub fn encoder(&self) -> Result<Arc<dyn Encoder>, StageError> {
        let mut slot = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = &*slot {
            return Ok(Arc::clone(encoder));
        }
        let encoder: Arc<dyn Encoder> = (self.open)().map(Arc::from).map_err(|e| missing(&self.name, &e))?;
        *slot = Some(Arc::clone(&encoder));
        Ok(encoder)
    }

    /// Frees the encoder, so that a study of many models holds the weights of one.
    pub fn close(&self) {
        *self.encoder.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Multiply-adds of one image of `tokens` tokens (PROTOCOLS §10.5).
    pub fn macs(&self, tokens: usize) -> f64 {
        let (t, d) = (tokens as f64, self.config.width as f64);
        let h = self.config.mlp.hidden as f64;
        let ffn = match self.config.mlp.activation {
            vit::Activation::SwiGlu => 3.0 * t * d * h,
            vit::Activation::Gelu | vit::Activation::QuickGelu => 2.0 * t * d * h,
        };
        let patch = 3.0 * (self.config.patch_px * self.config.patch_px) as f64 * d * t;
        self.config.depth as f64 * (4.0 * t * d * d + 2.0 * t * t * d + ffn) + patch
    }
}

fn missing(model: &str, e: &VitError) -> StageError {
    StageError::new(
        ErrorKind::Missing,
        e,
        format!("model `{model}`"),
        "check `weights` of this model in the study; `vitals models check` tests one file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiply_adds_of_vit_l_14_are_the_published_81_giga() {
        let spec = vit::zoo::find("dinov2_vitl14").expect("in the zoo");
        let model = Model::new(spec.name.clone(), spec.config, String::new(), Precision::F32, || {
            Err(VitError::UnknownSite(String::new()))
        });
        assert!((model.macs(257) / 1e9 - 81.01).abs() < 0.05, "{}", model.macs(257) / 1e9);
    }
}
