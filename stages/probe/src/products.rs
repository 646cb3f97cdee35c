//! Dense matrix products over rayon, cut into fixed blocks.
//!
//! Blocks depend on the shapes alone, never on the number of threads, and every output element is summed within one
//! block: the same bits come out on one thread and on sixty-four.

use gemm::Parallelism;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, NdFloat, s};

/// Rows of an output block.
const ROWS: usize = 256;
/// Features of an output block of a transposed product.
const FEATURES: usize = 64;

/// `out = keep·out + scale·A·B` on the calling thread. `a` [M, K], `b` [K, N], `out` [M, N], of any strides.
///
/// The gemm crate under candle, which uses AVX-512 where the machine has it: twice as fast in f64 as the
/// matrixmultiply crate that ndarray calls. In f32 it is twice as fast again.
///
/// # Panics
/// When the shapes do not fit.
pub(crate) fn product<T: NdFloat>(
    keep: T,
    out: &mut ArrayViewMut2<'_, T>,
    scale: T,
    a: &ArrayView2<'_, T>,
    b: &ArrayView2<'_, T>,
) {
    let ((m, k), n) = (a.dim(), b.ncols());
    assert!(b.nrows() == k && out.dim() == (m, n), "shapes {:?}, {:?} and {:?}", a.dim(), b.dim(), out.dim());
    if k == 0 {
        out.map_inplace(|v| *v *= keep);
        return;
    }
    let (out_strides, a_strides, b_strides) = ([out.strides()[0], out.strides()[1]], a.strides(), b.strides());
    // SAFETY: each pointer belongs to a view that is alive, with the extents asserted above and the view's own strides,
    // so every element touched lies in it; `out` is borrowed exclusively, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            out_strides[1],
            out_strides[0],
            keep != T::zero(),
            a.as_ptr(),
            a_strides[1],
            a_strides[0],
            b.as_ptr(),
            b_strides[1],
            b_strides[0],
            keep,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// X·W. `x` [N, D], `w` [D, K] → [N, K].
pub(crate) fn multiply(x: ArrayView2<'_, f64>, w: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((x.nrows(), w.ncols()));
    out.axis_chunks_iter_mut(Axis(0), ROWS)
        .into_par_iter()
        .zip(x.axis_chunks_iter(Axis(0), ROWS))
        .for_each(|(mut out, x)| product(0.0, &mut out, 1.0, &x, &w));
    out
}

/// Xᵀ·R. `x` [N, D], `r` [N, K] → [D, K].
pub(crate) fn transposed_multiply(x: ArrayView2<'_, f64>, r: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((x.ncols(), r.ncols()));
    out.axis_chunks_iter_mut(Axis(0), FEATURES)
        .into_par_iter()
        .zip(x.axis_chunks_iter(Axis(1), FEATURES))
        .for_each(|(mut out, x)| product(0.0, &mut out, 1.0, &x.t(), &r));
    out
}

/// Xᵀ·X. `x` [N, D] → [D, D]; only blocks on and below the diagonal are computed, the rest is mirrored.
pub(crate) fn gram(x: ArrayView2<'_, f64>) -> Array2<f64> {
    let d = x.ncols();
    let mut out = Array2::zeros((d, d));
    out.axis_chunks_iter_mut(Axis(0), FEATURES).into_par_iter().enumerate().for_each(|(block, mut rows)| {
        let (start, end) = (block * FEATURES, (block * FEATURES + FEATURES).min(d));
        let (own, left) = (x.slice(s![.., start..end]), x.slice(s![.., ..end]));
        product(0.0, &mut rows.slice_mut(s![.., ..end]), 1.0, &own.t(), &left);
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
    fn strided_views_and_empty_products_are_exact() {
        let a = Array2::from_shape_fn((9, 14), |(i, j)| (i * 14 + j) as f64);
        let (left, right) = (a.slice(s![1..;2, ..;3]), a.slice(s![2..7, 4..]));
        let mut out = Array2::ones((4, 10));
        product(2.0, &mut out.view_mut(), -1.0, &left, &right);
        assert_eq!(out, 2.0 - left.dot(&right));
        // Transposed and reversed: strides of any sign.
        let mut out = Array2::zeros((10, 4));
        product(0.0, &mut out.view_mut(), 1.0, &right.t(), &left.slice(s![.., ..;-1]).t());
        assert_eq!(out, right.t().dot(&left.slice(s![.., ..;-1]).t()));
        let mut out = Array2::ones((2, 3));
        product(0.5, &mut out.view_mut(), 1.0, &Array2::zeros((2, 0)).view(), &Array2::zeros((0, 3)).view());
        assert_eq!(out, Array2::from_elem((2, 3), 0.5));
    }

    #[test]
    #[should_panic(expected = "shapes")]
    fn shapes_that_do_not_fit_are_refused() {
        let a = Array2::zeros((2, 3));
        product(0.0, &mut Array2::zeros((2, 2)).view_mut(), 1.0, &a.view(), &a.view());
    }

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
