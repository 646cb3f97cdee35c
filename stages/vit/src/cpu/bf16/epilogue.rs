//! What happens to a block of a product on its way to the next one: bias, activation, rounding to bf16, new layout.

use super::layout::{Block, Line, SIDE};
use super::rounding::{HALF, rounding};
use crate::cpu::activation::{brief_exp, brief_gelu, quick_gelu, silu};
use crate::cpu::rows::{LayerNorm, centre, folded, largest};
use crate::cpu::vectorised::vectorised;

type Tile = [Line; SIDE];

/// A line of what `f` says for each place.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; SIDE] {
    let mut values = [0.0; SIDE];
    for (i, v) in values.iter_mut().enumerate() {
        *v = f(i);
    }
    values
}

rounding! {
    /// Rows become the layer norm's output, in the layout of a left factor; then `add` is added to the rows themselves.
    ///
    /// `x` `[≤ 32, D]`, `panel` `[k tile][32 rows]`.
    pub(super) fn norm_panel[by](x: &mut [f32], add: &[f32], norm: &LayerNorm, panel: &mut [Line]) {
        let (weights, last_weights) = norm.weight.as_chunks::<SIDE>();
        let (biases, last_biases) = norm.bias.as_chunks::<SIDE>();
        let (adds, last_adds) = add.as_chunks::<SIDE>();
        let (tiles, last_tile) = panel.as_chunks_mut::<SIDE>().0.split_at_mut(adds.len());
        for (r, x) in x.chunks_exact_mut(add.len()).enumerate() {
            let (mean, scale) = centre(x, norm.eps);
            let (xs, last_x) = x.as_chunks_mut::<SIDE>();
            let learned = weights.iter().zip(biases).zip(adds);
            for ((x, ((weight, bias), add)), tile) in xs.iter_mut().zip(learned).zip(&mut *tiles) {
                tile[r] = by.line(&each(|i| ((x[i] - mean) * scale).mul_add(weight[i], bias[i])));
                *x = each(|i| x[i] + add[i]);
            }
            if let Some(tile) = last_tile.first_mut() {
                let mut values = [0.0; SIDE];
                let learned = last_weights.iter().zip(last_biases).zip(last_adds);
                for ((v, x), ((weight, bias), add)) in values.iter_mut().zip(last_x).zip(learned) {
                    *v = ((*x - mean) * scale).mul_add(*weight, *bias);
                    *x += *add;
                }
                tile[r] = by.line(&values);
            }
        }
    }
}

rounding! {
    /// `(v + bias)·scale` as rows of a left factor.
    pub(super) fn as_rows[by](block: &Block, rows: usize, bias: &[f32; SIDE], scale: f32, tile: &mut Tile) {
        for (row, out) in block.0[..rows].iter().zip(tile) {
            *out = by.line(&each(|i| (row[i] + bias[i]) * scale));
        }
    }
}

rounding! {
    /// Each row times its factor, as rows of a left factor.
    pub(super) fn scaled[by](block: &Block, factors: &[f32], tile: &mut Tile) {
        for ((row, factor), out) in block.0.iter().zip(factors).zip(tile) {
            *out = by.line(&each(|i| row[i] * *factor));
        }
    }
}

rounding! {
    /// `v + bias`, rows as columns of a right factor: `block` `[32 columns, 32 of k]`, `tile` `[2][16 pairs of k]`.
    pub(super) fn as_columns[by](block: &Block, rows: usize, bias: &[f32; SIDE], tile: &mut Tile) {
        let mut rounded = [[0; SIDE]; SIDE];
        for (row, out) in block.0[..rows].iter().zip(&mut rounded) {
            *out = by.line(&each(|i| row[i] + bias[i]));
        }
        for (columns, out) in rounded.as_chunks::<HALF>().0.iter().zip(tile.as_chunks_mut::<HALF>().0) {
            *out = by.transposed(columns);
        }
    }
}

rounding! {
    /// `v + bias`, rows as values of k of a right factor: `block` `[32 of k, 32 columns]`, `tile` `[2][16 pairs of k]`.
    /// Zero beyond `rows`: a product runs over them.
    pub(super) fn as_depth[by](block: &Block, rows: usize, bias: &[f32; SIDE], tile: &mut Tile) {
        let biased = |r: usize| if r < rows { each(|i| block.0[r][i] + bias[i]) } else { [0.0; SIDE] };
        let (low, high) = tile.split_at_mut(HALF);
        for (pair, (low, high)) in low.iter_mut().zip(high).enumerate() {
            let (a, b) = (biased(2 * pair), biased(2 * pair + 1));
            let [a, b] = [a.as_chunks::<HALF>().0, b.as_chunks::<HALF>().0];
            *low = by.pairs(&a[0], &b[0]);
            *high = by.pairs(&a[1], &b[1]);
        }
    }
}

