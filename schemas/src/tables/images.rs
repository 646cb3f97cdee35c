//! The table `images`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// One row per image that was encoded, in dataset order.
    Images = "images" v 1 {
        /// Index of the image in the dataset; the key of every other table.
        image: Vec<u32>,
        /// Name of the image in the dataset (path, tar member, record).
        name: Vec<Name>,
        /// Class index, where the dataset has labels.
        label: Vec<Option<i32>>,
        /// Class name.
        class: Vec<Option<Name>>,
        /// Width of the decoded image, px.
        width_px: Vec<u32>,
        /// Height of the decoded image, px.
        height_px: Vec<u32>,
        /// Rows of the patch grid that it was encoded on.
        grid_h: Vec<u16>,
        /// Columns of the patch grid.
        grid_w: Vec<u16>,
    }
}
