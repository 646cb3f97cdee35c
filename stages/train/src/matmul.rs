//! Matrix products on the thread that calls: the one kernel of this crate. Whoever calls cuts the work into pieces that
//! depend on shapes alone, so no number depends on how many threads there are.

use gemm::Parallelism;

/// A matrix in a slice: element (i, j) is at `i · row_stride + j · column_stride`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after another.
    pub(crate) fn of(data: &'a [f32], columns: usize) -> Self {
        let rows = data.len().checked_div(columns).unwrap_or(0);
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The columns `start, start + step, …` of it, `count` of them.
    pub(crate) fn every(self, start: usize, step: usize, count: usize) -> Self {
        assert!(count == 0 || start + (count - 1) * step < self.columns, "columns {start} + {count}·{step}");
        let data = self.data.get(start * self.column_stride..).unwrap_or_default();
        Self { data, columns: count, column_stride: self.column_stride * step, ..self }
    }

    /// Rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    fn last(&self) -> usize {
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride
    }
}

/// `out = keep·out + A·B`, where `out` holds the columns `start, start + step, …` of rows of `width`.
///
/// # Panics
/// When the shapes do not fit.
pub(crate) fn add_product_into(
    out: &mut [f32],
    width: usize,
    (start, step): (usize, usize),
    keep: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert_eq!(k, b.rows, "inner sizes of a product");
    if m == 0 || n == 0 {
        return;
    }
    assert!(start + (n - 1) * step < width && m * width <= out.len(), "{m}x{n} into {} by {width}", out.len());
    if k == 0 {
        assert!(keep == 1.0 || out.is_empty(), "a product of nothing");
        return;
    }
    assert!(a.last() < a.data.len() && b.last() < b.data.len(), "a matrix ends in its slice");
    // SAFETY: every element touched of `a` and `b` lies in its slice (their last elements do, strides are not negative),
    // and of `out` too, by the assertions above; `out` is borrowed exclusively, so it overlaps neither.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr().add(start),
            step as isize,
            width as isize,
            keep != 0.0,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            keep,
            1.0_f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// A·B.
pub(crate) fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let mut out = vec![0.0; a.rows * b.columns];
    add_product_into(&mut out, b.columns, (0, 1), 0.0, a, b);
    out
}

/// `out += A·B`.
pub(crate) fn add_product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    add_product_into(out, b.columns, (0, 1), 1.0, a, b);
}

/// Adds `row` to each row.
pub(crate) fn add_to_rows(rows: &mut [f32], row: &[f32]) {
    for r in rows.chunks_exact_mut(row.len()) {
        r.iter_mut().zip(row).for_each(|(v, b)| *v += b);
    }
}

/// Sum of the rows.
pub(crate) fn sum_of_rows(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sum = vec![0.0; columns];
    for row in rows.chunks_exact(columns) {
        sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a stride, a transposition or a start is mixed up. Small whole numbers: sums are exact.
    #[test]
    fn views_multiply_as_written_out() {
        let a: Vec<f32> = (0..12).map(|i| i as f32).collect(); // 3x4
        let b: Vec<f32> = (0..8).map(|i| (i * i % 7) as f32).collect(); // 4x2
        let at = |i: usize, j: usize| a[i * 4 + j];
        let plain = |i: usize, j: usize| (0..4).map(|k| at(i, k) * b[k * 2 + j]).sum::<f32>();
        let got = product(Matrix::of(&a, 4), Matrix::of(&b, 2));
        assert_eq!(got, [plain(0, 0), plain(0, 1), plain(1, 0), plain(1, 1), plain(2, 0), plain(2, 1)]);
        // Columns 1 and 3 of a, transposed, times a.
        let got = product(Matrix::of(&a, 4).every(1, 2, 2).transposed(), Matrix::of(&a, 4));
        let want: Vec<f32> = [1, 3]
            .iter()
            .flat_map(|&c| (0..4).map(move |j| (c, j)))
            .map(|(c, j)| (0..3).map(|i| at(i, c) * at(i, j)).sum())
            .collect();
        assert_eq!(got, want);
        let mut out = vec![1.0; 9];
        add_product_into(&mut out, 3, (0, 2), 1.0, Matrix::of(&a, 4), Matrix::of(&b, 2));
        assert_eq!(out[..6], [1.0 + plain(0, 0), 1.0, 1.0 + plain(0, 1), 1.0 + plain(1, 0), 1.0, 1.0 + plain(1, 1)]);
    }

    #[test]
    #[should_panic(expected = "inner sizes")]
    fn shapes_that_do_not_fit_are_refused() {
        let a = [0.0; 6];
        product(Matrix::of(&a, 3), Matrix::of(&a, 3));
    }
}
