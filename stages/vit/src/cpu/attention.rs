//! Softmax attention of one image in bounded memory.
//!
//! `out_h = softmax(Q_h·K_hᵀ/√d_h)·V_h` for each head h, a block of query rows at a time: scores take
//! [`SCORES`] values however many tokens there are. Rows are divided by their sums after the product with V, which has
//! `d_h` columns instead of N.

use super::matmul::{Matrix, matmul};
use super::rows::{divide_columns, softmax_numerators};
use crate::trace::SiteData;

/// Scores held at once: 1 MiB, a size that stays in the second-level cache.
const SCORES: usize = 1 << 18;
/// Fewer query rows than this would spend more time packing the keys than multiplying.
const LEAST_ROWS: usize = 32;

/// Buffers of [`attend`].
#[derive(Default)]
pub(super) struct Scores {
    values: Vec<f32>,
    sums: Vec<f32>,
}

/// What of the softmax is kept.
#[derive(Default)]
pub(super) struct Kept {
    /// `[heads, N, N]`
    pub whole: Option<SiteData>,
    /// `[heads, N]`
    pub cls: Option<SiteData>,
}

impl Kept {
    pub fn new(heads: usize, tokens: usize, whole: bool, cls: bool) -> Self {
        let empty = |shape: Vec<usize>| SiteData { data: Vec::with_capacity(shape.iter().product()), shape };
        Kept { whole: whole.then(|| empty(vec![heads, tokens, tokens])), cls: cls.then(|| empty(vec![heads, tokens])) }
    }

    /// Takes the numerators of query rows `start..` of the head whose turn it is; rows are `stride` apart.
    pub fn take(&mut self, start: usize, tokens: usize, stride: usize, numerators: &[f32], sums: &[f32]) {
        let rows = numerators.chunks_exact(stride).map(|row| &row[..tokens]).zip(sums);
        if let Some(whole) = &mut self.whole {
            for (row, sum) in rows.clone() {
                whole.data.extend(row.iter().map(|v| v / sum));
            }
        }
        if let (Some(cls), true) = (&mut self.cls, start == 0) {
            for (row, sum) in rows.take(1) {
                cls.data.extend(row.iter().map(|v| v / sum));
            }
        }
    }
}

/// `qkv` `[N, 3·D]` → `out` `[N, D]`.
pub(super) fn attend(qkv: &[f32], tokens: usize, heads: usize, out: &mut [f32], scratch: &mut Scores, kept: &mut Kept) {
    let width = qkv.len() / tokens / 3;
    let size = width / heads;
    let block = (SCORES / tokens).max(LEAST_ROWS).min(tokens);
    scratch.values.resize(block * tokens, 0.0);
    scratch.sums.resize(block, 0.0);
    let scale = 1.0 / (size as f32).sqrt();
    for head in 0..heads {
        let part = |which: usize| &qkv[which * width + head * size..];
        let keys = Matrix::rows(part(1), tokens, size, 3 * width);
        let values = Matrix::rows(part(2), tokens, size, 3 * width);
        for start in (0..tokens).step_by(block) {
            let rows = block.min(tokens - start);
            let queries = Matrix::rows(&part(0)[start * 3 * width..], rows, size, 3 * width);
            let scores = &mut scratch.values[..rows * tokens];
            let sums = &mut scratch.sums[..rows];
            matmul(scores, tokens, queries, keys.transposed(), scale, false);
            softmax_numerators(scores, tokens, sums);
            kept.take(start, tokens, tokens, scores, sums);
            let target = &mut out[start * width..(start + rows) * width];
            matmul(&mut target[head * size..], width, Matrix::rows(scores, rows, tokens, tokens), values, 1.0, false);
            divide_columns(target, width, head * size, size, sums);
        }
    }
}
