//! Image files to RGB bytes, equal to Pillow's `Image.open(file).convert("RGB")`.
//!
//! The format is told by the first bytes, never by the file's name: datasets in the wild hold PNGs called `.JPEG`
//! (ImageNet has one). Plain JPEGs are decoded by `baseline`; all others, and whatever is damaged, by the vendored
//! libjpeg (`jpeg`); the rest through the `image` crate (`raster`). EXIF orientation is ignored, as torchvision's
//! `ImageFolder` does. Corrupt input is an error with a short stable reason, which the pipeline counts.

mod baseline;
mod jpeg;
mod levels;
mod raster;
mod ycc;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::pixels::Rgb8;

pub use levels::{LevelMap, Levels, decode_levels};

/// Most pixels a file may claim: Pillow's limit of its decompression-bomb error, 2 × 89 478 485.
pub const MAX_PIXELS: usize = 178_956_970;

/// Why a file gave no pixels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Zero bytes.
    #[error("the file is empty")]
    Empty,
    /// No image format starts like this.
    #[error("the file does not start like a JPEG, PNG, WebP, GIF or BMP")]
    NotAnImage,
    /// The data ends before the last row.
    #[error("the {format} ends before its last row")]
    Truncated {
        /// Which format.
        format: Format,
    },
    /// The data contradicts its format.
    #[error("corrupt {format}: {what}")]
    Corrupt {
        /// Which format.
        format: Format,
        /// What the decoder said.
        what: String,
    },
    /// A variant of the format that neither we nor Pillow's usual build read, or that only Pillow reads.
    #[error("unsupported kind of {format}: {what}")]
    Unsupported {
        /// Which format.
        format: Format,
        /// What the decoder said.
        what: String,
    },
    /// More pixels than [`MAX_PIXELS`].
    #[error("{width}×{height} px is above the limit of {MAX_PIXELS} px")]
    TooLarge {
        /// Columns claimed.
        width: usize,
        /// Rows claimed.
        height: usize,
    },
}

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
        })
    }
}

impl Format {
    /// The format that starts with these bytes.
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'B', b'M', ..] => Some(Self::Bmp),
            _ => None,
        }
    }
}

impl DecodeError {
    /// A short reason that is the same on every machine, for the table of skipped images.
    pub fn reason(&self) -> &'static str {
        use Format::{Bmp, Gif, Jpeg, Png, WebP};
        match self {
            Self::Empty => "empty file",
            Self::NotAnImage => "not an image",
            Self::TooLarge { .. } => "too many pixels",
            Self::Truncated { format } => match format {
                Jpeg => "truncated jpeg",
                Png => "truncated png",
                WebP => "truncated webp",
                Gif => "truncated gif",
                Bmp => "truncated bmp",
            },
            Self::Corrupt { format, .. } => match format {
                Jpeg => "corrupt jpeg",
                Png => "corrupt png",
                WebP => "corrupt webp",
                Gif => "corrupt gif",
                Bmp => "corrupt bmp",
            },
            Self::Unsupported { format, .. } => match format {
                Jpeg => "unsupported jpeg",
                Png => "unsupported png",
                WebP => "unsupported webp",
                Gif => "unsupported gif",
                Bmp => "unsupported bmp",
            },
        }
    }
}

/// A decoded file whose colours may still have to be worked out.
pub(crate) enum Decoded {
    Rgb(Rgb8),
    Ycc(ycc::Ycc),
}

/// Decodes an image file to RGB.
pub fn decode(bytes: &[u8]) -> Result<Rgb8, DecodeError> {
    Ok(match decode_lazily(bytes)? {
        Decoded::Rgb(image) => image,
        Decoded::Ycc(image) => image.to_rgb(),
    })
}

pub(crate) fn decode_lazily(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    match Format::detect(bytes) {
        Some(Format::Jpeg) => jpeg::decode(bytes),
        Some(format) => fenced(format, || raster::decode(bytes, format)).map(Decoded::Rgb),
        None => Err(DecodeError::NotAnImage),
    }
}

/// Runs a decoder that is not ours: should it panic on a file, the file is corrupt and the run goes on.
fn fenced<T>(format: Format, decoder: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(decoder))
        .unwrap_or_else(|_| Err(DecodeError::Corrupt { format, what: "the decoder gave up".to_owned() }))
}

fn check_size(width: usize, height: usize) -> Result<(), DecodeError> {
    match width.checked_mul(height) {
        Some(pixels) if pixels <= MAX_PIXELS => Ok(()),
        _ => Err(DecodeError::TooLarge { width, height }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No file is known that makes a raster decoder panic, so the decoder here is one that does.
    #[test]
    fn a_decoder_that_panics_means_a_corrupt_file() {
        let outcome = fenced(Format::Gif, || -> Result<(), _> { panic!("a decoder's bug") });
        assert_eq!(outcome.map_err(|error| error.reason()), Err("corrupt gif"));
        assert_eq!(fenced(Format::Gif, || Ok(7)), Ok(7));
        assert_eq!(fenced(Format::Gif, || Err::<(), _>(DecodeError::Empty)), Err(DecodeError::Empty));
    }
}
