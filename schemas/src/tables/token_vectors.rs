//! The table `token_vectors`: its columns and their meanings.

use crate::column::{Name, Vectors};
use crate::table::table;

table! {
    /// Vectors of sampled tokens: CLS, registers, and per draw one random outlier and one random normal patch.
    TokenVectors = "token_vectors" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// Site of the vector, such as `final`.
        site: Vec<Name>,
        /// `cls`, `register`, `normal` or `outlier`.
        kind: Vec<Name>,
        /// Index of the token within CLS, registers or patches.
        index: Vec<u16>,
        /// Patch row; null for CLS and registers.
        row: Vec<Option<u16>>,
        /// Patch column; null for CLS and registers.
        col: Vec<Option<u16>>,
        /// Draw number; 0 for CLS and registers.
        draw: Vec<u16>,
        /// Norm at the site where outliers are told (a block output), not at `site`.
        norm: Vec<f32>,
        /// The token, `[D]`.
        vector: Vectors,
    }
}
