//! `C = A·B` or `C += A·B` on slices, on the calling thread: the `gemm` crate behind bounds checks.

use gemm::Parallelism;

/// A read-only matrix inside a slice; element (r, c) is `data[r·row_stride + c·col_stride]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows × cols`, rows contiguous and `row_stride` apart.
    pub fn rows(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Matrix { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// Rows and columns exchanged, without moving anything.
    pub fn transposed(self) -> Self {
        Matrix {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    fn fits(&self) -> bool {
        span(self.rows, self.cols, self.row_stride, self.col_stride) <= self.data.len()
    }
}

/// Elements from the first to the last, inclusive.
fn span(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 }
}

/// `out = scale·a·b`, or `out += scale·a·b` when `accumulate`; rows of `out` are `out_stride` apart.
pub(super) fn matmul(out: &mut [f32], out_stride: usize, a: Matrix, b: Matrix, scale: f32, accumulate: bool) {
    assert_eq!(a.cols, b.rows, "inner sizes differ");
    assert!(a.fits() && b.fits(), "a factor reaches outside its slice");
    assert!(span(a.rows, b.cols, out_stride, 1) <= out.len(), "the product reaches outside its slice");
    assert!(out_stride >= b.cols, "rows of the product overlap");
    // SAFETY: the three matrices were just checked to lie inside their slices, `out` is borrowed exclusively and its
    // rows do not overlap.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a stride, the scale or the accumulation is wrong; integers are exact in f32.
    #[test]
    fn equals_three_loops() {
        let (m, k, n) = (7, 5, 9);
        let a: Vec<f32> = (0..m * (k + 2)).map(|i| (i % 7) as f32 - 3.0).collect();
        let b: Vec<f32> = (0..n * (k + 1)).map(|i| (i % 5) as f32 - 2.0).collect();
        let mut out = vec![1.0f32; m * (n + 3)];
        matmul(&mut out, n + 3, Matrix::rows(&a, m, k, k + 2), Matrix::rows(&b, n, k, k + 1).transposed(), 2.0, true);
        for r in 0..m {
            for c in 0..n {
                let dot: f32 = (0..k).map(|i| a[r * (k + 2) + i] * b[c * (k + 1) + i]).sum();
                assert_eq!(out[r * (n + 3) + c], 1.0 + 2.0 * dot);
            }
            for c in n..n + 3 {
                assert_eq!(out[r * (n + 3) + c], 1.0, "wrote between the rows");
            }
        }
    }

    #[test]
    #[should_panic(expected = "outside its slice")]
    fn a_short_slice_is_refused() {
        matmul(&mut [0.0; 4], 2, Matrix::rows(&[0.0; 3], 2, 2, 2), Matrix::rows(&[0.0; 4], 2, 2, 2), 1.0, false);
    }
}
