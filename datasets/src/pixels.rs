//! The two shapes an image has here: interleaved bytes as decoded, planar floats as an encoder reads them.

/// An 8-bit RGB image, interleaved, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb8 {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height × width × 3` bytes: R, G, B of the first pixel, then of the one to its right.
    pub data: Vec<u8>,
}

/// A normalised image, one plane per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Planar {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[3, height, width]`, row-major: the red plane, then green, then blue.
    pub data: Vec<f32>,
}
