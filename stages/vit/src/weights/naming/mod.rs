//! Names of tensors, as each code base writes them, and what they are called here.
//!
//! A naming is recognised by keys that only it has. Then every key either is a parameter, is one of several tensors
//! that are stacked into a parameter (q, k, v), is known to be no part of the encoder, or is unknown.
//!
//! Source: huggingface/transformers `convert_dinov2*_to_hf.py`, huggingface/pytorch-image-models
//! `vision_transformer.py` (`checkpoint_filter_fn`), `mlfoundations/open_clip` `transformer.py`.

mod clip;
pub(super) mod clip_text;
mod hugging_face;
mod native;

/// What a key of a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The parameter of this name.
    Whole(String),
    /// Rows `k` of `of` equal parts of the parameter of this name.
    Part { name: String, k: usize, of: usize },
    /// Known, and no part of the encoder.
    Leftover,
    /// Nothing that this naming knows.
    Unknown,
}

/// A code base's names.
#[derive(Clone, Copy)]
pub(super) struct Naming {
    /// As told to the user.
    pub(super) name: &'static str,
    /// Whether these keys have this naming.
    recognise: fn(&[&str]) -> bool,
    /// What a key is.
    pub(super) place: fn(&str) -> Place,
}

/// Every naming; the first that recognises the keys is taken.
const NAMINGS: &[Naming] = &[
    Naming { name: "OpenCLIP", recognise: clip::is_open_clip, place: clip::open_clip },
    Naming { name: "OpenCLIP image tower", recognise: clip::is_open_clip_tower, place: clip::open_clip_tower },
    Naming { name: "Hugging Face CLIP", recognise: clip::is_hugging_face, place: clip::hugging_face },
    Naming { name: "Hugging Face DINOv2", recognise: hugging_face::is_dinov2, place: hugging_face::dinov2 },
    Naming { name: "Hugging Face ViT", recognise: hugging_face::is_vit, place: hugging_face::vit },
    Naming { name: "timm", recognise: native::is_timm, place: native::place },
    Naming { name: "official", recognise: native::is_native, place: native::place },
];

/// The naming of these keys.
pub(super) fn recognise(keys: &[&str]) -> Option<Naming> {
    NAMINGS.iter().find(|naming| (naming.recognise)(keys)).copied()
}

/// Removes what training wrappers put before every name.
pub(super) fn unwrapped(mut key: &str) -> &str {
    const WRAPPERS: [&str; 3] = ["module.", "backbone.", "_orig_mod."];
    while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| key.strip_prefix(wrapper)) {
        key = rest;
    }
    key
}

/// `12.norm1.weight` as block 12 and `norm1.weight`.
fn block(rest: &str) -> Option<(usize, &str)> {
    let (index, tail) = rest.split_once('.')?;
    Some((index.parse().ok()?, tail))
}

/// `blocks.{i}.{tail}`
fn in_block(i: usize, tail: &str) -> Place {
    Place::Whole(format!("blocks.{i}.{tail}"))
}

/// Splits `stem.weight` or `stem.bias`.
fn affine(tail: &str) -> Option<(&str, &str)> {
    tail.rsplit_once('.').filter(|(_, kind)| matches!(*kind, "weight" | "bias"))
}
