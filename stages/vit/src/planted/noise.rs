//! The detection-noise dial: a random score, blind to texture, that flags some patches and spares some flat ones.
//!
//! `y = w·(row, column, colour)`, w normal, its position part centred over rows and over columns and scaled to a standard
//! deviation of 0.6, its colour part to 0.8, both on calibration images; two independent scores y, y'. One unit takes
//! energy away above the 1 − 0.035·d quantile of y (3.5 % of patches are flat in the planted scenes, so precision falls
//! to 1 − d), another gives energy above the 1 − d quantile of y' (recall falls to 1 − d). The flags stay binary:
//! norms stay bimodal, and precision and recall are the truths that the dial destroys.

use super::channels::{CLS, COLOUR, ENERGY, GRID, PATCH_PX, col, row};
use super::circuit::{Block, RHO, Weighted};
use super::random::Stream;
use crate::error::VitError;
use crate::trace::Pixels;

/// Colour coefficient of a full-scale pixel value: 0.4·¼·√64, halved because inputs are in ±1.
pub(super) const COLOUR_GAIN: f64 = 0.4 / 8.0 * 0.5;
/// Share of patches that are flat, which a fully noisy detector flags at random.
const FLAT_SHARE: f64 = 0.035;

/// Patch colours of calibration images, from which the quantiles of the noise are taken.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchStatistics {
    /// Colour coefficients of the patches, image after image, row-major.
    colours: Vec<[f64; 3]>,
}

impl PatchStatistics {
    /// From preprocessed images of 96×96 px (mean ½, standard deviation ½), 60 or more.
    pub fn from_pixels<'a>(images: impl IntoIterator<Item = &'a Pixels>) -> Result<Self, VitError> {
        let side = GRID * PATCH_PX;
        let mut colours = Vec::new();
        for image in images {
            if (image.height, image.width, image.data.len()) != (side, side, 3 * side * side) {
                return Err(VitError::Planted(format!(
                    "a calibration image has {}x{} px; a planted model takes {side}x{side}",
                    image.height, image.width
                )));
            }
            for cell in 0..GRID * GRID {
                let (top, left) = (cell / GRID * PATCH_PX, cell % GRID * PATCH_PX);
                colours.push([0, 1, 2].map(|channel| {
                    let lines = (0..PATCH_PX).map(|y| (channel * side + top + y) * side + left);
                    lines.flat_map(|at| &image.data[at..at + PATCH_PX]).map(|v| f64::from(*v) * COLOUR_GAIN).sum()
                }));
            }
        }
        if colours.is_empty() {
            return Err(VitError::Planted("no calibration image was given".to_owned()));
        }
        Ok(PatchStatistics { colours })
    }
}

/// A random linear score and its values on the calibration patches.
struct RandomScore {
    reads: Weighted,
    /// Sorted.
    values: Vec<f64>,
}

impl RandomScore {
    fn new(stream: &mut Stream, statistics: &PatchStatistics) -> Result<Self, VitError> {
        const POSITION_SPREAD: f64 = 0.6;
        const COLOUR_SPREAD: f64 = 0.8;
        let mut centred = || {
            let draws: Vec<f64> = (0..GRID).map(|_| stream.normal()).collect();
            let mean = draws.iter().sum::<f64>() / GRID as f64;
            draws.into_iter().map(|v| v - mean).collect::<Vec<f64>>()
        };
        let (mut rows, mut cols) = (centred(), centred());
        let variance = rows.iter().chain(&cols).map(|v| v * v).sum::<f64>() / GRID as f64;
        for v in rows.iter_mut().chain(&mut cols) {
            *v *= POSITION_SPREAD / variance.sqrt();
        }
        let mut colour = [stream.normal(), stream.normal(), stream.normal()];
        let shade = |colour: &[f64; 3], patch: &[f64; 3]| colour.iter().zip(patch).map(|(w, v)| w * v).sum::<f64>();
        let shades: Vec<f64> = statistics.colours.iter().map(|patch| shade(&colour, patch)).collect();
        let mean = shades.iter().sum::<f64>() / shades.len() as f64;
        let spread = (shades.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / shades.len() as f64).sqrt();
        if spread <= 0.0 || !spread.is_finite() {
            return Err(VitError::Planted(
                "the calibration patches have one colour; give images that differ".to_owned(),
            ));
        }
        for w in &mut colour {
            *w *= COLOUR_SPREAD / spread;
        }
        let mut values: Vec<f64> = statistics
            .colours
            .iter()
            .enumerate()
            .map(|(i, patch)| rows[i / GRID % GRID] + cols[i % GRID] + shade(&colour, patch))
            .collect();
        values.sort_by(f64::total_cmp);
        let mut reads: Weighted =
            (0..GRID).map(|i| (row(i), rows[i])).chain((0..GRID).map(|i| (col(i), cols[i]))).collect();
        reads.extend(COLOUR.zip(colour));
        Ok(RandomScore { reads, values })
    }

    /// Linear interpolation between order statistics.
    fn quantile(&self, share: f64) -> f64 {
        let at = share.clamp(0.0, 1.0) * (self.values.len() - 1) as f64;
        let (low, part) = (at.floor() as usize, at.fract());
        let high = (low + 1).min(self.values.len() - 1);
        self.values[low] + part * (self.values[high] - self.values[low])
    }
}

/// Adds the two noise units to the first block; energies must be a tenth of the usual.
pub(super) fn plant(block: &mut Block, amount: f64, seed: u64, statistics: &PatchStatistics) -> Result<(), VitError> {
    /// Sharpness of the one-sided units.
    const GAIN: f64 = 16.0;
    /// Keeps CLS, which has neither position nor colour, out of both.
    const CLS_GUARD: f64 = -500.0;
    /// Below the least score, so that every flat patch is spared at d = 1.
    const MARGIN: f64 = 0.3;
    let flagging = RandomScore::new(&mut Stream::new(seed, "flag noise"), statistics)?;
    let sparing = RandomScore::new(&mut Stream::new(seed, "spare noise"), statistics)?;
    let above = flagging.quantile(1.0 - FLAT_SHARE * amount);
    let spare_above = if amount < 1.0 { sparing.quantile(1.0 - amount) } else { sparing.values[0] - MARGIN };
    // Sparing is a hundred times weaker: it lifts a flat patch over the threshold, but never undoes a flag.
    for (score, threshold, slope) in [(flagging, above, -3.0), (sparing, spare_above, 0.03)] {
        let mut reads: Weighted = score.reads.iter().map(|&(c, w)| (c, GAIN * w / RHO)).collect();
        reads.push((CLS, CLS_GUARD));
        block.unit(&reads, -GAIN * threshold, &[(ENERGY, slope / GAIN)]);
    }
    Ok(())
}
