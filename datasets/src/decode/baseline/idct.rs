//! Dequantisation and libjpeg's accurate inverse DCT, eight columns or rows at once.
//!
//! The one-dimensional transform (Loeffler, Ligtenberg & Moschytz, ICASSP 1989, 11 multiplications) with 13-bit
//! constants; the first pass, down the columns, keeps 2 extra bits; each pass rounds once:
//!
//! ```text
//! pass 1   (x + 2¹⁰) >> 11        pass 2   (x + 2¹⁷) >> 18, + 128, clamped to bytes
//! ```
//!
//! libjpeg computes in 64 bits and looks the result up modulo 1024; this computes in 32. Both are the same while
//! dequantised coefficients and the values between the passes stay below 2¹⁵ and results within ±512, which is checked:
//! encoders never leave that range. Source: libjpeg `jidctint.c`.

#![expect(clippy::needless_range_loop, reason = "the lane runs over the inner axis of eight rows at once")]
#![expect(clippy::inline_always, reason = "code that is not inlined escapes the vector features of the dispatch")]

use pulp::{Simd, WithSimd};

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;
const LIMIT: i32 = 1 << 15;

/// The coefficients of a block, in rows, as coded.
#[derive(Clone)]
pub(super) struct Quantised {
    pub coefficients: [i16; 64],
    /// Whether only the first may differ from zero.
    pub is_flat: bool,
}

impl Default for Quantised {
    fn default() -> Self {
        Self { coefficients: [0; 64], is_flat: true }
    }
}

/// Writes a line of blocks as rows of samples and clears it; false if a value left the range in which this is exact.
pub(super) fn transform(line: &mut [Quantised], steps: &[i32; 64], samples: &mut [u8], stride: usize) -> bool {
    pulp::Arch::new().dispatch(Line { blocks: line, steps, samples, stride })
}

struct Line<'a> {
    blocks: &'a mut [Quantised],
    steps: &'a [i32; 64],
    /// Eight rows for every `stride / 8` blocks.
    samples: &'a mut [u8],
    stride: usize,
}

impl WithSimd for Line<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> bool {
        let mut is_exact = true;
        let per_row = self.stride / 8;
        for (blocks, rows) in self.blocks.chunks_exact_mut(per_row).zip(self.samples.chunks_exact_mut(8 * self.stride))
        {
            for (column, block) in blocks.iter_mut().enumerate() {
                let samples = if block.is_flat {
                    let dc = i32::from(block.coefficients[0]) * self.steps[0];
                    let centred = (dc + 4) >> 3;
                    is_exact &= (-512..512).contains(&centred);
                    [[sample(centred); 8]; 8]
                } else {
                    let (samples, exact) = inverse(&block.coefficients, self.steps);
                    is_exact &= exact;
                    *block = Quantised::default();
                    samples
                };
                for (row, samples) in rows.chunks_exact_mut(self.stride).zip(samples) {
                    row[column * 8..column * 8 + 8].copy_from_slice(&samples);
                }
            }
        }
        is_exact
    }
}

#[inline(always)]
fn sample(centred: i32) -> u8 {
    (centred + 128).clamp(0, 255) as u8
}

/// Samples of a block, and whether they are exact.
#[inline(always)]
fn inverse(coefficients: &[i16; 64], steps: &[i32; 64]) -> ([[u8; 8]; 8], bool) {
    let mut values = [[0_i32; 8]; 8];
    let mut largest = 0;
    for ((value, &coefficient), &step) in values.as_flattened_mut().iter_mut().zip(coefficients).zip(steps) {
        *value = i32::from(coefficient) * step;
        largest = largest.max(value.abs());
    }
    one_dimension::<{ CONST_BITS - PASS1_BITS }>(&mut values);
    let mut turned = [[0_i32; 8]; 8];
    for (y, row) in values.iter().enumerate() {
        for (x, &value) in row.iter().enumerate() {
            largest = largest.max(value.abs());
            turned[x][y] = value;
        }
    }
    one_dimension::<{ CONST_BITS + PASS1_BITS + 3 }>(&mut turned);
    let mut samples = [[0; 8]; 8];
    let mut outside = 0;
    for (x, column) in turned.iter().enumerate() {
        for (y, &value) in column.iter().enumerate() {
            outside |= (value + 512) & !1023;
            samples[y][x] = sample(value);
        }
    }
    (samples, largest < LIMIT && outside == 0)
}

/// Transforms along the first axis, all of the second at once.
#[inline(always)]
fn one_dimension<const SHIFT: u32>(v: &mut [[i32; 8]; 8]) {
    for lane in 0..8 {
        let input: [i32; 8] = std::array::from_fn(|k| v[k][lane]);
        let mul = i32::wrapping_mul;
        let add = i32::wrapping_add;
        let sub = i32::wrapping_sub;

        let z1 = mul(add(input[2], input[6]), 4433);
        let tmp2 = sub(z1, mul(input[6], 15137));
        let tmp3 = add(z1, mul(input[2], 6270));
        let tmp0 = add(input[0], input[4]) << CONST_BITS;
        let tmp1 = sub(input[0], input[4]) << CONST_BITS;
        let even = [add(tmp0, tmp3), add(tmp1, tmp2), sub(tmp1, tmp2), sub(tmp0, tmp3)];

        let [t0, t1, t2, t3] = [input[7], input[5], input[3], input[1]];
        let (z1, z2, z3, z4) = (add(t0, t3), add(t1, t2), add(t0, t2), add(t1, t3));
        let z5 = mul(add(z3, z4), 9633);
        let (z1, z2) = (mul(z1, -7373), mul(z2, -20995));
        let (z3, z4) = (add(mul(z3, -16069), z5), add(mul(z4, -3196), z5));
        let odd = [
            add(mul(t3, 12299), add(z1, z4)),
            add(mul(t2, 25172), add(z2, z3)),
            add(mul(t1, 16819), add(z2, z4)),
            add(mul(t0, 2446), add(z1, z3)),
        ];
        for k in 0..4 {
            let round = 1 << (SHIFT - 1);
            v[k][lane] = add(add(even[k], odd[k]), round) >> SHIFT;
            v[7 - k][lane] = add(sub(even[k], odd[k]), round) >> SHIFT;
        }
    }
}
