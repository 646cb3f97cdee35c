//! From a decoded image to an encoder's input: resize, crop, scale to [0, 1], subtract the mean, divide by the deviation.
//!
//! ```text
//! out[c, y, x] = (byte / 255 − mean[c]) / std[c]
//! ```
//!
//! Everything before the last line happens on bytes, as torchvision does on PIL images, because every published number
//! was made that way: resizing floats instead moves features. Rules: a short-side resize keeps the short side and
//! truncates the long one, `long' = ⌊s · long / short⌋`; a centre crop starts at `round((H − h) / 2)`, ties to even, after
//! padding with zeros when the image is smaller (torchvision `transforms/functional.py`). LOST instead pads the
//! normalised image with zeros at the bottom and right up to a multiple of the patch (LOST `main_lost.py`).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::decode::{DecodeError, Decoded, MAX_PIXELS, decode_lazily};
use crate::pixels::{Planar, Rgb8};
use crate::resize::{PlanarRows, Planes8, resize_window};
use crate::source::Raw;
use crate::views::ViewError;

/// How an image is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Resize {
    /// The short side becomes this many pixels, the other keeps the aspect.
    ShortSide(usize),
    /// Both sides are given; the aspect may change.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// Pixels as decoded.
    None,
}

impl Resize {
    /// Rows and columns of an image after scaling. Under [`Filter::Cv2Bilinear`] a short side scales as mmcv's `imrescale`
    /// does, `⌊length · s / short + ½⌋`.
    pub(crate) fn size(self, height: usize, width: usize, filter: Filter) -> (usize, usize) {
        match self {
            Self::None => (height, width),
            Self::Exact { height, width } => (height, width),
            Self::ShortSide(side) if height == 0 || width == 0 => (side, side),
            Self::ShortSide(side) if filter == Filter::Cv2Bilinear => {
                let scale = side as f64 / height.min(width) as f64;
                let scaled = |length: usize| (length as f64 * scale + 0.5) as usize;
                (scaled(height), scaled(width))
            }
            Self::ShortSide(side) if width <= height => (side * height / width, side),
            Self::ShortSide(side) => (side, side * width / height),
        }
    }
}

/// How an image is cut after scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Crop {
    /// The square of this many pixels in the middle.
    Centre(usize),
    /// From the top left, the largest multiple of the patch.
    Grid {
        /// Patch side.
        patch_px: usize,
    },
    /// Zeros at the bottom and right, after normalising, up to a multiple of the patch.
    PadTo {
        /// Patch side.
        patch_px: usize,
    },
    /// As scaled.
    None,
}

/// The resampling kernel: Pillow's (antialiased), or OpenCV's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Pillow: cubic convolution with a = −0.5, support 2.
    Bicubic,
    /// Pillow: triangle, support 1.
    Bilinear,
    /// OpenCV's `INTER_LINEAR`: between the two nearest samples, however much an image shrinks. Short sides are then
    /// rounded as mmcv does.
    Cv2Bilinear,
}

/// Everything that decides the numbers an encoder sees. All of it is meaning: it is fingerprinted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Scaling.
    pub resize: Resize,
    /// Cutting or padding.
    pub crop: Crop,
    /// Kernel of the scaling.
    pub filter: Filter,
    /// Subtracted per channel, after division by 255.
    pub mean: [f32; 3],
    /// Divided by per channel.
    pub std: [f32; 3],
}

/// Mean of ImageNet's training pixels, in R, G, B.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Deviation of ImageNet's training pixels.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
/// Longest side of an image: resampling works on sixteen whole rows and a window of columns at a time.
pub const MAX_SIDE_PX: usize = 1 << 20;

/// Where the wanted pixels lie in the resized image, and where they land.
struct Layout {
    /// Rows and columns of the resized image.
    resized: (usize, usize),
    ys: Range<usize>,
    xs: Range<usize>,
    /// Offset of those pixels in the output, for images padded to a centre crop.
    offset: (usize, usize),
    /// Rows and columns of the output.
    out: (usize, usize),
    /// What the rest of the output holds: a normalised zero byte, or plain zero.
    fill_is_black: bool,
}

impl Preprocess {
    /// Without mean and deviation: pixels in [0, 1].
    pub fn new(resize: Resize, crop: Crop, filter: Filter) -> Self {
        Self { resize, crop, filter, mean: [0.0; 3], std: [1.0; 3] }
    }

    /// With mean and deviation.
    #[must_use]
    pub fn normalised(self, mean: [f32; 3], std: [f32; 3]) -> Self {
        Self { mean, std, ..self }
    }

    /// The evaluation transform of most encoders: short side, centre crop, bicubic, ImageNet's mean and deviation.
    pub fn imagenet(short_side_px: usize, crop_px: usize) -> Self {
        Self::new(Resize::ShortSide(short_side_px), Crop::Centre(crop_px), Filter::Bicubic)
            .normalised(IMAGENET_MEAN, IMAGENET_STD)
    }

