//! The integer weights of a resampling pass: which samples each output reads, and how much of each.

#![expect(clippy::inline_always, reason = "code that is not inlined escapes the vector features of the dispatch")]

use std::ops::Range;

use crate::preprocess::Filter;

/// Fraction bits of a weight.
pub(super) const PRECISION_BITS: u32 = 22;

/// The weights of one pass, for the outputs that are wanted.
pub(super) struct Taps {
    /// First sample read by each output, and how many.
    pub windows: Vec<Range<usize>>,
    /// `[outputs, stride]`, zeros after the window.
    weights: Vec<i32>,
    stride: usize,
}

impl Taps {
    pub fn new(in_len: usize, out_len: usize, filter: Filter, wanted: Range<usize>) -> Self {
        let scale = in_len as f64 / out_len as f64;
        let filter_scale = scale.max(1.0);
        let support = filter_support(filter) * filter_scale;
        let stride = support.ceil() as usize * 2 + 1;
        let inverse = 1.0 / filter_scale;
        let mut windows = Vec::with_capacity(wanted.len());
        let mut weights = vec![0; wanted.len() * stride];
        let mut exact = vec![0.0_f64; stride];
        for (output, weights) in wanted.zip(weights.chunks_exact_mut(stride)) {
            let centre = (output as f64 + 0.5) * scale;
            // Casts truncate towards zero and stop at zero, like the C cast followed by its own clamp.
            let start = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(in_len);
            let exact = &mut exact[..end - start];
            let mut total = 0.0;
            for (offset, weight) in exact.iter_mut().enumerate() {
                *weight = filter_at(filter, ((offset + start) as f64 - centre + 0.5) * inverse);
                total += *weight;
            }
            for (fixed, weight) in weights.iter_mut().zip(exact) {
                let share = if total == 0.0 { *weight } else { *weight / total };
                let scaled = share * f64::from(1 << PRECISION_BITS);
                *fixed = (if share < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32;
            }
            windows.push(start..end);
        }
        Self { windows, weights, stride }
    }

    /// Every sample that any output reads.
    pub fn reach(&self) -> Range<usize> {
        let start = self.windows.first().map_or(0, |window| window.start);
        let end = self.windows.last().map_or(0, |window| window.end);
        start..end
    }

    #[inline(always)]
    pub fn of(&self, output: usize) -> (Range<usize>, &[i32]) {
        let window = self.windows[output].clone();
        let weights = &self.weights[output * self.stride..][..window.len()];
        (window, weights)
    }
}

fn filter_support(filter: Filter) -> f64 {
    match filter {
        Filter::Bicubic => 2.0,
        Filter::Bilinear | Filter::Cv2Bilinear => 1.0,
    }
}

fn filter_at(filter: Filter, x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    match filter {
        Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        Filter::Bilinear | Filter::Cv2Bilinear if x < 1.0 => 1.0 - x,
        _ => 0.0,
    }
}
