//! What happens to a block of a product on its way to the next one: bias, activation, rounding to bf16, new layout.

use super::layout::{Block, Line, SIDE, to_bf16};
use crate::cpu::activation::{gelu, quick_gelu, silu};
use crate::cpu::rows::{LayerNorm, normalise};
use crate::cpu::vectorised::vectorised;

type Tile = [Line; SIDE];

vectorised! {
    /// Rows become the layer norm's output, in the layout of a left factor; then `add` is added to the rows themselves.
    ///
    /// `x` `[≤ 32, D]`, `row` a buffer of D rounded up to whole tiles, `panel` `[k tile][32 rows]`.
    pub(super) fn norm_panel(x: &mut [f32], add: &[f32], norm: &LayerNorm, row: &mut [f32], panel: &mut [Line]) {
        let d = add.len();
        row[d..].fill(0.0);
        for (r, x) in x.chunks_exact_mut(d).enumerate() {
            normalise(x, &norm.weight, &norm.bias, norm.eps, &mut row[..d]);
            for (values, tile) in row.as_chunks::<SIDE>().0.iter().zip(panel.as_chunks_mut::<SIDE>().0) {
                for (out, v) in tile[r].iter_mut().zip(values) {
                    *out = to_bf16(*v);
                }
            }
            for (x, add) in x.iter_mut().zip(add) {
                *x += *add;
            }
        }
    }
}

vectorised! {
    /// `(v + bias)·scale` as rows of a left factor.
    pub(super) fn as_rows(block: &Block, rows: usize, bias: &[f32; SIDE], scale: f32, tile: &mut Tile) {
        for (row, out) in block.0[..rows].iter().zip(tile) {
            for ((out, v), b) in out.iter_mut().zip(row).zip(bias) {
                *out = to_bf16((*v + *b) * scale);
            }
        }
    }
}

vectorised! {
    /// Each row times its factor, as rows of a left factor.
    pub(super) fn scaled(block: &Block, factors: &[f32], tile: &mut Tile) {
        for ((row, factor), out) in block.0.iter().zip(factors).zip(tile) {
            for (out, v) in out.iter_mut().zip(row) {
                *out = to_bf16(*v * *factor);
            }
        }
    }
}

vectorised! {
    /// `v + bias`, rows as columns of a right factor: `block` `[32 columns, 32 of k]`, `tile` `[2][16 pairs of k]`.
    pub(super) fn as_columns(block: &Block, rows: usize, bias: &[f32; SIDE], tile: &mut Tile) {
        *tile = [[0; SIDE]; SIDE];
        for (r, row) in block.0[..rows].iter().enumerate() {
            let mut rounded = [0; SIDE];
            for ((out, v), b) in rounded.iter_mut().zip(row).zip(bias) {
                *out = to_bf16(*v + *b);
            }
            let (half, column) = (r / 16, r % 16);
            for (pair, values) in rounded.as_chunks::<2>().0.iter().enumerate() {
                tile[half * 16 + pair].as_chunks_mut::<2>().0[column] = *values;
            }
        }
    }
}

vectorised! {
    /// `v + bias`, rows as values of k of a right factor: `block` `[32 of k, 32 columns]`, `tile` `[2][16 pairs of k]`.
    /// Zero beyond `rows`: a product runs over them.
    pub(super) fn as_depth(block: &mut Block, rows: usize, bias: &[f32; SIDE], tile: &mut Tile) {
        let (here, beyond) = block.0.split_at_mut(rows);
        for row in here {
            for (v, b) in row.iter_mut().zip(bias) {
                *v += *b;
            }
        }
        beyond.fill([0.0; SIDE]);
        for (pair, rows) in block.0.as_chunks::<2>().0.iter().enumerate() {
            for half in 0..2 {
                let columns = half * 16..half * 16 + 16;
                let line = tile[half * 16 + pair].as_chunks_mut::<2>().0;
                for ((out, a), b) in line.iter_mut().zip(&rows[0][columns.clone()]).zip(&rows[1][columns]) {
                    *out = [to_bf16(*a), to_bf16(*b)];
                }
            }
        }
    }
}

vectorised! {
    /// `GELU(v + bias)` as rows of a left factor.
    pub(super) fn gelu_tile(block: &Block, rows: usize, bias: &[f32; SIDE], tile: &mut Tile) {
        for (row, out) in block.0[..rows].iter().zip(tile) {
            for ((out, v), b) in out.iter_mut().zip(row).zip(bias) {
                *out = to_bf16(gelu(*v + *b));
            }
        }
    }
}

vectorised! {
    /// `QuickGELU(v + bias)` as rows of a left factor.
    pub(super) fn quick_gelu_tile(block: &Block, rows: usize, bias: &[f32; SIDE], tile: &mut Tile) {
        for (row, out) in block.0[..rows].iter().zip(tile) {
            for ((out, v), b) in out.iter_mut().zip(row).zip(bias) {
                *out = to_bf16(quick_gelu(*v + *b));
            }
        }
    }
}

