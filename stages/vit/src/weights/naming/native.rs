//! DINO, `DINOv2`, DeiT-III, MAE and timm: one lineage of names with small differences, and the names used here.
//!
//! `DINOv2` training checkpoints chunk their blocks, `blocks.{chunk}.{i}.…`, where i counts through all chunks.

use super::{Place, affine, block, in_block};

pub(super) fn is_timm(keys: &[&str]) -> bool {
    is_native(keys) && keys.iter().any(|key| *key == "reg_token" || key.starts_with("norm_pre."))
}

pub(super) fn is_native(keys: &[&str]) -> bool {
    keys.iter().any(|key| key.starts_with("blocks.")) && keys.iter().any(|key| key.starts_with("patch_embed."))
}

pub(super) fn place(key: &str) -> Place {
    if let Some(rest) = key.strip_prefix("blocks.") {
        return in_blocks(rest).unwrap_or(Place::Unknown);
    }
    let whole = |name: &str| Place::Whole(name.to_owned());
    match key {
        "cls_token" | "pos_embed" | "norm.weight" | "norm.bias" => whole(key),
        "register_tokens" | "reg_token" => whole("register_tokens"),
        "patch_embed.proj.weight" | "patch_embed.weight" => whole("patch_embed.weight"),
        "patch_embed.proj.bias" | "patch_embed.bias" => whole("patch_embed.bias"),
        "norm_pre.weight" | "ln_pre.weight" => whole("ln_pre.weight"),
        "norm_pre.bias" | "ln_pre.bias" => whole("ln_pre.bias"),
        _ if is_leftover(key) => Place::Leftover,
        _ => Place::Unknown,
    }
}

fn is_leftover(key: &str) -> bool {
    key == "mask_token"
        || ["head.", "head_dist.", "dino_head.", "ibot_head.", "decoder_", "pre_logits."]
            .iter()
            .any(|head| key.starts_with(head))
}

fn in_blocks(rest: &str) -> Option<Place> {
    let (mut i, mut tail) = block(rest)?;
    if let Some((inner, deeper)) = block(tail) {
        (i, tail) = (inner, deeper);
    }
    let tail = match tail {
        "ls1.gamma" | "gamma_1" | "ls1" => "ls1".to_owned(),
        "ls2.gamma" | "gamma_2" | "ls2" => "ls2".to_owned(),
        _ => {
            let (stem, kind) = affine(tail)?;
            let stem = match stem {
                "norm1" | "norm2" | "attn.qkv" | "attn.proj" | "mlp.fc1" | "mlp.fc2" => stem,
                "mlp.w12" => "mlp.fc1",
                "mlp.w3" => "mlp.fc2",
                _ => return None,
            };
            format!("{stem}.{kind}")
        }
    };
    Some(in_block(i, &tail))
}
