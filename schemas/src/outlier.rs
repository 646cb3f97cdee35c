//! Which patch tokens are outliers: the policies in use, and the valley between two modes of norms.
//!
//! A policy looks at the patch norms of one image. Two of them (`valley`, `top_fraction` over all images) first need a
//! cut-off from a small calibration pass, which this module also computes.
//!
//! **Valley.** The density of ln(norm) is a histogram of bins of 0.01 smoothed by a Gaussian of width h, tried at
//! h = 0.05, 0.1 and 0.2. Let m be its highest peak, u a peak above it and v the lowest point between them:
//! `depth = 1 − d(v)/d(u)`. The pair counts as a second mode when
//! - depth ≥ 0.5,
//! - u ≥ 1.5 × the median norm,
//! - tokens above v are between 0.1 % and 25 % of all: a minority, but not single tokens of a heavy tail,
//! - the counts under the kernel differ by more than 4 σ of their Poisson noise, `N(u) − N(v) > 4·√(N(u) + N(v))`.
//!
//! The pair with the largest persistence `d(u) − d(v)` of the narrowest h that has one gives the cut-off `exp(v)`;
//! where v is a flat stretch (an empty gap) its middle is taken, the geometric mean of the gap's ends.
//!
//! Logarithms because the modes differ by factors (ViT-L/14 and g/14: about 10); several widths because the second mode
//! may be narrow with few tokens or wide; counts because a tail of single tokens has deep valleys everywhere.
//!
//! Source of the policies: "Vision Transformers Need Registers" §2 (fixed cut-off of 150), its reproducibility study
//! (fixed 100; top 5 %; strictly greater than the 10th largest). The valley replaces a cut-off picked by hand.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Rule that calls patch tokens outliers by their norm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum OutlierPolicy {
    /// Norm strictly above a given value.
    Fixed {
        /// The value.
        cutoff: f32,
    },
    /// Norm strictly above the (1 − frac) quantile (linear interpolation).
    TopFraction {
        /// Share of tokens, in (0, 1).
        frac: f64,
        /// Tokens among which the quantile is taken.
        over: Scope,
    },
    /// Norm strictly greater than the n-th largest of the image: n − 1 tokens when all norms differ.
    NthLargest {
        /// Rank, from 1; at 1 no token is an outlier.
        n: u32,
    },
    /// Norm strictly above the valley between the two modes; nothing is an outlier where there is one mode only.
    Valley {
        /// Images of the calibration pass.
        images: u32,
    },
}

/// Tokens among which a fraction is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scope {
    /// The patches of one image.
    Image,
    /// The patches of the first images of the run.
    All {
        /// Images of the calibration pass.
        images: u32,
    },
}

/// A policy that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum PolicyError {
    /// A fixed cut-off is not a positive number.
    #[error("outlier cut-off {0} is not a positive number; norms are positive, the paper uses 150")]
    Cutoff(f32),
    /// A fraction is outside (0, 1).
    #[error("outlier fraction {0} is not between 0 and 1; the study uses 0.05")]
    Fraction(f64),
    /// The rank is 0.
    #[error("outlier rank 0 does not exist; ranks start at 1, the study uses 10")]
    Rank,
    /// A calibration pass of no images.
    #[error("a calibration pass of 0 images finds no cut-off; 64 are usually enough")]
    NoImages,
}

/// What a calibration pass found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Valley {
    /// A patch above it is an outlier. `None`: one mode, no outliers.
    pub cutoff: Option<f32>,
    /// `1 − d(valley)/d(lower peak)`, in [0, 1]; 0 without a valley.
    pub depth: f32,
    /// Median norm; 0 when there were none.
    pub median: f32,
}

impl OutlierPolicy {
    /// Whether the policy's parameters make sense.
    pub fn check(&self) -> Result<(), PolicyError> {
        match *self {
            Self::Fixed { cutoff } if !(cutoff.is_finite() && cutoff > 0.0) => Err(PolicyError::Cutoff(cutoff)),
            Self::TopFraction { frac, .. } if !(frac > 0.0 && frac < 1.0) => Err(PolicyError::Fraction(frac)),
            Self::NthLargest { n: 0 } => Err(PolicyError::Rank),
            Self::Valley { images: 0 } | Self::TopFraction { over: Scope::All { images: 0 }, .. } => {
                Err(PolicyError::NoImages)
            }
            _ => Ok(()),
        }
    }

