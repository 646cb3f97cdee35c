//! Softmax attention of one image in bounded memory.
//!
//! `out_h = softmax(Q_h·K_hᵀ/√d_h)·V_h` for each head h, a block of query rows at a time: scores take
//! [`SCORES`] values however many tokens there are. Rows are divided by their sums after the product with V, which has
//! `d_h` columns instead of N.

use super::matmul::{Matrix, matmul};
use super::rows::{divide_columns, softmax_numerators};
use crate::site::Site;
use crate::trace::{Request, SiteData};

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

/// What of the softmax of a block is kept: the rows of some tokens, for each site that is asked for.
pub(super) struct Kept {
    tokens: usize,
    sites: Vec<Rows>,
}

/// Rows of one site, `[heads, Q, N]`.
struct Rows {
    site: Site,
    /// Q tokens, in the order of the rows.
    queries: Vec<usize>,
    values: SiteData,
}

impl Kept {
    /// Of block `i`.
    pub fn new(want: &Request, i: u16, heads: usize, tokens: usize) -> Self {
        let every = (0..tokens).collect();
        let all: [(Site, Vec<usize>); 3] = [
            (Site::Attention(i), every),
            (Site::ClsAttention(i), vec![0]),
            (Site::AttentionRows(i), want.queries.clone()),
        ];
        let rows = |(site, queries): (Site, Vec<usize>)| {
            let shape = match site {
                Site::ClsAttention(_) => vec![heads, tokens],
                _ => vec![heads, queries.len(), tokens],
            };
            Rows { site, values: SiteData { data: vec![0.0; shape.iter().product()], shape }, queries }
        };
        let wanted = all.into_iter().filter(|(site, _)| want.full.contains(site));
        Kept { tokens, sites: wanted.map(rows).collect() }
    }

    /// Takes the numerators of query rows `start..` of a head; rows are `stride` apart.
    pub fn take(&mut self, head: usize, start: usize, stride: usize, numerators: &[f32], sums: &[f32]) {
        for Rows { queries, values, .. } in &mut self.sites {
            let outs = values.data.chunks_exact_mut(self.tokens).skip(head * queries.len());
            for (query, out) in queries.iter().zip(outs) {
                // Rows before `start` wrap round to what no block has.
                let row = query.wrapping_sub(start);
                if let Some(sum) = sums.get(row) {
                    for (o, v) in out.iter_mut().zip(&numerators[row * stride..]) {
                        *o = v / sum;
                    }
                }
            }
        }
    }

    /// What was kept, by site.
    pub fn into_sites(self) -> impl Iterator<Item = (Site, SiteData)> {
        self.sites.into_iter().map(|rows| (rows.site, rows.values))
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
            kept.take(head, start, tokens, scores, sums);
            let target = &mut out[start * width..(start + rows) * width];
            matmul(&mut target[head * size..], width, Matrix::rows(scores, rows, tokens, tokens), values, 1.0, false);
            divide_columns(target, width, head * size, size, sums);
        }
    }
}

/// `qkv` `[N, 3·D]` → the softmax row of CLS, mean over heads, `[N]`.
pub(super) fn cls_row(qkv: &[f32], tokens: usize, heads: usize) -> Vec<f32> {
    let width = qkv.len() / tokens / 3;
    let size = width / heads;
    let scale = 1.0 / (size as f32).sqrt();
    let (mut mean, mut row, mut sum) = (vec![0.0; tokens], vec![0.0; tokens], [0.0]);
    for head in 0..heads {
        let part = |which: usize| &qkv[which * width + head * size..];
        let query = Matrix::rows(part(0), 1, size, 3 * width);
        let keys = Matrix::rows(part(1), tokens, size, 3 * width);
        matmul(&mut row, tokens, query, keys.transposed(), scale, false);
        softmax_numerators(&mut row, tokens, &mut sum);
        for (m, v) in mean.iter_mut().zip(&row) {
            *m += v / sum[0] / heads as f32;
        }
    }
    mean
}
