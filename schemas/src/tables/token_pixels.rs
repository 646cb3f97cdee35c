//! The table `token_pixels`: its columns and their meanings.

use crate::column::{Name, Vectors};
use crate::table::table;

table! {
    /// Pixels of the sampled patches of `token_vectors`, as the model saw them.
    TokenPixels = "token_pixels" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// `normal` or `outlier`.
        kind: Vec<Name>,
        /// Patch index, row-major.
        index: Vec<u16>,
        /// Draw number.
        draw: Vec<u16>,
        /// Normalised pixels of the patch, `[3·p·p]`, channel, row, column.
        pixels: Vectors,
    }
}