vectorised! {
    /// `SiLU(gate)·up`, each with its bias, as rows of a left factor.
    pub(super) fn gated_tile(gate: &Block, up: &Block, rows: usize, biases: [&[f32; SIDE]; 2], tile: &mut Tile) {
        for ((gate, up), out) in gate.0[..rows].iter().zip(&up.0).zip(tile) {
            let biased = gate.iter().zip(biases[0]).zip(up.iter().zip(biases[1]));
            for (out, ((g, gb), (u, ub))) in out.iter_mut().zip(biased) {
                *out = to_bf16(silu(*g + *gb) * (*u + *ub));
            }
        }
    }
}

vectorised! {
    /// `x += block` for the rows and columns that lie in `x` `[rows, D]`, from `column` on.
    pub(super) fn add_to(block: &Block, x: &mut [f32], d: usize, column: usize) {
        let columns = SIDE.min(d - column);
        for (row, x) in block.0.iter().zip(x.chunks_exact_mut(d)) {
            for (v, x) in row[..columns].iter().zip(&mut x[column..]) {
                *x += *v;
            }
        }
    }
}

vectorised! {
    /// `x = block` for the rows and columns that lie in `x` `[rows, D]`, from `column` on.
    pub(super) fn put_in(block: &Block, x: &mut [f32], d: usize, column: usize) {
        let columns = SIDE.min(d - column);
        for (row, x) in block.0.iter().zip(x.chunks_exact_mut(d)) {
            x[column..column + columns].copy_from_slice(&row[..columns]);
        }
    }
}

vectorised! {
    /// Rows of `stride` values, whole tiles, as rows of a left factor `[k tile][32 rows]`.
    pub(super) fn pack_rows(values: &[f32], stride: usize, panel: &mut [Line]) {
        for (r, row) in values.chunks_exact(stride).enumerate() {
            for (values, tile) in row.as_chunks::<SIDE>().0.iter().zip(panel.as_chunks_mut::<SIDE>().0) {
                for (out, v) in tile[r].iter_mut().zip(values) {
                    *out = to_bf16(*v);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::from_bf16;
    use super::*;

    fn numbered() -> Block {
        let mut block = Block::zero();
        for (r, row) in block.0.iter_mut().enumerate() {
            for (c, v) in row.iter_mut().enumerate() {
                // Multiples of 1/2 below 128: exact in bf16 as long as they have eight digits.
                *v = (r * 4 + c % 4) as f32;
            }
        }
        block
    }

    /// Breaks when a key or value lands in another place than the kernels read it from.
    #[test]
    fn layouts_of_right_factors() {
        let mut block = numbered();
        let mut tile = [[u16::MAX; SIDE]; SIDE];
        as_columns(&block, 20, &[2.0; SIDE], &mut tile);
        for column in 0..32 {
            for k in 0..32 {
                let found = from_bf16(tile[column / 16 * 16 + k / 2][column % 16 * 2 + k % 2]);
                assert_eq!(found, if column < 20 { block.0[column][k] + 2.0 } else { 0.0 });
            }
        }
        let whole = block.clone();
        as_depth(&mut block, 5, &[3.0; SIDE], &mut tile);
        for k in 0..32 {
            for column in 0..32 {
                let found = from_bf16(tile[column / 16 * 16 + k / 2][column % 16 * 2 + k % 2]);
                assert_eq!(found, if k < 5 { whole.0[k][column] + 3.0 } else { 0.0 });
            }
        }
    }

    #[test]
    fn a_ragged_width_is_padded_with_zeros_and_not_written_over() {
        let norm = LayerNorm { weight: vec![1.0; 40], bias: vec![2.0; 40], eps: 1e-6 };
        let mut x: Vec<f32> = (0..80).map(|i| (i % 7) as f32).collect();
        let mut row = vec![9.0; 64];
        let mut panel = vec![[u16::MAX; SIDE]; 64];
        norm_panel(&mut x, &[1.0; 40], &norm, &mut row, &mut panel);
        let mut want = vec![0.0; 80];
        let before: Vec<f32> = (0..80).map(|i| (i % 7) as f32).collect();
        norm.apply(&before, &mut want);
        for r in 0..2 {
            for c in 0..64 {
                let found = panel[c / 32 * 32 + r][c % 32];
                assert_eq!(found, if c < 40 { to_bf16(want[r * 40 + c]) } else { 0 });
            }
        }
        assert!(x.iter().zip(&before).all(|(now, before)| *now == before + 1.0));
        let mut x = vec![1.0; 80];
        add_to(&numbered(), &mut x, 40, 32);
        assert_eq!((x[31], x[32], x[39], x[40], x[72]), (1.0, 1.0, 4.0, 1.0, 5.0));
    }
}
