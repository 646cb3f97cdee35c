//! Pillow's 8-bit resampling, bit for bit.
//!
//! Each pass replaces a sample by a weighted sum over a window whose width grows with the reduction (antialiasing):
//!
//! ```text
//! scale = in / out     fs = max(scale, 1)     support = filter support × fs     centre = (o + ½) · scale
//! window = [⌊centre − support + ½⌋, ⌊centre + support + ½⌋) ∩ [0, in)
//! w_i = f((i − centre + ½) / fs) / Σ f          k_i = round_half_away(w_i · 2²²)
//! out = clip8((2²¹ + Σ k_i · p_i) >> 22)
//! ```
//!
//! horizontally first, rounded and clamped to bytes, then vertically; since Pillow 13 the other way round when the height
//! loses more than twice the pixels that the width does. A pass that keeps the length changes nothing and is left out. The weights are doubles rounded to 22-bit integers,
//! so a port in the same order of operations has no choice left: equality is exact, and only rows and columns that the
//! wanted window reads need computing. Source: Pillow `src/libImaging/Resample.c`.
//!
//! Layout: the horizontal pass works on sixteen rows at once, transposed, so that its inner loop runs over rows with one
//! weight; the vertical pass runs over columns. Both become plain vector code under [`pulp`]'s runtime dispatch.

#![expect(clippy::inline_always, reason = "code that is not inlined escapes the vector features of the dispatch")]

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::pixels::Rgb8;
use crate::preprocess::Filter;

mod cv2;
mod taps;

use taps::{PRECISION_BITS, Taps};

/// Rows per block of the horizontal pass: one 512-bit register of 32-bit sums.
pub(crate) const LANES: usize = 16;

/// Something that can hand out planes of RGB bytes a few rows at a time.
pub(crate) trait PlanarRows {
    /// Rows and columns.
    fn size(&self) -> (usize, usize);

    /// Writes rows `first .. first + LANES`, clamped to the last row, of the given columns: `planes` is
    /// `[3, LANES, columns.len()]`.
    fn block(&self, first: usize, columns: Range<usize>, planes: &mut [u8]);
}

/// Part of a resized image, one plane of bytes per channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planes8 {
    pub height: usize,
    pub width: usize,
    /// `[3, height, width]`.
    pub data: Vec<u8>,
}

impl Planes8 {
    fn zeros(height: usize, width: usize) -> Self {
        Self { height, width, data: vec![0; 3 * height * width] }
    }

    /// These rows and columns.
    pub fn cut(&self, ys: Range<usize>, xs: Range<usize>) -> Self {
        gather(self, ys, xs)
    }

    fn planes_mut(&mut self) -> std::slice::ChunksExactMut<'_, u8> {
        self.data.chunks_exact_mut((self.height * self.width).max(1))
    }
}

impl PlanarRows for Planes8 {
    fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    fn block(&self, first: usize, columns: Range<usize>, planes: &mut [u8]) {
        let width = columns.len();
        let sources = self.data.chunks_exact(self.height * self.width);
        for (target, source) in planes.chunks_exact_mut(LANES * width).zip(sources) {
            for (lane, row) in target.chunks_exact_mut(width).enumerate() {
                let start = (first + lane).min(self.height - 1) * self.width;
                row.copy_from_slice(&source[start + columns.start..start + columns.end]);
            }
        }
    }
}

impl PlanarRows for Rgb8 {
    fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    fn block(&self, first: usize, columns: Range<usize>, planes: &mut [u8]) {
        let width = columns.len();
        let (red, rest) = planes.split_at_mut(LANES * width);
        let (green, blue) = rest.split_at_mut(LANES * width);
        for lane in 0..LANES {
            let row = (first + lane).min(self.height - 1) * self.width;
            let pixels = self.data[(row + columns.start) * 3..(row + columns.end) * 3].as_chunks::<3>().0;
            let line = lane * width..(lane + 1) * width;
            let target = red[line.clone()].iter_mut().zip(&mut green[line.clone()]).zip(&mut blue[line]);
            for (((r, g), b), pixel) in target.zip(pixels) {
                [*r, *g, *b] = *pixel;
            }
        }
    }
}

/// Resizes a whole image, as Pillow's `Image.resize((width, height), filter)` or OpenCV's `resize`.
pub fn resize(image: &Rgb8, height: usize, width: usize, filter: Filter) -> Rgb8 {
    let planes = resize_window(image, (height, width), filter, 0..height, 0..width);
    let area = height * width;
    let mut data = vec![0; area * 3];
    for (index, pixel) in data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *pixel = [planes.data[index], planes.data[area + index], planes.data[2 * area + index]];
    }
    Rgb8 { width, height, data }
}

