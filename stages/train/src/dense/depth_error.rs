//! Errors of depth.
//!
//! ```text
//! RMSE = √(mean (d − t)²)    AbsRel = mean |d − t|/t    δ₁ = share of pixels with max(d/t, t/d) < 1.25
//! ```
//!
//! Each is of one image, over pixels with above < t < below inside the crop, and the score is the mean over images: a
//! set's pooled RMSE is another, larger number. Source: Monocular-Depth-Estimation-Toolbox `depth/core/evaluation`
//! (`eval_metrics`, `pre_eval`); crop of Eigen et al., as in `depth/datasets/nyu.py`.

use serde::{Deserialize, Serialize};

use super::error::DenseError;

/// Which pixels are judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthScore {
    /// Truths above this.
    pub above_m: f64,
    /// Truths below this.
    pub below_m: f64,
    /// Rows from, to (exclusive), columns from, to: of maps of that size at least; `None`: everywhere.
    pub crop: Option<[u32; 4]>,
}

impl DepthScore {
    pub(crate) fn check(self) -> Result<(), DenseError> {
        if !(self.above_m >= 0.0 && self.above_m < self.below_m && self.below_m.is_finite()) {
            return Err(DenseError::Range { name: "below_m", value: self.below_m });
        }
        match self.crop {
            Some([top, bottom, left, right]) if top >= bottom || left >= right => {
                Err(DenseError::Range { name: "crop", value: f64::from(top.max(left)) })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn holds(self, truth: f32, y: usize, x: usize) -> bool {
        let t = f64::from(truth);
        if !(t > self.above_m && t < self.below_m) {
            return false;
        }
        let within = |v: usize, from: u32, to: u32| (from as usize..to as usize).contains(&v);
        self.crop.is_none_or(|[top, bottom, left, right]| within(y, top, bottom) && within(x, left, right))
    }
}

/// Sums over the pixels of one image.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct DepthErrors {
    squares: f64,
    relative: f64,
    close: u64,
    pixels: u64,
}

impl DepthErrors {
    pub(crate) fn pixel(&mut self, truth: f32, answer: f32) {
        let (t, d) = (f64::from(truth), f64::from(answer));
        self.squares += (d - t) * (d - t);
        self.relative += (d - t).abs() / t;
        self.close += u64::from((d / t).max(t / d) < 1.25);
        self.pixels += 1;
    }

    /// RMSE, `AbsRel` and δ₁; `None` where no pixel is judged.
    pub(crate) fn scores(&self) -> Option<[f64; 3]> {
        let n = self.pixels as f64;
        (self.pixels > 0).then(|| [(self.squares / n).sqrt(), self.relative / n, self.close as f64 / n])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: errors of 1 at a truth of 2 and of 0 at a truth of 4.
    #[test]
    fn errors_are_those_of_the_formulas() {
        let mut errors = DepthErrors::default();
        assert_eq!(errors.scores(), None);
        errors.pixel(2.0, 3.0);
        errors.pixel(4.0, 4.0);
        let [rmse, relative, close] = errors.scores().unwrap_or_default();
        assert!((rmse - 0.5f64.sqrt()).abs() < 1e-12);
        assert_eq!((relative, close), (0.25, 0.5));
    }

    /// Breaks when an end of the crop is included.
    #[test]
    fn a_crop_ends_before_its_last_number() {
        let score = DepthScore { above_m: 0.5, below_m: 10.0, crop: Some([45, 471, 41, 601]) };
        assert!(score.holds(1.0, 45, 41) && score.holds(1.0, 470, 600));
        assert!(!score.holds(1.0, 44, 41) && !score.holds(1.0, 471, 41) && !score.holds(1.0, 45, 601));
        assert!(!score.holds(0.5, 45, 41) && !score.holds(10.0, 45, 41) && score.holds(9.99, 45, 41));
        assert!(DepthScore { crop: Some([3, 3, 0, 1]), ..score }.check().is_err());
        assert!(DepthScore { below_m: 0.5, ..score }.check().is_err());
    }
}