    /// Refuses sizes of zero and statistics that would make infinities.
    pub fn check(self) -> Result<Self, PreprocessError> {
        let zero = match (self.resize, self.crop) {
            (Resize::ShortSide(0), _) => Some("short side"),
            (Resize::Exact { height: 0, .. }, _) => Some("height"),
            (Resize::Exact { width: 0, .. }, _) => Some("width"),
            (_, Crop::Centre(0)) => Some("centre crop"),
            (_, Crop::Grid { patch_px: 0 } | Crop::PadTo { patch_px: 0 }) => Some("patch"),
            _ => None,
        };
        if let Some(what) = zero {
            return Err(PreprocessError::ZeroSize { what });
        }
        check_statistics(self.mean, self.std)?;
        Ok(self)
    }

    /// Rows and columns of the output for an image of `height × width`.
    pub fn output_size(&self, height: usize, width: usize) -> (usize, usize) {
        self.layout(height, width).out
    }

    /// Makes an encoder's input of a decoded image.
    pub fn apply(&self, image: &Rgb8) -> Result<Planar, PreprocessError> {
        let (height, width) = (image.height, image.width);
        if height == 0 || width == 0 || image.data.len() != height * width * 3 {
            return Err(PreprocessError::BadLength { height, width, len: image.data.len() });
        }
        self.apply_rows(image)
    }

    /// Decodes and preprocesses in one go. The result is that of [`crate::decode()`] and [`Preprocess::apply`]; the colour
    /// of pixels that the crop throws away is never computed.
    pub fn decode_and_apply(&self, bytes: &[u8]) -> Result<Planar, LoadError> {
        Ok(match decode_lazily(bytes)? {
            Decoded::Rgb(image) => self.apply(&image)?,
            Decoded::Ycc(image) => self.apply_rows(&image)?,
        })
    }

    /// [`Preprocess::decode_and_apply`] or [`Preprocess::apply`], as the item needs, with the size before resizing.
    pub fn load(&self, raw: &Raw) -> Result<Loaded, LoadError> {
        let loaded = |(height, width): (usize, usize), planar| Loaded { planar, height, width };
        Ok(match raw {
            Raw::Rgb(image) => loaded((image.height, image.width), self.apply(image)?),
            Raw::Encoded(bytes) => match decode_lazily(bytes)? {
                Decoded::Rgb(image) => loaded((image.height, image.width), self.apply(&image)?),
                Decoded::Ycc(image) => loaded(image.size(), self.apply_rows(&image)?),
            },
        })
    }

    fn apply_rows(&self, image: &impl PlanarRows) -> Result<Planar, PreprocessError> {
        self.check()?;
        let (height, width) = image.size();
        if height.max(width) > MAX_SIDE_PX {
            return Err(PreprocessError::TooLong { height, width });
        }
        let layout = self.layout(height, width);
        let (out_height, out_width) = layout.out;
        if out_height == 0 || out_width == 0 {
            let patch_px = if let Crop::Grid { patch_px } = self.crop { patch_px } else { 0 };
            let (height, width) = layout.resized;
            return Err(PreprocessError::SmallerThanPatch { height, width, patch_px });
        }
        if out_height.saturating_mul(out_width) > MAX_PIXELS {
            return Err(PreprocessError::TooLarge { height, width, out_height, out_width, limit: MAX_PIXELS });
        }
        let bytes = resize_window(image, layout.resized, self.filter, layout.ys.clone(), layout.xs.clone());
        Ok(self.normalise(&bytes, &layout))
    }

    fn normalise(&self, bytes: &Planes8, layout: &Layout) -> Planar {
        let (height, width) = layout.out;
        let mut data = Vec::with_capacity(3 * height * width);
        let whole = (bytes.height, bytes.width) == layout.out;
        for (channel, table) in tables(self.mean, self.std).iter().enumerate() {
            let plane = &bytes.data[channel * bytes.height * bytes.width..][..bytes.height * bytes.width];
            if whole {
                data.extend(plane.iter().map(|&byte| table[usize::from(byte)]));
            } else {
                data.resize(data.len() + height * width, if layout.fill_is_black { table[0] } else { 0.0 });
                let target = &mut data[channel * height * width..];
                for (y, row) in plane.chunks_exact(bytes.width).enumerate() {
                    let start = (layout.offset.0 + y) * width + layout.offset.1;
                    for (value, &byte) in target[start..].iter_mut().zip(row) {
                        *value = table[usize::from(byte)];
                    }
                }
            }
        }
        Planar { height, width, data }
    }

