//! DINO: self-distilled ViT-S and ViT-B (Caron et al. 2021). Plain `ViT`, positions resized with the 0.1 offset.
//!
//! Source: facebookresearch/dino `vision_transformer.py`, `hubconf.py`, `eval_linear.py`.

use super::{InputSpec, ModelSpec, plain};
use crate::config::Interpolation;

/// Family name.
pub(super) const FAMILY: &str = "dino";

/// ViT-S and ViT-B with patches of 16 and 8 px.
pub(super) fn models() -> Vec<ModelSpec> {
    [
        ("dino_vits16", 384, 16, "facebook/dino-vits16", "dino_deitsmall16_pretrain.pth"),
        ("dino_vits8", 384, 8, "facebook/dino-vits8", "dino_deitsmall8_300ep_pretrain.pth"),
        ("dino_vitb16", 768, 16, "facebook/dino-vitb16", "dino_vitbase16_pretrain.pth"),
        ("dino_vitb8", 768, 8, "facebook/dino-vitb8", "dino_vitbase8_pretrain.pth"),
    ]
    .into_iter()
    .map(|(name, width, patch_px, hub, file)| ModelSpec {
        name: name.to_owned(),
        family: FAMILY,
        config: plain(12, width, patch_px, 224 / patch_px, Interpolation::Offset),
        input: InputSpec::imagenet(256, 224),
        hub: Some(hub),
        official_file: Some(file),
    })
    .collect()
}
