//! `y = x·Wᵀ + b` by blocks of 32 × 32, each handed over while it is in the first-level cache.

use super::block::Multiplier;
use super::layout::{Block, Left, Right, SIDE};

/// Of the left factor that is multiplied with one panel of weights after the other: half of a usual second-level cache.
const LEFT_BYTES: usize = 512 << 10;
/// Rows of blocks at least: each panel of weights must be used more than once when it is fetched.
const LEAST_ROW_BLOCKS: usize = 4;

/// Weights as a right factor.
pub(in crate::cpu) struct Linear {
    weight: Right,
    /// Zero where the panels are wider than the matrix.
    bias: Vec<f32>,
}

impl Linear {
    /// `outputs × inputs` values; either may count padding, for which `weight` and `bias` answer zero.
    pub fn new(
        outputs: usize,
        inputs: usize,
        weight: impl Fn(usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) -> Self {
        let weight = Right::pack(outputs, inputs, weight);
        let bias = (0..weight.panels() * SIDE).map(|o| if o < outputs { bias(o) } else { 0.0 }).collect();
        Linear { weight, bias }
    }

    /// Tiles of k that the left factor must have.
    pub fn k_tiles(&self) -> usize {
        self.weight.k_tiles()
    }

    /// Panels of 32 outputs.
    pub fn panels(&self) -> usize {
        self.weight.panels()
    }

    /// Bias of a panel.
    pub fn bias(&self, panel: usize) -> &[f32; SIDE] {
        &self.bias.as_chunks().0[panel]
    }

    /// Hands every block of `x·Wᵀ`, without the bias, to `sink(row block, panel, rows in it, block)`.
    pub fn blocks(
        &self,
        multiplier: &Multiplier,
        x: &Left,
        rows: usize,
        mut sink: impl FnMut(usize, usize, usize, &mut Block),
    ) {
        let row_blocks = rows.div_ceil(SIDE);
        let panel_bytes = self.k_tiles() * SIDE * SIDE * size_of::<u16>();
        let at_once = (LEFT_BYTES / panel_bytes).max(LEAST_ROW_BLOCKS);
        let mut block = Block::zero();
        for start in (0..row_blocks).step_by(at_once) {
            for panel in 0..self.panels() {
                for i in start..row_blocks.min(start + at_once) {
                    let here = SIDE.min(rows - i * SIDE);
                    multiplier.block(x.panel(i), self.weight.panel(panel), here, &mut block);
                    sink(i, panel, here, &mut block);
                }
            }
        }
    }
}
