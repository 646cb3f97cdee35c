//! The table `pooled`: its columns and their meanings.

use crate::column::{Name, Vectors};
use crate::table::table;

table! {
    /// Whole-image vectors.
    Pooled = "pooled" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// `final`, a raw block output such as `block_11`, or `block_10+norm`: that block through the final norm.
        site: Vec<Name>,
        /// `cls` or `mean_patch` (registers excluded).
        pool: Vec<Name>,
        /// The vector, `[D]`.
        vector: Vectors,
    }
}
