//! A sample of numbers in bounded memory: exact moments and extremes, quantiles from up to 2²² values.
//!
//! Above that, every second kept value is dropped and from then on only every second new one is kept, and so on: a
//! systematic sample in dataset order, the same on every run. Quantiles follow `NumPy`'s default, linear interpolation at
//! index q·(n − 1).

use schemas::outlier::quantile_sorted;

/// Values kept for quantiles.
const KEPT_MAX: usize = 1 << 22;

/// Memory of a sample of so many values, at most.
pub fn sample_bytes(values: u64) -> u64 {
    4 * values.min(KEPT_MAX as u64)
}

/// A growing sample.
#[derive(Debug, Clone)]
pub struct Distribution {
    n: u64,
    sum: f64,
    sum_of_squares: f64,
    max: f32,
    min: f32,
    kept: Vec<f32>,
    stride: u64,
    sorted: bool,
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            n: 0,
            sum: 0.0,
            sum_of_squares: 0.0,
            max: f32::NEG_INFINITY,
            min: f32::INFINITY,
            kept: Vec::new(),
            stride: 1,
            sorted: true,
        }
    }
}

impl Distribution {
    /// Adds a value.
    pub fn add(&mut self, value: f32) {
        if self.n.is_multiple_of(self.stride) {
            if self.kept.len() == KEPT_MAX {
                let mut i = 0;
                self.kept.retain(|_| {
                    i += 1;
                    i % 2 == 1
                });
                self.stride *= 2;
            }
            if self.n.is_multiple_of(self.stride) {
                self.kept.push(value);
                self.sorted = false;
            }
        }
        self.n += 1;
        self.sum += f64::from(value);
        self.sum_of_squares += f64::from(value).powi(2);
        self.max = self.max.max(value);
        self.min = self.min.min(value);
    }

    /// How many values there were.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Arithmetic mean.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }

    /// Standard deviation with n in the denominator, as `NumPy`'s.
    pub fn std(&self) -> Option<f64> {
        let mean = self.mean()?;
        Some((self.sum_of_squares / self.n as f64 - mean * mean).max(0.0).sqrt())
    }

    /// Largest value.
    pub fn max(&self) -> Option<f64> {
        (self.n > 0).then(|| f64::from(self.max))
    }

    /// Smallest value.
    pub fn min(&self) -> Option<f64> {
        (self.n > 0).then(|| f64::from(self.min))
    }

    /// Quantile q of the kept values.
    pub fn quantile(&mut self, q: f64) -> Option<f64> {
        quantile_sorted(self.values(), q).map(f64::from)
    }

    /// The kept values in ascending order.
    pub fn values(&mut self) -> &mut [f32] {
        // Values are added in dataset order, which decides what is kept; sorting comes after the last.
        if !self.sorted {
            self.kept.sort_unstable_by(f32::total_cmp);
            self.sorted = true;
        }
        &mut self.kept
    }

    /// The kept values as they lie: in ascending order once [`Self::values`] was called.
    pub fn sorted(&self) -> &[f32] {
        &self.kept
    }

    /// Words for a reader when the quantiles are not exact, else nothing.
    pub fn note(&self) -> String {
        if self.stride == 1 { String::new() } else { format!("quantiles from every {}th value", self.stride) }
    }
}

/// Area under the ROC curve: the probability that a value of `a` exceeds one of `b`, ties counting half.
///
/// Both in ascending order (Mann–Whitney U / (n·m)).
pub fn auc(a: &[f32], b: &[f32]) -> Option<f64> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (mut below, mut not_above, mut u) = (0, 0, 0.0);
    for &x in a {
        while below < b.len() && b[below] < x {
            below += 1;
        }
        not_above = not_above.max(below);
        while not_above < b.len() && b[not_above] <= x {
            not_above += 1;
        }
        u += below as f64 + 0.5 * (not_above - below) as f64;
    }
    Some(u / (a.len() as f64 * b.len() as f64))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn moments_and_quantiles_are_those_of_numpy() {
        // numpy: x = [3, 1, 4, 1, 5]; mean 2.8, std 1.6, percentile 50 → 3, 95 → 4.8.
        let mut d = Distribution::default();
        for x in [3.0, 1.0, 4.0, 1.0, 5.0] {
            d.add(x);
        }
        assert!((d.mean().unwrap() - 2.8).abs() < 1e-12 && (d.std().unwrap() - 1.6).abs() < 1e-9);
        assert_eq!((d.quantile(0.5), d.max(), d.min()), (Some(3.0), Some(5.0), Some(1.0)));
        assert!((d.quantile(0.95).unwrap() - 4.8).abs() < 1e-6);
        assert_eq!(Distribution::default().quantile(0.5), None);
    }

    #[test]
    fn a_sample_larger_than_memory_keeps_its_quantiles() {
        let n = 3 * KEPT_MAX as u32;
        let mut d = Distribution::default();
        for i in 0..n {
            // A permutation of 0..n, so that order and value are unrelated.
            d.add((u64::from(i) * 7_919 % u64::from(n)) as f32);
        }
        assert_eq!(d.n(), u64::from(n));
        assert!(d.kept.len() <= KEPT_MAX && !d.note().is_empty());
        for q in [0.05, 0.5, 0.95] {
            let relative = d.quantile(q).unwrap() / (q * f64::from(n)) - 1.0;
            assert!(relative.abs() < 0.002, "{q}: {relative}");
        }
    }

    #[test]
    fn auc_of_separate_equal_and_mixed_samples() {
        assert_eq!(auc(&[3.0, 4.0], &[1.0, 2.0]), Some(1.0));
        assert_eq!(auc(&[1.0, 2.0], &[3.0, 4.0]), Some(0.0));
        assert_eq!(auc(&[1.0, 1.0], &[1.0]), Some(0.5));
        // Pairs (1,2) no, (3,2) yes, (3,3) half, (1,3) no: 1.5 / 4.
        assert_eq!(auc(&[1.0, 3.0], &[2.0, 3.0]), Some(0.375));
        assert_eq!(auc(&[], &[1.0]), None);
    }
}