/// The rows `ys` and columns `xs` of an image resized to `out` = (rows, columns).
pub(crate) fn resize_window<P: PlanarRows + ?Sized>(
    image: &P,
    out: (usize, usize),
    filter: Filter,
    ys: Range<usize>,
    xs: Range<usize>,
) -> Planes8 {
    let (in_height, in_width) = image.size();
    if ys.is_empty() || xs.is_empty() {
        return Planes8::zeros(ys.len(), xs.len());
    }
    if filter == Filter::Cv2Bilinear {
        return cv2::window(image, out, &ys, &xs);
    }
    let pass = |from, to, wanted: &Range<usize>| (from != to).then(|| Taps::new(from, to, filter, wanted.clone()));
    let vertical = pass(in_height, out.0, &ys);
    let horizontal = pass(in_width, out.1, &xs);
    let rows = vertical.as_ref().map_or(ys, Taps::reach);
    let columns = horizontal.as_ref().map_or(xs, Taps::reach);
    let top = rows.start;
    match (vertical, horizontal) {
        (None, None) => gather(image, rows, columns),
        (None, Some(horizontal)) => horizontal_pass(image, rows, &horizontal, 0),
        (Some(vertical), None) => vertical_pass(&gather(image, rows, columns), &vertical, top),
        (Some(vertical), Some(horizontal)) if vertical_first((in_height, in_width), out) => {
            let squeezed = vertical_pass(&gather(image, rows, columns.clone()), &vertical, top);
            horizontal_pass(&squeezed, 0..squeezed.height, &horizontal, columns.start)
        }
        (Some(vertical), Some(horizontal)) => {
            vertical_pass(&horizontal_pass(image, rows, &horizontal, 0), &vertical, top)
        }
    }
}

/// Pillow 13 (pull request 9549) shrinks tall images vertically first; rounding in between makes the order visible.
/// The rule was confirmed on 3000 random sizes, ties included.
fn vertical_first(from: (usize, usize), to: (usize, usize)) -> bool {
    to.0 < from.0 && from.0 + 2 * to.1 > to.0 + 2 * from.1
}

/// The given rows and columns as they are.
fn gather<P: PlanarRows + ?Sized>(image: &P, rows: Range<usize>, columns: Range<usize>) -> Planes8 {
    let (height, width) = (rows.len(), columns.len());
    let mut gathered = Planes8::zeros(height, width);
    let mut block = vec![0; 3 * LANES * width];
    for first in (0..height).step_by(LANES) {
        image.block(rows.start + first, columns.clone(), &mut block);
        let count = LANES.min(height - first) * width;
        for (plane, source) in gathered.planes_mut().zip(block.chunks_exact(LANES * width)) {
            plane[first * width..][..count].copy_from_slice(&source[..count]);
        }
    }
    gathered
}

/// The given rows of an image, resampled along x. `shift` is the column of the original at which `image` starts.
fn horizontal_pass<P: PlanarRows + ?Sized>(image: &P, rows: Range<usize>, taps: &Taps, shift: usize) -> Planes8 {
    let reach = taps.reach();
    let (height, width) = (rows.len(), taps.windows.len());
    let mut narrowed = Planes8::zeros(height, width);
    let mut block = vec![0_u8; 3 * LANES * reach.len()];
    let mut turned = vec![[0_u8; LANES]; reach.len()];
    let mut sums = vec![[0_u8; LANES]; width];
    let arch = pulp::Arch::new();
    for first in (0..height).step_by(LANES) {
        image.block(rows.start + first, reach.start - shift..reach.end - shift, &mut block);
        let count = LANES.min(height - first) * width;
        for (plane, source) in narrowed.planes_mut().zip(block.chunks_exact(LANES * reach.len())) {
            let target = &mut plane[first * width..][..count];
            arch.dispatch(Horizontal {
                plane: source,
                turned: &mut turned,
                taps,
                origin: reach.start,
                sums: &mut sums,
                target,
            });
        }
    }
    narrowed
}

/// An image resampled along y. `origin` is the row of the original at which it starts.
fn vertical_pass(image: &Planes8, taps: &Taps, origin: usize) -> Planes8 {
    let width = image.width;
    let mut squeezed = Planes8::zeros(taps.windows.len(), width);
    let arch = pulp::Arch::new();
    for (plane, source) in squeezed.planes_mut().zip(image.data.chunks_exact(image.height * width)) {
        arch.dispatch(Vertical { source, taps, origin, width, plane });
    }
    squeezed
}

/// The horizontal pass over one block of one channel.
struct Horizontal<'a> {
    /// `[LANES, columns]`.
    plane: &'a [u8],
    turned: &'a mut [[u8; LANES]],
    taps: &'a Taps,
    /// Column of the image at which `plane` starts.
    origin: usize,
    sums: &'a mut [[u8; LANES]],
    /// `[rows, outputs]`, at most `LANES` rows.
    target: &'a mut [u8],
}

impl WithSimd for Horizontal<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        transpose_in(self.plane, self.turned);
        sum_along_x(self.turned, self.taps, self.origin, self.sums);
        transpose_out(self.sums, self.target);
    }
}

