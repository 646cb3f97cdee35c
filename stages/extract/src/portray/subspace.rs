//! The leading eigenvectors of a symmetric matrix without negative eigenvalues.
//!
//! Subspace iteration with a Rayleigh–Ritz step: `Q ← orth(A·Q)`, and in each round the small matrix `QᵀAQ` is
//! diagonalised (cyclic Jacobi) and Q turned to its eigenvectors, so that what is kept are the best approximations in
//! the subspace. A subspace wider than what is asked for converges by the ratio of λ beyond its width to the last λ
//! wanted, here a few dozen rounds; eigenvalues that are equal need no care, and no random number is drawn.
//! Source: Golub & Van Loan, Matrix Computations, §8.2.4 and §8.5.

/// Columns beyond those wanted.
const SPARE: usize = 13;
/// `‖A·q − λ·q‖` of a vector that is done, relative to the largest eigenvalue.
const TOLERANCE: f64 = 1e-10;
/// Rounds after which the approximation is taken as it is: only of eigenvalues that hardly differ.
const ROUNDS: usize = 500;

/// An eigenvalue and its vector of length 1; of length 0 where the matrix has no further eigenvalue above zero.
pub(crate) type Eigen = (f64, Vec<f64>);

/// The `wanted` largest eigenvalues of `matrix` `[d, d]` in descending order.
pub(crate) fn leading(matrix: &[f64], d: usize, wanted: usize) -> Vec<Eigen> {
    let wanted = wanted.min(d);
    let mut basis = start(d, (wanted + SPARE).min(d));
    orthonormalise(&mut basis);
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        let images: Vec<Vec<f64>> =
            basis.iter().map(|q| matrix.chunks_exact(d).map(|row| dot(row, q)).collect()).collect();
        let small: Vec<Vec<f64>> = basis.iter().map(|q| images.iter().map(|y| dot(q, y)).collect()).collect();
        let (eigenvalues, turn) = jacobi(small);
        let images = turned(&images, &turn);
        basis = turned(&basis, &turn);
        values = eigenvalues;
        let residual = |j: usize| {
            let off = images[j].iter().zip(&basis[j]).map(|(y, q)| (y - values[j] * q).powi(2));
            off.sum::<f64>().sqrt()
        };
        if (0..wanted).all(|j| residual(j) <= TOLERANCE * values[0].abs()) {
            break;
        }
        basis = images;
        orthonormalise(&mut basis);
    }
    values.into_iter().zip(basis).take(wanted).collect()
}

/// `count` vectors in general position: an axis each, and fractional parts of multiples of square roots.
fn start(d: usize, count: usize) -> Vec<Vec<f64>> {
    let value = |j: usize, i: usize| ((i + 1) as f64 * (2.0 + j as f64).sqrt()).fract() - 0.5;
    // Without the axes those of 4 and 9 would be parallel.
    (0..count).map(|j| (0..d).map(|i| value(j, i) + f64::from(u8::from(i == j))).collect()).collect()
}

/// Gram–Schmidt, twice: once loses digits among vectors that are nearly parallel. A vector in the span of those before
/// it becomes zero.
fn orthonormalise(vectors: &mut [Vec<f64>]) {
    for j in 0..vectors.len() {
        let (done, rest) = vectors.split_at_mut(j);
        let x = &mut rest[0];
        let before = dot(x, x).sqrt();
        for _ in 0..2 {
            for q in done.iter() {
                let c = dot(q, x);
                x.iter_mut().zip(q).for_each(|(x, q)| *x -= c * q);
            }
        }
        let after = dot(x, x).sqrt();
        let scale = if after > 1e-13 * before { 1.0 / after } else { 0.0 };
        for x in x.iter_mut() {
            *x *= scale;
        }
    }
}

/// Σ aᵢ·bᵢ in eight lanes: one running sum would wait for itself at every term.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (x, y) in a.iter().zip(b) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f64>()
}

