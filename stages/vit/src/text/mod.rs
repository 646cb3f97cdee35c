//! CLIP's text side: texts become vectors that an image's vector can be compared with.
//!
//! ```text
//! text ─▶ tokenizer ─▶ ids ─▶ causal transformer ─▶ final norm of the token with the largest id ─▶ projection
//! class vector = unit(Σ over templates of unit(embedding of the filled template))
//! logit of a class = 100 · unit(CLS after the final norm · image projection) · class vector
//! ```
//!
//! No token sees a later one, so that what follows the end changes nothing and is not computed: a prompt of twelve ids
//! costs twelve positions, not 77.
//!
//! Source: `mlfoundations/open_clip` `model.py` (`encode_text`), `zero_shot_classifier.py`; `docs/protocols/zero_shot.md`.

mod clean;
mod config;
#[cfg(test)]
pub(crate) mod tests;
mod tokenizer;

pub(crate) use config::IMAGE_PROJECTION;
pub use config::TextConfig;
pub use tokenizer::{Tokenizer, VOCABULARY};

use crate::candle::CandleText;
use crate::cpu::CpuText;
use crate::error::VitError;
use crate::executor::DeviceChoice;
use crate::weights::{Params, TextWeights};

/// Texts encoded at once: enough rows for fast products, little memory; the same of a GPU.
const BATCH: usize = 32;
const DEVICE_BATCH: usize = 512;

/// A text tower with its tokenizer, in f32. Share it by reference between threads.
pub struct TextEncoder {
    tower: Tower,
    tokenizer: Tokenizer,
    embedding: usize,
}

enum Tower {
    Cpu(CpuText),
    Candle(CandleText),
}

impl TextEncoder {
    /// Copies the parameters into the layout of the kernels, or to the GPU.
    pub fn new(weights: &TextWeights, device: &DeviceChoice) -> Result<Self, VitError> {
        let device = device.resolve()?;
        Self::of(weights, |config, params| {
            Ok(if device.is_cpu() {
                Tower::Cpu(CpuText::new(config, params)?)
            } else {
                Tower::Candle(CandleText::on(config, params, &device)?)
            })
        })
    }

    fn of(
        weights: &TextWeights,
        tower: impl FnOnce(&TextConfig, &Params) -> Result<Tower, VitError>,
    ) -> Result<Self, VitError> {
        let config = &weights.config;
        if config.vocabulary != VOCABULARY {
            let problem = format!(
                "it has {} ids and CLIP's tokenizer {VOCABULARY}; towers with another tokenizer are not supported",
                config.vocabulary
            );
            return Err(VitError::Text(problem));
        }
        Ok(Self {
            tower: tower(config, &weights.params)?,
            tokenizer: Tokenizer::new(config.context)?,
            embedding: config.embedding,
        })
    }

    /// The embedding of each text, `[E]`, of any length.
    pub fn embed<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Vec<f32>>, VitError> {
        let mut embeddings = Vec::with_capacity(texts.len());
        let batch = match self.tower {
            Tower::Cpu(_) => BATCH,
            Tower::Candle(_) => DEVICE_BATCH,
        };
        for batch in texts.chunks(batch) {
            let ids: Vec<Vec<u32>> =
                batch.iter().map(|text| self.tokenizer.ids(text.as_ref())).collect::<Result<_, _>>()?;
            let found = match &self.tower {
                Tower::Cpu(tower) => tower.embed(&ids)?,
                Tower::Candle(tower) => tower.embed(&ids)?,
            };
            embeddings.extend(found.chunks_exact(self.embedding).map(<[f32]>::to_vec));
        }
        Ok(embeddings)
    }
}

/// The vector of a class: the mean of unit vectors, of length 1 again. `None` where an embedding has no direction or
/// they cancel.
pub fn class_vector(embeddings: &[Vec<f32>]) -> Option<Vec<f32>> {
    let mut sum = vec![0.0_f64; embeddings.first()?.len()];
    for embedding in embeddings {
        let wide: Vec<f64> = embedding.iter().map(|&x| f64::from(x)).collect();
        for (s, x) in sum.iter_mut().zip(unit(&wide)?) {
            *s += x;
        }
    }
    Some(unit(&sum)?.into_iter().map(|x| x as f32).collect())
}

fn unit(vector: &[f64]) -> Option<Vec<f64>> {
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    (length.is_finite() && length > 0.0).then(|| vector.iter().map(|x| x / length).collect())
}
