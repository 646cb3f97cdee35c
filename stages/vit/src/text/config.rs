//! What a CLIP text tower is: sizes and one switch, no tensors.

use serde::Serialize;

use crate::config::{Activation, Interpolation, Mlp, PosEmbed, VitConfig};
use crate::error::VitError;

/// A causal pre-norm transformer over token ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TextConfig {
    /// Blocks.
    pub depth: usize,
    /// Token width W.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Feed-forward network.
    pub mlp: Mlp,
    /// Positions: ids of the longest text.
    pub context: usize,
    /// Ids that have an embedding.
    pub vocabulary: usize,
    /// Channels E that images and texts have in common.
    pub embedding: usize,
    /// Channels D of the image tower.
    pub image_width: usize,
}

/// Channels of a head, in every text tower of `OpenCLIP`'s ViT models and of `OpenAI`'s.
const HEAD: usize = 64;

impl TextConfig {
    /// The heads of a tower of this width, if it is made of whole ones.
    pub(crate) fn heads_of(width: usize) -> Option<usize> {
        (width > 0 && width.is_multiple_of(HEAD)).then_some(width / HEAD)
    }

    /// Its blocks as those of an image tower, which they equal but for the mask; the description has one patch of one
    /// pixel, which nothing reads.
    pub(crate) fn blocks(&self) -> VitConfig {
        VitConfig {
            depth: self.depth,
            width: self.width,
            heads: self.heads,
            patch_px: 1,
            mlp: self.mlp,
            ln_eps: 1e-5,
            layer_scale: false,
            ln_pre: false,
            patch_bias: false,
            registers: 0,
            pos: PosEmbed { grid: 1, cls_slot: true, interpolation: Interpolation::Antialias },
        }
    }

    /// Canonical names and shapes of the parameters; linear weights are `[out, in]`.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let mut all = vec![
            ("token_embedding".to_owned(), vec![self.vocabulary, self.width]),
            ("positions".to_owned(), vec![self.context, self.width]),
        ];
        let shared = crate::weights::expected(&self.blocks());
        all.extend(shared.into_iter().filter(|(name, _)| name.starts_with("blocks.") || name.starts_with("norm.")));
        all.push(("text_projection".to_owned(), vec![self.embedding, self.width]));
        all.push((IMAGE_PROJECTION.to_owned(), vec![self.embedding, self.image_width]));
        all
    }

    /// The ids of a text up to its end, the first of the largest.
    pub(crate) fn until_end<'i>(&self, ids: &'i [u32]) -> Result<&'i [u32], VitError> {
        let refused = |problem: String| Err(VitError::Text(problem));
        let Some(&largest) = ids.iter().max() else { return refused("a text without ids".to_owned()) };
        if largest as usize >= self.vocabulary {
            return refused(format!("id {largest} of a vocabulary of {}", self.vocabulary));
        }
        if ids.len() > self.context {
            return refused(format!("{} ids for {} positions", ids.len(), self.context));
        }
        let end = ids.iter().position(|id| *id == largest).unwrap_or_default();
        Ok(&ids[..=end])
    }

    /// The same with another activation.
    #[must_use]
    pub(crate) fn with_activation(mut self, activation: Activation) -> Self {
        self.mlp.activation = activation;
        self
    }
}

/// The linear map from CLS after the final norm to the channels that texts have too, `[E, D]`.
pub(crate) const IMAGE_PROJECTION: &str = "image_projection";
