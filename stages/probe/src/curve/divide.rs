//! All patches of some images, divided by their norm into those above a cut-off and the others.

use std::collections::BTreeMap;

use crate::error::ProbeError;
use crate::samples::{Encoded, Samples, Subjects};
use crate::split::ImageKey;

/// Every patch of every image, by the kind that the run gave it: normal, outlier.
pub(super) struct Patches {
    pub kinds: [Samples; 2],
}

impl Patches {
    /// An error unless every patch is there, once.
    pub(super) fn new(mut subjects: Subjects, images: &Encoded) -> Result<Self, ProbeError> {
        let kinds = ["normal", "outlier"].map(|kind| subjects.remove(kind).unwrap_or_default());
        let mut kept: BTreeMap<ImageKey, Vec<u16>> = BTreeMap::new();
        for samples in &kinds {
            for (image, index) in samples.images.iter().zip(&samples.indices) {
                kept.entry(*image).or_default().push(*index);
            }
        }
        for ((key, _), grid) in images.labelled.iter().zip(&images.grids) {
            let indices = kept.entry(*key).or_default();
            indices.sort_unstable();
            indices.dedup();
            let patches = usize::from(grid.0) * usize::from(grid.1);
            if indices.len() != patches {
                return Err(ProbeError::Drawn { image: key.1, kept: indices.len(), patches });
            }
        }
        Ok(Self { kinds })
    }

    /// Norms of all patches, ascending.
    pub(super) fn sorted_norms(&self) -> Vec<f32> {
        let mut norms: Vec<f32> = self.kinds.iter().flat_map(|s| &s.norms).copied().collect();
        norms.sort_unstable_by(f32::total_cmp);
        norms
    }

    /// A cut-off that divides the patches as the run did: the middle, in logarithms, of the gap between the largest
    /// normal norm and the smallest outlying one. None where a rule per image made the kinds overlap.
    pub(super) fn run_cutoff(&self) -> Option<f64> {
        let [normal, outlier] = &self.kinds;
        let largest = normal.norms.iter().copied().max_by(f32::total_cmp)?;
        let smallest = outlier.norms.iter().copied().min_by(f32::total_cmp)?;
        (0.0 < largest && largest < smallest).then(|| (f64::from(largest) * f64::from(smallest)).sqrt())
    }

    fn rows(&self) -> impl Iterator<Item = (&Samples, usize)> {
        self.kinds.iter().flat_map(|s| (0..s.rows()).map(move |i| (s, i)))
    }

    /// Both kinds as this cut-off makes them.
    pub(super) fn divided(&self, cutoff: f64) -> Subjects {
        let mut subjects = Subjects::new();
        for (samples, i) in self.rows() {
            let kind = kind(samples.norms[i], cutoff);
            subjects.entry(kind.to_owned()).or_default().take(samples, i, samples.draws[i]);
        }
        subjects
    }

    /// Of each image and draw one random patch of both kinds as this cut-off makes them.
    pub(super) fn drawn(&self, cutoff: f64, draws: u16, seed: u64) -> Subjects {
        let mut subjects = Subjects::new();
        for draw in 0..draws {
            // Smallest hash of each image and kind.
            let mut chosen: BTreeMap<(ImageKey, &str), (u64, &Samples, usize)> = BTreeMap::new();
            for (samples, i) in self.rows() {
                let image = samples.images[i];
                let parts = [u64::from(image.0), image.1.into(), samples.indices[i].into(), draw.into()];
                let hash = parts.into_iter().fold(mix(seed), |h, part| mix(h ^ part));
                let here = (hash, samples, i);
                let best = chosen.entry((image, kind(samples.norms[i], cutoff))).or_insert(here);
                if hash < best.0 {
                    *best = here;
                }
            }
            for ((_, kind), (_, samples, i)) in chosen {
                subjects.entry(kind.to_owned()).or_default().take(samples, i, draw);
            }
        }
        subjects
    }
}

fn kind(norm: f32, cutoff: f64) -> &'static str {
    if f64::from(norm) > cutoff { "outlier" } else { "normal" }
}

/// One step of `SplitMix64`'s output function (Steele, Lea & Flood, OOPSLA 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
