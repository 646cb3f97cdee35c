//! How sure the onset block is: the onset of 200 resamples of the images.
//!
//! A resample draws as many images as there are, with replacement; streamed, each image counts k times with k from
//! Poisson(1), which is the same in the limit of many images (Oza and Russell, "Online Bagging", 2001). An image's k
//! come from a hash of its number, so that they depend on no order and no thread. Each resample has a log histogram of
//! norms per block, of the bins of `norm_histograms`, and its onset is told as the run's own is.

use std::collections::BTreeMap;

use crate::onset::stands_out;

/// Resamples.
pub const RESAMPLES: usize = 200;
/// Log bins per decade and the least norm, as in `norm_histograms`.
const BINS_PER_DECADE: f32 = 40.0;
const SMALLEST: f32 = 1e-6;
const SEED: u64 = 0x9b1c_5a3e_77d0_42f1;
/// Bins that norms of one block occupy at most: five decades.
const OCCUPIED: u64 = 200;

/// Memory of the resamples of so many blocks.
pub fn resample_bytes(blocks: u64) -> u64 {
    blocks * OCCUPIED * 8 * RESAMPLES as u64
}

/// Histograms of every resample.
#[derive(Debug, Default)]
pub struct Resamples {
    image: Option<u32>,
    /// (block, bin) → patches of the image whose rows are coming in.
    open: BTreeMap<(u32, i32), u64>,
    /// Block → bin → patches in each resample.
    blocks: BTreeMap<u32, BTreeMap<i32, Vec<u64>>>,
    images: u64,
    /// The first image showed that norms of some block are missing.
    incomplete: bool,
}

/// Onsets of the resamples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// 5th and 95th percentile of the resamples that have an onset; none where none has.
    pub interval: Option<(u32, u32)>,
    /// Share of resamples without one.
    pub none_frac: f64,
    /// Images resampled.
    pub images: u64,
}

/// Why there is no interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSpread {
    /// `token_stats` has norms of some blocks only: found, wanted.
    Blocks(usize, usize),
    /// Fewer than two images.
    Images,
}

impl std::fmt::Display for NoSpread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blocks(found, wanted) => {
                write!(f, "no interval: `stats_sites` has {found} of the {wanted} blocks")
            }
            Self::Images => f.write_str("no interval: a single image has nothing to resample"),
        }
    }
}

impl Resamples {
    /// Adds the norm of a patch at a block's output; `depth` is how many blocks the model has.
    pub fn add(&mut self, image: u32, block: u32, norm: f32, depth: usize) {
        if self.incomplete || block as usize >= depth {
            return;
        }
        if self.image != Some(image) {
            self.close(depth);
            self.image = Some(image);
        }
        let bin = (norm.max(SMALLEST).log10() * BINS_PER_DECADE).floor() as i32;
        *self.open.entry((block, bin)).or_default() += 1;
    }

    fn close(&mut self, depth: usize) {
        let Some(image) = self.image.take() else { return };
        let weights: [u64; RESAMPLES] = std::array::from_fn(|resample| poisson(hash(image, resample as u64)));
        for ((block, bin), tokens) in std::mem::take(&mut self.open) {
            let bins = self.blocks.entry(block).or_default().entry(bin).or_insert_with(|| vec![0; RESAMPLES]);
            for (sum, weight) in bins.iter_mut().zip(weights) {
                *sum += tokens * weight;
            }
        }
        self.images += 1;
        if self.blocks.len() < depth {
            self.incomplete = true;
            self.blocks.values_mut().for_each(BTreeMap::clear);
        }
    }

