//! What a unit gradient becomes on its way back through a bicubic resize of a position grid.
//!
//! A resize from M to n places is a matrix W `[n, M]` per axis; with gradients of 1 at every output, the gradient of
//! input (v, u) is `g[v]·g[u]`, where `g = Σ_j W[j, ·]` are the column sums. With `src = (j + ½)·step`:
//!
//! - plain: taps ⌊src − ½⌋ − 1 ..= ⌊src − ½⌋ + 2 of the Keys cubic with a = −0.75, indices clamped to the border;
//! - antialiased: a = −0.5, stretched by max(step, 1), cut at the border and scaled to sum 1.
//!
//! Source: Darcet et al., appendix A; `UpSampleBicubic2d` and `UpSampleKernel` of `ATen`, whose formulae these are.

/// How a grid is resized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resize {
    /// Output size is given: step = M/n. No antialiasing.
    Plain,
    /// A scale factor of (n + 0.1)/M is given, as DINOv2 does: step = M/(n + 0.1). No antialiasing.
    Offset,
    /// Output size is given, antialiased, as DINOv2 with registers does.
    Antialias,
}

/// The Keys cubic with parameter `a`.
fn keys(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// Column sums g `[from]` of the matrix that resizes `from` places to `to`.
pub fn column_sums(from: usize, to: usize, resize: Resize) -> Vec<f64> {
    let step = from as f64 / if resize == Resize::Offset { to as f64 + 0.1 } else { to as f64 };
    let mut sums = vec![0.0; from];
    for j in 0..to {
        let center = (j as f64 + 0.5) * step;
        if resize == Resize::Antialias {
            let stretch = step.max(1.0);
            let first = (center - 2.0 * stretch + 0.5).max(0.0) as usize;
            let past = ((center + 2.0 * stretch + 0.5) as usize).min(from);
            let weights: Vec<f64> = (first..past).map(|i| keys((i as f64 - center + 0.5) / stretch, -0.5)).collect();
            let total: f64 = weights.iter().sum();
            for (sum, weight) in sums[first..past].iter_mut().zip(&weights) {
                *sum += weight / total;
            }
        } else {
            let floor = (center - 0.5).floor();
            let part = center - 0.5 - floor;
            for tap in -1..=2 {
                let at = (floor as i64 + tap).clamp(0, from as i64 - 1) as usize;
                sums[at] += keys(tap as f64 - part, -0.75);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], wanted: &[f64]) {
        assert!(found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 5.1e-5), "{found:?}\n{wanted:?}");
    }

    fn mirrored(half: [f64; 8]) -> Vec<f64> {
        half.iter().chain(half.iter().rev()).copied().collect()
    }

    /// The vectors of the gradient experiment, 16 → 7, computed independently in double precision.
    #[test]
    fn sixteen_to_seven_to_four_digits() {
        let plain = [0.3407, 0.7664, -0.0499, 0.9890, -0.1454, 0.9090, 0.1235, 0.5667];
        close(&column_sums(16, 7, Resize::Plain), &mirrored(plain));
        let antialiased = [0.3612, 0.4919, 0.4698, 0.4325, 0.4329, 0.4375, 0.4377, 0.4366];
        close(&column_sums(16, 7, Resize::Antialias), &mirrored(antialiased));
        let offset = [
            0.3584, 0.7421, -0.0008, 0.9699, -0.1449, 0.9627, 0.0152, 0.7235, 0.3809, 0.3360, 0.7602, -0.0161, 0.9764,
            -0.1439, 0.9548, 0.1257,
        ];
        close(&column_sums(16, 7, Resize::Offset), &offset);
    }

    /// Every output's weights sum to 1, so that all sums together are the number of outputs.
    #[test]
    fn no_gradient_is_lost() {
        for resize in [Resize::Plain, Resize::Offset, Resize::Antialias] {
            for (from, to) in [(16, 7), (37, 16), (7, 16), (1, 3)] {
                let total: f64 = column_sums(from, to, resize).iter().sum();
                assert!((total - to as f64).abs() < 1e-9, "{resize:?} {from} to {to}: {total}");
            }
        }
    }

    /// A grid of its own size comes back unchanged: every gradient is 1.
    #[test]
    fn the_same_size_is_the_identity() {
        for resize in [Resize::Plain, Resize::Antialias] {
            close(&column_sums(9, 9, resize), &[1.0; 9]);
        }
    }
}
