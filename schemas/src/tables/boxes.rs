//! The table `boxes`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// Objects discovered without supervision: at most one box per image, site, normalisation and bias. Where the seed is not part of its own mask there is no box and no row.
    Boxes = "boxes" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// Site of the features, such as `key_11`; with `+tokencut` behind it boxes are by `TokenCut`, not by LOST.
        site: Vec<Name>,
        /// Whether features were divided by their length.
        l2: Vec<bool>,
        /// Added to every entry of the Gram matrix.
        bias: Vec<f64>,
        /// The patch that the box grew from, row-major: one of the lowest degree.
        seed: Vec<u32>,
        /// Patches that the seed resembles, itself not counted.
        degree: Vec<u32>,
        /// Patches of low degree that resemble the seed, itself counted.
        similar: Vec<u32>,
        /// Left edge, px of the image file.
        x0: Vec<f32>,
        /// Upper edge.
        y0: Vec<f32>,
        /// Right edge, exclusive.
        x1: Vec<f32>,
        /// Lower edge, exclusive.
        y1: Vec<f32>,
    }
}
