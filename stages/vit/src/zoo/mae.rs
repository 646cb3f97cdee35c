//! MAE: encoders of masked autoencoders, ViT-B/L/H (He et al. 2022). Plain `ViT`; the sin-cos positions are in the file.
//!
//! Features are read with nothing masked and the patches in order. A decoder in the file is left over.
//!
//! Source: facebookresearch/mae `models_mae.py`, `models_vit.py`, `util/pos_embed.py`, `main_linprobe.py`.

use super::{InputSpec, ModelSpec, plain};
use crate::config::Interpolation;

/// Family name.
pub(super) const FAMILY: &str = "mae";

/// ViT-B/16, ViT-L/16 and ViT-H/14.
pub(super) fn models() -> Vec<ModelSpec> {
    [
        ("mae_vitb16", 12, 768, 12, 16, "facebook/vit-mae-base", "mae_pretrain_vit_base.pth"),
        ("mae_vitl16", 24, 1024, 16, 16, "facebook/vit-mae-large", "mae_pretrain_vit_large.pth"),
        ("mae_vith14", 32, 1280, 16, 14, "facebook/vit-mae-huge", "mae_pretrain_vit_huge.pth"),
    ]
    .into_iter()
    .map(|(name, depth, width, heads, patch_px, hub, file)| {
        let mut config = plain(depth, width, patch_px, 224 / patch_px, Interpolation::Bicubic);
        config.heads = heads;
        ModelSpec {
            name: name.to_owned(),
            family: FAMILY,
            config,
            input: InputSpec::imagenet(256, 224),
            hub: Some(hub),
            official_file: Some(file),
        }
    })
    .collect()
}