    /// The onsets.
    pub fn spread(&mut self, depth: usize) -> Result<Spread, NoSpread> {
        self.close(depth);
        if self.blocks.len() < depth || self.incomplete {
            return Err(NoSpread::Blocks(self.blocks.len(), depth));
        }
        if self.images < 2 {
            return Err(NoSpread::Images);
        }
        let edge = |bin: i32| 10f64.powf(f64::from(bin) / f64::from(BINS_PER_DECADE));
        let mut onsets = Vec::new();
        let mut drawn = 0u32;
        for resample in 0..RESAMPLES {
            // Of few images a resample may draw none at all.
            if !self.blocks.values().flat_map(BTreeMap::values).any(|counts| counts[resample] > 0) {
                continue;
            }
            drawn += 1;
            let stands = |bins: &BTreeMap<i32, Vec<u64>>| {
                stands_out(bins.iter().map(|(&bin, counts)| (counts[resample], edge(bin), edge(bin + 1))))
            };
            onsets.extend(self.blocks.iter().find(|(_, bins)| stands(bins)).map(|(block, _)| *block));
        }
        onsets.sort_unstable();
        // Outward to whole blocks.
        let last = onsets.len().saturating_sub(1) as f64;
        let interval = onsets
            .get((0.05 * last).floor() as usize)
            .zip(onsets.get((0.95 * last).ceil() as usize))
            .map(|(low, high)| (*low, *high));
        Ok(Spread { interval, none_frac: 1.0 - onsets.len() as f64 / f64::from(drawn.max(1)), images: self.images })
    }
}

/// `SplitMix64` of the image and the resample.
fn hash(image: u32, resample: u64) -> u64 {
    let mut z = SEED ^ (u64::from(image) * RESAMPLES as u64 + resample).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A draw of Poisson(1) by inversion.
fn poisson(word: u64) -> u64 {
    let uniform = (word >> 11) as f64 / (1u64 << 53) as f64;
    let (mut k, mut term) = (0, (-1.0f64).exp());
    let mut below = term;
    while uniform >= below && k < 20 {
        k += 1;
        term /= k as f64;
        below += term;
    }
    k
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// Images of 20 patches on two blocks; `high(image, block)` is how many of them have norm 100 instead of 10.
    fn onsets(images: u32, high: impl Fn(u32, u32) -> u32) -> Result<Spread, NoSpread> {
        let mut r = Resamples::default();
        for image in 0..images {
            for block in 0..2 {
                for patch in 0..20 {
                    r.add(image, block, if patch < high(image, block) { 100.0 } else { 10.0 }, 2);
                }
            }
        }
        r.spread(2)
    }

    #[test]
    fn draws_have_mean_and_variance_one() {
        let draws: Vec<f64> =
            (0..500).flat_map(|i| (0..RESAMPLES as u64).map(move |r| poisson(hash(i, r)) as f64)).collect();
        let n = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / n;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        // Four standard errors: 4/√n and 4·√(3/n) of 100,000.
        assert!((mean - 1.0).abs() < 0.0127 && (variance - 1.0).abs() < 0.022, "{mean} {variance}");
    }

    #[test]
    fn an_onset_in_every_image_is_certain() {
        let all = onsets(30, |_, block| block).unwrap();
        assert_eq!((all.interval, all.images), (Some((1, 1)), 30));
        assert!(all.none_frac < 1e-12);
        let none = onsets(30, |_, _| 0).unwrap();
        assert_eq!((none.interval, none.none_frac), (None, 1.0));
    }

    /// Breaks when images are not resampled: one image of 30 is in 1 − e⁻¹ = 63 % of the resamples, and only those have
    /// the early onset.
    #[test]
    fn an_onset_of_one_image_is_as_sure_as_it_is_to_be_drawn() {
        let one = onsets(30, |image, block| u32::from(image == 7 && block == 0) + u32::from(block == 1)).unwrap();
        assert_eq!(one.interval, Some((0, 1)));
        let alone = onsets(30, |image, block| u32::from(image == 7 && block == 0)).unwrap();
        // Four standard errors of 200 draws.
        assert!((alone.none_frac - (-1.0f64).exp()).abs() < 0.137, "{}", alone.none_frac);
        assert_eq!(alone.interval, Some((0, 0)));
    }

    #[test]
    fn it_says_why_there_is_no_interval() {
        let mut r = Resamples::default();
        for image in 0..9 {
            r.add(image, 1, 10.0, 2);
        }
        assert_eq!(r.spread(2), Err(NoSpread::Blocks(1, 2)));
        assert_eq!(onsets(1, |_, _| 1), Err(NoSpread::Images));
        assert_eq!(Resamples::default().spread(2), Err(NoSpread::Blocks(0, 2)));
    }
}
