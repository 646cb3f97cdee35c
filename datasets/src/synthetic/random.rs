//! `SplitMix64`, and the distributions that scenes draw from.
//!
//! ```text
//! state += 0x9e3779b97f4a7c15;  z = state
//! z = (z ^ z >> 30) · 0xbf58476d1ce4e5b9;  z = (z ^ z >> 27) · 0x94d049bb133111eb;  z ^ z >> 31
//! ```
//!
//! Ten lines that give the same stream on every machine for ever, which a crate's default generator does not promise.
//! Source: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

/// The generator: 64 bits of state.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A stream of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 uniform bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.state;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`, without modulo bias (Lemire 2019: the high half of a product, rejecting the short end).
    /// `bound` must be above 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// Uniform in [0, 1): the upper 53 bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`.
    #[inline]
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Nearly normal, mean 0 and variance 1: the sum of twelve 16-bit uniforms less its mean.
    ///
    /// Irwin–Hall instead of Box–Muller: additions only, so the bits are the same under every mathematics library. Its
    /// tails end at ±6, and its kurtosis is 2.9.
    #[inline]
    pub fn normal(&mut self) -> f32 {
        const LANES: u64 = 0x0000_ffff_0000_ffff;
        let pairs = [self.next_u64(), self.next_u64(), self.next_u64()];
        let sums: u64 = pairs.iter().map(|bits| (bits & LANES) + ((bits >> 16) & LANES)).sum();
        let sum = (sums & 0xffff_ffff) + (sums >> 32);
        // Twelve uniforms over 0..65536, each with mean 65535 / 2.
        (sum as f32 - 6.0 * 65535.0) * (1.0 / 65536.0)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_the_reference() {
        // First outputs for seed 1234567 of the authors' C program.
        let mut random = SplitMix64::new(1234567);
        let stream: Vec<_> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(stream, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn normals_have_mean_0_and_variance_1() {
        let mut random = SplitMix64::new(5);
        let n = 200_000;
        let (mut sum, mut squares, mut fourth) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let x = f64::from(random.normal());
            sum += x;
            squares += x * x;
            fourth += x.powi(4);
        }
        let n = f64::from(n);
        assert!((sum / n).abs() < 0.01, "{}", sum / n);
        assert!((squares / n - 1.0).abs() < 0.02, "{}", squares / n);
        assert!((fourth / n - 2.9).abs() < 0.1, "{}", fourth / n);
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut random = SplitMix64::new(7);
        let mut counts = [0; 7];
        for _ in 0..70_000 {
            counts[random.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&count: &i32| (count - 10_000).abs() < 500), "{counts:?}");
    }
}
