//! `SplitMix64`, and what training draws from it: orders of images and first weights.
//!
//! ```text
//! state += 0x9e3779b97f4a7c15;  z = state
//! z = (z ^ z >> 30) · 0xbf58476d1ce4e5b9;  z = (z ^ z >> 27) · 0x94d049bb133111eb;  z ^ z >> 31
//! ```
//!
//! Source: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. Written out here because
//! a head must come out the same for ever, which a crate's default generator does not promise.

/// The generator: 64 bits of state.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A stream of its own for each seed and each of its uses.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut first = Self { state: seed };
        // One word of the seed's stream between two purposes, so that neighbouring seeds and purposes do not overlap.
        let state = first.next_u64() ^ purpose.wrapping_mul(0xd134_2543_de82_ef95);
        Self { state }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.state;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Normal, mean 0 and variance 1 (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        (-2.0 * libm::log(u)).sqrt() * libm::cos(std::f64::consts::TAU * v)
    }

    /// Uniform in `0..bound`; `bound` is above 0. The bias of the product's high half is below 2⁻³².
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// The numbers `0..n` in random order (Fisher and Yates).
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u64 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a constant of the generator is mistyped: the first outputs for 1234567 of the authors' C program.
    #[test]
    fn the_stream_is_that_of_the_reference() {
        let mut random = SplitMix64 { state: 1234567 };
        let stream: Vec<_> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(stream, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    /// Breaks when an order leaves something out or favours a place: every number once, and each of 5 numbers in each
    /// place in a fifth of 5,000 orders (three standard deviations are 85).
    #[test]
    fn orders_are_permutations_without_favourites() {
        let mut counts = [[0_i32; 5]; 5];
        for seed in 0..5000 {
            let order = SplitMix64::new(seed, 1).permutation(5);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
            order.iter().enumerate().for_each(|(place, &i)| counts[place][i as usize] += 1);
        }
        assert!(counts.iter().flatten().all(|&n| (n - 1000).abs() < 130), "{counts:?}");
        assert_ne!(SplitMix64::new(3, 1).permutation(50), SplitMix64::new(3, 2).permutation(50));
    }

    #[test]
    fn normals_have_mean_0_and_variance_1() {
        let mut random = SplitMix64::new(5, 0);
        let draws: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.015 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
