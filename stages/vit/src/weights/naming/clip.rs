//! CLIP's image tower in `OpenCLIP` (and `OpenAI`) names and in Hugging Face names; the text tower is left over.
//!
//! `OpenCLIP` writes the image tower under `visual.` and the text tower without a prefix, with clashing names
//! (`positional_embedding`), so a file of the bare image tower is a naming of its own.

use super::{Place, affine, block, in_block};

const VISUAL: &str = "visual.";

pub(super) fn is_open_clip(keys: &[&str]) -> bool {
    keys.contains(&"visual.class_embedding")
}

pub(super) fn is_open_clip_tower(keys: &[&str]) -> bool {
    keys.contains(&"class_embedding") && keys.contains(&"conv1.weight")
}

pub(super) fn is_hugging_face(keys: &[&str]) -> bool {
    keys.iter().any(|key| key.ends_with("pre_layrnorm.weight"))
}

pub(super) fn open_clip(key: &str) -> Place {
    key.strip_prefix(VISUAL).map_or(Place::Leftover, open_clip_tower)
}

pub(super) fn open_clip_tower(key: &str) -> Place {
    let whole = |name: &str| Place::Whole(name.to_owned());
    match key {
        "class_embedding" => whole("cls_token"),
        "positional_embedding" => whole("pos_embed"),
        "conv1.weight" => whole("patch_embed.weight"),
        "conv1.bias" => whole("patch_embed.bias"),
        "ln_pre.weight" | "ln_pre.bias" => whole(key),
        "ln_post.weight" => whole("norm.weight"),
        "ln_post.bias" => whole("norm.bias"),
        "proj" => Place::Leftover,
        _ => key.strip_prefix("transformer.resblocks.").and_then(resblock).unwrap_or(Place::Unknown),
    }
}

pub(super) fn resblock(rest: &str) -> Option<Place> {
    let (i, tail) = block(rest)?;
    let tail = match tail {
        "attn.in_proj_weight" => "attn.qkv.weight",
        "attn.in_proj_bias" => "attn.qkv.bias",
        "ls_1.gamma" => "ls1",
        "ls_2.gamma" => "ls2",
        _ => {
            let (stem, kind) = affine(tail)?;
            let stem = match stem {
                "ln_1" => "norm1",
                "ln_2" => "norm2",
                "attn.out_proj" => "attn.proj",
                "mlp.c_fc" => "mlp.fc1",
                "mlp.c_proj" => "mlp.fc2",
                _ => return None,
            };
            return Some(in_block(i, &format!("{stem}.{kind}")));
        }
    };
    Some(in_block(i, tail))
}

pub(super) fn hugging_face(key: &str) -> Place {
    const OTHERS: [&str; 5] = ["text_model.", "text_projection.", "visual_projection.", "logit_scale", "logit_bias"];
    if OTHERS.iter().any(|other| key.starts_with(other)) {
        return Place::Leftover;
    }
    let key = key.strip_prefix("vision_model.").unwrap_or(key);
    let name = match key {
        "embeddings.class_embedding" => "cls_token",
        "embeddings.position_embedding.weight" => "pos_embed",
        "embeddings.patch_embedding.weight" => "patch_embed.weight",
        "embeddings.patch_embedding.bias" => "patch_embed.bias",
        "pre_layrnorm.weight" => "ln_pre.weight",
        "pre_layrnorm.bias" => "ln_pre.bias",
        "post_layernorm.weight" => "norm.weight",
        "post_layernorm.bias" => "norm.bias",
        "embeddings.position_ids" => return Place::Leftover,
        _ => return key.strip_prefix("encoder.layers.").and_then(layer).unwrap_or(Place::Unknown),
    };
    Place::Whole(name.to_owned())
}

pub(super) fn layer(rest: &str) -> Option<Place> {
    let (i, tail) = block(rest)?;
    let (stem, kind) = affine(tail)?;
    let k = match stem {
        "self_attn.q_proj" => 0,
        "self_attn.k_proj" => 1,
        "self_attn.v_proj" => 2,
        _ => {
            let stem = match stem {
                "layer_norm1" => "norm1",
                "layer_norm2" => "norm2",
                "self_attn.out_proj" => "attn.proj",
                "mlp.fc1" | "mlp.fc2" => stem,
                _ => return None,
            };
            return Some(in_block(i, &format!("{stem}.{kind}")));
        }
    };
    Some(Place::Part { name: format!("blocks.{i}.attn.qkv.{kind}"), k, of: 3 })
}
