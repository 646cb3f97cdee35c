//! Bilinear resizing of the answers of a head, as PyTorch does it with `align_corners=False`, and its transpose.
//!
//! ```text
//! source(i) = max(0, (i + ½)·in/out − ½);  lo = ⌊source⌋, hi = min(lo + 1, in − 1), f = source − lo
//! out(i) = (1 − f)·in(lo) + f·in(hi)
//! ```
//!
//! A head's answer has as many channels as classes and is far smaller than the picture, so nothing is ever made at the
//! picture's size: rows are blended one at a time, each pixel is handed over with its channels together, and what comes
//! back for it is spread over the four cells that it was made of. Since a 1×1 convolution and a blend are both linear and
//! act on different axes, resizing features and then applying the convolution is the same as the reverse (tested below);
//! the reverse is done, with as many channels as answers.
//!
//! Source: PyTorch `aten/src/ATen/native/UpSample.h` (`area_pixel_compute_source_index`), in f32 as there.

use super::place::Place;

/// How one axis of an output is made from an input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    lo: Vec<u32>,
    hi: Vec<u32>,
    frac: Vec<f32>,
}

/// What becomes of the zeros around a view that make it whole patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The answer for the padded input is stretched over the view alone, as `DINOv2`'s segmentation does: a
    /// misalignment of up to half a patch, which the published numbers contain.
    Stretch,
    /// The part of the answer that belongs to the padding is left out.
    Cut,
}

impl Axis {
    /// `input` cells over the whole of `output`.
    pub(crate) fn stretch(input: usize, output: usize) -> Self {
        let scale = input as f32 / output as f32;
        Self::from_sources(input, output, |i| scale * (i as f32 + 0.5) - 0.5)
    }

    /// The `view` pixels from `start` on of `input` cells that lie over `whole` pixels, at `output` places.
    fn cut(input: usize, whole: usize, start: usize, view: usize, output: usize) -> Self {
        let (cell, pixel) = (input as f32 / whole as f32, view as f32 / output as f32);
        Self::from_sources(input, output, |i| cell * (pixel * (i as f32 + 0.5) + start as f32) - 0.5)
    }

    /// Rows and columns of the answer of a view, `(h, w)` cells, at `(height, width)` places over the view.
    pub(crate) fn of_view(
        (h, w): (usize, usize),
        place: &Place,
        padding: Padding,
        (height, width): (usize, usize),
    ) -> (Self, Self) {
        let whole = (place.view_h as usize, place.view_w as usize) == (place.input_h, place.input_w);
        match padding {
            _ if whole => (Self::stretch(h, height), Self::stretch(w, width)),
            Padding::Stretch => (Self::stretch(h, height), Self::stretch(w, width)),
            Padding::Cut => {
                let (view_h, view_w) = (place.view_h as usize, place.view_w as usize);
                let (top, left) = (place.pad_top as usize, place.pad_left as usize);
                let rows = Self::cut(h, place.input_h, top, view_h, height);
                (rows, Self::cut(w, place.input_w, left, view_w, width))
            }
        }
    }

    fn from_sources(input: usize, output: usize, source: impl Fn(usize) -> f32) -> Self {
        let mut axis =
            Self { lo: Vec::with_capacity(output), hi: Vec::with_capacity(output), frac: Vec::with_capacity(output) };
        for i in 0..output {
            let source = source(i).max(0.0);
            let lo = (source as usize).min(input - 1);
            axis.lo.push(lo as u32);
            axis.hi.push((lo + 1).min(input - 1) as u32);
            axis.frac.push((source - lo as f32).clamp(0.0, 1.0));
        }
        axis
    }

    /// The same places from the other end: an output that is mirrored.
    pub(crate) fn reversed(mut self) -> Self {
        self.lo.reverse();
        self.hi.reverse();
        self.frac.reverse();
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.frac.len()
    }

    /// Lower and upper cell of output `i`, and the weight of the upper one.
    pub(crate) fn at(&self, i: usize) -> (usize, usize, f32) {
        (self.lo[i] as usize, self.hi[i] as usize, self.frac[i])
    }
}

/// Answers on a grid: `[h, w, k]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub h: usize,
    pub w: usize,
    pub k: usize,
    pub values: Vec<f32>,
}

impl Field {
    fn row(&self, y: usize) -> &[f32] {
        &self.values[y * self.w * self.k..(y + 1) * self.w * self.k]
    }

    /// Output row `y`, still `w` cells wide: `[w, k]`.
    pub(crate) fn blend_rows(&self, rows: &Axis, y: usize, out: &mut [f32]) {
        let (lo, hi, f) = rows.at(y);
        mix(out, self.row(lo), self.row(hi), f);
    }

    /// Every pixel of the resized field, with its channels.
    pub(crate) fn resized(&self, rows: &Axis, columns: &Axis, mut pixel: impl FnMut(usize, usize, &[f32])) {
        let k = self.k;
        let (mut line, mut one) = (vec![0.0; self.w * k], vec![0.0; k]);
        for y in 0..rows.len() {
            self.blend_rows(rows, y, &mut line);
            for x in 0..columns.len() {
                let (lo, hi, f) = columns.at(x);
                mix(&mut one, &line[lo * k..(lo + 1) * k], &line[hi * k..(hi + 1) * k], f);
                pixel(y, x, &one);
            }
        }
    }