    fn layout(&self, height: usize, width: usize) -> Layout {
        let resized = self.resize.size(height, width, self.filter);
        let (rows, columns) = resized;
        let whole = Layout { resized, ys: 0..rows, xs: 0..columns, offset: (0, 0), out: resized, fill_is_black: true };
        match self.crop {
            Crop::None => whole,
            Crop::Centre(side) => {
                let (ys, top) = centre(rows, side);
                let (xs, left) = centre(columns, side);
                Layout { ys, xs, offset: (top, left), out: (side, side), ..whole }
            }
            // A patch of nothing is refused by `check`; here it must only not divide by zero.
            Crop::Grid { patch_px } => {
                let patch_px = patch_px.max(1);
                let out = (rows / patch_px * patch_px, columns / patch_px * patch_px);
                Layout { ys: 0..out.0, xs: 0..out.1, out, ..whole }
            }
            Crop::PadTo { patch_px } => {
                let patch_px = patch_px.max(1);
                let out = (rows.next_multiple_of(patch_px), columns.next_multiple_of(patch_px));
                Layout { out, fill_is_black: false, ..whole }
            }
        }
    }
}

/// The samples kept by a centre crop of `side`, and where they land if the image is smaller.
fn centre(length: usize, side: usize) -> (Range<usize>, usize) {
    if side > length {
        (0..length, (side - length) / 2)
    } else {
        let start = round_half_to_even_of_half(length - side);
        (start..start + side, 0)
    }
}

/// Python's `round(n / 2)`.
fn round_half_to_even_of_half(n: usize) -> usize {
    let half = n / 2;
    half + usize::from(n % 2 == 1 && half % 2 == 1)
}

pub(crate) fn check_statistics(mean: [f32; 3], std: [f32; 3]) -> Result<(), PreprocessError> {
    for channel in 0..3 {
        let (mean, std) = (mean[channel], std[channel]);
        if !mean.is_finite() {
            return Err(PreprocessError::BadStatistic { what: "mean", channel, value: mean.to_string() });
        }
        if !(std.is_finite() && std > 0.0) {
            return Err(PreprocessError::BadStatistic { what: "std", channel, value: std.to_string() });
        }
    }
    Ok(())
}

/// `(byte / 255 − mean) / std` of every byte and channel.
pub(crate) fn tables(mean: [f32; 3], std: [f32; 3]) -> [[f32; 256]; 3] {
    std::array::from_fn(|channel| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean[channel]) / std[channel]))
}

/// An encoder's input, and the size of the image that it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The input.
    pub planar: Planar,
    /// Rows before resizing.
    pub height: usize,
    /// Columns before resizing.
    pub width: usize,
}

/// A file that gave no encoder input: it did not decode, or it does not fit the preprocessing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It did not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It decoded, but has no use.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// It decoded, but its views cannot be cut.
    #[error(transparent)]
    View(#[from] ViewError),
}

impl LoadError {
    /// A short reason that is the same on every machine, for the table of skipped images.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.reason(),
            Self::Preprocess(error) => error.reason(),
            Self::View(error) => error.reason(),
        }
    }
}

/// An image that cannot be made into an encoder's input, or parameters that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreprocessError {
    /// A size of zero.
    #[error("{what} must be at least 1 px")]
    ZeroSize {
        /// Which parameter.
        what: &'static str,
    },
    /// A mean that is not finite, or a deviation that is not a positive number.
    #[error("{what} of channel {channel} is {value}; it must be finite, and a std above 0")]
    BadStatistic {
        /// `mean` or `std`.
        what: &'static str,
        /// 0, 1, 2 for R, G, B.
        channel: usize,
        /// What was given.
        value: String,
    },
    /// The image has fewer pixels than one patch.
    #[error("an image of {height}×{width} px holds no whole patch of {patch_px} px")]
    SmallerThanPatch {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Patch side.
        patch_px: usize,
    },
    /// A very long and thin image would grow beyond what memory is worth.
    #[error("an image of {height}×{width} px would be resized to {out_height}×{out_width}, above {limit} px")]
    TooLarge {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Rows after resizing.
        out_height: usize,
        /// Columns after resizing.
        out_width: usize,
        /// Most pixels allowed.
        limit: usize,
    },
    /// A side beyond [`MAX_SIDE_PX`].
    #[error("an image of {height}×{width} px has a side above {MAX_SIDE_PX} px")]
    TooLong {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// `data` is not `height × width × 3` bytes.
    #[error("an image of {height}×{width} px has {len} bytes")]
    BadLength {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Bytes held.
        len: usize,
    },
}

impl PreprocessError {
    /// A short reason that is the same on every machine, for the table of skipped images.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ZeroSize { .. } | Self::BadStatistic { .. } => "bad preprocessing parameters",
            Self::SmallerThanPatch { .. } => "smaller than one patch",
            Self::TooLarge { .. } | Self::TooLong { .. } => "too elongated",
            Self::BadLength { .. } => "wrong number of bytes",
        }
    }
}
