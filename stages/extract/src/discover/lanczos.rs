//! The eigenvector of a symmetric matrix of the largest eigenvalue but for one that is known, from products with vectors.
//!
//! ```text
//! A·V = V·T + β·v·eᵀ        V: orthonormal, each the product of the last one less all before it;  T: tridiagonal
//! ```
//!
//! Lanczos' method. The largest eigenvalue θ of T with its vector s gives `V·s`, off by `β·|s_last|`; the known vector is kept out
//! of V. Unlike powers of a matrix it finds an eigenvalue of 0.004 beside others of 0 as fast as one of 0.9. Every vector is
//! freed of all others twice, so that none comes back. Source: Golub & Van Loan, Matrix Computations, §10.1 and §10.3.

use crate::portray::subspace::{dot, jacobi};

/// Products after which the approximation is taken as it is: only of eigenvalues that hardly differ.
const STEPS: usize = 240;
/// Steps between two looks at T.
const LOOK: usize = 8;
/// `‖A·x − θ·x‖` of a vector that is done, where eigenvalues are at most about 1.
const TOLERANCE: f64 = 1e-10;

/// The eigenvector, of length 1, beside `known`, an eigenvector of the matrix. Zeros where there is no other.
pub(super) fn largest_beside(mut known: Vec<f64>, product: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let n = known.len();
    normalise(&mut known);
    let mut vectors: Vec<Vec<f64>> = Vec::new();
    let (mut diagonal, mut beside): (Vec<f64>, Vec<f64>) = (vec![], vec![]);
    // In general position: fractional parts of multiples of a square root.
    let mut next: Vec<f64> = (0..n).map(|i| ((i + 1) as f64 * 2f64.sqrt()).fract() - 0.5).collect();
    free(&mut next, &known, &vectors);
    normalise(&mut next);
    for step in 1..=STEPS.min(n.saturating_sub(1)) {
        let mut image = product(&next);
        diagonal.push(dot(&image, &next));
        vectors.push(std::mem::take(&mut next));
        free(&mut image, &known, &vectors);
        let length = normalise(&mut image);
        // All that can be reached from the start has been.
        let ended = length <= TOLERANCE || step == STEPS.min(n - 1);
        if ended || step % LOOK == 0 {
            let small = tridiagonal(&diagonal, &beside);
            let (_, columns) = jacobi(small);
            if ended || length * columns[step - 1][0].abs() <= TOLERANCE {
                let mut found = vec![0.0; n];
                for (vector, row) in vectors.iter().zip(&columns) {
                    found.iter_mut().zip(vector).for_each(|(sum, x)| *sum += row[0] * x);
                }
                return found;
            }
        }
        beside.push(length);
        next = image;
    }
    vec![0.0; n]
}

fn tridiagonal(diagonal: &[f64], beside: &[f64]) -> Vec<Vec<f64>> {
    let n = diagonal.len();
    let mut matrix = vec![vec![0.0; n]; n];
    for (i, &value) in diagonal.iter().enumerate() {
        matrix[i][i] = value;
    }
    for (i, &value) in beside.iter().enumerate() {
        (matrix[i][i + 1], matrix[i + 1][i]) = (value, value);
    }
    matrix
}

/// Takes out of x what lies along the others.
fn free(x: &mut [f64], known: &[f64], others: &[Vec<f64>]) {
    for _ in 0..2 {
        for other in std::iter::once(known).chain(others.iter().map(Vec::as_slice)) {
            let along = dot(other, x);
            x.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
        }
    }
}

/// Makes x as long as 1, unless it is nothing, and tells how long it was.
fn normalise(x: &mut [f64]) -> f64 {
    let length = dot(x, x).sqrt();
    if length > 0.0 {
        for x in x.iter_mut() {
            *x /= length;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `H·diag(λ)·H` with the reflection `H = I − 2uuᵀ`, whose columns are its eigenvectors.
    fn found(values: &[f64]) -> (Vec<f64>, impl Fn(usize, usize) -> f64) {
        let n = values.len();
        let u: Vec<f64> = (0..n).map(|i| 1.0 + (i as f64 * 0.7).sin()).collect();
        let length = dot(&u, &u);
        let h = move |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * u[i] * u[j] / length;
        let product = |x: &[f64]| {
            let turned: Vec<f64> = (0..n).map(|k| values[k] * (0..n).map(|j| h(k, j) * x[j]).sum::<f64>()).collect();
            (0..n).map(|i| (0..n).map(|k| h(i, k) * turned[k]).sum()).collect()
        };
        (largest_beside((0..n).map(|i| h(i, 0)).collect(), product), h)
    }

    /// Breaks when the known vector comes back, a negative eigenvalue counts by its size, a small gap among small values needs
    /// more steps than there are, or a vector is not the one of its value.
    #[test]
    fn the_second_eigenvector_of_a_known_matrix_is_found() {
        let falling = |n: usize| (0..n).map(|i| 0.97f64.powi(i as i32)).collect::<Vec<f64>>();
        let tiny: Vec<f64> = [1.0, 0.004].into_iter().chain((0..300).map(|i| -1e-9 * f64::from(i))).collect();
        let negative: Vec<f64> =
            [1.0, 0.5, 0.4].into_iter().chain((0..50).map(|i| -0.99 + 0.01 * f64::from(i))).collect();
        for values in [falling(2), falling(3), falling(9), falling(400), tiny, negative] {
            let (vector, h) = found(&values);
            let cosine: f64 = vector.iter().enumerate().map(|(i, x)| x * h(i, 1)).sum();
            assert!((cosine.abs() - 1.0).abs() < 1e-9, "{} values: {cosine}", values.len());
        }
    }

    #[test]
    fn a_matrix_of_one_row_has_no_second_vector() {
        assert_eq!(largest_beside(vec![3.0], <[f64]>::to_vec), [0.0]);
        assert!(largest_beside(vec![], <[f64]>::to_vec).is_empty());
    }
}
