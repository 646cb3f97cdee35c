//! OpenCV's `warpAffine` for a turn about the middle: pixels between four neighbours, depth from the nearest; 0 outside.
//!
//! ```text
//! source = R (target − c) + c,  c = ((w − 1)/2, (h − 1)/2),  in 1/1024 px;  then to 1/32 px, rounded, for pixels
//! out = (Σ w_i p_i + 2⁹) >> 10,  w = (32 − a)(32 − b), a (32 − b), (32 − a) b, a b
//! ```
//!
//! A positive angle turns clockwise, as mmcv's `imrotate`. Sources: mmcv `image/geometric.py`; OpenCV 4
//! `modules/imgproc/src/imgwarp.cpp` (`warpAffine`, `remapBilinear`), whose fixed point this is.

use std::f64::consts::PI;

use crate::resize::Planes8;
use crate::source::DenseTruth;

/// Fraction bits of a coordinate.
const BITS: u32 = 10;
/// Fraction bits that choose weights.
const FINE_BITS: u32 = 5;

/// A turn of a picture of some size.
pub(super) struct Turn {
    height: usize,
    width: usize,
    /// From target to source: rows of (x, y, 1).
    inverse: [f64; 6],
}

impl Turn {
    pub fn new(height: usize, width: usize, degrees: f64) -> Self {
        let (centre_x, centre_y) = ((width as f64 - 1.0) * 0.5, (height as f64 - 1.0) * 0.5);
        // cv2.getRotationMatrix2D(centre, −degrees, 1), and its inverse as warpAffine computes it.
        let radians = -degrees * (PI / 180.0);
        let (a, b) = (libm::cos(radians), libm::sin(radians));
        let [m0, m1, m2] = [a, b, (1.0 - a) * centre_x - b * centre_y];
        let [m3, m4, m5] = [-b, a, b * centre_x + (1.0 - a) * centre_y];
        let d = 1.0 / (m0 * m4 - m1 * m3);
        let [i0, i1, i3, i4] = [m4 * d, m1 * -d, m3 * -d, m0 * d];
        Self { height, width, inverse: [i0, i1, -i0 * m2 - i1 * m5, i3, i4, -i3 * m2 - i4 * m5] }
    }

    /// Where each target pixel comes from, in 1/1024 px, `bias` added.
    fn sources(&self, bias: i32) -> impl Iterator<Item = (i32, i32)> + '_ {
        let [i0, i1, i2, i3, i4, i5] = self.inverse;
        let fixed = |value: f64| (value * f64::from(1 << BITS)).round_ties_even() as i32;
        let steps: Vec<(i32, i32)> = (0..self.width).map(|x| (scaled_first(i0, x), scaled_first(i3, x))).collect();
        (0..self.height).flat_map(move |y| {
            let (x0, y0) = (fixed(i1 * y as f64 + i2) + bias, fixed(i4 * y as f64 + i5) + bias);
            let steps = steps.clone();
            steps.into_iter().map(move |(dx, dy)| (x0 + dx, y0 + dy))
        })
    }

    /// The picture, turned.
    pub fn pixels(&self, image: &Planes8) -> Planes8 {
        let (height, width) = (self.height as i32, self.width as i32);
        let shift = BITS - FINE_BITS;
        let mut turned = Planes8 { height: self.height, width: self.width, data: vec![0; image.data.len()] };
        let area = self.height * self.width;
        for (target, (x, y)) in self.sources(1 << (shift - 1)).enumerate() {
            let (x, y) = (x >> shift, y >> shift);
            let (a, b) = (x & 31, y & 31);
            let (x, y) = (x >> FINE_BITS, y >> FINE_BITS);
            let weights = [(32 - a) * (32 - b), a * (32 - b), (32 - a) * b, a * b];
            let corners = [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)];
            // A sample outside is 0, whatever its weight.
            let mut samples = [(0, 0); 4];
            for ((sample, (y, x)), weight) in samples.iter_mut().zip(corners).zip(weights) {
                if (0..height).contains(&y) && (0..width).contains(&x) {
                    *sample = ((y * width + x) as usize, weight);
                }
            }
            for (target, plane) in turned.data[target..].iter_mut().step_by(area).zip(image.data.chunks_exact(area)) {
                let sum: i32 = samples.iter().map(|&(at, weight)| weight * i32::from(plane[at])).sum();
                *target = ((sum + (1 << 9)) >> 10) as u8;
            }
        }
        turned
    }

    /// The truth of the picture, turned. Labels outside are 255.
    pub fn truth(&self, truth: &DenseTruth) -> DenseTruth {
        DenseTruth {
            height: self.height,
            width: self.width,
            segments: truth.segments.as_ref().map(|plane| self.nearest(plane, 255)),
            depth_m: truth.depth_m.as_ref().map(|plane| self.nearest(plane, 0.0)),
        }
    }

    fn nearest<T: Copy>(&self, plane: &[T], outside: T) -> Vec<T> {
        let (height, width) = (self.height as i32, self.width as i32);
        let sources = self.sources(1 << (BITS - 1)).map(|(x, y)| (x >> BITS, y >> BITS));
        let inside = |(x, y): (i32, i32)| (0..width).contains(&x) && (0..height).contains(&y);
        sources.map(|(x, y)| if inside((x, y)) { plane[(y * width + x) as usize] } else { outside }).collect()
    }
}

/// `rint(slope · x · 1024)`, multiplied in this order.
fn scaled_first(slope: f64, x: usize) -> i32 {
    (slope * x as f64 * f64::from(1 << BITS)).round_ties_even() as i32
}
