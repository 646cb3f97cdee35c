//! Hugging Face transformers: `dinov2`, `dinov2_with_registers`, and `vit`/`vit_mae` (which also hold DINO).
//!
//! Queries, keys and values are three tensors here. Files carry the published names; state dicts saved by hand from
//! transformers 5 carry its shorter ones (`layers.0.attention.q_proj`), and both are taken.

use super::{Place, affine, block, in_block};

pub(super) fn is_dinov2(keys: &[&str]) -> bool {
    keys.iter().any(|key| key.ends_with(".layer_scale1.lambda1"))
}

pub(super) fn is_vit(keys: &[&str]) -> bool {
    keys.iter().any(|key| key.contains(".layernorm_before."))
}

pub(super) fn dinov2(key: &str) -> Place {
    let key = without(key, &["dinov2_with_registers.", "dinov2."]);
    outer(key).or_else(|| layer(key, dinov2_layer)).unwrap_or(Place::Unknown)
}

pub(super) fn vit(key: &str) -> Place {
    if key.starts_with("decoder.") {
        return Place::Leftover;
    }
    let key = without(key, &["vit."]);
    outer(key).or_else(|| layer(key, vit_layer)).unwrap_or(Place::Unknown)
}

fn without<'a>(key: &'a str, prefixes: &[&str]) -> &'a str {
    prefixes.iter().find_map(|prefix| key.strip_prefix(prefix)).unwrap_or(key)
}

fn outer(key: &str) -> Option<Place> {
    let name = match key {
        "embeddings.cls_token" => "cls_token",
        "embeddings.register_tokens" => "register_tokens",
        "embeddings.position_embeddings" => "pos_embed",
        "embeddings.patch_embeddings.projection.weight" => "patch_embed.weight",
        "embeddings.patch_embeddings.projection.bias" => "patch_embed.bias",
        "layernorm.weight" => "norm.weight",
        "layernorm.bias" => "norm.bias",
        "embeddings.mask_token" => return Some(Place::Leftover),
        _ if key.starts_with("classifier.") || key.starts_with("pooler.") => return Some(Place::Leftover),
        _ => return None,
    };
    Some(Place::Whole(name.to_owned()))
}

fn layer(key: &str, place: fn(usize, &str, &str) -> Option<Place>) -> Option<Place> {
    let rest = ["encoder.layer.", "layers."].iter().find_map(|prefix| key.strip_prefix(prefix))?;
    let (i, tail) = block(rest)?;
    match tail {
        "layer_scale1.lambda1" => return Some(in_block(i, "ls1")),
        "layer_scale2.lambda1" => return Some(in_block(i, "ls2")),
        _ => {}
    }
    let (stem, kind) = affine(tail)?;
    attention(i, stem, kind).or_else(|| place(i, stem, kind))
}

fn attention(i: usize, stem: &str, kind: &str) -> Option<Place> {
    let k = match stem {
        "attention.attention.query" | "attention.q_proj" => 0,
        "attention.attention.key" | "attention.k_proj" => 1,
        "attention.attention.value" | "attention.v_proj" => 2,
        "attention.output.dense" | "attention.o_proj" => return Some(in_block(i, &format!("attn.proj.{kind}"))),
        _ => return None,
    };
    Some(Place::Part { name: format!("blocks.{i}.attn.qkv.{kind}"), k, of: 3 })
}

fn dinov2_layer(i: usize, stem: &str, kind: &str) -> Option<Place> {
    let stem = match stem {
        "norm1" | "norm2" | "mlp.fc1" | "mlp.fc2" => stem,
        "mlp.weights_in" => "mlp.fc1",
        "mlp.weights_out" | "mlp.down_proj" => "mlp.fc2",
        "mlp.gate_proj" => return Some(Place::Part { name: format!("blocks.{i}.mlp.fc1.{kind}"), k: 0, of: 2 }),
        "mlp.up_proj" => return Some(Place::Part { name: format!("blocks.{i}.mlp.fc1.{kind}"), k: 1, of: 2 }),
        _ => return None,
    };
    Some(in_block(i, &format!("{stem}.{kind}")))
}

fn vit_layer(i: usize, stem: &str, kind: &str) -> Option<Place> {
    let stem = match stem {
        "layernorm_before" => "norm1",
        "layernorm_after" => "norm2",
        "intermediate.dense" | "mlp.fc1" => "mlp.fc1",
        "output.dense" | "mlp.fc2" => "mlp.fc2",
        _ => return None,
    };
    Some(in_block(i, &format!("{stem}.{kind}")))
}
