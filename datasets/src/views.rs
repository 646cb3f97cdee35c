//! The rectangles of an image that a model sees in dense and augmented protocols, and the truth cut as they are.
//!
//! ```text
//! scaled = resize(image)        view = scaled[y0 .. y0 + view_h, x0 .. x0 + view_w], perhaps mirrored
//! input  = (view / 255 − mean) / std, zeros around it up to whole patches: ⌊p/2⌋ above and left, the rest below and right
//! ```
//!
//! Truth moves with the pixels, by nearest neighbour under the rule of the library that the filter is from: OpenCV takes
//! sample `⌊o · in/out⌋`, Pillow `⌊(o + ½) · in/out⌋`. Random draws come from a stream of their own for each seed, image
//! and view, so that any shard on any machine cuts the same. Padding: DINOv2 `eval/segmentation/utils` and
//! `eval/depth/models` (`CenterPadding`).

mod depth_crops;
mod error;
mod hsv;
mod input;
mod photometric;
mod plane;
mod resized_crops;
mod rotation;
mod segment_crops;
mod whole;
mod windows;

pub use error::ViewError;

use serde::{Deserialize, Serialize};

use crate::decode::{Decoded, decode_lazily};
use crate::pixels::Planar;
use crate::preprocess::{Filter, LoadError, MAX_SIDE_PX, PreprocessError, Resize, check_statistics};
use crate::resize::PlanarRows;
use crate::source::{DenseTruth, Raw};
use crate::synthetic::random::SplitMix64;

/// Most pixels of all views of one image together: 200 MB as floats.
pub const MAX_PIXELS: usize = 1 << 24;

/// Which views of an image there are. All of it is meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Views {
    /// One view of the whole image.
    Whole {
        /// Scaling.
        resize: Resize,
        /// A second view, with left and right exchanged.
        mirror: bool,
    },
    /// Random crops, as DINOv2 trains its linear segmentation heads on.
    Crops(Crops),
    /// Random crops, as DINOv2 trains its depth heads on.
    DepthCrops(DepthCrops),
    /// torchvision's `RandomResizedCrop(size, scale = (.08, 1), ratio = (3/4, 4/3))` and a flip with probability ½: DINOv2's
    /// linear classification.
    ResizedCrops {
        /// Views of each image.
        count: u16,
        /// Seed of the draws.
        seed: u64,
        /// Side of a view.
        size_px: usize,
    },
    /// Windows that cover the image, as mmseg's `slide_inference` places them.
    Windows {
        /// Short side of the scaled image.
        short_side_px: usize,
        /// Side of a window.
        window_px: usize,
        /// From one window to the next.
        stride_px: usize,
    },
}

/// Random crops for segmentation (mmseg 0.x: `Resize`, `RandomCrop`, `RandomFlip`, `PhotoMetricDistortion`, `Pad`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crops {
    /// Views of each image.
    pub count: u16,
    /// Seed of the draws.
    pub seed: u64,
    /// Short side before the random ratio.
    pub short_side_px: usize,
    /// The short side becomes `⌊short_side_px · r⌋`, r uniform between these.
    pub ratio: [f64; 2],
    /// Side of a view; a smaller image is padded at the bottom and right, with zeros and the label 255.
    pub crop_px: usize,
    /// Redraws the place, ten times at most, until no class fills this share of the labelled pixels or more; 1 never does.
    pub max_class_frac: f64,
    /// Labels, as annotated, that do not count in that rule.
    pub ignore: Vec<u8>,
    /// Changes brightness, contrast, saturation and hue, each with probability ½.
    pub photometric: bool,
}

/// Random crops for depth (the MDE toolbox: `NYUCrop`, `RandomRotate`, `RandomFlip`, `RandomCrop`, `ColorAug`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthCrops {
    /// Views of each image.
    pub count: u16,
    /// Seed of the draws.
    pub seed: u64,
    /// Rows that are used at all, first and one past the last: the rest is the white border of NYU's photos.
    pub rows: [usize; 2],
    /// Columns that are used at all.
    pub columns: [usize; 2],
    /// Rows of a view.
    pub height_px: usize,
    /// Columns of a view.
    pub width_px: usize,
    /// With probability ½, turns by an angle up to this, either way.
    pub max_degrees: f64,
    /// With probability ½, changes gamma, brightness and the balance of colours.
    pub colour: bool,
}

impl Crops {
    /// As DINOv2's published configurations for ADE20K, VOC and Cityscapes.
    pub fn dinov2(count: u16, seed: u64, ignore: Vec<u8>) -> Self {
        Self {
            count,
            seed,
            short_side_px: 512,
            ratio: [0.5, 2.0],
            crop_px: 512,
            max_class_frac: 0.75,
            ignore,
            photometric: true,
        }
    }
}

impl DepthCrops {
    /// As DINOv2's published configurations for NYU Depth v2.
    pub fn dinov2(count: u16, seed: u64) -> Self {
        Self {
            count,
            seed,
            rows: [45, 472],
            columns: [43, 608],
            height_px: 416,
            width_px: 544,
            max_degrees: 2.5,
            colour: true,
        }
    }
}

