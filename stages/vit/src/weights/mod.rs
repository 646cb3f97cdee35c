//! A weight file becomes the canonical parameters of a model, whole or not at all.
//!
//! ```text
//! source ─▶ files ─▶ named tensors ─▶ naming recognised by keys ─▶ shapes compared ─▶ f32 values, all finite
//! ```
//!
//! Nothing is loaded "non-strictly": a tensor that is missing, that nothing takes, or that has another shape is an
//! error that lists it. Only heads, decoders, mask tokens and text towers may be left over, and they are named.
//! No code in a checkpoint is ever run: pickles are read as data, by a reader that knows a short list of globals.

mod assemble;
mod checkpoint;
mod header;
mod hub;
mod naming;
mod params;
mod pickle;
mod safetensors_file;
mod shapes;
mod source;
mod state_dict;
#[cfg(test)]
mod tests;
mod text;
mod torch_zip;

pub use header::Header;
pub use hub::HubAccess;
pub use params::{Array, Params};
pub use shapes::expected;
pub use source::WeightSource;
pub use text::{TextHeader, TextWeights};

use crate::config::VitConfig;
use crate::error::VitError;
use crate::zoo::ModelSpec;

/// The parameters of a model and where they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Canonical tensors, exactly those of [`expected`] for `config`.
    pub params: Params,
    /// The description that the file fits: that of the model, with the file's position grid.
    pub config: VitConfig,
    /// SHA-256 of the file's bytes, hex; of the files' digests in order where there are several.
    pub digest: String,
    /// What the file holds besides the model, grouped: `mask_token`, `head (2 tensors)`.
    pub leftover: Vec<String>,
    /// Which naming the file has.
    pub naming: &'static str,
}

/// Loads `source` as weights of `spec`. `progress(done, total)` counts the bytes of a download.
pub fn load(spec: &ModelSpec, source: &WeightSource, progress: &dyn Fn(u64, u64)) -> Result<Weights, VitError> {
    Header::read(spec, source, progress)?.weights()
}
