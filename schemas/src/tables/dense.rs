//! The table `dense`: its columns and their meanings.

use crate::column::{Halves, Name};
use crate::table::table;

table! {
    /// Patch features of whole views of images, for dense heads: one row per image, view and site. A view is a rectangle of the resized image, perhaps mirrored, that the model saw at once.
    Dense = "dense" v 1 random true {
        /// Image index.
        image: Vec<u32>,
        /// Which view of the image, from 0.
        view: Vec<u16>,
        /// Site, such as `final` or `block_11`.
        site: Vec<Name>,
        /// Rows of the image after resizing, px.
        scaled_h: Vec<u32>,
        /// Columns of the image after resizing, px.
        scaled_w: Vec<u32>,
        /// First row of the view in the resized image.
        y0: Vec<u32>,
        /// First column of the view in the resized image.
        x0: Vec<u32>,
        /// Rows of the view, px.
        view_h: Vec<u32>,
        /// Columns of the view, px.
        view_w: Vec<u32>,
        /// Whether left and right were exchanged after cutting.
        mirrored: Vec<bool>,
        /// Rows of zeros above the view in the model's input, which is whole patches.
        pad_top: Vec<u16>,
        /// Columns of zeros left of the view in the model's input.
        pad_left: Vec<u16>,
        /// Patch rows of the model's input, padding included.
        grid_h: Vec<u16>,
        /// Patch columns of the model's input.
        grid_w: Vec<u16>,
        /// Side of a patch, px.
        patch_px: Vec<u16>,
        /// Patch tokens, f16 little-endian, `[grid_h, grid_w, D]`.
        patches: Vec<Halves>,
        /// CLS, f16 little-endian, `[D]`.
        cls: Vec<Halves>,
    }
}