    /// Images whose norms [`Self::calibrate`] must see before [`Self::mark`]; `None` when the policy needs no calibration.
    pub fn calibration_images(&self) -> Option<u32> {
        match *self {
            Self::Valley { images } | Self::TopFraction { over: Scope::All { images }, .. } => Some(images),
            Self::Fixed { .. } | Self::NthLargest { .. } | Self::TopFraction { over: Scope::Image, .. } => None,
        }
    }

    /// Cut-off from the patch norms of the calibration pass, whose order does not matter and is not kept.
    pub fn calibrate(&self, norms: &mut [f32]) -> Valley {
        let found = valley(norms);
        match *self {
            Self::TopFraction { frac, over: Scope::All { .. } } => {
                Valley { cutoff: quantile_sorted(norms, 1.0 - frac), ..found }
            }
            Self::Fixed { cutoff } => Valley { cutoff: Some(cutoff), ..found },
            Self::NthLargest { .. } | Self::TopFraction { .. } => Valley { cutoff: None, ..found },
            Self::Valley { .. } => found,
        }
    }

    /// Outliers among the patch norms of one image. `cutoff` is what [`Self::calibrate`] found; policies that need no
    /// calibration ignore it. A norm that is not a number is no outlier.
    pub fn mark(&self, norms: &[f32], cutoff: Option<f32>) -> Vec<bool> {
        let threshold = match *self {
            Self::Fixed { cutoff } => Some(cutoff),
            Self::Valley { .. } | Self::TopFraction { over: Scope::All { .. }, .. } => cutoff,
            Self::TopFraction { frac, over: Scope::Image } => {
                let mut sorted = norms.to_vec();
                sorted.sort_unstable_by(f32::total_cmp);
                quantile_sorted(&sorted, 1.0 - frac)
            }
            Self::NthLargest { n } => {
                let mut sorted = norms.to_vec();
                sorted.sort_unstable_by(|a, b| b.total_cmp(a));
                // Fewer than n patches: none of them is the n-th largest, so nothing exceeds it.
                sorted.get((n.max(1) - 1) as usize).copied()
            }
        };
        norms.iter().map(|&norm| threshold.is_some_and(|t| norm > t)).collect()
    }
}

/// Quantile q ∈ [0, 1] of values in ascending order, as `NumPy`'s default: linear interpolation at index q·(n − 1).
pub fn quantile_sorted(sorted: &[f32], q: f64) -> Option<f32> {
    let last = sorted.len().checked_sub(1)?;
    let at = q.clamp(0.0, 1.0) * last as f64;
    let low = at.floor() as usize;
    let (a, b) = (f64::from(sorted[low]), f64::from(sorted[(low + 1).min(last)]));
    Some((a + (b - a) * (at - low as f64)) as f32)
}

/// Width of a bin of ln(norm).
const BIN: f64 = 0.01;
/// Widths h of the smoothing Gaussian, in ln(norm).
const WIDTHS: [f64; 3] = [0.05, 0.1, 0.2];
/// Fewer tokens than this have no reliable second mode.
const MIN_TOKENS: usize = 100;
const MIN_DEPTH: f64 = 0.5;
const MIN_RATIO: f64 = 1.5;
const MIN_SHARE: f64 = 0.001;
const MAX_SHARE: f64 = 0.25;
const MIN_SIGMA: f64 = 4.0;

