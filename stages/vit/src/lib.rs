//! Vision-transformer encoders: pixels in, named sites out.
//!
//! One model description ([`VitConfig`]) serves every family; `zoo/<family>.rs` holds its sizes and the names its
//! checkpoints use. Two executors run the same description: [`cpu`] (fused f32 kernels, one image per call) and
//! [`candle`] (any device; the reference that the other is compared with). Both fill a [`Trace`] from a [`Request`].
//!
//! [`text`] is the other side of CLIP models: texts in, vectors out.
//!
//! This crate knows no dataset and no table.

pub mod candle;
pub mod config;
pub mod cpu;
pub mod editor;
pub mod error;
pub mod executor;
pub mod final_norm;
pub mod fleet;
pub mod flops;
pub mod planted;
pub mod pos_embed;
pub mod site;
pub mod text;
pub mod trace;
pub mod weights;
pub mod zoo;

pub use config::{Activation, Interpolation, Mlp, PosEmbed, VitConfig};
pub use editor::{Before, Editor, Then};
pub use error::VitError;
pub use executor::{DeviceChoice, Precision};
pub use final_norm::FinalNorm;
pub use fleet::Fleet;
pub use site::Site;
pub use text::{TextConfig, TextEncoder};
pub use trace::{Encoder, Layout, Pixels, Request, SiteData, TokenKind, Trace};
pub use weights::{Params, TextHeader, TextWeights, WeightSource, Weights};
pub use zoo::ModelSpec;

/// Raised whenever a number of a pass can change, if in its last bits. Stages that run an encoder add it to their version.
///
/// 1: rows are summed half by half; bf16 has a shorter exponential and GELU.
pub const NUMBERS: u32 = 1;
