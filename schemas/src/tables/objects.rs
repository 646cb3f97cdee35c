//! The table `objects`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// Boxes that people drew around the objects of the encoded images. An image without rows has none that are known.
    Objects = "objects" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// Class of the object, or empty.
        class: Vec<Name>,
        /// Left edge, px of the image file.
        x0: Vec<f32>,
        /// Upper edge.
        y0: Vec<f32>,
        /// Right edge, exclusive.
        x1: Vec<f32>,
        /// Lower edge, exclusive.
        y1: Vec<f32>,
        /// Marked as hard to recognise (Pascal VOC).
        difficult: Vec<bool>,
        /// Marked as cut off by the border or by other objects (Pascal VOC).
        truncated: Vec<bool>,
        /// One box around many objects (COCO).
        crowd: Vec<bool>,
    }
}
