//! DeiT-III: supervised ViT-Ti/S/M/B/L/H with `LayerScale`; the position embedding has no CLS row (Touvron et al. 2022).
//!
//! The 224 and 384 px models differ in the position grid. Weights are published for S, B, L at both sizes and for
//! M and H at 224; the others are for training. "21k" files are pretrained on IN-21k, then fine-tuned on IN-1k.
//!
//! Source: facebookresearch/deit `models_v2.py`, `README_revenge.md` (crop ratio 1.0).

use super::{InputSpec, ModelSpec, plain};
use crate::config::{Interpolation, VitConfig};

/// Family name.
pub(super) const FAMILY: &str = "deit3";

/// Every size at 224 px, and every size whose patches tile 384 px.
pub(super) fn models() -> Vec<ModelSpec> {
    let sizes = [
        ("vitti16", 12, 192, 16, [None, None], [None, None]),
        (
            "vits16",
            12,
            384,
            16,
            [
                Some("timm/deit3_small_patch16_224.fb_in22k_ft_in1k"),
                Some("timm/deit3_small_patch16_384.fb_in22k_ft_in1k"),
            ],
            [Some("deit_3_small_224_21k.pth"), Some("deit_3_small_384_21k.pth")],
        ),
        (
            "vitm16",
            12,
            512,
            16,
            [Some("timm/deit3_medium_patch16_224.fb_in22k_ft_in1k"), None],
            [Some("deit_3_medium_224_21k.pth"), None],
        ),
        (
            "vitb16",
            12,
            768,
            16,
            [
                Some("timm/deit3_base_patch16_224.fb_in22k_ft_in1k"),
                Some("timm/deit3_base_patch16_384.fb_in22k_ft_in1k"),
            ],
            [Some("deit_3_base_224_21k.pth"), Some("deit_3_base_384_21k.pth")],
        ),
        (
            "vitl16",
            24,
            1024,
            16,
            [
                Some("timm/deit3_large_patch16_224.fb_in22k_ft_in1k"),
                Some("timm/deit3_large_patch16_384.fb_in22k_ft_in1k"),
            ],
            [Some("deit_3_large_224_21k.pth"), Some("deit_3_large_384_21k.pth")],
        ),
        (
            "vith14",
            32,
            1280,
            14,
            [Some("timm/deit3_huge_patch14_224.fb_in22k_ft_in1k"), None],
            [Some("deit_3_huge_224_21k_v1.pth"), None],
        ),
    ];
    let mut models = Vec::new();
    for (size, depth, width, patch_px, hubs, files) in sizes {
        for ((image_px, hub), official_file) in [224, 384].into_iter().zip(hubs).zip(files) {
            if image_px % patch_px != 0 {
                continue;
            }
            models.push(ModelSpec {
                name: format!("deit3_{size}_{image_px}"),
                family: FAMILY,
                config: network(depth, width, patch_px, image_px),
                input: InputSpec::imagenet(image_px, image_px),
                hub,
                official_file,
            });
        }
    }
    models
}

fn network(depth: usize, width: usize, patch_px: usize, image_px: usize) -> VitConfig {
    let mut config = plain(depth, width, patch_px, image_px / patch_px, Interpolation::Bicubic);
    if patch_px == 14 {
        config.heads = 16;
    }
    config.layer_scale = true;
    config.pos.cls_slot = false;
    config
}
