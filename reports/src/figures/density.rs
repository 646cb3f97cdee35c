//! A smooth density of values in [−1, 1], such as cosines.
//!
//! Values are counted in 2,000 bins and each bin is a Gaussian of width h: with n values of standard deviation σ,
//! `f(x) = Σ_b n_b φ((x − c_b)/h) / (n h)` and `h = ½ σ n^(−1/5)`: Scott's rule, halved, as the reproducibility study
//! has it (seaborn, `bw_adjust = 0.5`). Nothing is reflected at ±1, so that a little of the density lies outside.

const BINS: usize = 2000;
/// Points of a curve.
const POINTS: usize = 241;

/// Values of one population.
#[derive(Debug, Clone)]
pub struct Values {
    counts: Vec<u64>,
    n: u64,
    sum: f64,
    squares: f64,
}

impl Default for Values {
    fn default() -> Self {
        Self { counts: vec![0; BINS], n: 0, sum: 0.0, squares: 0.0 }
    }
}

impl Values {
    /// Counts a value; what is not finite is left out.
    pub fn add(&mut self, value: f32) {
        let value = f64::from(value);
        if value.is_finite() {
            let value = value.clamp(-1.0, 1.0);
            self.counts[((value.midpoint(1.0) * BINS as f64) as usize).min(BINS - 1)] += 1;
            self.n += 1;
            self.sum += value;
            self.squares += value * value;
        }
    }

    /// Values counted.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Their mean.
    pub fn mean(&self) -> f64 {
        self.sum / self.n.max(1) as f64
    }

    /// Width of the Gaussian; at least a bin's, so that equal values have a density at all.
    fn width(&self) -> f64 {
        let n = self.n.max(1) as f64;
        let variance = (self.squares / n - self.mean().powi(2)).max(0.0) * n / (n - 1.0).max(1.0);
        (0.5 * variance.sqrt() * n.powf(-0.2)).max(2.0 / BINS as f64)
    }

    /// Points (value, density) over the range that has any.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let filled = |i: &usize| self.counts[*i] > 0;
        let (Some(first), Some(last)) = ((0..BINS).find(filled), (0..BINS).rev().find(filled)) else { return vec![] };
        let center = |bin: usize| (bin as f64 + 0.5) * 2.0 / BINS as f64 - 1.0;
        let h = self.width();
        let (low, high) = (center(first) - 3.0 * h, center(last) + 3.0 * h);
        let norm = 1.0 / (self.n as f64 * h * std::f64::consts::TAU.sqrt());
        let density = |x: f64| {
            let near = (first..=last).filter(|b| self.counts[*b] > 0);
            near.map(|b| self.counts[b] as f64 * (-0.5 * ((x - center(b)) / h).powi(2)).exp()).sum::<f64>() * norm
        };
        let at = |i: usize| low + (high - low) * i as f64 / (POINTS - 1) as f64;
        (0..POINTS).map(|i| (at(i), density(at(i)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Values {
        let mut all = Values::default();
        for value in values {
            all.add(*value);
        }
        all
    }

    /// Two values at ±½: σ = 1/√2, h = ½ σ 2^(−1/5), and the density at 0 is φ(½/h)/h. Breaks with another bandwidth.
    #[test]
    fn two_values_in_closed_form() {
        let values = of(&[-0.5, 0.5, f32::NAN]);
        let h = 0.5 * 0.5_f64.sqrt() * 2f64.powf(-0.2);
        assert!((values.width() - h).abs() < 1e-12);
        let curve = values.curve();
        let (x, found) = curve[POINTS / 2];
        let gauss = |x: f64| (-0.5 * (x / h).powi(2)).exp() / (h * std::f64::consts::TAU.sqrt());
        // Bins are a thousandth wide.
        assert!(x.abs() < 1e-3 && (found - gauss(0.5)).abs() < 2e-3, "{x} {found} {}", gauss(0.5));
        assert_eq!((values.n(), values.mean()), (2, 0.0));
    }

    #[test]
    fn a_density_integrates_to_one() {
        for values in [of(&[0.2, 0.9, 0.91, 0.93, -0.7]), of(&[0.5; 40])] {
            let area: f64 = values.curve().windows(2).map(|w| (w[1].0 - w[0].0) * (w[0].1 + w[1].1) / 2.0).sum();
            assert!((area - 1.0).abs() < 0.01, "{area}");
        }
        assert!(Values::default().curve().is_empty());
    }
}
