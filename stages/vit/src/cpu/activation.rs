//! Exponential and the three activations, in f32, branch-free so that they vectorise.
//!
//! - `exp(x) = 2ⁿ·P(r)`, `n = round(x/ln 2)`, `r = x − n·ln 2` in two steps (Cephes `expf`, relative error 2 ulp);
//!   exactly 0 below −87.3, where a normal f32 ends: masks and attention sinks rely on that zero.
//! - `GELU(x) = x·Φ(x)`: with `q = ½·erfc(|x|/√2)`, it is `x − x·q` for positive x and `x·q` for negative x, so the
//!   negative tail keeps its relative accuracy. `erfc(a) = exp(−a²)·t·P₇(t)`, `t = 1/(1 + p·a)`: the form of Abramowitz
//!   and Stegun 7.1.26 with two more terms, coefficients refitted for least relative error (2.6e-7 on [0, 12]).
//! - `QuickGELU(x) = x·σ(1.702·x)`, `SwiGLU(g, u) = g·σ(g)·u`.

use super::vectorised::vectorised;

/// 1.5·2²³: adding it rounds to an integer held in the low bits.
const ROUND: f32 = 12_582_912.0;

/// e^x; 0 below −87.3, finite above 88.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let clamped = x.clamp(-87.3, 88.0);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, clamped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let y = (p * r).mul_add(r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < -87.3 { 0.0 } else { y * power }
}

/// x·Φ(x)
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    const P: [f32; 8] = [
        0.184_987_78,
        0.181_662_37,
        0.200_408_46,
        0.042_610_414,
        0.422_171_74,
        -0.373_396_13,
        0.478_414,
        -0.136_858_37,
    ];
    let a = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / a.mul_add(0.327_591_1, 1.0);
    let mut p = P[7];
    p = p.mul_add(t, P[6]);
    p = p.mul_add(t, P[5]);
    p = p.mul_add(t, P[4]);
    p = p.mul_add(t, P[3]);
    p = p.mul_add(t, P[2]);
    p = p.mul_add(t, P[1]);
    p = p.mul_add(t, P[0]);
    let tail = 0.5 * x * (p * t * exp(-0.5 * x * x));
    if x > 0.0 { x - tail } else { tail }
}

/// e^x for x ≤ 0 on its way to bf16: relative error 6e-6; 0 below −87.3. Of NaN only those stay one whose nine low bits are
/// zero, as those are that arithmetic makes.
///
/// `2ⁿ·P₄(r)`, `n + r = x/ln 2`, P fitted for least relative error on [−½, ½] with P(0) = 1.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(super) fn brief_exp(x: f32) -> f32 {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let r = x.mul_add(std::f32::consts::LOG2_E, ROUND - shifted);
    let mut p = 9.582_85e-3f32;
    p = p.mul_add(r, 5.590_643e-2);
    p = p.mul_add(r, 2.402_41e-1);
    p = p.mul_add(r, 6.931_242e-1);
    p = p.mul_add(r, 1.0);
    // P times a power of two: its exponent counts on.
    let y = f32::from_bits((shifted.to_bits() << 23).wrapping_add(p.to_bits()));
    if x < -87.3 { 0.0 } else { y }
}

/// x·Φ(x) on its way to bf16: absolute error 1.4e-5, and exactly x or 0 beyond ±4.67. Below −3, where it is smaller than
/// 0.004, that is more than rounding does.
///
/// `erf(3.3·y) = y·Q₉(2y² − 1)` on [−1, 1], fitted for least error of the result with Q(1) = 1.
#[inline(always)]
pub(super) fn brief_gelu(x: f32) -> f32 {
    const Q: [f32; 10] = [
        1.412_850_1,
        -0.698_279_2,
        0.501_569_15,
        -0.380_265_5,
        0.281_104_95,
        -0.183_580_24,
        0.106_113_985,
        -0.078_937_34,
        0.059_734_855,
        -0.020_310_795,
    ];
    let y = x * (std::f32::consts::FRAC_1_SQRT_2 / 3.3);
    // Not `clamp`, and in this order: NaN stays NaN.
    let y = if y > 1.0 { 1.0 } else { y };
    let y = if y < -1.0 { -1.0 } else { y };
    let s = (y + y).mul_add(y, -1.0);
    let mut q = Q[9];
    for c in Q[..9].iter().rev() {
        q = q.mul_add(s, *c);
    }
    let half = 0.5 * x;
    half.mul_add(q * y, half)
}

/// 1/(1 + e^−x)
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// x·σ(x)
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// x·σ(1.702·x)
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(super) fn quick_gelu(x: f32) -> f32 {
    x * sigmoid(1.702 * x)
}

vectorised! {
    /// `x ← GELU(x + bias)`, row by row of `bias.len()`.
    pub(super) fn bias_gelu(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len()) {
            for (v, b) in row.iter_mut().zip(bias) {
                *v = gelu(*v + *b);
            }
        }
    }
}

