//! f32 to bf16 by the line: one instruction of AVX-512 BF16 where ordinary code takes a dozen.
//!
//! [`rounding!`] compiles a function for [`Instructions`] and, by every instruction set of `vectorised!`, for [`Ordinary`],
//! and chooses when it is called. Both round to the nearest even, and a NaN stays one; the instructions take numbers below
//! 1.2e-38 for zero.

use super::layout::{Line, SIDE, to_bf16};

/// Half a line of f32: a vector of 512 bits.
pub(super) const HALF: usize = SIDE / 2;

/// Who rounds, and orders what is rounded.
pub(super) trait Rounding: Copy {
    /// Every value.
    fn line(self, values: &[f32; SIDE]) -> Line;
    /// Two rows, value beside value.
    fn pairs(self, first: &[f32; HALF], second: &[f32; HALF]) -> Line;
    /// 16 × 16 pairs, rows as columns.
    fn transposed(self, rows: &[Line; HALF]) -> [Line; HALF];
}

/// What every processor can.
#[derive(Clone, Copy)]
pub(super) struct Ordinary;

#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
impl Rounding for Ordinary {
    #[inline(always)]
    fn line(self, values: &[f32; SIDE]) -> Line {
        let mut line = [0; SIDE];
        for (out, v) in line.iter_mut().zip(values) {
            *out = to_bf16(*v);
        }
        line
    }

    #[inline(always)]
    fn pairs(self, first: &[f32; HALF], second: &[f32; HALF]) -> Line {
        let mut line = [0; SIDE];
        for ((out, a), b) in line.as_chunks_mut::<2>().0.iter_mut().zip(first).zip(second) {
            *out = [to_bf16(*a), to_bf16(*b)];
        }
        line
    }

    #[inline(always)]
    fn transposed(self, rows: &[Line; HALF]) -> [Line; HALF] {
        let mut columns = [[0; SIDE]; HALF];
        for (r, row) in rows.iter().enumerate() {
            for (column, pair) in columns.iter_mut().zip(row.as_chunks::<2>().0) {
                column.as_chunks_mut::<2>().0[r] = *pair;
            }
        }
        columns
    }
}

/// Declares a function whose `$by` rounds.
macro_rules! rounding {
    ($(#[$meta:meta])* $vis:vis fn $name:ident[$by:ident]($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            fn rounded($by: impl $crate::cpu::bf16::rounding::Rounding, $($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                use $crate::cpu::bf16::rounding::Instructions;

                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx2,fma")]
                fn instructions(by: Instructions, $($arg: $ty),*) {
                    rounded(by, $($arg),*);
                }
                if let Some(by) = Instructions::detected() {
                    // SAFETY: `Instructions` exist only where every feature enabled here was detected.
                    return unsafe { instructions(by, $($arg),*) };
                }
            }
            $crate::cpu::vectorised::vectorised! {
                fn ordinary($($arg: $ty),*) {
                    rounded($crate::cpu::bf16::rounding::Ordinary, $($arg),*);
                }
            }
            ordinary($($arg),*);
        }
    };
}

pub(super) use rounding;

