//! Cross-entropy of resized logits.
//!
//! ```text
//! loss = Σ_pixels (ln Σ_k e^{z_k} − z_label)        ∂/∂z_k = softmax(z)_k − [k = label]
//! ```
//!
//! Resizing, softmax and the way back happen pixel by pixel, so a picture's worth of logits never exists.

use super::labels::NONE;
use super::resize::{Axis, Field};

/// Sum of the losses of the pixels that have a class, times `scale`, and its derivative with respect to the logits.
pub(crate) fn cross_entropy(
    logits: &Field,
    (rows, columns): (&Axis, &Axis),
    classes: &[u8],
    scale: f64,
) -> (f64, Vec<f32>) {
    let width = columns.len();
    let (mut loss, factor) = (0.0, scale as f32);
    let derivative = logits.derivative(rows, columns, |y, x, z| {
        let class = classes[y * width + x];
        if class == NONE {
            return false;
        }
        let own = z[usize::from(class)];
        let top = z.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        for v in z.iter_mut() {
            *v = exp_of_negative(*v - top);
        }
        let sum: f32 = sum(z);
        loss += f64::from(libm::logf(sum) + (top - own));
        let share = factor / sum;
        for v in z.iter_mut() {
            *v *= share;
        }
        z[usize::from(class)] -= factor;
        true
    });
    (loss * scale, derivative)
}

/// Logits of one pixel to probabilities.
pub(crate) fn softmax(z: &mut [f32]) {
    let top = z.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    for v in z.iter_mut() {
        *v = exp_of_negative(*v - top);
    }
    let sum = sum(z);
    for v in z.iter_mut() {
        *v /= sum;
    }
}

/// In eight strands, so that the additions need not wait for each other.
fn sum(values: &[f32]) -> f32 {
    let mut strands = [0.0_f32; 8];
    let chunks = values.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        strands.iter_mut().zip(chunk).for_each(|(s, v)| *s += v);
    }
    strands.iter().sum::<f32>() + rest
}

/// eˣ for x ≤ 0, to 2 units in the last place: 2ⁿ·e^r with |r| ≤ ln 2 / 2. Additions and products only, so that the
/// compiler does several at once and every machine gives the same bits.
#[inline]
fn exp_of_negative(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// 1.5·2²³: adding it rounds to whole numbers, which then stand in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.max(-87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let series = 1.0 + r * (1.0 + r * (1.0 / 2.0 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r / 720.0)))));
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    series * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// Breaks when a coefficient or the split of ln 2 is mistyped.
    #[test]
    fn the_exponential_is_right_to_the_last_places() {
        for i in 0..870_000 {
            let x = -(i as f32) * 1e-4;
            let (got, want) = (f64::from(exp_of_negative(x)), f64::from(x).exp());
            assert!((got - want).abs() <= 4e-7 * want, "{x}: {got} {want}");
        }
        assert!(exp_of_negative(f32::NEG_INFINITY) < 1e-37);
    }

    /// Closed form: K equal logits lose ln K a pixel; one that stands out by 100 loses nothing.
    #[test]
    fn equal_logits_lose_the_logarithm_of_their_number() {
        let field = Field { h: 2, w: 2, k: 5, values: vec![3.0; 20] };
        let axes = (&Axis::stretch(2, 6), &Axis::stretch(2, 4));
        let mut classes = vec![2; 24];
        classes[5] = NONE;
        let (loss, derivative) = cross_entropy(&field, axes, &classes, 1.0 / 23.0);
        assert!((loss - 5f64.ln()).abs() < 1e-6);
        let of_class = |k: usize| derivative.iter().skip(k).step_by(5).sum::<f32>();
        assert!((of_class(0) - 0.2).abs() < 1e-6 && (of_class(2) + 0.8).abs() < 1e-6);
        let mut sure = field;
        sure.values.iter_mut().skip(2).step_by(5).for_each(|v| *v = 103.0);
        assert!(cross_entropy(&sure, axes, &classes, 1.0).0.abs() < 1e-6);
    }

    /// Finite differences through resizing and softmax.
    #[test]
    fn the_derivative_is_the_slope() {
        let mut random = SplitMix64::new(1, 0);
        let values: Vec<f32> = (0..3 * 4 * 3).map(|_| random.normal() as f32).collect();
        let field = Field { h: 3, w: 4, k: 3, values };
        let axes = (&Axis::stretch(3, 7), &Axis::stretch(4, 10));
        let classes: Vec<u8> = (0..70).map(|i| if i % 6 == 5 { NONE } else { i % 3 }).collect();
        let (_, derivative) = cross_entropy(&field, axes, &classes, 1.0);
        for (i, found) in derivative.iter().enumerate() {
            let at = |step: f32| {
                let mut moved = field.clone();
                moved.values[i] += step;
                cross_entropy(&moved, axes, &classes, 1.0).0
            };
            let slope = (at(0.01) - at(-0.01)) / 0.02;
            let close = (slope - f64::from(*found)).abs() < 2e-3 * slope.abs().max(1.0);
            assert!(close, "{i}: {slope} {found}");
        }
    }
}
