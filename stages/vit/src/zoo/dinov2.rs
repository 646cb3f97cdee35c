//! `DINOv2`: ViT-S/B/L/g with patches of 14 px, `LayerScale`, trained to 518 px; with and without 4 registers.
//!
//! Without registers positions are resized with the 0.1 offset, with registers by antialias. ViT-g has a `SwiGLU` of
//! hidden size ceil₈(⌊2/3·4·D⌋) = 4096. `dinov2_vitl14_swiglu` is what the repository's training configuration
//! builds (hidden 2736, 224 px positions); the released ViT-L/14 has a plain MLP.
//!
//! Source: facebookresearch/dinov2 `hub/backbones.py`, `layers/swiglu_ffn.py`, `configs/train/vitl14.yaml`.

use super::{InputSpec, ModelSpec, plain};
use crate::config::{Activation, Interpolation, Mlp, VitConfig};

/// Family name.
pub(super) const FAMILY: &str = "dinov2";

const PATCH_PX: usize = 14;

/// Every size without registers, every size with 4, and the from-scratch ViT-L.
pub(super) fn models() -> Vec<ModelSpec> {
    let sizes = [
        ("vits14", 12, 384, "facebook/dinov2-small", "facebook/dinov2-with-registers-small"),
        ("vitb14", 12, 768, "facebook/dinov2-base", "facebook/dinov2-with-registers-base"),
        ("vitl14", 24, 1024, "facebook/dinov2-large", "facebook/dinov2-with-registers-large"),
        ("vitg14", 40, 1536, "facebook/dinov2-giant", "facebook/dinov2-with-registers-giant"),
    ];
    let files = [
        ("dinov2_vits14_pretrain.pth", "dinov2_vits14_reg4_pretrain.pth"),
        ("dinov2_vitb14_pretrain.pth", "dinov2_vitb14_reg4_pretrain.pth"),
        ("dinov2_vitl14_pretrain.pth", "dinov2_vitl14_reg4_pretrain.pth"),
        ("dinov2_vitg14_pretrain.pth", "dinov2_vitg14_reg4_pretrain.pth"),
    ];
    let mut models = Vec::new();
    for ((size, depth, width, hub, hub_reg4), (file, file_reg4)) in sizes.into_iter().zip(files) {
        let mut config = network(depth, width, 518);
        if size == "vitg14" {
            config.mlp = swiglu(width);
        }
        let bare = ModelSpec {
            name: format!("dinov2_{size}"),
            family: FAMILY,
            config,
            input: InputSpec::imagenet(256, 224),
            hub: Some(hub),
            official_file: Some(file),
        };
        let reg4 = ModelSpec { hub: Some(hub_reg4), official_file: Some(file_reg4), ..bare.clone().with_registers(4) };
        models.extend([bare, reg4]);
    }
    models.push(ModelSpec {
        name: "dinov2_vitl14_swiglu".to_owned(),
        family: FAMILY,
        config: VitConfig { mlp: swiglu(1024), ..network(24, 1024, 224) },
        input: InputSpec::imagenet(256, 224),
        hub: None,
        official_file: None,
    });
    models
}

fn network(depth: usize, width: usize, image_px: usize) -> VitConfig {
    VitConfig { layer_scale: true, ..plain(depth, width, PATCH_PX, image_px / PATCH_PX, Interpolation::Offset) }
}

/// Two thirds of the plain hidden width, rounded down, then up to a multiple of 8.
fn swiglu(width: usize) -> Mlp {
    Mlp { hidden: (4 * width * 2 / 3).next_multiple_of(8), activation: Activation::SwiGlu }
}
