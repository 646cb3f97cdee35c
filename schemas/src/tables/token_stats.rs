//! The table `token_stats`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// One narrow row per token at each chosen site, clustered by image.
    TokenStats = "token_stats" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// Site whose norm this is, such as `block_11`.
        site: Vec<Name>,
        /// `cls`, `register` or `patch`.
        kind: Vec<Name>,
        /// Index of the token within its kind (patches: row-major).
        index: Vec<u16>,
        /// Patch row; null for CLS and registers.
        row: Vec<Option<u16>>,
        /// Patch column; null for CLS and registers.
        col: Vec<Option<u16>>,
        /// L2 norm over the channels.
        norm: Vec<f32>,
        /// Whether the run's policy calls this token an outlier (patches only, else false).
        outlier: Vec<bool>,
        /// Mean cosine to the 2 to 4 neighbouring patches at `patch_embed`.
        neighbour_cosine: Vec<Option<f32>>,
        /// The same at `with_position`.
        neighbour_cosine_position: Vec<Option<f32>>,
        /// Attention that CLS pays to this token in the last block, mean over heads.
        cls_attention: Vec<Option<f32>>,
        /// Variance of the luminance (R+G+B)/3, in `[0, 1]` units, over the patch as the model saw it.
        pixel_variance: Vec<Option<f32>>,
    }
}
