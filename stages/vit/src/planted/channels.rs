//! The residual stream of a planted model: what each of its 128 channels holds.
//!
//! | channels | what |
//! |---|---|
//! | `K_PLUS`, `K_MINUS` | the constants +8 and −8 |
//! | `N_PLUS`, `N_MINUS` | the norm pair ±n, 0 until the onset |
//! | `FLAG` | 1 on what becomes an outlier, and on registers |
//! | `ENERGY` | texture energy, erased on flagged tokens |
//! | `CLS` | 1 on CLS |
//! | `ZERO` | always 0: the reference that every read subtracts |
//! | `COLOUR` | the three colour means |
//! | `TEXTURE` | 24 luminance DCT coefficients, (u, v) in 0..5 × 0..5 without (0, 0) |
//! | `POSITION` | one-hot row, then one-hot column |
//! | `RECTIFIED` | about |`TEXTURE`| |
//! | `GLOBAL` | gathered evidence on outliers, registers and, after the last block, CLS |
//! | `REGISTER_ID` | one-hot |

use std::ops::Range;

/// Width D.
pub(super) const WIDTH: usize = 128;
/// Patch rows, and patch columns.
pub(super) const GRID: usize = 12;
/// Patch side, px.
pub(super) const PATCH_PX: usize = 8;
/// Channels of [`TEXTURE`], [`POSITION`], [`RECTIFIED`] and [`GLOBAL`].
pub(super) const CODES: usize = 24;

pub(super) const K_PLUS: usize = 0;
pub(super) const K_MINUS: usize = 1;
pub(super) const N_PLUS: usize = 2;
pub(super) const N_MINUS: usize = 3;
pub(super) const FLAG: usize = 4;
pub(super) const ENERGY: usize = 5;
pub(super) const CLS: usize = 6;
pub(super) const ZERO: usize = 7;
pub(super) const COLOUR: Range<usize> = 8..11;
pub(super) const TEXTURE: Range<usize> = 11..35;
pub(super) const POSITION: Range<usize> = 35..59;
pub(super) const RECTIFIED: Range<usize> = 59..83;
pub(super) const GLOBAL: Range<usize> = 83..107;
pub(super) const REGISTER_ID: Range<usize> = 107..111;

/// Channel of patch row `r`.
pub(super) fn row(r: usize) -> usize {
    POSITION.start + r
}

/// Channel of patch column `c`.
pub(super) fn col(c: usize) -> usize {
    POSITION.start + GRID + c
}

/// The DCT frequencies (vertical, horizontal) of [`TEXTURE`], in order.
pub(super) fn frequencies() -> impl Iterator<Item = (usize, usize)> {
    (1..=CODES).map(|k| (k / 5, k % 5))
}

/// Orthonormal DCT-II basis of length [`PATCH_PX`].
pub(super) fn dct(u: usize, y: usize) -> f64 {
    let scale = if u == 0 { (1.0f64 / 8.0).sqrt() } else { 0.5 };
    scale * (std::f64::consts::PI * (2 * y + 1) as f64 * u as f64 / 16.0).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_do_not_overlap() {
        let ranges = [0..8, COLOUR, TEXTURE, POSITION, RECTIFIED, GLOBAL, REGISTER_ID];
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].end, pair[1].start);
        }
        assert_eq!(col(GRID - 1) + 1, POSITION.end);
        assert_eq!((TEXTURE.len(), POSITION.len(), RECTIFIED.len(), GLOBAL.len()), (CODES, CODES, CODES, CODES));
    }

    #[test]
    fn the_basis_is_orthonormal_and_the_mean_is_left_out() {
        for u in 0..5 {
            for v in 0..5 {
                let dot: f64 = (0..PATCH_PX).map(|y| dct(u, y) * dct(v, y)).sum();
                assert!((dot - f64::from(u8::from(u == v))).abs() < 1e-12);
            }
        }
        assert_eq!(frequencies().next(), Some((0, 1)));
        assert_eq!(frequencies().last(), Some((4, 4)));
    }
}
