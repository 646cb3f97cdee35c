//! The table `predictions`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// What a trained dense head says of the first test images, beside the truth.
    Predictions = "predictions" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// Name of the head.
        head: Vec<Name>,
        /// `segments` or `depth`; with `truth_` before it, the annotation at the same size.
        kind: Vec<Name>,
        /// Rows, px.
        height: Vec<u32>,
        /// Columns, px.
        width: Vec<u32>,
        /// Depth: value of a cell's unit, m (scenes: of their range); null for segments.
        scale: Vec<Option<f64>>,
        /// Row-major. Segments: one byte each, a class, or 255 for what is not scored. Depth: u16 little-endian, 0 where unknown.
        cells: Vec<Vec<u8>>,
    }
}
