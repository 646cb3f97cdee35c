//! The table `pictures`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// The first images of a run as the model saw them, for the pictures of a report.
    Pictures = "pictures" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// Name of the image.
        name: Vec<Name>,
        /// Width, px.
        width_px: Vec<u32>,
        /// Height, px.
        height_px: Vec<u32>,
        /// Interleaved 8-bit RGB after resize and crop, `[height, width, 3]`.
        rgb: Vec<Vec<u8>>,
    }
}
