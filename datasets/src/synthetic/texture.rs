//! Smooth random texture: white noise blurred with a periodic Gaussian, then standardised.
//!
//! ```text
//! out = (g ∗ n − mean) / sd,    g_k ∝ exp(−k² / 2σ²),  |k| ≤ 4σ,  indices modulo the side
//! ```
//!
//! The noise is uniform: after a blur over some two hundred samples nothing is left of its distribution but the
//! variance, which the standardisation sets. Separable, row pass then column pass, over contiguous rows. Matches
//! `scipy.ndimage.gaussian_filter(…, mode="wrap")`, truncated at 4σ.

#![expect(clippy::inline_always, reason = "code that is not inlined escapes the vector features of the dispatch")]

use std::array;

use pulp::{Simd, WithSimd};

use super::random::SplitMix64;
use super::scene::IMAGE_PX;

const SIGMA_PX: f64 = 4.0;
const RADIUS: usize = 16;

/// A plane of one value per pixel.
pub type Plane = Vec<[f32; IMAGE_PX]>;

/// Weights 0..=[`RADIUS`] of the symmetric kernel, which sums to 1.
fn kernel() -> [f32; RADIUS + 1] {
    let exact: [f64; RADIUS + 1] = array::from_fn(|k| libm::exp(-0.5 * (k as f64 / SIGMA_PX).powi(2)));
    let total = exact[0] + 2.0 * exact[1..].iter().sum::<f64>();
    exact.map(|weight| (weight / total) as f32)
}

/// One plane of mean 0 and deviation 1.
pub fn smooth(random: &mut SplitMix64) -> Plane {
    let mut noise = vec![[0.0_f32; IMAGE_PX]; IMAGE_PX];
    for pair in noise.as_flattened_mut().as_chunks_mut::<2>().0 {
        let bits = random.next_u64();
        *pair = [(bits >> 40) as f32, (bits as u32 >> 8) as f32].map(|bits| bits * (1.0 / 16_777_216.0) - 0.5);
    }
    let mut blurred = blur(&noise);
    let n = (IMAGE_PX * IMAGE_PX) as f64;
    let values = blurred.as_flattened_mut();
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
    let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
    let (mean, gain) = (mean as f32, (1.0 / variance.sqrt()) as f32);
    for value in values {
        *value = (*value - mean) * gain;
    }
    blurred
}

/// The periodic blur, at most once along each axis.
pub fn blur(plane: &Plane) -> Plane {
    let kernel = kernel();
    let mut across = vec![[0.0; IMAGE_PX]; IMAGE_PX];
    let mut down = vec![[0.0; IMAGE_PX]; IMAGE_PX];
    pulp::Arch::new().dispatch(Blur { kernel: &kernel, plane, across: &mut across, down: &mut down });
    down
}

struct Blur<'a> {
    kernel: &'a [f32; RADIUS + 1],
    plane: &'a [[f32; IMAGE_PX]],
    across: &'a mut [[f32; IMAGE_PX]],
    down: &'a mut [[f32; IMAGE_PX]],
}

impl WithSimd for Blur<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (target, row) in self.across.iter_mut().zip(self.plane) {
            let mut wrapped = [0.0; IMAGE_PX + 2 * RADIUS];
            wrapped[..RADIUS].copy_from_slice(&row[IMAGE_PX - RADIUS..]);
            wrapped[RADIUS..RADIUS + IMAGE_PX].copy_from_slice(row);
            wrapped[RADIUS + IMAGE_PX..].copy_from_slice(&row[..RADIUS]);
            *target = row.map(|value| value * self.kernel[0]);
            for (k, &weight) in self.kernel.iter().enumerate().skip(1) {
                let (before, after) = (&wrapped[RADIUS - k..], &wrapped[RADIUS + k..]);
                for ((sum, before), after) in target.iter_mut().zip(before).zip(after) {
                    *sum += weight * (before + after);
                }
            }
        }
        for (y, target) in self.down.iter_mut().enumerate() {
            *target = self.across[y].map(|value| value * self.kernel[0]);
            for (k, &weight) in self.kernel.iter().enumerate().skip(1) {
                let (above, below) = (&self.across[(y + IMAGE_PX - k) % IMAGE_PX], &self.across[(y + k) % IMAGE_PX]);
                for ((sum, above), below) in target.iter_mut().zip(above).zip(below) {
                    *sum += weight * (above + below);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_becomes_a_gaussian_that_wraps() {
        let mut point = vec![[0.0; IMAGE_PX]; IMAGE_PX];
        point[2][95] = 1.0;
        let blurred = blur(&point);
        let expected = |dy: f64, dx: f64| {
            let total: f64 = (-16..=16).map(|k| (-0.5 * (f64::from(k) / 4.0).powi(2)).exp()).sum();
            (-0.5 * (dy * dy + dx * dx) / 16.0).exp() / (total * total)
        };
        for (y, x, dy, dx) in [(2, 95, 0.0, 0.0), (95, 95, 3.0, 0.0), (2, 4, 0.0, 5.0), (90, 2, 8.0, 3.0)] {
            assert!((f64::from(blurred[y][x]) - expected(dy, dx)).abs() < 1e-8, "{y} {x}");
        }
        assert_eq!(blurred[40][40], 0.0);
    }

    #[test]
    fn texture_is_standardised_and_smooth() {
        let plane = smooth(&mut SplitMix64::new(3));
        let values = plane.as_flattened();
        let n = values.len() as f32;
        let mean = values.iter().sum::<f32>() / n;
        let variance = values.iter().map(|value| value * value).sum::<f32>() / n;
        assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
        // Correlation at distance d is exp(−d²/4σ²): 0.984 for neighbours.
        let lag: f32 =
            plane.iter().map(|row| (0..IMAGE_PX).map(|x| row[x] * row[(x + 1) % IMAGE_PX]).sum::<f32>()).sum();
        assert!((lag / n - 0.984).abs() < 0.01, "{}", lag / n);
    }
}
