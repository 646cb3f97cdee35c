//! The table `grids`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// Sums over images at each place of the grid; one row per place and shard. Sums of shards add.
    Grids = "grids" v 1 {
        /// `outlier` (a count), `norm` (of patches) or `attention` (mean over heads).
        quantity: Vec<Name>,
        /// Attention: whose, `cls`, `register_0` … or `patch` (the middle one). Otherwise `patch`.
        of: Vec<Name>,
        /// Site of the norms that tell outliers, or `attention_11`.
        site: Vec<Name>,
        /// Patch rows of the images summed.
        grid_h: Vec<u16>,
        /// Patch columns.
        grid_w: Vec<u16>,
        /// Patch row.
        row: Vec<u16>,
        /// Patch column.
        col: Vec<u16>,
        /// Sum over images.
        sum: Vec<f64>,
        /// Images summed.
        images: Vec<u64>,
    }
}
