//! JPEG planes before colour: libjpeg's fancy upsampling and YCbCr → RGB, row by row, only where pixels are wanted.
//!
//! Chroma lies between luma samples, so each output takes ¾ of the nearer sample and ¼ of the farther one, with the
//! rounding bias alternating (an ordered dither). With `s = 3·near + far` down the columns:
//!
//! ```text
//! 2×1  even (3c_i + c_{i−1} + 1) >> 2    odd (3c_i + c_{i+1} + 2) >> 2
//! 1×2  upper (s + 1) >> 2                lower (s + 2) >> 2
//! 2×2  even (3s_i + s_{i−1} + 8) >> 4    odd (3s_i + s_{i+1} + 7) >> 4
//!
//! R = Y + (91881·Cr' + 2¹⁵ >> 16)   B = Y + (116130·Cb' + 2¹⁵ >> 16)   G = Y + (−22554·Cb' − 46802·Cr' + 2¹⁵ >> 16)
//! ```
//!
//! with Cb' = Cb − 128, Cr' = Cr − 128, clamped to bytes; the image's edges repeat. The same integers as libjpeg, so the
//! same bytes; but written as plain loops that the compiler turns into vector code for the machine at hand, where
//! libjpeg needs an assembler at build time, and skipping what the crop discards. Source: libjpeg-turbo `jdsample.c`,
//! `jdcolor.c`, `jdmainct.c` (context rows).

#![expect(clippy::inline_always, reason = "code that is not inlined escapes the vector features of the dispatch")]

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::pixels::Rgb8;
use crate::resize::{LANES, PlanarRows};

/// One decoded component.
pub(crate) struct Plane {
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Real columns.
    pub width: usize,
    /// Real rows; the buffer may hold more.
    pub height: usize,
    pub data: Vec<u8>,
}

/// A YCbCr image whose chroma has full or half resolution along each axis.
pub(crate) struct Ycc {
    pub width: usize,
    pub height: usize,
    /// Chroma columns are shared by two luma columns.
    pub halved_across: bool,
    /// Chroma rows are shared by two luma rows.
    pub halved_down: bool,
    /// Y, Cb, Cr.
    pub planes: [Plane; 3],
}

impl Plane {
    #[inline(always)]
    fn row(&self, y: usize, columns: &Range<usize>) -> &[u8] {
        &self.data[y * self.stride + columns.start..y * self.stride + columns.end]
    }
}

impl Ycc {
    /// Every pixel, interleaved.
    pub(crate) fn to_rgb(&self) -> Rgb8 {
        let width = self.width;
        let mut data = vec![0; self.height * width * 3];
        let mut block = vec![0; 3 * LANES * width];
        for (index, rows) in data.chunks_mut(LANES * width * 3).enumerate() {
            self.block(index * LANES, 0..width, &mut block);
            let (red, rest) = block.split_at(LANES * width);
            let (green, blue) = rest.split_at(LANES * width);
            for (((pixel, r), g), b) in rows.as_chunks_mut().0.iter_mut().zip(red).zip(green).zip(blue) {
                *pixel = [*r, *g, *b];
            }
        }
        Rgb8 { width, height: self.height, data }
    }
}

impl PlanarRows for Ycc {
    fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    fn block(&self, first: usize, columns: Range<usize>, planes: &mut [u8]) {
        let width = columns.len();
        let mut rows = ChromaRows::new(self, &columns);
        let (red, rest) = planes.split_at_mut(LANES * width);
        let (green, blue) = rest.split_at_mut(LANES * width);
        let lines = red.chunks_exact_mut(width).zip(green.chunks_exact_mut(width)).zip(blue.chunks_exact_mut(width));
        let arch = pulp::Arch::new();
        for (lane, ((red, green), blue)) in lines.enumerate() {
            let y = (first + lane).min(self.height - 1);
            let luma = self.planes[0].row(y, &columns);
            arch.dispatch(Colour { image: self, y, luma, rows: &mut rows, red, green, blue });
        }
    }
}

/// One row from planes to colours.
struct Colour<'a> {
    image: &'a Ycc,
    y: usize,
    luma: &'a [u8],
    rows: &'a mut ChromaRows,
    red: &'a mut [u8],
    green: &'a mut [u8],
    blue: &'a mut [u8],
}

impl WithSimd for Colour<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        self.rows.upsample(self.image, self.y);
        let [blue_row, red_row] = self.rows.rows();
        convert(self.luma, blue_row, red_row, [self.red, self.green, self.blue]);
    }
}

