//! Every kernel this machine has against f64 sums of the rounded factors, over random shapes.
//!
//! Whole passes are compared with the reference executor in `candle/tests.rs`.

use proptest::prelude::*;

use super::block::{Kernel, Multiplier};
use super::layout::{Block, Left, Right, from_bf16, to_bf16};

/// Values in [-1, 1), the same on every run.
pub(super) fn noise(seed: usize) -> f32 {
    let mut x = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..2 {
        x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// Frobenius distance of a block from the f64 product of the same rounded factors, relative to that product.
pub(super) fn deviation(multiplier: &Multiplier, rows: usize, k: usize) -> f64 {
    let a = |r: usize, i: usize| noise(r * k + i);
    let b = |c: usize, i: usize| noise(1_000_000 + c * k + i);
    let mut left = Left::default();
    left.resize(rows, k.div_ceil(32));
    for r in 0..rows {
        for i in 0..k {
            left.tile_mut(0, i / 32)[r][i % 32] = to_bf16(a(r, i));
        }
    }
    let right = Right::pack(32, k, b);
    let mut out = Block::zero();
    multiplier.block(left.panel(0), right.panel(0), rows, &mut out);
    let exact = |x: f32| f64::from(from_bf16(to_bf16(x)));
    let (mut off, mut size) = (0.0, 0.0);
    for r in 0..rows {
        for c in 0..32 {
            let want: f64 = (0..k).map(|i| exact(a(r, i)) * exact(b(c, i))).sum();
            off += (f64::from(out.0[r][c]) - want).powi(2);
            size += want * want;
        }
    }
    (off / size).sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_kernel_of_this_machine_multiplies(rows in 1usize..=32, k in 1usize..700) {
        for kernel in [Kernel::Portable, Kernel::Avx512, Kernel::Amx] {
            if let Some(multiplier) = Multiplier::new(kernel) {
                let found = deviation(&multiplier, rows, k);
                prop_assert!(found < 1e-6, "{kernel:?}: {found}");
            }
        }
    }
}
