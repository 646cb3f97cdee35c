//! Dense matrix products over rayon, cut into fixed blocks.
//!
//! Blocks depend on the shapes alone, never on the number of threads, and every output element is summed within one
//! block: the same bits come out on one thread and on sixty-four.

use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis, s};

/// Rows of an output block.
const ROWS: usize = 256;
/// Features of an output block of a transposed product.
const FEATURES: usize = 64;

/// X·W. `x` [N, D], `w` [D, K] → [N, K].
pub(crate) fn multiply(x: ArrayView2<'_, f64>, w: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((x.nrows(), w.ncols()));
    out.axis_chunks_iter_mut(Axis(0), ROWS)
        .into_par_iter()
        .zip(x.axis_chunks_iter(Axis(0), ROWS))
        .for_each(|(mut out, x)| general_mat_mul(1.0, &x, &w, 0.0, &mut out));
    out
}

/// Xᵀ·R. `x` [N, D], `r` [N, K] → [D, K].
pub(crate) fn transposed_multiply(x: ArrayView2<'_, f64>, r: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((x.ncols(), r.ncols()));
    out.axis_chunks_iter_mut(Axis(0), FEATURES)
        .into_par_iter()
        .zip(x.axis_chunks_iter(Axis(1), FEATURES))
        .for_each(|(mut out, x)| general_mat_mul(1.0, &x.t(), &r, 0.0, &mut out));
    out
}

/// Xᵀ·X. `x` [N, D] → [D, D]; only blocks on and below the diagonal are computed, the rest is mirrored.
pub(crate) fn gram(x: ArrayView2<'_, f64>) -> Array2<f64> {
    let d = x.ncols();
    let mut out = Array2::zeros((d, d));
    out.axis_chunks_iter_mut(Axis(0), FEATURES)
        .into_par_iter()
        .enumerate()
        .for_each(|(block, mut rows)| {
            let (start, end) = (block * FEATURES, (block * FEATURES + FEATURES).min(d));
            let (own, left) = (x.slice(s![.., start..end]), x.slice(s![.., ..end]));
            general_mat_mul(1.0, &own.t(), &left, 0.0, &mut rows.slice_mut(s![.., ..end]));
        });
    for i in 0..d {
        for j in i + 1..d {
            out[[i, j]] = out[[j, i]];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_add_up_to_the_plain_product() {
        // 300 rows and 130 features cross every block boundary.
        let x = Array2::from_shape_fn((300, 130), |(i, j)| ((i * 7 + j * 3) % 11) as f64 - 5.0);
        let w = Array2::from_shape_fn((130, 3), |(i, j)| ((i + j * 5) % 7) as f64 - 3.0);
        assert_eq!(multiply(x.view(), w.view()), x.dot(&w));
        let r = multiply(x.view(), w.view());
        assert_eq!(transposed_multiply(x.view(), r.view()), x.t().dot(&r));
        assert_eq!(gram(x.view()), x.t().dot(&x));
    }
}