/// Finds the valley between the modes of positive norms; sorts them in place.
///
/// Zeros and values that are not finite take no part in the density (their logarithm does not exist).
pub fn valley(norms: &mut [f32]) -> Valley {
    norms.sort_unstable_by(f32::total_cmp);
    let median = quantile_sorted(norms, 0.5).unwrap_or(0.0);
    let one_mode = Valley { cutoff: None, depth: 0.0, median };
    let logs: Vec<f64> = norms.iter().filter(|n| n.is_finite() && **n > 0.0).map(|&n| f64::from(n).ln()).collect();
    let (Some(&low), Some(&high)) = (logs.first(), logs.last()) else {
        return one_mode;
    };
    if logs.len() < MIN_TOKENS || median <= 0.0 {
        return one_mode;
    }

    // Room for the widest kernel on both sides, so that a mode at an end is a peak and not an edge.
    let pad = 4.0 * WIDTHS[WIDTHS.len() - 1];
    let start = low - pad;
    let bins = ((high + pad - start) / BIN).ceil() as usize + 1;
    let mut counts = vec![0.0; bins];
    for x in &logs {
        counts[((x - start) / BIN) as usize] += 1.0;
    }
    let centre = |bin: f64| start + (bin + 0.5) * BIN;

    for h in WIDTHS {
        let density = smooth(&counts, h / BIN);
        // Tokens under the kernel at a point: density · 2√π·h, the kernel's equivalent width.
        let tokens_at = |d: f64| d * 2.0 * std::f64::consts::PI.sqrt() * h / BIN;
        let mut best: Option<(f64, f64, f64)> = None; // persistence, valley bin, depth
        for (lowest, bottom, top) in second_modes(&density) {
            let depth = 1.0 - density[bottom] / density[top];
            let above = logs.len() - logs.partition_point(|&x| x <= centre(lowest));
            let share = above as f64 / norms.len() as f64;
            let (n_top, n_bottom) = (tokens_at(density[top]), tokens_at(density[bottom]));
            let persistence = density[top] - density[bottom];
            if depth >= MIN_DEPTH
                && centre(top as f64).exp() >= MIN_RATIO * f64::from(median)
                && (MIN_SHARE..=MAX_SHARE).contains(&share)
                && n_top - n_bottom > MIN_SIGMA * (n_top + n_bottom).sqrt()
                && best.is_none_or(|(p, ..)| persistence > p)
            {
                best = Some((persistence, lowest, depth));
            }
        }
        if let Some((_, bin, depth)) = best {
            return Valley { cutoff: Some(centre(bin).exp() as f32), depth: depth as f32, median };
        }
    }
    one_mode
}

/// Gaussian smoothing of counts, `sigma` in bins, cut at 4 σ; empty stretches stay exactly 0.
fn smooth(counts: &[f64], sigma: f64) -> Vec<f64> {
    let reach = (4.0 * sigma).ceil() as usize;
    let mut kernel: Vec<f64> = (0..=reach).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
    let total = kernel[0] + 2.0 * kernel[1..].iter().sum::<f64>();
    for k in &mut kernel {
        *k /= total;
    }
    let mut density = vec![0.0; counts.len()];
    for (i, &count) in counts.iter().enumerate().filter(|(_, c)| **c > 0.0) {
        for j in i.saturating_sub(reach)..(i + reach + 1).min(counts.len()) {
            density[j] += count * kernel[i.abs_diff(j)];
        }
    }
    density
}

/// Every peak above the highest one, with the lowest point between the two:
/// (middle of the lowest stretch, a bin of it, bin of the peak).
fn second_modes(density: &[f64]) -> Vec<(f64, usize, usize)> {
    let Some(main) = (0..density.len()).max_by(|&a, &b| density[a].total_cmp(&density[b])) else {
        return Vec::new();
    };
    let mut modes = Vec::new();
    let (mut first, mut last) = (main, main); // the lowest stretch so far
    for i in main + 1..density.len().saturating_sub(1) {
        let d = density[i];
        if d < density[first] {
            (first, last) = (i, i);
        } else if d == density[first] && last + 1 == i {
            last = i;
        }
        let peak = d > density[i - 1] && d >= density[i + 1];
        if peak && d > density[first] {
            modes.push(((first + last) as f64 / 2.0, first, i));
        }
    }
    modes
}

#[cfg(test)]
mod tests;
