//! The table `truth_maps`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// What people annotated, pixel by pixel: one row per map.
    TruthMaps = "truth_maps" v 1 random true {
        /// Image index.
        image: Vec<u32>,
        /// The view that the map belongs to, resized, cut and mirrored as it was; null: of the image at its own size, to be compared with all its views together.
        view: Vec<Option<u16>>,
        /// `segments` or `depth`.
        kind: Vec<Name>,
        /// Rows, px.
        height: Vec<u32>,
        /// Columns, px.
        width: Vec<u32>,
        /// Depth: value of a cell's unit, m (scenes: of their range); null for segments.
        scale: Vec<Option<f64>>,
        /// Row-major. Segments: one byte each, as annotated (255 where nothing is). Depth: u16 little-endian, 0 where unknown.
        cells: Vec<Vec<u8>>,
    }
}