#[cfg(target_arch = "x86_64")]
pub(super) use x86::Instructions;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256bh, __m256i, __m512, __m512i, _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh,
        _mm512_loadu_ps, _mm512_or_si512, _mm512_shuffle_i32x4, _mm512_slli_epi32, _mm512_unpackhi_epi32,
        _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    };
    use std::mem::transmute;
    use std::sync::OnceLock;

    use super::{HALF, Line, Ordinary, Rounding, SIDE};

    /// Proof that this machine has AVX-512 BF16, and that it rounds right.
    #[derive(Clone, Copy)]
    pub(in crate::cpu::bf16) struct Instructions(());

    impl Instructions {
        pub fn detected() -> Option<Self> {
            static WORKS: OnceLock<bool> = OnceLock::new();
            let works = || {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512bf16")
                    && is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && Instructions(()).agrees()
            };
            WORKS.get_or_init(works).then_some(Instructions(()))
        }

        /// Whether numbers of both signs, ties among them, come out as they do without the instructions.
        fn agrees(self) -> bool {
            // Every other one is a tie or exact.
            let kept = |i: usize| if i.is_multiple_of(2) { !0x7fff } else { !0 };
            let value = |i: usize| f32::from_bits((i as u32).wrapping_mul(0x9e37_79b9) & kept(i) | 0x2000_0000);
            let values: [f32; SIDE] = std::array::from_fn(value);
            let (first, second) = (&std::array::from_fn(value), &std::array::from_fn(|i| value(HALF + i)));
            let rows = std::array::from_fn(|r| std::array::from_fn(|i| (r * SIDE + i) as u16));
            self.line(&values) == Ordinary.line(&values)
                && self.pairs(first, second) == Ordinary.pairs(first, second)
                && self.transposed(&rows) == Ordinary.transposed(&rows)
        }
    }

    #[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
    impl Rounding for Instructions {
        #[inline(always)]
        fn line(self, values: &[f32; SIDE]) -> Line {
            // SAFETY: `self` exists only where the features were detected.
            unsafe { line(values) }
        }

        #[inline(always)]
        fn pairs(self, first: &[f32; HALF], second: &[f32; HALF]) -> Line {
            // SAFETY: `self` exists only where the features were detected.
            unsafe { pairs(first, second) }
        }

        #[inline(always)]
        fn transposed(self, rows: &[Line; HALF]) -> [Line; HALF] {
            // SAFETY: `self` exists only where the features were detected.
            unsafe { transposed(rows) }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn load(values: &[f32; HALF]) -> __m512 {
        // SAFETY: sixteen readable values.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn line(values: &[f32; SIDE]) -> Line {
        let [low, high] = [values.first_chunk(), values.last_chunk()];
        let [low, high] = [low, high].map(|half| half.unwrap_or_else(|| unreachable!("a line has two halves")));
        // SAFETY: both types are 512 bits of which any pattern is valid.
        unsafe { transmute(_mm512_cvtne2ps_pbh(load(high), load(low))) }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pairs(first: &[f32; HALF], second: &[f32; HALF]) -> Line {
        // SAFETY: both types are 256 bits of which any pattern is valid.
        let bits = |half| unsafe { transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(load(half))) };
        let [first, second] = [first, second].map(|half| _mm512_cvtepu16_epi32(bits(half)));
        // SAFETY: both types are 512 bits of which any pattern is valid.
        unsafe { transmute(_mm512_or_si512(first, _mm512_slli_epi32::<16>(second))) }
    }

    /// Pairs of rows side by side, then pairs of those, then quarters twice: the usual network of 64 shuffles.
    #[target_feature(enable = "avx512f")]
    fn transposed(rows: &[Line; HALF]) -> [Line; HALF] {
        // SAFETY: both types are sixteen times 512 bits of which any pattern is valid.
        let rows: [__m512i; HALF] = unsafe { transmute(*rows) };
        let mut twos = rows;
        for i in (0..HALF).step_by(2) {
            twos[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
            twos[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
        }
        let mut fours = rows;
        for i in (0..HALF).step_by(4) {
            fours[i] = _mm512_unpacklo_epi64(twos[i], twos[i + 2]);
            fours[i + 1] = _mm512_unpackhi_epi64(twos[i], twos[i + 2]);
            fours[i + 2] = _mm512_unpacklo_epi64(twos[i + 1], twos[i + 3]);
            fours[i + 3] = _mm512_unpackhi_epi64(twos[i + 1], twos[i + 3]);
        }
        let mut eights = rows;
        for (i, start) in [(0, 0), (1, 0), (2, 0), (3, 0), (0, 8), (1, 8), (2, 8), (3, 8)] {
            let (a, b) = (fours[start + i], fours[start + i + 4]);
            eights[start + i] = _mm512_shuffle_i32x4::<0x88>(a, b);
            eights[start + i + 4] = _mm512_shuffle_i32x4::<0xdd>(a, b);
        }
        let mut columns = rows;
        for i in 0..8 {
            columns[i] = _mm512_shuffle_i32x4::<0x88>(eights[i], eights[i + 8]);
            columns[i + 8] = _mm512_shuffle_i32x4::<0xdd>(eights[i], eights[i + 8]);
        }
        // SAFETY: both types are sixteen times 512 bits of which any pattern is valid.
        unsafe { transmute(columns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the instructions are compared with.
    #[test]
    fn rows_become_columns() {
        let rows: [Line; HALF] = std::array::from_fn(|r| std::array::from_fn(|i| (100 * r + i) as u16));
        let columns = Ordinary.transposed(&rows);
        for (c, column) in columns.iter().enumerate() {
            for (r, pair) in column.as_chunks::<2>().0.iter().enumerate() {
                assert_eq!(*pair, [rows[r][2 * c], rows[r][2 * c + 1]]);
            }
        }
        let line = Ordinary.pairs(&[1.0; HALF], &[-2.0; HALF]);
        assert_eq!((line[0], line[1], line[31]), (0x3f80, 0xc000, 0xc000));
    }

    /// The scalar twin of the instructions, over all exponents, ties and numbers that are none.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn instructions_round_as_ordinary_code_does() {
        if !is_x86_feature_detected!("avx512bf16") {
            eprintln!("skipped: this processor has no AVX-512 BF16");
            return;
        }
        let Some(by) = Instructions::detected() else { panic!("it has AVX-512 BF16, which rounds wrong") };
        let mut state = 1_u32;
        let mut value = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let bits = if state & 0x100 == 0 { state } else { state & 0xffff_8000 };
            // The instructions flush what is not normal.
            let v = f32::from_bits(bits);
            if v.is_subnormal() { 0.0 } else { v }
        };
        for _ in 0..20_000 {
            let values: [f32; SIDE] = std::array::from_fn(|_| value());
            assert_eq!(by.line(&values), Ordinary.line(&values), "{values:?}");
            let (first, second) = (std::array::from_fn(|i| values[i]), std::array::from_fn(|i| values[HALF + i]));
            assert_eq!(by.pairs(&first, &second), Ordinary.pairs(&first, &second), "{values:?}");
        }
        let rows = std::array::from_fn(|_| std::array::from_fn(|_| value().to_bits() as u16));
        assert_eq!(by.transposed(&rows), Ordinary.transposed(&rows));
    }
}