vectorised! {
    /// `x ← QuickGELU(x + bias)`, row by row of `bias.len()`.
    pub(super) fn bias_quick_gelu(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len()) {
            for (v, b) in row.iter_mut().zip(bias) {
                *v = quick_gelu(*v + *b);
            }
        }
    }
}

vectorised! {
    /// Rows `[gate | up]` of `bias.len()`: the gate half becomes `SwiGLU(gate + bias, up + bias)`.
    pub(super) fn bias_swiglu(x: &mut [f32], bias: &[f32]) {
        let half = bias.len() / 2;
        let (gate_bias, up_bias) = bias.split_at(half);
        for row in x.chunks_exact_mut(bias.len()) {
            let (gate, up) = row.split_at_mut(half);
            for (((g, u), gb), ub) in gate.iter_mut().zip(up).zip(gate_bias).zip(up_bias) {
                *g = silu(*g + *gb) * (*u + *ub);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf by its Taylor series, or erfc by its continued fraction: double precision on all of [0, 9].
    fn erfc(a: f64) -> f64 {
        if a < 2.0 {
            let (mut term, mut sum) = (a, a);
            for n in 1..80 {
                term *= -a * a / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            return 1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI;
        }
        let mut f = a;
        for n in (1..200).rev() {
            f = a + f64::from(n) / 2.0 / f;
        }
        (-a * a).exp() / (f * std::f64::consts::PI.sqrt())
    }

    fn gelu_f64(x: f64) -> f64 {
        let q = 0.5 * erfc(x.abs() * std::f64::consts::FRAC_1_SQRT_2);
        if x > 0.0 { x - x * q } else { x * q }
    }

    #[test]
    fn the_reference_erfc_is_right_where_it_is_known() {
        for (a, want) in
            [(0.5, 0.479_500_122_186_953_5), (1.9, 0.007_209_570_764_742_5), (3.0, 2.209_049_699_858_544e-5)]
        {
            assert!((erfc(a) / want - 1.0).abs() < 1e-10, "{a}: {}", erfc(a));
        }
    }

    #[test]
    fn gelu_is_within_5e_7_of_the_double_precision_erf() {
        let mut worst = (0.0f64, 0.0f32);
        for i in -120_000..=120_000 {
            let x = i as f32 * 1e-4;
            let error = (f64::from(gelu(x)) - gelu_f64(f64::from(x))).abs();
            // Half an ulp of the result is no fault of the formula.
            let error = error - f64::from(x.abs()) * f64::from(f32::EPSILON) / 2.0;
            if error > worst.0 {
                worst = (error, x);
            }
        }
        assert!(worst.0 < 5e-7, "{worst:?}");
    }

    /// Breaks when the negative side is computed as a difference: planted gates need their off side at zero.
    #[test]
    fn gelu_tails_vanish() {
        assert_eq!(gelu(-20.0), 0.0);
        assert_eq!(gelu(20.0), 20.0);
        assert!(gelu(-7.0).abs() < 1e-11 && gelu(-7.0) != 0.0);
        assert_eq!(gelu(0.0), 0.0);
    }

    #[test]
    fn the_brief_ones_are_right_to_bf16_and_exact_where_it_counts() {
        for i in -120_000..=120_000 {
            let x = i as f32 * 1e-4;
            let error = (f64::from(brief_gelu(x)) - gelu_f64(f64::from(x))).abs();
            assert!(error < 1.4e-5, "{x}: {error}");
        }
        assert_eq!([-1e30, -20.0, -4.7, 0.0, 4.7, 20.0].map(brief_gelu), [0.0, 0.0, 0.0, 0.0, 4.7, 20.0]);
        for i in -87_000..=0 {
            let x = i as f32 * 1e-3;
            assert!((f64::from(brief_exp(x)) / f64::from(x).exp() - 1.0).abs() < 6e-6, "{x}");
        }
        assert_eq!([0.0, -88.0, -1e9, f32::NEG_INFINITY].map(brief_exp), [1.0, 0.0, 0.0, 0.0]);
        assert!(brief_exp(f32::NAN).is_nan() && brief_gelu(f32::NAN).is_nan());
    }

    #[test]
    fn exp_is_within_3_ulp_and_underflows_to_zero() {
        for i in -87_000..=87_000 {
            let x = i as f32 * 1e-3;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) / want - 1.0).abs() < 3.0 * f64::from(f32::EPSILON), "{x}");
        }
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn gated_activations_follow_their_formula() {
        let mut x = [0.5f32, -1.0, 2.0, 3.0];
        bias_swiglu(&mut x, &[0.5, 0.0, 1.0, 0.0]);
        let silu = |g: f64| g / (1.0 + (-g).exp());
        assert!((f64::from(x[0]) - silu(1.0) * 3.0).abs() < 1e-6);
        assert!((f64::from(x[1]) - silu(-1.0) * 3.0).abs() < 1e-6);
        let mut x = [-2.0f32];
        bias_quick_gelu(&mut x, &[1.0]);
        assert!((f64::from(x[0]) + 1.0 / (1.0 + 1.702f64.exp())).abs() < 1e-6);
    }
}
