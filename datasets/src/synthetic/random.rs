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

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}
