//! CLIP's text tower and both projections, in `OpenCLIP` (and `OpenAI`) names and in Hugging Face names.
//!
//! `OpenCLIP` keeps its projections as `[in, out]`, Hugging Face as `[out, in]`.

use super::{Place, clip};

/// A code base's names of the text side of a CLIP model.
#[derive(Clone, Copy)]
pub(in crate::weights) struct TextNaming {
    /// As told to the user.
    pub(in crate::weights) name: &'static str,
    /// A key that only a text tower of this naming has.
    pub(in crate::weights) mark: &'static str,
    /// What a key is; leftover: of the image tower, or the scale of a loss.
    pub(in crate::weights) place: fn(&str) -> Place,
    /// Projections are `[in, out]`.
    pub(in crate::weights) turned: bool,
}

/// Every naming.
pub(in crate::weights) const NAMINGS: [TextNaming; 2] = [
    TextNaming { name: "OpenCLIP", mark: "token_embedding.weight", place: open_clip, turned: true },
    TextNaming {
        name: "Hugging Face CLIP",
        mark: "text_model.embeddings.token_embedding.weight",
        place: hugging_face,
        turned: false,
    },
];

/// Keys of no tower: scales of the loss, a buffer of old versions and what `OpenAI`'s files say about themselves.
const ASIDE: [&str; 7] =
    ["logit_scale", "logit_bias", "attn_mask", "input_resolution", "context_length", "vocab_size", "position_ids"];

fn whole(name: &str) -> Place {
    Place::Whole(name.to_owned())
}

fn open_clip(key: &str) -> Place {
    match key {
        "token_embedding.weight" => whole("token_embedding"),
        "positional_embedding" => whole("positions"),
        "ln_final.weight" => whole("norm.weight"),
        "ln_final.bias" => whole("norm.bias"),
        "text_projection" => whole("text_projection"),
        "visual.proj" => whole("image_projection"),
        _ if key.starts_with("visual.") || ASIDE.contains(&key) => Place::Leftover,
        _ => key.strip_prefix("transformer.resblocks.").and_then(clip::resblock).unwrap_or(Place::Unknown),
    }
}

fn hugging_face(key: &str) -> Place {
    match key {
        "text_projection.weight" => return whole("text_projection"),
        "visual_projection.weight" => return whole("image_projection"),
        _ if key.starts_with("vision_model.") || ASIDE.contains(&key) => return Place::Leftover,
        _ => {}
    }
    match key.strip_prefix("text_model.") {
        Some("embeddings.token_embedding.weight") => whole("token_embedding"),
        Some("embeddings.position_embedding.weight") => whole("positions"),
        Some("embeddings.position_ids") => Place::Leftover,
        Some("final_layer_norm.weight") => whole("norm.weight"),
        Some("final_layer_norm.bias") => whole("norm.bias"),
        Some(rest) => rest.strip_prefix("encoder.layers.").and_then(clip::layer).unwrap_or(Place::Unknown),
        None => Place::Unknown,
    }
}
