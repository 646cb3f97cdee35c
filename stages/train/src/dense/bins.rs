//! Depth as a mean over bins, and the loss in logarithms of Eigen et al. as `DINOv2` uses it.
//!
//! ```text
//! q_k = ReLU(z_k) + 0.1,  depth = Σ q_k·bin_k / Σ q_k          ∂depth/∂z_k = [z_k > 0]·(bin_k − depth)/Σ q
//! g = ln(depth + 0.001) − ln(truth + 0.001) where truth > 0
//! loss = √(var(g) + 0.15·mean(g)²), var over n − 1;  in the warm-up √(0.15·mean(g)²)
//! ```
//!
//! The features are resized ×4 before the head in the reference; here the logits are, which is the same (see
//! [`resize`](super::resize)). `DINOv2`'s other loss, `GradientLoss`, is not here: as coded it strides and subtracts along
//! the batch and channel axes of a (B, 1, H, W) tensor, so that with the two images of a GPU it is exactly 0.
//!
//! Source: dinov2 `eval/depth/models/decode_heads`, `losses/sigloss.py`, `losses/gradientloss.py`.

use super::resize::{Axis, Field};

const FLOOR: f32 = 0.1;
const EPS: f32 = 0.001;
const BALANCE: f64 = 0.15;

/// Evenly spaced depths, both ends included.
pub(crate) fn evenly_spaced(count: usize, min: f64, max: f64) -> Vec<f32> {
    (0..count).map(|i| (min + (max - min) * i as f64 / (count - 1) as f64) as f32).collect()
}

/// Depth of one place, and the sum that its weights are divided by.
fn depth(logits: &[f32], bins: &[f32]) -> (f32, f32) {
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (z, bin) in logits.iter().zip(bins) {
        let q = z.max(0.0) + FLOOR;
        sum += q;
        weighted += q * bin;
    }
    (weighted / sum, sum)
}

fn enlarged(logits: &Field, factor: usize) -> (Axis, Axis) {
    (Axis::stretch(logits.h, logits.h * factor), Axis::stretch(logits.w, logits.w * factor))
}

/// Depth at each place of the enlarged answer.
pub(crate) fn depths(logits: &Field, factor: usize, bins: &[f32]) -> Field {
    let (rows, columns) = enlarged(logits, factor);
    let mut values = Vec::with_capacity(rows.len() * columns.len());
    logits.resized(&rows, &columns, |_, _, z| values.push(depth(z, bins).0));
    Field { h: rows.len(), w: columns.len(), k: 1, values }
}

/// From the derivative with respect to those depths to the one with respect to the logits.
pub(crate) fn depths_derivative(logits: &Field, factor: usize, bins: &[f32], by_depth: &[f32]) -> Vec<f32> {
    let (rows, columns) = enlarged(logits, factor);
    logits.derivative(&rows, &columns, |y, x, z| {
        let slope = by_depth[y * columns.len() + x];
        if slope == 0.0 {
            return false;
        }
        let (depth, sum) = depth(z, bins);
        let slope = slope / sum;
        for (z, bin) in z.iter_mut().zip(bins) {
            *z = if *z > 0.0 { slope * (bin - depth) } else { 0.0 };
        }
        true
    })
}

/// The sum of squared differences from the truth, and their number.
pub(crate) fn squares(depths: &Field, (rows, columns): (&Axis, &Axis), truth: &[f32]) -> (f64, u64) {
    let (mut sum, mut pixels) = (0.0, 0);
    depths.resized(rows, columns, |y, x, d| {
        let t = truth[y * columns.len() + x];
        if t > 0.0 {
            sum += f64::from(d[0] - t).powi(2);
            pixels += 1;
        }
    });
    (sum, pixels)
}

/// Its derivative with respect to the depths, times `scale`.
pub(crate) fn squares_by_depth(depths: &Field, (rows, columns): (&Axis, &Axis), truth: &[f32], scale: f64) -> Vec<f32> {
    depths.derivative(rows, columns, |y, x, d| {
        let t = truth[y * columns.len() + x];
        d[0] = (2.0 * scale * f64::from(d[0] - t)) as f32;
        t > 0.0
    })
}

/// Sums of g over some pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct LogErrors {
    sum: f64,
    squares: f64,
    pixels: u64,
}

/// A loss and its derivative with respect to each g: `at_zero + slope·g`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct LogLoss {
    pub value: f64,
    at_zero: f64,
    slope: f64,
}

fn log_error(depth: f32, truth: f32) -> f32 {
    libm::logf(depth + EPS) - libm::logf(truth + EPS)
}

