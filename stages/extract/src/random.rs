//! Random choices that depend on what is chosen, not on who chooses when.
//!
//! Each choice hashes (seed, image, draw, purpose) with `SplitMix64` (Steele, Lea & Flood, OOPSLA 2014), so the same
//! token is drawn whatever the order of images, the shard, or the number of threads.

/// One step of `SplitMix64`'s output function.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What a number is drawn for: choices of one image are independent of each other.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// A normal patch.
    Normal = 1,
    /// An outlier patch.
    Outlier = 2,
    /// An image of the calibration pass.
    Calibration = 3,
}

/// A number in `0..n` (n ≥ 1), uniform up to n/2⁶⁴.
pub fn choose(seed: u64, image: u64, draw: u64, purpose: Purpose, n: usize) -> usize {
    let x = [image, draw, purpose as u64].into_iter().fold(mix(seed), |h, part| mix(h ^ part));
    ((u128::from(x) * n as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_equally_often() {
        let mut counts = [0u32; 7];
        for image in 0..7000 {
            counts[choose(3, image, 0, Purpose::Normal, 7)] += 1;
        }
        // 1000 ± 5 σ, σ = √(7000 · 1/7 · 6/7) ≈ 29.
        assert!(counts.iter().all(|&c| (855..1145).contains(&c)), "{counts:?}");
    }

    #[test]
    fn each_part_of_the_key_matters() {
        let base: Vec<usize> = (0..64).map(|i| choose(1, i, 0, Purpose::Normal, 1000)).collect();
        for (seed, draw, purpose) in [(2, 0, Purpose::Normal), (1, 1, Purpose::Normal), (1, 0, Purpose::Outlier)] {
            let other: Vec<usize> = (0..64).map(|i| choose(seed, i, draw, purpose, 1000)).collect();
            assert!(base.iter().zip(&other).filter(|(a, b)| a == b).count() < 5);
        }
    }
}
