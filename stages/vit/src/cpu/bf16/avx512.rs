//! A block by `vdpbf16ps`: eight rows by two vectors of sixteen columns stay in registers over all of k.
//!
//! Each pair of k costs two loads of B and eight broadcasts of A for sixteen products, so that the multipliers, not the
//! loads, are the limit.

use super::layout::{Block, Line};
#[cfg(target_arch = "x86_64")]
use super::proof::multiplies;

/// Proof that this machine has AVX-512 BF16.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Detected(());

impl Detected {
    #[cfg(not(target_arch = "x86_64"))]
    pub fn new() -> Option<Self> {
        None
    }

    #[cfg(target_arch = "x86_64")]
    pub fn new() -> Option<Self> {
        static WORKS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        let works = || {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bf16")
                && multiplies(|left, right, rows, out| Detected(()).block(left, right, rows, out))
        };
        WORKS.get_or_init(works).then_some(Detected(()))
    }

    /// See [`super::block::Multiplier::block`], which checks the panels.
    #[expect(clippy::unused_self, reason = "that it exists is what makes the instructions legal")]
    pub fn block(self, left: &[Line], right: &[Line], rows: usize, out: &mut Block) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `self` exists only where the features were detected.
        unsafe {
            x86::block(left, right, rows, out);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (left, right, rows, out);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    use super::super::layout::{Block, Line, SIDE};

    /// Rows whose sums are held in registers: 16 of the 32.
    const ROWS: usize = 8;

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub fn block(left: &[Line], right: &[Line], rows: usize, out: &mut Block) {
        let (left, right) = (left.as_chunks::<SIDE>().0, right.as_chunks::<SIDE>().0);
        let mut first = 0;
        while rows - first >= ROWS {
            some_rows::<ROWS>(left, right, first, out);
            first += ROWS;
        }
        match rows - first {
            1 => some_rows::<1>(left, right, first, out),
            2 => some_rows::<2>(left, right, first, out),
            3 => some_rows::<3>(left, right, first, out),
            4 => some_rows::<4>(left, right, first, out),
            5 => some_rows::<5>(left, right, first, out),
            6 => some_rows::<6>(left, right, first, out),
            7 => some_rows::<7>(left, right, first, out),
            _ => {}
        }
    }

    /// Reinterprets 512 bits.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pairs(bits: __m512i) -> __m512bh {
        // SAFETY: both types are 512 bits of which any pattern is valid.
        unsafe { std::mem::transmute(bits) }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn load(line: &Line) -> __m512bh {
        // SAFETY: a line is 64 readable bytes.
        pairs(unsafe { _mm512_loadu_si512(line.as_ptr().cast()) })
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn some_rows<const R: usize>(left: &[[Line; SIDE]], right: &[[Line; SIDE]], first: usize, out: &mut Block) {
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        for (left, right) in left.iter().zip(right) {
            let rows = left[first..].first_chunk::<R>().unwrap_or_else(|| unreachable!("first + R <= 32"));
            for pair in 0..SIDE / 2 {
                let columns = [load(&right[pair]), load(&right[pair + SIDE / 2])];
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let both = u32::from(row[2 * pair]) | u32::from(row[2 * pair + 1]) << 16;
                    let row = pairs(_mm512_set1_epi32(both as i32));
                    sums[0] = _mm512_dpbf16_ps(sums[0], row, columns[0]);
                    sums[1] = _mm512_dpbf16_ps(sums[1], row, columns[1]);
                }
            }
        }
        for (sums, out) in sums.iter().zip(&mut out.0[first..first + R]) {
            let (low, high) = out.split_at_mut(SIDE / 2);
            // SAFETY: each half of a row is 16 writable values.
            unsafe {
                _mm512_storeu_ps(low.as_mut_ptr(), sums[0]);
                _mm512_storeu_ps(high.as_mut_ptr(), sums[1]);
            }
        }
    }
}
