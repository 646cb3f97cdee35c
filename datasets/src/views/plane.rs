//! Truth that moves as pixels do: a cut, scaled or mirrored plane takes each value from the nearest pixel.
//!
//! ```text
//! OpenCV  source(o) = min(⌊o · in/out⌋, in − 1)          Pillow  source(o) = ⌊x_o⌋,  x_0 = ½ · in/out,  x_{o+1} = x_o + in/out
//! ```
//!
//! Scaling, cutting and mirroring are a choice of rows and of columns, so all three are one list of each. Pillow adds up
//! its positions, and rounding errors with them; so does this. Sources: OpenCV `resize.cpp` (`resizeNN`), Pillow
//! `Geometry.c` (`ImagingScaleAffine`).

use std::ops::Range;

use super::ViewError;
use crate::preprocess::Filter;
use crate::source::DenseTruth;

/// The label of pixels that are in no image.
const OUTSIDE: u8 = 255;

/// Which samples a scaled axis takes, at the outputs `wanted`.
pub(super) fn nearest(from: usize, to: usize, filter: Filter, wanted: Range<usize>) -> Vec<usize> {
    let last = from.saturating_sub(1);
    match filter {
        Filter::Cv2Bilinear => {
            let step = 1.0 / (to as f64 / from as f64);
            wanted.map(|output| ((output as f64 * step) as usize).min(last)).collect()
        }
        Filter::Bicubic | Filter::Bilinear => {
            let step = from as f64 / to as f64;
            let mut at = step * 0.5;
            let mut samples = Vec::with_capacity(wanted.len());
            for output in 0..wanted.end {
                if output >= wanted.start {
                    samples.push((at as usize).min(last));
                }
                at += step;
            }
            samples
        }
    }
}

impl DenseTruth {
    /// Itself, if it is of an image of this size.
    pub(super) fn checked(&self, height: usize, width: usize) -> Result<&Self, ViewError> {
        let (rows, columns) = (self.height, self.width);
        let lengths = [self.segments.as_ref().map(Vec::len), self.depth_m.as_ref().map(Vec::len)];
        let wrong = lengths.into_iter().flatten().find(|&values| values != height * width);
        if (rows, columns) == (height, width) && wrong.is_none() {
            return Ok(self);
        }
        let values = wrong.unwrap_or(height * width);
        Err(ViewError::TruthSize { rows, columns, values, height, width })
    }

    /// These rows and columns, in this order, and below and right of them what is in no image, up to `out`.
    pub(super) fn picked(&self, ys: &[usize], xs: &[usize], out: (usize, usize)) -> Self {
        let (height, width) = out;
        Self {
            height,
            width,
            segments: self.segments.as_ref().map(|plane| picked(plane, self.width, ys, xs, out, OUTSIDE)),
            depth_m: self.depth_m.as_ref().map(|plane| picked(plane, self.width, ys, xs, out, 0.0)),
        }
    }
}

fn picked<T: Copy>(plane: &[T], stride: usize, ys: &[usize], xs: &[usize], out: (usize, usize), outside: T) -> Vec<T> {
    let mut values = Vec::with_capacity(out.0 * out.1);
    for &y in ys {
        let row = &plane[y * stride..(y + 1) * stride];
        values.extend(xs.iter().map(|&x| row[x]));
        values.resize(values.len() + out.1 - xs.len(), outside);
    }
    values.resize(out.0 * out.1, outside);
    values
}