/// Upsampled Cb and Cr of one row, for the columns that are wanted.
struct ChromaRows {
    /// Chroma columns read, before and after which one more is kept.
    chroma: Range<usize>,
    /// Where the wanted columns start in `expanded`.
    skip: usize,
    width: usize,
    /// Column sums, with one neighbour on each side.
    sums: Vec<u16>,
    expanded: [Vec<u8>; 2],
}

impl ChromaRows {
    fn new(image: &Ycc, columns: &Range<usize>) -> Self {
        let (chroma, skip) = if image.halved_across {
            let chroma = columns.start / 2..columns.end.div_ceil(2);
            let skip = columns.start - 2 * chroma.start;
            (chroma, skip)
        } else {
            (columns.clone(), 0)
        };
        let expanded = chroma.len() * if image.halved_across { 2 } else { 1 };
        Self {
            sums: vec![0; chroma.len() + 2],
            expanded: [vec![0; expanded], vec![0; expanded]],
            skip,
            width: columns.len(),
            chroma,
        }
    }

    #[inline(always)]
    fn rows(&self) -> [&[u8]; 2] {
        [0, 1].map(|index| &self.expanded[index][self.skip..self.skip + self.width])
    }

    #[inline(always)]
    fn upsample(&mut self, image: &Ycc, y: usize) {
        for (plane, expanded) in image.planes[1..].iter().zip(&mut self.expanded) {
            let near = if image.halved_down { y / 2 } else { y };
            let far = if !image.halved_down {
                near
            } else if y.is_multiple_of(2) {
                near.saturating_sub(1)
            } else {
                (near + 1).min(plane.height - 1)
            };
            let (near, far) = (plane.row(near, &(0..plane.width)), plane.row(far, &(0..plane.width)));
            let columns = self.chroma.clone();
            match (image.halved_across, image.halved_down) {
                (false, false) => expanded.copy_from_slice(&near[columns]),
                (false, true) => {
                    let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                    for ((out, &near), &far) in expanded.iter_mut().zip(&near[columns.clone()]).zip(&far[columns]) {
                        *out = ((u16::from(near) * 3 + u16::from(far) + bias) >> 2) as u8;
                    }
                }
                (true, down) => {
                    let sums = &mut self.sums[..];
                    let weight = if down { 3 } else { 1 };
                    let sum = |x: usize| u16::from(near[x]) * weight + if down { u16::from(far[x]) } else { 0 };
                    sums[0] = sum(columns.start.saturating_sub(1));
                    sums[columns.len() + 1] = sum(columns.end.min(plane.width - 1));
                    let inner = sums[1..].iter_mut().zip(&near[columns.clone()]).zip(&far[columns]);
                    if down {
                        inner.for_each(|((sum, &near), &far)| *sum = u16::from(near) * 3 + u16::from(far));
                        expand::<8, 7, 4>(sums, expanded);
                    } else {
                        inner.for_each(|((sum, &near), _)| *sum = u16::from(near));
                        expand::<1, 2, 2>(sums, expanded);
                    }
                }
            }
        }
    }
}

/// Two outputs for each inner sum.
#[inline(always)]
fn expand<const EVEN: u16, const ODD: u16, const SHIFT: u32>(sums: &[u16], expanded: &mut [u8]) {
    let pairs = expanded.as_chunks_mut::<2>().0;
    let inner = pairs.len();
    let (before, at, after) = (&sums[..inner], &sums[1..=inner], &sums[2..inner + 2]);
    for (((pair, &before), &at), &after) in pairs.iter_mut().zip(before).zip(at).zip(after) {
        *pair = [((3 * at + before + EVEN) >> SHIFT) as u8, ((3 * at + after + ODD) >> SHIFT) as u8];
    }
}

#[inline(always)]
fn convert(luma: &[u8], blue_chroma: &[u8], red_chroma: &[u8], [red, green, blue]: [&mut [u8]; 3]) {
    let length = luma.len();
    let (blue_chroma, red_chroma) = (&blue_chroma[..length], &red_chroma[..length]);
    let (red, green, blue) = (&mut red[..length], &mut green[..length], &mut blue[..length]);
    for x in 0..length {
        let y = i32::from(luma[x]);
        let cb = i32::from(blue_chroma[x]) - 128;
        let cr = i32::from(red_chroma[x]) - 128;
        red[x] = (y + ((91881 * cr + 32768) >> 16)).clamp(0, 255) as u8;
        green[x] = (y + ((-22554 * cb - 46802 * cr + 32768) >> 16)).clamp(0, 255) as u8;
        blue[x] = (y + ((116130 * cb + 32768) >> 16)).clamp(0, 255) as u8;
    }
}