/// What truth goes with views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruthOf {
    /// Each view its own, cut as it was.
    View,
    /// The whole image at its own size, once: what is predicted of the views is brought back to it.
    Image,
    /// None.
    None,
}

/// Everything that decides the views of an image. All of it is meaning: it is fingerprinted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewSpec {
    /// Which views.
    pub views: Views,
    /// Kernel of the scaling; it also says whose rule moves the truth.
    pub filter: Filter,
    /// Subtracted per channel, after division by 255.
    pub mean: [f32; 3],
    /// Divided by per channel.
    pub std: [f32; 3],
    /// Side of a patch: inputs are padded to whole ones.
    pub patch_px: usize,
    /// Which truth goes along.
    pub truth: TruthOf,
}

/// Where a view lies in its scaled image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Rows of the image after scaling.
    pub scaled_h: u32,
    /// Columns of the image after scaling.
    pub scaled_w: u32,
    /// First row of the view.
    pub y0: u32,
    /// First column of the view.
    pub x0: u32,
    /// Rows of the view, those that a crop larger than the image adds at the bottom among them.
    pub view_h: u32,
    /// Columns of the view.
    pub view_w: u32,
    /// Left and right were exchanged after cutting.
    pub mirrored: bool,
    /// Rows of zeros above the view in the input.
    pub pad_top: u16,
    /// Columns of zeros left of the view in the input.
    pub pad_left: u16,
}

/// One view of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The model's input: whole patches.
    pub pixels: Planar,
    /// Where it lies.
    pub place: Place,
    /// The truth of its pixels, without the padding, under [`TruthOf::View`].
    pub truth: Option<DenseTruth>,
}

/// All views of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewsOf {
    /// Rows of the image before scaling.
    pub height: usize,
    /// Columns of the image before scaling.
    pub width: usize,
    /// The views, in order.
    pub views: Vec<View>,
    /// The truth at the image's own size, under [`TruthOf::Image`].
    pub truth: Option<DenseTruth>,
}

impl ViewSpec {
    /// Refuses sizes of zero and numbers that make no sense.
    pub fn check(self) -> Result<Self, ViewError> {
        let parameter = |what: &str| Err(ViewError::BadParameter { what: what.to_owned() });
        check_statistics(self.mean, self.std).map_err(|error| ViewError::BadParameter { what: error.to_string() })?;
        let whole = |size: usize| (1..=MAX_SIDE_PX).contains(&size);
        if !(1..=u16::MAX as usize).contains(&self.patch_px) {
            return parameter("a patch is 1 to 65535 px wide");
        }
        let (sizes_make_sense, (height, width)) = match &self.views {
            Views::Whole { resize, .. } => {
                let (height, width) = resize.size(1, 1, self.filter);
                if !whole(height) || !whole(width) {
                    return parameter("an image must be resized to at least 1 px, at most 2²⁰");
                }
                return Ok(self);
            }
            Views::Windows { short_side_px, window_px, stride_px } => {
                if ![*short_side_px, *window_px, *stride_px].into_iter().all(whole) {
                    return parameter("short side, window and stride must be at least 1 px, at most 2²⁰");
                }
                if stride_px > window_px {
                    return parameter("a stride above the window leaves pixels between windows; lower stride_px");
                }
                return Ok(self);
            }
            Views::ResizedCrops { count, size_px, .. } => (*count > 0 && whole(*size_px), (*size_px, *size_px)),
            Views::Crops(crops) => {
                let [low, high] = crops.ratio;
                if !(low.is_finite() && high.is_finite() && 0.0 < low && low <= high) {
                    return parameter("the ratio of a crop must be two positive numbers, the smaller one first");
                }
                if !(crops.max_class_frac > 0.0 && crops.max_class_frac <= 1.0) {
                    return parameter("max_class_frac must be above 0, at most 1 (which switches the rule off)");
                }
                let shortest = crops.short_side_px as f64 * low;
                let longest = crops.short_side_px as f64 * high;
                let scaled = shortest >= 1.0 && longest <= MAX_SIDE_PX as f64;
                (crops.count > 0 && scaled && whole(crops.crop_px), (crops.crop_px, crops.crop_px))
            }
            Views::DepthCrops(crops) => {
                let [rows, columns] = [crops.rows, crops.columns];
                if rows[0] >= rows[1] || columns[0] >= columns[1] {
                    return parameter("the rows and columns that are used must be given as first, one past the last");
                }
                if !(0.0..=180.0).contains(&crops.max_degrees) {
                    return parameter("max_degrees must be between 0 and 180");
                }
                let fits = [(crops.height_px, rows), (crops.width_px, columns)];
                let [height, width] = fits.map(|(px, [first, end])| px.min(end - first));
                (crops.count > 0 && whole(crops.height_px) && whole(crops.width_px), (height, width))
            }
        };
        if !sizes_make_sense {
            return parameter("crops need a count of at least 1 and sizes of at least 1 px, at most 2²⁰");
        }
        // Above it, every single image would be skipped.
        let most = MAX_PIXELS / height.saturating_mul(width).max(1);
        if self.count(0, 0) > most {
            let what = format!("of crops of {height}×{width} px an image may have {most} at most; lower their number");
            return Err(ViewError::BadParameter { what });
        }
        // What is cut at random covers no image, so nothing can be brought back to one.
        let resized = matches!(self.views, Views::ResizedCrops { .. });
        match self.truth {
            TruthOf::Image => parameter("random crops cannot be compared with the whole image; set truth to view"),
            TruthOf::None if !resized => parameter("crops for dense heads are cut with their truth; set truth to view"),
            _ => Ok(self),
        }
    }

