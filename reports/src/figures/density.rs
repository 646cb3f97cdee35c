//! A smooth density of values in [−1, 1], such as cosines.
//!
//! Values are counted in 2,000 bins and each bin is a Gaussian of width h: with n values of standard deviation σ,
//! `f(x) = Σ_b n_b φ((x − c_b)/h) / (n h)` and `h = ½ σ n^(−1/5)`: Scott's rule, halved, as the reproducibility study
//! has it (seaborn, `bw_adjust = 0.5`). What the kernel would put beyond ±1, where no cosine lies, is reflected there
//! (Silverman 1986, section 2.10): `f(x) + f(2 − x) + f(−2 − x)`, which has all of its area within.

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
        let (low, high) = ((center(first) - 3.0 * h).max(-1.0), (center(last) + 3.0 * h).min(1.0));
        let norm = 1.0 / (self.n as f64 * h * std::f64::consts::TAU.sqrt());
        let gauss = |x: f64| (-0.5 * (x / h).powi(2)).exp();
        let density = |x: f64| {
            let near = (first..=last).filter(|b| self.counts[*b] > 0);
            let at = |c: f64| gauss(x - c) + gauss(2.0 - x - c) + gauss(-2.0 - x - c);
            near.map(|b| self.counts[b] as f64 * at(center(b))).sum::<f64>() * norm
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
        // Reflected at 1, the values stand at ½ and 3/2 as well; bins are a thousandth wide.
        let wanted = gauss(0.5) + gauss(1.5) + gauss(2.5);
        assert!(x.abs() < 1e-3 && (found - wanted).abs() < 2e-3, "{x} {found} {wanted}");
        assert_eq!((values.n(), values.mean()), (2, 0.0));
    }

    /// Breaks when what the kernel puts beyond an end is lost, or counted at both.
    #[test]
    fn a_density_integrates_to_one_between_its_ends() {
        for values in
            [of(&[0.2, 0.9, 0.91, 0.93, -0.7]), of(&[0.5; 40]), of(&[1.0, 0.98, 0.99, 0.8]), of(&[-1.0, -0.9])]
        {
            let curve = values.curve();
            let area: f64 = curve.windows(2).map(|w| (w[1].0 - w[0].0) * (w[0].1 + w[1].1) / 2.0).sum();
            assert!((area - 1.0).abs() < 0.004, "{area}");
            assert!(curve.iter().all(|(x, _)| (-1.0..=1.0).contains(x)));
        }
        assert!(Values::default().curve().is_empty());
    }

    /// Values at an end: half a Gaussian twice as high, 2 φ(0)/h. Breaks when the end is a wall of half that.
    #[test]
    fn values_at_an_end_have_twice_the_kernel() {
        let values = of(&[1.0, 1.0, 0.875, 0.875]);
        let h = values.width();
        let (x, found) = *values.curve().last().unwrap_or(&(0.0, 0.0));
        let gauss = |x: f64| (-0.5 * (x / h).powi(2)).exp() / (h * std::f64::consts::TAU.sqrt());
        // Centres of the bins.
        let wanted = gauss(0.0005) + gauss(0.1245);
        assert!((x - 1.0).abs() < 1e-12 && (found / wanted - 1.0).abs() < 1e-9, "{x} {found} {wanted}");
    }
}
