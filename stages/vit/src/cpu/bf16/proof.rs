//! Special instructions are used only where they have just multiplied right.
//!
//! Processors, hypervisors and emulators have announced instructions that they do not execute as the manual says. A wrong
//! product would be a wrong number in every table, and no error; so the first use multiplies a block that is known.

use super::layout::{Block, Left, Line, Right, SIDE, to_bf16};

/// More than one step of k, and no whole number of tiles.
const K: usize = 81;

/// Small whole numbers: their products and sums are exact, so no order of summing makes a difference.
fn value(i: usize) -> i16 {
    (i.wrapping_mul(2_654_435_761) >> 7) as i16 % 7 - 3
}

/// Whether `block` (left, right, rows, out) multiplies all 32 rows, and fewer, without any error.
pub(super) fn multiplies(block: impl Fn(&[Line], &[Line], usize, &mut Block)) -> bool {
    let (a, b) = (|row: usize, k: usize| value(row * K + k), |column: usize, k: usize| value(7919 + column * K + k));
    let mut left = Left::default();
    left.resize(SIDE, K.div_ceil(SIDE));
    for k_tile in 0..K.div_ceil(SIDE) {
        for (row, line) in left.tile_mut(0, k_tile).iter_mut().enumerate() {
            for (i, v) in line.iter_mut().enumerate() {
                let k = k_tile * SIDE + i;
                *v = if k < K { to_bf16(f32::from(a(row, k))) } else { 0 };
            }
        }
    }
    let right = Right::pack(SIDE, K, |column, k| f32::from(b(column, k)));
    [SIDE, SIDE / 2 + 5, 3].into_iter().all(|rows| {
        let mut out = Block::zero();
        block(left.panel(0), right.panel(0), rows, &mut out);
        (0..rows).all(|row| {
            (0..SIDE).all(|column| {
                let sum: i16 = (0..K).map(|k| a(row, k) * b(column, k)).sum();
                out.0[row][column].to_bits() == f32::from(sum).to_bits()
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::bf16::block::{Kernel, Multiplier};

    #[test]
    fn the_portable_kernel_passes_and_wrong_ones_fail() {
        let Some(right) = Multiplier::new(Kernel::Portable) else { panic!("portable is everywhere") };
        assert!(multiplies(|a, b, rows, out| right.block(a, b, rows, out)));
        assert!(!multiplies(|_, _, _, _| {}), "does nothing");
        assert!(
            !multiplies(|a, b, rows, out| right.block(&a[..2 * SIDE], &b[..2 * SIDE], rows, out)),
            "forgets the tail"
        );
        let one_off = |a: &[Line], b: &[Line], rows: usize, out: &mut Block| {
            right.block(a, b, rows, out);
            out.0[rows - 1][17] += 1.0;
        };
        assert!(!multiplies(one_off), "a single wrong element");
    }
}
