//! Row-wise kernels over `[rows, D]`: `LayerNorm` with the next residual bias, softmax numerators, biases, norms.
//!
//! `LN(x) = (x − mean)/√(var + eps)·w + b`, variance in a second pass: token norms reach hundreds, and the one-pass
//! formula would lose digits exactly on the outliers. Sums run in [`LANES`] partial sums, so that they vectorise.

use super::activation::exp;
use super::vectorised::vectorised;

/// Partial sums per reduction.
const LANES: usize = 32;

/// Σ f(v) over a row.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += f(*v);
        }
    }
    folded(lanes, |a, b| a + b) + rest.iter().map(|v| f(*v)).sum::<f32>()
}

/// The lanes in one, half by half: five steps of vectors, not a chain of [`LANES`] numbers, each of which would wait for
/// the one before.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(super) fn folded(lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    // In memory, so that the last steps, narrow as they are, do not decide how wide the loop that filled the lanes is.
    let mut lanes = std::hint::black_box(lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Learned vectors of a `LayerNorm`.
pub(super) struct LayerNorm {
    /// `[D]`
    pub weight: Vec<f32>,
    /// `[D]`
    pub bias: Vec<f32>,
    /// Added to the variance.
    pub eps: f32,
}

impl LayerNorm {
    /// `out ← LN(x)`
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        layer_norm(x, &self.weight, &self.bias, self.eps, out);
    }

    /// `out ← LN(x)`, then `x ← x + residual_bias`: the branch that starts here ends in a product that is accumulated
    /// into `x`, and this is the pass that has `x` at hand.
    pub fn apply_then_add(&self, x: &mut [f32], residual_bias: &[f32], out: &mut [f32]) {
        layer_norm_then_add(x, residual_bias, &self.weight, &self.bias, self.eps, out);
    }
}

#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
fn normalise(row: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let (mean, scale) = centre(row, eps);
    for (((o, v), w), b) in out.iter_mut().zip(row).zip(weight).zip(bias) {
        *o = ((v - mean) * scale).mul_add(*w, *b);
    }
}

/// Mean of a row, and `1/√(var + eps)`.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(super) fn centre(row: &[f32], eps: f32) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = sum(row, |v| v) / count;
    let variance = sum(row, |v| (v - mean) * (v - mean)) / count;
    (mean, 1.0 / (variance + eps).sqrt())
}

/// The largest of a row.
#[expect(clippy::inline_always, reason = "takes the instruction set of its caller")]
#[inline(always)]
pub(super) fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*v, *lane);
        }
    }
    rest.iter().fold(folded(lanes, larger), |max, v| larger(*v, max))
}

vectorised! {
    fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        let d = weight.len();
        for (row, o) in x.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
            normalise(row, weight, bias, eps, o);
        }
    }
}

vectorised! {
    fn layer_norm_then_add(x: &mut [f32], add: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        let d = weight.len();
        for (row, o) in x.chunks_exact_mut(d).zip(out.chunks_exact_mut(d)) {
            normalise(row, weight, bias, eps, o);
            for (v, a) in row.iter_mut().zip(add) {
                *v += *a;
            }
        }
    }
}

vectorised! {
    /// Each row of `width` becomes `exp(row − max)`; its sum goes to `sums`.
    pub(super) fn softmax_numerators(scores: &mut [f32], width: usize, sums: &mut [f32]) {
        for (row, total) in scores.chunks_exact_mut(width).zip(sums) {
            let max = largest(row);
            for v in row.iter_mut() {
                *v = exp(*v - max);
            }
            *total = sum(row, |v| v);
        }
    }
}

vectorised! {
    /// Columns `start..start + count` of each row are multiplied by the inverse of that row's sum.
    pub(super) fn divide_columns(x: &mut [f32], stride: usize, start: usize, count: usize, sums: &[f32]) {
        for (row, total) in x.chunks_mut(stride).zip(sums) {
            let inverse = 1.0 / *total;
            for v in &mut row[start..start + count] {
                *v *= inverse;
            }
        }
    }
}

/// Every row of `x` becomes `row`.
pub(super) fn fill_rows(x: &mut [f32], row: &[f32]) {
    for out in x.chunks_exact_mut(row.len()) {
        out.copy_from_slice(row);
    }
}

vectorised! {
    /// `x += y`
    pub(super) fn add(x: &mut [f32], y: &[f32]) {
        for (a, b) in x.iter_mut().zip(y) {
            *a += *b;
        }
    }
}

vectorised! {
    /// L2 norm of a row.
    pub(super) fn norm(row: &[f32]) -> f32 {
        sum(row, |v| v * v).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when the variance is taken in one pass: the mean is 1000 times the spread.
    #[test]
    fn layer_norm_survives_a_large_mean() {
        let d = 77;
        let x: Vec<f32> = (0..d).map(|i| 1000.0 + (i % 3) as f32 - 1.0).collect();
        let norm = LayerNorm { weight: vec![2.0; d], bias: vec![0.5; d], eps: 1e-6 };
        let mut out = vec![0.0; d];
        norm.apply(&x, &mut out);
        let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / d as f64;
        let variance = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / d as f64;
        for (o, v) in out.iter().zip(&x) {
            let want = (f64::from(*v) - mean) / (variance + 1e-6).sqrt() * 2.0 + 0.5;
            assert!((f64::from(*o) - want).abs() < 1e-3, "{o} is not {want}");
        }
        let mut shifted = x.clone();
        let mut again = vec![0.0; d];
        norm.apply_then_add(&mut shifted, &vec![1.0; d], &mut again);
        assert_eq!(again, out);
        assert!(shifted.iter().zip(&x).all(|(s, v)| *s == v + 1.0));
    }

    #[test]
    fn softmax_of_a_closed_form() {
        // ln 1, ln 2, .., ln 50 give k / 1275.
        let mut row: Vec<f32> = (1..=50u8).map(|k| f32::from(k).ln()).collect();
        let mut sums = [0.0];
        softmax_numerators(&mut row, 50, &mut sums);
        for (k, v) in row.iter().enumerate() {
            assert!((v / sums[0] - (k + 1) as f32 / 1275.0).abs() < 1e-7);
        }
    }

    #[test]
    fn only_the_named_columns_are_divided() {
        let mut x = vec![2.0f32; 12];
        divide_columns(&mut x, 4, 1, 2, &[2.0, 4.0, 8.0]);
        assert_eq!(x, [2.0, 1.0, 1.0, 2.0, 2.0, 0.5, 0.5, 2.0, 2.0, 0.25, 0.25, 2.0]);
    }
}
