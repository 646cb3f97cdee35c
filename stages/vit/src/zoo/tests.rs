//! The zoo against the parameter counts of the published checkpoints.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{FAMILIES, all, find, with_sizes};
use crate::config::{Activation, Interpolation};
use crate::error::VitError;

/// Published totals count tensors that are no part of the encoder: `DINOv2` its mask token (D), DeiT-III a 1000-way
/// head (1000·D + 1000), CLIP its projection (D·512). A wrong width, depth, grid or missing bias breaks the equality.
#[test]
fn parameter_totals_equal_the_published_ones_to_the_unit() {
    let head = |d: usize| 1000 * d + 1000;
    for (name, extra, published) in [
        ("dinov2_vits14", 384, 22_056_576),
        ("dinov2_vits14_reg4", 384, 22_058_112),
        ("dinov2_vitb14", 768, 86_580_480),
        ("dinov2_vitb14_reg4", 768, 86_583_552),
        ("dinov2_vitl14", 1024, 304_368_640),
        ("dinov2_vitl14_reg4", 1024, 304_372_736),
        ("dinov2_vitg14", 1536, 1_136_480_768),
        ("dinov2_vitg14_reg4", 1536, 1_136_486_912),
        ("dinov2_vitl14_swiglu", 1024, 303_655_168),
        ("dino_vits16", 0, 21_665_664),
        ("dino_vits8", 0, 21_670_272),
        ("dino_vitb16", 0, 85_798_656),
        ("dino_vitb8", 0, 85_807_872),
        ("deit3_vitti16_224", head(192), 5_721_832),
        ("deit3_vits16_224", head(384), 22_059_496),
        ("deit3_vits16_384", head(384), 22_205_416),
        ("deit3_vitm16_224", head(512), 38_849_512),
        ("deit3_vitb16_224", head(768), 86_585_320),
        ("deit3_vitl16_224", head(1024), 304_374_760),
        ("deit3_vith14_224", head(1280), 632_126_440),
        ("mae_vitl16", 0, 303_301_632),
        ("openclip_vitb16", 768 * 512, 86_192_640),
    ] {
        assert_eq!(find(name).unwrap().config.parameters() + extra, published, "{name}");
    }
}

/// Breaks when a family forgets a switch that no parameter count can see.
#[test]
fn switches_without_parameters_are_those_of_the_reference() {
    let of = |name: &str| find(name).unwrap().config;
    assert_eq!(of("dinov2_vits14").pos.interpolation, Interpolation::Offset);
    assert_eq!(of("dinov2_vits14_reg4").pos.interpolation, Interpolation::Antialias);
    assert_eq!(of("dinov2_vitg14").mlp.hidden, 4096);
    assert_eq!(of("dinov2_vitl14_swiglu").mlp.hidden, 2736);
    assert_eq!(of("dino_vitb8").pos.interpolation, Interpolation::Offset);
    assert_eq!(of("clip_vitb16").mlp.activation, Activation::QuickGelu);
    assert_eq!(of("openclip_vitb16").mlp.activation, Activation::Gelu);
    assert_eq!(of("openclip_vitb16").ln_eps, 1e-5);
    for (name, head_dim) in
        [("dinov2_vitg14", 64), ("deit3_vith14_224", 80), ("mae_vith14", 80), ("openclip_vith14", 80)]
    {
        assert_eq!(of(name).head_dim(), head_dim, "{name}");
    }
}

#[test]
fn names_are_unique_and_every_model_is_whole() {
    let models = all();
    let names: std::collections::BTreeSet<&str> = models.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names.len(), models.len());
    for spec in &models {
        assert_eq!(spec.config.width % spec.config.heads, 0, "{}", spec.name);
        assert_eq!(spec.input.crop_px % spec.config.patch_px, 0, "{}", spec.name);
        assert!(FAMILIES.iter().any(|family| family.name == spec.family), "{}", spec.name);
    }
}

#[test]
fn any_model_can_carry_registers() {
    let bare = find("deit3_vits16_224").unwrap();
    let reg = find("deit3_vits16_224_reg16").unwrap();
    assert_eq!(reg.config.registers, 16);
    assert_eq!(reg.config.parameters(), bare.config.parameters() + 16 * 384);
    assert_eq!(reg.config.pos.interpolation, bare.config.pos.interpolation);
    assert_eq!(find("dinov2_vits14_reg8").unwrap().config.pos.interpolation, Interpolation::Antialias);
    assert_eq!(reg.with_registers(0).name, bare.name);
    assert!(find("deit3_vits16_224_reg0").is_err());
    assert!(find("deit3_vits16_224_reg99999999").is_err());
}

#[test]
fn an_unknown_name_lists_the_nearest() {
    let Err(VitError::UnknownModel { nearest, .. }) = find("dinov2_vits41") else { panic!("found") };
    assert!(nearest.iter().any(|name| name == "dinov2_vits14"), "{nearest:?}");
}

#[test]
fn sizes_tell_the_model() {
    let reg = find("dinov2_vits14_reg4").unwrap();
    assert_eq!(with_sizes(&reg.config), ["dinov2_vits14_reg4"]);
    assert_eq!(with_sizes(&reg.with_registers(2).config), ["dinov2_vits14_reg2"]);
}
