//! Near-f32 products from bf16 ones: `x·w ≈ hi(x)·hi(w) + hi(x)·lo(w) + lo(x)·hi(w)`, where `hi` is the nearest bf16 and
//! `lo` the nearest bf16 of the rest.
//!
//! The left-out `lo·lo` and the rounding of `lo` are 2⁻¹⁷ of a product each. The three products are one with k three
//! times as long: `[hi | hi | lo]·[hi | lo | hi]`. Three times the work pays only where bf16 is more than three times as
//! fast as f32, which is on AMX tiles.

use super::block::Multiplier;
use super::epilogue::{add_to, put_in};
use super::layout::{Block, Left, Line, Right, SIDE, from_bf16, to_bf16};
use super::rounding::rounding;

/// Weights `[out, in]` as the right factor.
pub(in crate::cpu) struct Split {
    weight: Right,
    inputs: usize,
    outputs: usize,
}

/// `x - bf16(x)`
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn rest(x: f32) -> f32 {
    x - from_bf16(to_bf16(x))
}

impl Split {
    /// `weight(output, input)`
    pub fn new(outputs: usize, inputs: usize, weight: impl Fn(usize, usize) -> f32) -> Self {
        // Each third is padded by itself, as the left factor is packed.
        let third = inputs.next_multiple_of(SIDE);
        let weight = Right::pack(outputs, 3 * third, |o, k| match (k / third, k % third) {
            (_, i) if i >= inputs => 0.0,
            (1, i) => rest(weight(o, i)),
            (_, i) => weight(o, i),
        });
        Split { weight, inputs, outputs }
    }

    /// `y = x·Wᵀ`, or `y += x·Wᵀ`; rows of `x` are `stride` apart, `y` is `[rows, out]`. `packed` is a buffer.
    pub fn apply(
        &self,
        multiplier: &Multiplier,
        (x, stride): (&[f32], usize),
        rows: usize,
        y: &mut [f32],
        accumulate: bool,
        packed: &mut Left,
    ) {
        packed.resize(SIDE, self.weight.k_tiles());
        let mut block = Block::zero();
        for first in (0..rows).step_by(SIDE) {
            let here = SIDE.min(rows - first);
            pack(&x[first * stride..], stride, self.inputs, here, packed.panel_mut(0));
            let y = &mut y[first * self.outputs..][..here * self.outputs];
            for panel in 0..self.weight.panels() {
                multiplier.block(packed.panel(0), self.weight.panel(panel), here, &mut block);
                if accumulate {
                    add_to(&block, y, self.outputs, panel * SIDE);
                } else {
                    put_in(&block, y, self.outputs, panel * SIDE);
                }
            }
        }
    }
}

rounding! {
    /// Rows as `[hi | hi | lo]`, each third padded with zeros to whole tiles.
    fn pack[by](x: &[f32], stride: usize, width: usize, rows: usize, panel: &mut [Line]) {
        let tiles = panel.as_chunks_mut::<SIDE>().0;
        let (first, others) = tiles.split_at_mut(tiles.len() / 3);
        let (second, third) = others.split_at_mut(first.len());
        for (r, row) in x.chunks(stride).take(rows).enumerate() {
            for (t, values) in row[..width].chunks(SIDE).enumerate() {
                let mut padded = [0.0; SIDE];
                padded[..values.len()].copy_from_slice(values);
                let high = by.line(&padded);
                (first[t][r], second[t][r]) = (high, high);
                padded.iter_mut().zip(high).for_each(|(v, high)| *v -= from_bf16(high));
                third[t][r] = by.line(&padded);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::Kernel;
    use super::super::tests::noise;
    use super::*;

    /// Breaks when a third meets the wrong third: plain bf16 is off by 3e-3.
    #[test]
    fn nearly_f32() {
        for (rows, inputs, outputs) in [(1, 1, 1), (33, 70, 40), (64, 384, 96)] {
            let stride = inputs + 3;
            let x: Vec<f32> = (0..rows * stride).map(noise).collect();
            let w = |o: usize, i: usize| noise(500_000 + o * inputs + i);
            let split = Split::new(outputs, inputs, w);
            for kernel in Kernel::ALL {
                let Some(multiplier) = Multiplier::new(kernel) else { continue };
                let mut y = vec![1.0f32; rows * outputs];
                split.apply(&multiplier, (&x, stride), rows, &mut y, true, &mut Left::default());
                let mut again = vec![9.0f32; rows * outputs];
                split.apply(&multiplier, (&x, stride), rows, &mut again, false, &mut Left::default());
                let (mut off, mut size) = (0.0, 0.0);
                for (at, (y, again)) in y.iter().zip(&again).enumerate() {
                    let (r, o) = (at / outputs, at % outputs);
                    let want: f64 = (0..inputs).map(|i| f64::from(x[r * stride + i]) * f64::from(w(o, i))).sum();
                    off += (f64::from(*again) - want).powi(2);
                    size += want * want;
                    assert!((y - 1.0 - again).abs() < 1e-5, "{y} is not 1 + {again}");
                }
                assert!((off / size).sqrt() < 2e-5, "{kernel}: {}", (off / size).sqrt());
            }
        }
    }
}
