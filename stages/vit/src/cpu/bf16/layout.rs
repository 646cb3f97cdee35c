//! How bf16 factors lie in memory: the tiles that AMX loads, which AVX-512 reads just as well.
//!
//! A [`Line`] is 64 bytes, a row of a tile. The left factor keeps 32 rows by 32 values together, the right one 32
//! columns by 32 values with two consecutive values of a column side by side, as `tdpbf16ps` and `vdpbf16ps` want them:
//!
//! - [`Left`] `[⌈rows/32⌉][⌈k/32⌉][32 rows]`, a line holding 32 values of k;
//! - [`Right`] `[⌈columns/32⌉][⌈k/32⌉][2][16 pairs of k]`, a line holding 16 columns × 2 values of k.
//!
//! What lies outside the matrix is zero, so that kernels need not know where it ends.

use super::pages::Pages;

/// A row of a tile: 32 bf16.
pub(in crate::cpu) type Line = [u16; 32];

/// Rows, columns or values of k in a block.
pub(in crate::cpu) const SIDE: usize = 32;

/// A block of a product in f32, rows × columns.
#[derive(Clone)]
#[repr(C, align(64))]
pub(in crate::cpu) struct Block(pub [[f32; SIDE]; SIDE]);

impl Block {
    pub const fn zero() -> Self {
        Block([[0.0; SIDE]; SIDE])
    }
}

/// Nearest bf16, ties to even; NaN stays NaN.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(in crate::cpu) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    // Rounding could carry a NaN's mantissa away.
    let quiet = (bits >> 16) | 0x40;
    (if x.is_nan() { quiet } else { rounded }) as u16
}

/// Exact.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(in crate::cpu) fn from_bf16(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// A left factor.
#[derive(Default)]
pub(in crate::cpu) struct Left {
    lines: Pages,
    k_tiles: usize,
}

impl Left {
    /// Makes room for `rows × 32·k_tiles`; what was there is left as it is, so that rows beyond the last are stale, not
    /// undefined: no product reads them into a result.
    pub fn resize(&mut self, rows: usize, k_tiles: usize) {
        self.lines.grow(rows.div_ceil(SIDE) * k_tiles * SIDE);
        self.k_tiles = k_tiles;
    }

    /// 32 rows. `[k tile][32 rows]`
    pub fn panel(&self, row_block: usize) -> &[Line] {
        &self.lines[row_block * self.k_tiles * SIDE..][..self.k_tiles * SIDE]
    }

    /// 32 rows of one tile of k.
    pub fn tile_mut(&mut self, row_block: usize, k_tile: usize) -> &mut [Line; SIDE] {
        let start = (row_block * self.k_tiles + k_tile) * SIDE;
        self.lines[start..].first_chunk_mut().unwrap_or_else(|| unreachable!("resize made room for the tile"))
    }

    /// 32 rows of every tile of k. `[k tile][32 rows]`
    pub fn panel_mut(&mut self, row_block: usize) -> &mut [Line] {
        &mut self.lines[row_block * self.k_tiles * SIDE..][..self.k_tiles * SIDE]
    }
}

/// A right factor.
#[derive(Default)]
pub(in crate::cpu) struct Right {
    lines: Pages,
    k_tiles: usize,
}

impl Right {
    /// Makes room for `32·k_tiles × 32·panels`, with whatever was there.
    pub fn resize(&mut self, panels: usize, k_tiles: usize) {
        self.lines.grow(panels * k_tiles * SIDE);
        self.k_tiles = k_tiles;
    }

    /// From a function of (column, k), for `columns × k` values.
    pub fn pack(columns: usize, k: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let mut right = Right::default();
        let panels = columns.div_ceil(SIDE);
        right.resize(panels, k.div_ceil(SIDE));
        for panel in 0..panels {
            for (l, line) in right.panel_mut(panel).iter_mut().enumerate() {
                let (k_tile, half, pair) = (l / SIDE, (l % SIDE) / 16, l % 16);
                for (i, v) in line.iter_mut().enumerate() {
                    let (column, row) = (panel * SIDE + half * 16 + i / 2, k_tile * SIDE + 2 * pair + i % 2);
                    *v = if column < columns && row < k { to_bf16(value(column, row)) } else { 0 };
                }
            }
        }
        right
    }

    /// Panels of 32 columns.
    pub fn panels(&self) -> usize {
        self.lines.len() / (self.k_tiles * SIDE).max(1)
    }

    pub fn k_tiles(&self) -> usize {
        self.k_tiles
    }

    /// 32 columns. `[k tile][2][16 pairs of k]`
    pub fn panel(&self, panel: usize) -> &[Line] {
        &self.lines[panel * self.k_tiles * SIDE..][..self.k_tiles * SIDE]
    }

    /// 32 columns, to be written. `[k tile][2][16 pairs of k]`
    pub fn panel_mut(&mut self, panel: usize) -> &mut [Line] {
        &mut self.lines[panel * self.k_tiles * SIDE..][..self.k_tiles * SIDE]
    }

    /// 32 columns of one tile of k, to be written.
    pub fn tile_mut(&mut self, panel: usize, k_tile: usize) -> &mut [Line; SIDE] {
        let start = (panel * self.k_tiles + k_tile) * SIDE;
        self.lines[start..].first_chunk_mut().unwrap_or_else(|| unreachable!("resize made room for the tile"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_nearest_even() {
        assert_eq!(to_bf16(1.0), 0x3f80);
        assert_eq!(to_bf16(f32::from_bits(0x3f80_8000)), 0x3f80, "a tie goes to the even neighbour");
        assert_eq!(to_bf16(f32::from_bits(0x3f81_8000)), 0x3f82, "a tie goes to the even neighbour");
        assert_eq!(to_bf16(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!(to_bf16(f32::MAX), 0x7f80, "too large is infinite");
        assert_eq!(to_bf16(f32::NEG_INFINITY), 0xff80);
        assert!(from_bf16(to_bf16(f32::from_bits(0x7f80_0001))).is_nan(), "no NaN becomes infinite");
        for bits in 0..=u16::MAX {
            let x = from_bf16(bits);
            assert!(x.is_nan() || to_bf16(x) == bits);
        }
    }

    #[test]
    fn a_right_factor_holds_pairs_of_a_column_side_by_side() {
        let right = Right::pack(33, 3, |column, k| (10 * column + k) as f32);
        assert_eq!((right.panels(), right.k_tiles()), (2, 1));
        let at = |panel: usize, line: usize, i: usize| from_bf16(right.panel(panel)[line][i]);
        assert_eq!((at(0, 0, 0), at(0, 0, 1)), (0.0, 1.0));
        assert_eq!((at(0, 0, 2), at(0, 0, 3)), (10.0, 11.0));
        assert_eq!((at(0, 1, 2), at(0, 1, 3)), (12.0, 0.0), "k ends at 3");
        assert_eq!(at(0, 16, 0), 160.0, "the second half starts at column 16");
        assert_eq!((at(1, 0, 0), at(1, 0, 2)), (320.0, 0.0), "columns end at 33");
    }
}
