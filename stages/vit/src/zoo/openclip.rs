//! CLIP's image tower: `openclip_*` (exact GELU) and `OpenAI`'s `clip_*` (`QuickGELU`).
//!
//! A `LayerNorm` before the first block, no bias in the patch projection, eps 1e-5. The text tower and the projections
//! of a checkpoint are left over here and read by [`TextHeader`](crate::TextHeader).
//!
//! Source: `mlfoundations/open_clip` `transformer.py`, `model_configs/ViT-*.json`, `pretrained.py`.

use super::{InputSpec, ModelSpec, plain};
use crate::config::{Activation, Interpolation, VitConfig};

/// Family name.
pub(super) const FAMILY: &str = "openclip";

const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// B/32, B/16, L/14, H/14, and `OpenAI`'s B/32, B/16, L/14.
///
/// L/14 names the `DataComp` weights: LAION's own L/14 was trained with another mean and standard deviation.
pub(super) fn models() -> Vec<ModelSpec> {
    use Activation::{Gelu, QuickGelu};
    [
        ("openclip_vitb32", 12, 768, 32, Gelu, 224, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("openclip_vitb16", 12, 768, 16, Gelu, 224, "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
        ("openclip_vitl14", 24, 1024, 14, Gelu, 224, "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K"),
        ("openclip_vith14", 32, 1280, 14, Gelu, 224, "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
        ("clip_vitb32", 12, 768, 32, QuickGelu, 224, "openai/clip-vit-base-patch32"),
        ("clip_vitb16", 12, 768, 16, QuickGelu, 224, "openai/clip-vit-base-patch16"),
        ("clip_vitl14", 24, 1024, 14, QuickGelu, 224, "openai/clip-vit-large-patch14"),
        ("clip_vitl14_336", 24, 1024, 14, QuickGelu, 336, "openai/clip-vit-large-patch14-336"),
    ]
    .into_iter()
    .map(|(name, depth, width, patch_px, activation, image_px, hub)| {
        let mut config = VitConfig {
            ln_eps: 1e-5,
            ln_pre: true,
            patch_bias: false,
            ..plain(depth, width, patch_px, image_px / patch_px, Interpolation::Antialias)
        };
        config.mlp.activation = activation;
        config.heads = config.heads.min(16);
        ModelSpec {
            name: name.to_owned(),
            family: FAMILY,
            config,
            input: InputSpec { resize_px: image_px, crop_px: image_px, bicubic: true, mean: MEAN, std: STD },
            hub: Some(hub),
            official_file: None,
        }
    })
    .collect()
}