    /// How many views an image of this size has.
    pub fn count(&self, height: usize, width: usize) -> usize {
        match &self.views {
            Views::Whole { mirror, .. } => 1 + usize::from(*mirror),
            Views::Crops(crops) => usize::from(crops.count),
            Views::DepthCrops(crops) => usize::from(crops.count),
            Views::ResizedCrops { count, .. } => usize::from(*count),
            Views::Windows { short_side_px, window_px, stride_px } => {
                let (rows, columns) = Resize::ShortSide(*short_side_px).size(height, width, self.filter);
                let along = |length: usize| length.saturating_sub(*window_px).div_ceil((*stride_px).max(1)) + 1;
                along(rows).saturating_mul(along(columns))
            }
        }
    }

    /// Decodes an image and cuts its views. `truth` is what [`crate::Source::dense_truth`] says of it; `index` seeds the
    /// draws.
    pub fn views(&self, raw: &Raw, truth: Option<&DenseTruth>, index: usize) -> Result<ViewsOf, LoadError> {
        match raw {
            Raw::Rgb(image) => {
                let (height, width, len) = (image.height, image.width, image.data.len());
                if height == 0 || width == 0 || len != height * width * 3 {
                    return Err(PreprocessError::BadLength { height, width, len }.into());
                }
                Ok(self.views_of(image, truth, index)?)
            }
            Raw::Encoded(bytes) => Ok(match decode_lazily(bytes)? {
                Decoded::Rgb(image) => self.views_of(&image, truth, index)?,
                Decoded::Ycc(image) => self.views_of(&image, truth, index)?,
            }),
        }
    }

    fn views_of(
        &self,
        image: &impl PlanarRows,
        truth: Option<&DenseTruth>,
        index: usize,
    ) -> Result<ViewsOf, ViewError> {
        let (height, width) = image.size();
        if height.max(width) > MAX_SIDE_PX {
            return Err(ViewError::TooLarge { height, width });
        }
        let truth = match (self.truth, truth) {
            (TruthOf::None, _) => None,
            (_, None) => return Err(ViewError::NoTruth),
            (_, Some(truth)) => Some(truth.checked(height, width)?),
        };
        let of_view = truth.filter(|_| self.truth == TruthOf::View);
        let of_image = truth.filter(|_| self.truth == TruthOf::Image).cloned();
        let views = match &self.views {
            Views::Whole { resize, mirror } => self.whole(image, of_view, *resize, *mirror)?,
            Views::Crops(crops) => self.segment_crops(image, of_view, crops, index)?,
            Views::DepthCrops(crops) => self.depth_crops(image, of_view, crops, index)?,
            Views::ResizedCrops { count, seed, size_px } => {
                self.resized_crops(image, of_view, *count, *size_px, |view| stream(*seed, index, view))?
            }
            Views::Windows { short_side_px, window_px, stride_px } => {
                self.windows(image, of_view, *short_side_px, *window_px, *stride_px)?
            }
        };
        Ok(ViewsOf { height, width, views, truth: of_image })
    }
}

/// Refuses more pixels than [`MAX_PIXELS`], more views than have numbers, or a side that is too long, before anything is
/// allocated.
fn check_area(
    image: (usize, usize),
    scaled: (usize, usize),
    views: usize,
    view: (usize, usize),
) -> Result<(), ViewError> {
    let area = view.0.saturating_mul(view.1).saturating_mul(views);
    if scaled.0.max(scaled.1) > MAX_SIDE_PX || area > MAX_PIXELS || views > usize::from(u16::MAX) {
        return Err(ViewError::TooLarge { height: image.0, width: image.1 });
    }
    Ok(())
}

/// The random draws of one view.
fn stream(seed: u64, index: usize, view: u16) -> SplitMix64 {
    // Scrambled, so that neighbours do not share a shifted stream.
    let mixed = [index as u64, u64::from(view)].into_iter().fold(SplitMix64::new(seed).next_u64(), |state, number| {
        SplitMix64::new(state ^ number.wrapping_mul(0xd134_2543_de82_ef95)).next_u64()
    });
    SplitMix64::new(mixed)
}

#[cfg(test)]
mod tests;
