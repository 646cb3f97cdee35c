//! Cholesky factor of a symmetric positive definite matrix, and solves with it.
//!
//! A = L·Lᵀ by blocks of columns: the small diagonal block by the textbook formula, the panel below it by forward
//! substitution, the rest by one matrix product, which is where the d³/3 operations are. Written here because the
//! linear algebra crates that have it bring a LAPACK or a second matrix type. Source: Golub & Van Loan §4.2.

use ndarray::{Array2, ArrayViewMut2, Axis, s};

use crate::products::product;

const BLOCK: usize = 64;

/// The lower factor L of A = L·Lᵀ.
#[derive(Debug, Clone)]
pub(crate) struct Cholesky {
    lower: Array2<f64>,
}

impl Cholesky {
    /// Factors A [D, D], of which the lower triangle is read. `None` when A is not positive definite to rounding.
    pub(crate) fn factor(mut a: Array2<f64>) -> Option<Self> {
        let d = a.nrows();
        let mut start = 0;
        while start < d {
            let end = (start + BLOCK).min(d);
            factor_block(a.slice_mut(s![start..end, start..end]))?;
            let (head, mut tail) = a.view_mut().split_at(Axis(0), end);
            let diagonal = head.slice(s![start.., start..end]);
            let (mut panel, mut rest) = tail.slice_mut(s![.., start..]).split_at(Axis(1), end - start);
            for mut row in panel.rows_mut() {
                for j in 0..end - start {
                    let done: f64 = (0..j).map(|k| row[k] * diagonal[[j, k]]).sum();
                    row[j] = (row[j] - done) / diagonal[[j, j]];
                }
            }
            product(1.0, &mut rest, -1.0, &panel.view(), &panel.t());
            start = end;
        }
        Some(Self { lower: a })
    }

    /// Solves A·Z = B in place: L·Y = B downwards, Lᵀ·Z = Y upwards. `b` [D, K].
    pub(crate) fn solve(&self, b: &mut Array2<f64>) {
        let d = self.lower.nrows();
        for start in (0..d).step_by(BLOCK) {
            let end = (start + BLOCK).min(d);
            let (done, mut rest) = b.view_mut().split_at(Axis(0), start);
            let mut rows = rest.slice_mut(s![..end - start, ..]);
            product(1.0, &mut rows, -1.0, &self.lower.slice(s![start..end, ..start]), &done.view());
            for i in 0..end - start {
                let (done, mut rest) = rows.view_mut().split_at(Axis(0), i);
                let mut row = rest.row_mut(0);
                for (l, z) in self.lower.slice(s![start + i, start..]).iter().zip(done.rows()) {
                    row.scaled_add(-l, &z);
                }
                row /= self.lower[[start + i, start + i]];
            }
        }
        for start in (0..d).step_by(BLOCK).rev() {
            let end = (start + BLOCK).min(d);
            let (mut above, mut rest) = b.view_mut().split_at(Axis(0), start);
            let mut rows = rest.slice_mut(s![..end - start, ..]);
            for i in (0..end - start).rev() {
                let (mut earlier, mut rest) = rows.view_mut().split_at(Axis(0), i);
                let mut row = rest.row_mut(0);
                row /= self.lower[[start + i, start + i]];
                for (l, mut z) in self.lower.slice(s![start + i, start..]).iter().zip(earlier.rows_mut()) {
                    z.scaled_add(-l, &row);
                }
            }
            product(1.0, &mut above, -1.0, &self.lower.slice(s![start..end, ..start]).t(), &rows.view());
        }
    }
}

fn factor_block(mut a: ArrayViewMut2<'_, f64>) -> Option<()> {
    for j in 0..a.nrows() {
        let pivot = a[[j, j]] - (0..j).map(|k| a[[j, k]] * a[[j, k]]).sum::<f64>();
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        a[[j, j]] = pivot.sqrt();
        for i in j + 1..a.nrows() {
            let done: f64 = (0..j).map(|k| a[[i, k]] * a[[j, k]]).sum();
            a[[i, j]] = (a[[i, j]] - done) / a[[j, j]];
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn solves_a_known_system() {
        // Tridiagonal (−1, 2, −1) of order n: with B a column of ones, z_i = i·(n + 1 − i)/2 for i = 1 … n.
        for n in [1, 5, 64, 65, 200] {
            let a = Array2::from_shape_fn((n, n), |(i, j)| match i.abs_diff(j) {
                0 => 2.0,
                1 => -1.0,
                _ => 0.0,
            });
            let mut b = Array2::ones((n, 2));
            Cholesky::factor(a).unwrap().solve(&mut b);
            for i in 1..=n {
                let exact = (i * (n + 1 - i)) as f64 / 2.0;
                assert!((b[[i - 1, 0]] / exact - 1.0).abs() < 1e-10 && b[[i - 1, 0]] == b[[i - 1, 1]]);
            }
        }
    }

    #[test]
    fn an_indefinite_matrix_has_no_factor() {
        assert!(Cholesky::factor(ndarray::arr2(&[[1.0, 2.0], [2.0, 1.0]])).is_none());
        assert!(Cholesky::factor(ndarray::arr2(&[[f64::NAN]])).is_none());
    }
}