    /// Resizes, lets `pixel` replace each value by the derivative of a sum with respect to it, and returns the derivative
    /// with respect to this field. `pixel` says whether there is one; where not, the pixel counts for nothing.
    pub(crate) fn derivative(
        &self,
        rows: &Axis,
        columns: &Axis,
        mut pixel: impl FnMut(usize, usize, &mut [f32]) -> bool,
    ) -> Vec<f32> {
        let (k, width) = (self.k, self.w * self.k);
        let (mut line, mut back) = (vec![0.0; width], vec![0.0; width]);
        let (mut one, mut all) = (vec![0.0; k], vec![0.0; self.values.len()]);
        for y in 0..rows.len() {
            self.blend_rows(rows, y, &mut line);
            let mut any = false;
            for x in 0..columns.len() {
                let (lo, hi, f) = columns.at(x);
                mix(&mut one, &line[lo * k..(lo + 1) * k], &line[hi * k..(hi + 1) * k], f);
                if pixel(y, x, &mut one) {
                    any = true;
                    spread(&mut back, lo * k, hi * k, f, &one);
                }
            }
            if any {
                let (lo, hi, f) = rows.at(y);
                spread(&mut all, lo * width, hi * width, f, &back);
                back.fill(0.0);
            }
        }
        all
    }
}

fn mix(out: &mut [f32], a: &[f32], b: &[f32], f: f32) {
    for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
        *o = (1.0 - f) * a + f * b;
    }
}

/// Adds `values` to two places of `all`, in the shares that they were blended in.
fn spread(all: &mut [f32], lo: usize, hi: usize, f: f32, values: &[f32]) {
    all[lo..lo + values.len()].iter_mut().zip(values).for_each(|(a, v)| *a += (1.0 - f) * v);
    if f > 0.0 {
        all[hi..hi + values.len()].iter_mut().zip(values).for_each(|(a, v)| *a += f * v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::{Matrix, product};
    use crate::random::SplitMix64;

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed, 0);
        (0..n).map(|_| random.normal() as f32).collect()
    }

    fn resized(field: &Field, rows: &Axis, columns: &Axis) -> Vec<f32> {
        let mut out = Vec::new();
        field.resized(rows, columns, |_, _, values| out.extend_from_slice(values));
        out
    }

    /// Closed form: two cells 0 and 1 at four places are 0, ¼, ¾, 1 (`F.interpolate` of [0, 1] to 4).
    #[test]
    fn two_cells_over_four_places() {
        let field = Field { h: 1, w: 2, k: 1, values: vec![0.0, 1.0] };
        let (rows, columns) = (Axis::stretch(1, 1), Axis::stretch(2, 4));
        assert_eq!(resized(&field, &rows, &columns), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(resized(&field, &rows, &columns.reversed()), [1.0, 0.75, 0.25, 0.0]);
        assert_eq!(resized(&field, &rows, &Axis::stretch(2, 2)), [0.0, 1.0]);
        assert_eq!(resized(&field, &rows, &Axis::stretch(2, 1)), [0.5]);
    }

    /// A cut is the middle of the whole: breaks when the padding is counted twice or left in.
    #[test]
    fn a_cut_is_the_part_of_the_whole_that_the_view_covers() {
        let whole = Axis::stretch(5, 70);
        let cut = Axis::cut(5, 70, 3, 64, 64);
        for i in 0..64 {
            let ((a, b, f), (c, d, g)) = (whole.at(i + 3), cut.at(i));
            assert!(a == c && b == d && (f - g).abs() < 1e-5, "{i}");
        }
        let (all, plain) = (Axis::cut(5, 70, 0, 70, 33), Axis::stretch(5, 33));
        assert_eq!(all.lo, plain.lo);
        assert!(all.frac.iter().zip(&plain.frac).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    /// Resizing then 1×1 equals 1×1 then resizing. Breaks when the blend's weights do not sum to 1 or the bias is added
    /// at the wrong place.
    #[test]
    fn a_blend_and_a_1x1_convolution_commute() {
        let (d, k) = (6, 3);
        let features = Field { h: 4, w: 5, k: d, values: random(4 * 5 * d, 1) };
        let (weight, bias) = (random(k * d, 2), random(k, 3));
        let convolve = |tokens: &[f32]| {
            let mut out = product(Matrix::of(tokens, d), Matrix::of(&weight, d).transposed());
            crate::matmul::add_to_rows(&mut out, &bias);
            out
        };
        let (rows, columns) = (Axis::stretch(4, 16), Axis::stretch(5, 20));
        let after = convolve(&resized(&features, &rows, &columns));
        let answers = Field { k, values: convolve(&features.values), ..features };
        let before = resized(&answers, &rows, &columns);
        assert!(after.iter().zip(&before).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    /// ⟨resize(x), g⟩ = ⟨x, resizeᵀ(g)⟩ for any x and g: breaks when a share goes to another cell than it came from.
    #[test]
    fn the_derivative_is_the_transpose() {
        let field = Field { h: 3, w: 4, k: 2, values: random(24, 4) };
        for (rows, columns) in
            [(Axis::stretch(3, 7), Axis::stretch(4, 9)), (Axis::cut(3, 42, 5, 31, 20), Axis::stretch(4, 2).reversed())]
        {
            let n = rows.len() * columns.len() * 2;
            let g = random(n, 5);
            let forward: f64 =
                resized(&field, &rows, &columns).iter().zip(&g).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let back = field.derivative(&rows, &columns, |y, x, values| {
                values.copy_from_slice(&g[(y * columns.len() + x) * 2..][..2]);
                true
            });
            let backward: f64 = field.values.iter().zip(&back).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((forward - backward).abs() < 1e-4, "{forward} {backward}");
        }
    }
}
