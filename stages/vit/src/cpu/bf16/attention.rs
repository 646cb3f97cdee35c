//! Softmax attention on blocks, in memory that grows with the tokens, not with their square.
//!
//! For each head and 32 queries: scores with every key, softmax numerators in f32, rounded, times the values; the sums
//! divide at the end, when there are only `d_h` columns. A head of another size than whole tiles (80, 88) is padded by
//! zeros in the weights.

use super::block::Multiplier;
use super::epilogue::{as_columns, as_depth, as_rows, scaled, softmax_panel};
use super::layout::{Block, Left, Right, SIDE};
use crate::cpu::attention::Kept;

/// Queries, keys and values of all heads, and buffers.
#[derive(Default)]
pub(in crate::cpu) struct Heads {
    count: usize,
    /// Tiles of one head's width.
    width_tiles: usize,
    row_blocks: usize,
    /// Row block `head · row_blocks + i`.
    queries: Left,
    /// Panel `head · row_blocks + i`.
    keys: Right,
    /// Panel `head · width_tiles + t`.
    values: Right,
    /// `[≤ 32, N rounded up to tiles]`
    scores: Vec<f32>,
    weights: Left,
}

/// Where a panel of the projection to queries, keys and values belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// 0 queries, 1 keys, 2 values.
    pub part: usize,
    pub head: usize,
    /// Tile of the head's width.
    pub tile: usize,
}

impl Place {
    pub fn of(panel: usize, heads: usize, width_tiles: usize) -> Self {
        let in_part = panel % (heads * width_tiles);
        Place { part: panel / (heads * width_tiles), head: in_part / width_tiles, tile: in_part % width_tiles }
    }
}

impl Heads {
    pub fn resize(&mut self, tokens: usize, heads: usize, width_tiles: usize) {
        let row_blocks = tokens.div_ceil(SIDE);
        (self.count, self.width_tiles, self.row_blocks) = (heads, width_tiles, row_blocks);
        self.queries.resize(heads * row_blocks * SIDE, width_tiles);
        self.keys.resize(heads * row_blocks, width_tiles);
        self.values.resize(heads * width_tiles, row_blocks);
        self.scores.resize(SIDE * row_blocks * SIDE, 0.0);
        self.weights.resize(SIDE, row_blocks);
    }

    /// Takes a block of the projection; `scale` multiplies queries.
    pub fn take(
        &mut self,
        place: Place,
        (row_block, rows): (usize, usize),
        block: &Block,
        bias: &[f32; SIDE],
        scale: f32,
    ) {
        let Place { part, head, tile } = place;
        let at = head * self.row_blocks + row_block;
        match part {
            0 => as_rows(block, rows, bias, scale, self.queries.tile_mut(at, tile)),
            1 => as_columns(block, rows, bias, self.keys.tile_mut(at, tile)),
            _ => as_depth(block, rows, bias, self.values.tile_mut(head * self.width_tiles + tile, row_block)),
        }
    }

    /// `out` `[N, heads · width]` as a left factor.
    pub fn attend(&mut self, multiplier: &Multiplier, tokens: usize, out: &mut Left, kept: &mut Kept) {
        let stride = self.row_blocks * SIDE;
        let mut block = Block::zero();
        let mut sums = [0.0f32; SIDE];
        for head in 0..self.count {
            for i in 0..self.row_blocks {
                let rows = SIDE.min(tokens - i * SIDE);
                let scores = &mut self.scores[..rows * stride];
                let queries = self.queries.panel(head * self.row_blocks + i);
                for j in 0..self.row_blocks {
                    multiplier.block(queries, self.keys.panel(head * self.row_blocks + j), rows, &mut block);
                    for (row, scores) in block.0.iter().zip(scores.chunks_exact_mut(stride)) {
                        scores[j * SIDE..][..SIDE].copy_from_slice(row);
                    }
                }
                for row in scores.chunks_exact_mut(stride) {
                    row[tokens..].fill(f32::NEG_INFINITY);
                }
                softmax_panel(scores, stride, &mut sums[..rows], self.weights.panel_mut(0));
                kept.take(head, i * SIDE, stride, scores, &sums[..rows]);
                let inverse = sums.map(f32::recip);
                for t in 0..self.width_tiles {
                    let values = self.values.panel(head * self.width_tiles + t);
                    multiplier.block(self.weights.panel(0), values, rows, &mut block);
                    scaled(&block, &inverse[..rows], out.tile_mut(i, head * self.width_tiles + t));
                }
            }
        }
    }
}
