//! The table `pooled_views`: its columns and their meanings.

use crate::column::{Name, Vectors};
use crate::table::table;

table! {
    /// Whole-image vectors of augmented views (random resized crops) of training images.
    PooledViews = "pooled_views" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// Which view of the image, from 0.
        view: Vec<u16>,
        /// As in `pooled`.
        site: Vec<Name>,
        /// `cls` or `mean_patch` (registers excluded).
        pool: Vec<Name>,
        /// The vector, `[D]`.
        vector: Vectors,
    }
}