impl LogErrors {
    /// Of depths resized to the truth.
    pub(crate) fn of(depths: &Field, (rows, columns): (&Axis, &Axis), truth: &[f32]) -> Self {
        let mut errors = Self::default();
        depths.resized(rows, columns, |y, x, d| {
            let t = truth[y * columns.len() + x];
            if t > 0.0 {
                let g = f64::from(log_error(d[0], t));
                errors.sum += g;
                errors.squares += g * g;
                errors.pixels += 1;
            }
        });
        errors
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.squares += other.squares;
        self.pixels += other.pixels;
    }

    /// The loss of these pixels together; 0 without pixels, where PyTorch's would be no number.
    pub(crate) fn loss(&self, warm_up: bool) -> LogLoss {
        if self.pixels == 0 {
            return LogLoss::default();
        }
        let n = self.pixels as f64;
        let mean = self.sum / n;
        let free = (n - 1.0).max(1.0);
        let variance = if warm_up { 0.0 } else { (self.squares - self.sum * mean).max(0.0) / free };
        let value = (variance + BALANCE * mean * mean).sqrt();
        if value == 0.0 {
            return LogLoss::default();
        }
        let slope = if warm_up { 0.0 } else { 1.0 / (free * value) };
        LogLoss { value, at_zero: BALANCE * mean / (n * value) - slope * mean, slope }
    }
}

impl LogLoss {
    /// The derivative with respect to the depths, times `scale`.
    pub(crate) fn by_depth(
        &self,
        depths: &Field,
        (rows, columns): (&Axis, &Axis),
        truth: &[f32],
        scale: f64,
    ) -> Vec<f32> {
        depths.derivative(rows, columns, |y, x, d| {
            let t = truth[y * columns.len() + x];
            if t <= 0.0 {
                return false;
            }
            let g = f64::from(log_error(d[0], t));
            d[0] = (scale * (self.at_zero + self.slope * g) / f64::from(d[0] + EPS)) as f32;
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn logits() -> Field {
        let mut random = SplitMix64::new(9, 0);
        Field { h: 2, w: 3, k: 8, values: (0..48).map(|_| random.normal() as f32).collect() }
    }

    /// Closed form: logits of 0 or less give the middle of the bins; one very large logit gives its bin.
    #[test]
    fn depths_are_means_over_bins() {
        let bins = evenly_spaced(256, 0.001, 10.0);
        assert_eq!((bins[0], bins[255]), (0.001, 10.0));
        let mut field = Field { h: 1, w: 1, k: 256, values: vec![-3.0; 256] };
        assert!((depths(&field, 4, &bins).values[5] - 5.0005).abs() < 1e-4);
        field.values[100] = 1e9;
        assert!((depths(&field, 1, &bins).values[0] - bins[100]).abs() < 1e-4);
    }

    /// Closed form: depths that are all e² too large in (d + ε) have no variance: the loss is √0.15·2, its derivative with
    /// respect to the common g √0.15.
    #[test]
    fn a_common_factor_costs_the_balance_alone() {
        let truth = [1.0, 2.0, 0.0, 5.0];
        let values = truth.map(|t: f32| (t + EPS) * 2f32.exp() - EPS).to_vec();
        let depths = Field { h: 2, w: 2, k: 1, values };
        let axes = (&Axis::stretch(2, 2), &Axis::stretch(2, 2));
        let errors = LogErrors::of(&depths, axes, &truth);
        assert_eq!(errors.pixels, 3);
        let warm = errors.loss(true);
        assert!((warm.value - BALANCE.sqrt() * 2.0).abs() < 1e-6);
        assert!((3.0 * warm.at_zero - BALANCE.sqrt()).abs() < 1e-6);
        assert_eq!(LogErrors::default().loss(false), LogLoss::default());
    }

    /// Finite differences of the whole way: enlarging, bins, resizing to the truth, the loss with and without warm-up.
    #[test]
    fn the_derivative_is_the_slope() {
        let (field, bins) = (logits(), evenly_spaced(8, 0.5, 10.0));
        let axes = (&Axis::stretch(8, 11), &Axis::stretch(12, 9));
        let truth: Vec<f32> = (0..99).map(|i| if i % 7 == 0 { 0.0 } else { 1.0 + (i % 5) as f32 }).collect();
        for warm_up in [false, true] {
            let loss = |field: &Field| LogErrors::of(&depths(field, 4, &bins), axes, &truth).loss(warm_up);
            let enlarged = depths(&field, 4, &bins);
            let by_depth = loss(&field).by_depth(&enlarged, axes, &truth, 1.0);
            let derivative = depths_derivative(&field, 4, &bins, &by_depth);
            for (i, found) in derivative.iter().enumerate() {
                let at = |step: f32| {
                    let mut moved = field.clone();
                    moved.values[i] += step;
                    loss(&moved).value
                };
                let slope = (at(2e-3) - at(-2e-3)) / 4e-3;
                let close = (slope - f64::from(*found)).abs() < 2e-3 * (slope.abs() + 0.05);
                assert!(close, "{i}: {slope} {found}");
            }
        }
    }
}