/// The vertical pass over one channel.
struct Vertical<'a> {
    /// `[rows, width]`.
    source: &'a [u8],
    taps: &'a Taps,
    /// Row of the image at which `source` starts.
    origin: usize,
    width: usize,
    /// `[outputs, width]`.
    plane: &'a mut [u8],
}

impl WithSimd for Vertical<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        sum_along_y(self.source, self.taps, self.origin, self.width, self.plane);
    }
}

#[inline(always)]
fn clip8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// `[LANES, columns]` bytes to `[columns][LANES]`.
#[inline(always)]
fn transpose_in(plane: &[u8], turned: &mut [[u8; LANES]]) {
    let width = turned.len();
    let rows: [&[u8]; LANES] = std::array::from_fn(|lane| &plane[lane * width..(lane + 1) * width]);
    let whole = width - width % 8;
    for x in (0..whole).step_by(8) {
        for half in 0..2 {
            let tile = std::array::from_fn(|lane| word(&rows[half * 8 + lane][x..x + 8]));
            for (column, bytes) in turned[x..x + 8].iter_mut().zip(transpose_tile(tile)) {
                column[half * 8..half * 8 + 8].copy_from_slice(&bytes.to_le_bytes());
            }
        }
    }
    for (x, column) in turned.iter_mut().enumerate().skip(whole) {
        *column = std::array::from_fn(|lane| rows[lane][x]);
    }
}

/// `[columns][LANES]` bytes to the first rows of `[LANES, columns]`, as many as `target` holds.
#[inline(always)]
fn transpose_out(turned: &[[u8; LANES]], target: &mut [u8]) {
    let width = turned.len();
    let whole = width - width % 8;
    for (pair, rows) in target.chunks_mut(8 * width).enumerate() {
        let lanes = pair * 8..pair * 8 + 8;
        for x in (0..whole).step_by(8) {
            let tile = std::array::from_fn(|column| word(&turned[x + column][lanes.clone()]));
            for (row, bytes) in rows.chunks_exact_mut(width).zip(transpose_tile(tile)) {
                row[x..x + 8].copy_from_slice(&bytes.to_le_bytes());
            }
        }
        for (lane, row) in rows.chunks_exact_mut(width).enumerate() {
            for x in whole..width {
                row[x] = turned[x][pair * 8 + lane];
            }
        }
    }
}

#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Transposes 8×8 bytes held as eight little-endian words (three rounds of block swaps; Warren, Hacker's Delight, 7-3).
#[inline(always)]
fn transpose_tile(mut tile: [u64; 8]) -> [u64; 8] {
    const ROUNDS: [(usize, u64); 3] =
        [(4, 0x0000_0000_ffff_ffff), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)];
    for (distance, mask) in ROUNDS {
        for upper in 0..8 {
            if upper & distance == 0 {
                let lower = upper + distance;
                let shift = 8 * distance as u32;
                let swap = ((tile[upper] >> shift) ^ tile[lower]) & mask;
                tile[lower] ^= swap;
                tile[upper] ^= swap << shift;
            }
        }
    }
    tile
}

#[inline(always)]
fn sum_along_x(turned: &[[u8; LANES]], taps: &Taps, origin: usize, sums: &mut [[u8; LANES]]) {
    for (output, target) in sums.iter_mut().enumerate() {
        let (window, weights) = taps.of(output);
        let mut sum = [1_i32 << (PRECISION_BITS - 1); LANES];
        for (column, &weight) in turned[window.start - origin..window.end - origin].iter().zip(weights) {
            for (sum, &byte) in sum.iter_mut().zip(column) {
                *sum += weight * i32::from(byte);
            }
        }
        for (byte, sum) in target.iter_mut().zip(sum) {
            *byte = clip8(sum);
        }
    }
}

#[inline(always)]
fn sum_along_y(source: &[u8], taps: &Taps, origin: usize, width: usize, plane: &mut [u8]) {
    const CHUNK: usize = 32;
    for (output, target) in plane.chunks_exact_mut(width).enumerate() {
        let (window, weights) = taps.of(output);
        let rows = &source[(window.start - origin) * width..(window.end - origin) * width];
        let (chunks, tail) = target.as_chunks_mut::<CHUNK>();
        for (index, chunk) in chunks.iter_mut().enumerate() {
            let mut sum = [1_i32 << (PRECISION_BITS - 1); CHUNK];
            for (row, &weight) in rows.chunks_exact(width).zip(weights) {
                for (sum, &byte) in sum.iter_mut().zip(&row[index * CHUNK..][..CHUNK]) {
                    *sum += weight * i32::from(byte);
                }
            }
            for (byte, sum) in chunk.iter_mut().zip(sum) {
                *byte = clip8(sum);
            }
        }
        let start = width - tail.len();
        for (x, byte) in tail.iter_mut().enumerate() {
            let column = rows.chunks_exact(width).zip(weights).map(|(row, &weight)| weight * i32::from(row[start + x]));
            *byte = clip8(column.fold(1 << (PRECISION_BITS - 1), |sum, term| sum + term));
        }
    }
}
