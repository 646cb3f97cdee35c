//! Why views of an image cannot be cut.

use super::MAX_PIXELS;
use crate::preprocess::MAX_SIDE_PX;

/// Views that cannot be cut, or parameters that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// A parameter that makes no sense.
    #[error("{what}")]
    BadParameter {
        /// Which, and what it should be.
        what: String,
    },
    /// The protocol needs the truth of an image that has none.
    #[error("nothing is annotated of its pixels; choose a dataset with masks or depth, or set truth to none")]
    NoTruth,
    /// The annotation is of another size than the photo.
    #[error("its annotation has {rows}×{columns} px ({values} values), the photo {height}×{width}")]
    TruthSize {
        /// Rows of the annotation.
        rows: usize,
        /// Columns of the annotation.
        columns: usize,
        /// Values it holds.
        values: usize,
        /// Rows of the photo.
        height: usize,
        /// Columns of the photo.
        width: usize,
    },
    /// The views of this image together, or a side of it once scaled, are larger than memory is worth.
    #[error(
        "an image of {height}×{width} px has views of more than {MAX_PIXELS} px together, more than 65535 of them, or a \
         side above {MAX_SIDE_PX}; scale images down, or cut fewer views"
    )]
    TooLarge {
        /// Rows of the photo.
        height: usize,
        /// Columns of the photo.
        width: usize,
    },
    /// The image ends before the rows or columns that are used.
    #[error("an image of {height}×{width} px ends before row {row} and column {column}, where the views begin")]
    TooSmall {
        /// Rows of the photo.
        height: usize,
        /// Columns of the photo.
        width: usize,
        /// First row used.
        row: usize,
        /// First column used.
        column: usize,
    },
}

impl ViewError {
    /// A short reason that is the same on every machine, for the table of skipped images.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadParameter { .. } => "bad parameters of views",
            Self::NoTruth => "no annotation",
            Self::TruthSize { .. } => "annotation of another size",
            Self::TooLarge { .. } => "too many pixels in views",
            Self::TooSmall { .. } => "smaller than its views",
        }
    }
}
