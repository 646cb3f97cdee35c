//! A random stream that never changes: planted weights are data, and must be the same under every version of a library.
//!
//! `SplitMix64` (Steele, Lea, Flood 2014) for bits, Box–Muller for normals, Fisher–Yates for permutations. Each purpose
//! has a stream of its own, so that turning one dial leaves the draws of the others alone.

/// A `SplitMix64` stream.
pub(super) struct Stream {
    state: u64,
}

impl Stream {
    /// The stream of `purpose` under `seed`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a of the name, mixed with the seed by the generator itself.
        let name =
            purpose.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let mut stream = Stream { state: seed };
        stream.state = stream.bits() ^ name;
        stream
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A permutation of `0..n`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, (self.bits() % (last as u64 + 1)) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published first outputs of `SplitMix64` seeded with 1234567: breaks when the generator changes.
    #[test]
    fn the_generator_is_splitmix64() {
        let mut stream = Stream { state: 1_234_567 };
        let got: Vec<u64> = (0..3).map(|_| stream.bits()).collect();
        assert_eq!(got, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn normals_have_unit_variance_and_streams_differ() {
        let mut stream = Stream::new(0, "a");
        let draws: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
        assert_ne!(Stream::new(0, "a").bits(), Stream::new(0, "b").bits());
        assert_ne!(Stream::new(0, "a").bits(), Stream::new(1, "a").bits());
        let mut order = Stream::new(3, "p").permutation(24);
        assert_ne!(order, (0..24).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..24).collect::<Vec<_>>());
    }
}