/// `Σᵢ vectorᵢ·turn[i, j]` for each j.
fn turned(vectors: &[Vec<f64>], turn: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let d = vectors.first().map_or(0, Vec::len);
    (0..vectors.len())
        .map(|j| {
            let mut sum = vec![0.0; d];
            for (x, row) in vectors.iter().zip(turn) {
                sum.iter_mut().zip(x).for_each(|(s, x)| *s += row[j] * x);
            }
            sum
        })
        .collect()
}

/// Eigenvalues in descending order and eigenvectors as columns of a small symmetric matrix, by cyclic Jacobi rotations.
pub(crate) fn jacobi(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = a.len();
    let mut v: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..60 {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j].powi(2)).sum();
        let all: f64 = a.iter().flatten().map(|x| x * x).sum();
        if off <= 1e-30 * all {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                let rotate = |x: &mut f64, y: &mut f64| (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                for row in &mut a {
                    let (left, right) = row.split_at_mut(q);
                    rotate(&mut left[p], &mut right[0]);
                }
                let (above, below) = a.split_at_mut(q);
                above[p].iter_mut().zip(&mut below[0]).for_each(|(x, y)| rotate(x, y));
                for row in &mut v {
                    let (left, right) = row.split_at_mut(q);
                    rotate(&mut left[p], &mut right[0]);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j][j].total_cmp(&a[i][i]));
    let values = order.iter().map(|&i| a[i][i]).collect();
    let vectors = v.iter().map(|row| order.iter().map(|&i| row[i]).collect()).collect();
    (values, vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `H·diag(λ)·H` with the reflection `H = I − 2uuᵀ`: eigenvalues λ, eigenvectors the columns of H.
    fn known(values: &[f64]) -> (Vec<f64>, impl Fn(usize, usize) -> f64) {
        let d = values.len();
        let u: Vec<f64> = (0..d).map(|i| 1.0 + (i as f64 * 0.7).sin()).collect();
        let n = dot(&u, &u);
        let h = move |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * u[i] * u[j] / n;
        let mut matrix = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..d {
                matrix[i * d + j] = (0..d).map(|k| h(i, k) * values[k] * h(k, j)).sum();
            }
        }
        (matrix, h)
    }

    /// Breaks when a rotation mixes rows and columns, when values are not in order, or when the iteration stops early.
    #[test]
    fn eigenvectors_of_a_known_matrix_are_found() {
        for d in [1, 2, 3, 7, 40] {
            let values: Vec<f64> = (0..d).map(|i| 100.0 * 0.8f64.powi(i)).collect();
            let (matrix, h) = known(&values);
            let found = leading(&matrix, d as usize, 3);
            assert_eq!(found.len(), 3.min(d as usize));
            for (k, (value, vector)) in found.iter().enumerate() {
                assert!((value - values[k]).abs() < 1e-8, "{value} {}", values[k]);
                let cosine: f64 = vector.iter().enumerate().map(|(i, x)| x * h(i, k)).sum();
                assert!((cosine.abs() - 1.0).abs() < 1e-12, "{d} {k} {cosine}");
            }
        }
    }

    /// Breaks where equal eigenvalues, or a matrix of low rank or of zeros, give what is no number.
    #[test]
    fn equal_and_missing_eigenvalues_do_no_harm() {
        let d = 30;
        let mut values = vec![0.0; d];
        values[..4].copy_from_slice(&[5.0, 5.0, 5.0, 1.0]);
        let (matrix, _) = known(&values);
        let found = leading(&matrix, d, 3);
        for (i, (value, vector)) in found.iter().enumerate() {
            assert!((value - 5.0).abs() < 1e-9 && (dot(vector, vector) - 1.0).abs() < 1e-9);
            for (_, other) in &found[..i] {
                assert!(dot(vector, other).abs() < 1e-9);
            }
        }
        values[1..].fill(0.0);
        let found = leading(&known(&values).0, d, 3);
        assert!((found[0].0 - 5.0).abs() < 1e-9 && found[1].0.abs() < 1e-9 && found[2].0.abs() < 1e-9);
        let none = leading(&vec![0.0; d * d], d, 3);
        assert!(none.iter().all(|(value, vector)| *value == 0.0 && vector.iter().all(|x| x.is_finite())));
    }
}