rounding! {
    /// `GELU(v + bias)` as rows of a left factor.
    pub(super) fn gelu_tile[by](block: &Block, rows: usize, bias: &[f32; SIDE], tile: &mut Tile) {
        for (row, out) in block.0[..rows].iter().zip(tile) {
            *out = by.line(&each(|i| brief_gelu(row[i] + bias[i])));
        }
    }
}

rounding! {
    /// `QuickGELU(v + bias)` as rows of a left factor.
    pub(super) fn quick_gelu_tile[by](block: &Block, rows: usize, bias: &[f32; SIDE], tile: &mut Tile) {
        for (row, out) in block.0[..rows].iter().zip(tile) {
            *out = by.line(&each(|i| quick_gelu(row[i] + bias[i])));
        }
    }
}

rounding! {
    /// `SiLU(gate)·up`, each with its bias, as rows of a left factor.
    pub(super) fn gated_tile[by](gate: &Block, up: &Block, rows: usize, biases: [&[f32; SIDE]; 2], tile: &mut Tile) {
        for ((gate, up), out) in gate.0[..rows].iter().zip(&up.0).zip(tile) {
            *out = by.line(&each(|i| silu(gate[i] + biases[0][i]) * (up[i] + biases[1][i])));
        }
    }
}

rounding! {
    /// Each row of `width` (whole tiles) becomes `exp(row − max)`, in place and as rows of a left factor `[k tile][32
    /// rows]`; its sum goes to `sums`.
    pub(super) fn softmax_panel[by](scores: &mut [f32], width: usize, sums: &mut [f32], panel: &mut [Line]) {
        for (r, (row, total)) in scores.chunks_exact_mut(width).zip(sums).enumerate() {
            let max = largest(row);
            let mut lanes = [0.0; SIDE];
            for (values, tile) in row.as_chunks_mut::<SIDE>().0.iter_mut().zip(panel.as_chunks_mut::<SIDE>().0) {
                *values = each(|i| brief_exp(values[i] - max));
                lanes = each(|i| lanes[i] + values[i]);
                tile[r] = by.line(values);
            }
            *total = folded(lanes, |a, b| a + b);
        }
    }
}

vectorised! {
    /// `x += block` for the rows and columns that lie in `x` `[rows, D]`, from `column` on.
    pub(super) fn add_to(block: &Block, x: &mut [f32], d: usize, column: usize) {
        for (row, x) in block.0.iter().zip(x.chunks_exact_mut(d)) {
            match x[column..].first_chunk_mut::<SIDE>() {
                Some(x) => *x = each(|i| x[i] + row[i]),
                None => x[column..].iter_mut().zip(row).for_each(|(x, v)| *x += *v),
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

#[cfg(test)]
mod tests {
    use super::super::layout::{from_bf16, to_bf16};
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
        let block = numbered();
        let mut tile = [[u16::MAX; SIDE]; SIDE];
        as_columns(&block, 20, &[2.0; SIDE], &mut tile);
        for column in 0..32 {
            for k in 0..32 {
                let found = from_bf16(tile[column / 16 * 16 + k / 2][column % 16 * 2 + k % 2]);
                assert_eq!(found, if column < 20 { block.0[column][k] + 2.0 } else { 0.0 });
            }
        }
        as_depth(&block, 5, &[3.0; SIDE], &mut tile);
        for k in 0..32 {
            for column in 0..32 {
                let found = from_bf16(tile[column / 16 * 16 + k / 2][column % 16 * 2 + k % 2]);
                assert_eq!(found, if k < 5 { block.0[k][column] + 3.0 } else { 0.0 });
            }
        }
    }

    #[test]
    fn a_ragged_width_is_padded_with_zeros_and_not_written_over() {
        let norm = LayerNorm { weight: vec![1.0; 40], bias: vec![2.0; 40], eps: 1e-6 };
        let mut x: Vec<f32> = (0..80).map(|i| (i % 7) as f32).collect();
        let mut panel = vec![[u16::MAX; SIDE]; 64];
        norm_panel(&mut x, &[1.0; 40], &norm, &mut panel);
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
