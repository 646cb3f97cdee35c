//! The objective of multinomial logistic regression and its derivatives.
//!
//! `F(W, b) = Σᵢ [ log Σₖ exp(zᵢₖ) − zᵢ,yᵢ ] + λ/2·‖W‖²`, `z = X·W + b`, λ = 1/C, the intercept b free.
//! `∂F/∂W = Xᵀ·(P − Y) + λ·W`, `∂F/∂b = Σᵢ (P − Y)ᵢ` with P = softmax(z) row by row.
//!
//! Each row subtracts its own largest logit before the exponential. linfa-logistic 0.8 subtracts the largest logit of
//! the whole batch and clamps the sum at 1e-15, so its cost is wrong where one image's logits exceed another's by more
//! than 34: that is what stops its line search on raw features.
//!
//! z is linear in W: along a direction V the logits are z + t·(X·V), so a line search of any length costs one product.

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, s};
use rayon::prelude::*;

use crate::products::{multiply, transposed_multiply};

/// Rows of logits that one task handles.
const ROWS: usize = 256;

/// One regression problem: features, classes and penalty.
pub(crate) struct Softmax<'a> {
    /// Centred features, [N, D].
    pub x: ArrayView2<'a, f64>,
    /// Class of each row, 0 … K − 1.
    pub y: &'a [usize],
    /// Classes, K.
    pub classes: usize,
    /// λ = 1/C.
    pub lambda: f64,
}

/// The objective at one point.
pub(crate) struct Evaluation {
    /// F.
    pub objective: f64,
    /// ∇F, [D + 1, K].
    pub gradient: Weights,
    /// Mean curvature of each row's softmax over the directions it has, `(1 − Σₖ p²)/(K − 1)`; [N].
    pub curvature: Vec<f64>,
}

/// Weights [D + 1, K]: W, and the intercept as the last row.
pub(crate) type Weights = Array2<f64>;

impl Softmax<'_> {
    pub(crate) fn zeros(&self) -> Weights {
        Array2::zeros((self.x.ncols() + 1, self.classes))
    }

    /// X·W + b, [N, K].
    pub(crate) fn logits(&self, w: &Weights) -> Array2<f64> {
        let (w, b) = w.view().split_at(Axis(0), self.x.ncols());
        let mut z = multiply(self.x, w);
        z += &b;
        z
    }

    /// Penalty λ/2·‖W‖².
    pub(crate) fn penalty(&self, w: &Weights) -> f64 {
        let w = w.slice(s![..-1, ..]);
        0.5 * self.lambda * w.iter().map(|v| v * v).sum::<f64>()
    }

    /// F, ∇F and the curvature, from the logits.
    pub(crate) fn evaluate(&self, w: &Weights, z: &Array2<f64>) -> Evaluation {
        let mut r = z.clone(); // becomes P − Y
        let mut curvature = vec![0.0; self.y.len()];
        let directions = (self.classes - 1).max(1) as f64;
        let losses: Vec<f64> = r
            .axis_chunks_iter_mut(Axis(0), ROWS)
            .into_par_iter()
            .zip(self.y.par_chunks(ROWS))
            .zip(curvature.par_chunks_mut(ROWS))
            .map(|((mut z, y), curvature)| {
                let mut loss = 0.0;
                for ((mut z, &y), curvature) in z.rows_mut().into_iter().zip(y).zip(curvature) {
                    let top = z.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                    let of_class = z[y] - top;
                    z.mapv_inplace(|v| (v - top).exp());
                    let sum = z.sum();
                    z /= sum;
                    loss += sum.ln() - of_class;
                    // Σ p(1 − p) and not 1 − Σ p², which rounds to 0 near certainty.
                    *curvature = z.iter().map(|p| p * (1.0 - p)).sum::<f64>() / directions;
                    z[y] -= 1.0;
                }
                loss
            })
            .collect();
        let d = self.x.ncols();
        let mut gradient = self.zeros();
        gradient.slice_mut(s![..d, ..]).assign(&transposed_multiply(self.x, r.view()));
        Zip::from(gradient.slice_mut(s![..d, ..])).and(w.slice(s![..d, ..])).for_each(|g, &w| *g += self.lambda * w);
        gradient.row_mut(d).assign(&r.sum_axis(Axis(0)));
        Evaluation { objective: losses.iter().sum::<f64>() + self.penalty(w), gradient, curvature }
    }

    /// Data part of F at z + t·dz, and its derivative in t.
    pub(crate) fn along(&self, z: &Array2<f64>, dz: &Array2<f64>, t: f64) -> (f64, f64) {
        let parts: Vec<(f64, f64)> = z
            .axis_chunks_iter(Axis(0), ROWS)
            .into_par_iter()
            .zip(dz.axis_chunks_iter(Axis(0), ROWS))
            .zip(self.y.par_chunks(ROWS))
            .map(|((z, dz), y)| {
                let mut at = Array1::zeros(z.ncols());
                let (mut loss, mut slope) = (0.0, 0.0);
                for ((z, dz), &y) in z.rows().into_iter().zip(dz.rows()).zip(y) {
                    Zip::from(&mut at).and(z).and(dz).for_each(|a, &z, &dz| *a = z + t * dz);
                    let top = at.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                    let (mut sum, mut weighted) = (0.0, 0.0);
                    for (&a, &dz) in at.iter().zip(dz) {
                        let e = (a - top).exp();
                        sum += e;
                        weighted += e * dz;
                    }
                    loss += top + sum.ln() - at[y];
                    slope += weighted / sum - dz[y];
                }
                (loss, slope)
            })
            .collect();
        parts.iter().fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Array2<f64>, Vec<usize>, Weights) {
        let x = Array2::from_shape_fn((7, 3), |(i, j)| ((i * 5 + j * 3) % 7) as f64 / 3.0 - 1.0);
        let w = Array2::from_shape_fn((4, 4), |(i, j)| ((i * 3 + j) % 5) as f64 / 2.0 - 1.0);
        (x, vec![0, 1, 2, 3, 3, 1, 0], w)
    }

    #[test]
    fn at_zero_every_class_costs_ln_k() {
        let (x, y, _) = example();
        let problem = Softmax { x: x.view(), y: &y, classes: 4, lambda: 2.0 };
        let w = problem.zeros();
        let at = problem.evaluate(&w, &problem.logits(&w));
        assert!((at.objective - 7.0 * 4f64.ln()).abs() < 1e-12);
        // p = 1/K everywhere: (1 − 1/K)/(K − 1) = 1/K.
        assert!(at.curvature.iter().all(|c| (c - 0.25).abs() < 1e-12));
    }

    #[test]
    fn gradient_is_the_finite_difference() {
        let (x, y, w) = example();
        let problem = Softmax { x: x.view(), y: &y, classes: 4, lambda: 0.7 };
        let gradient = problem.evaluate(&w, &problem.logits(&w)).gradient;
        let h = 1e-6;
        for index in ndarray::indices(w.raw_dim()) {
            let at = |step: f64| {
                let mut w = w.clone();
                w[index] += step;
                problem.evaluate(&w, &problem.logits(&w)).objective
            };
            let difference = (at(h) - at(-h)) / (2.0 * h);
            assert!((gradient[index] - difference).abs() < 1e-7, "{index:?}");
        }
    }

    #[test]
    fn along_a_line_it_is_the_objective_there() {
        let (x, y, w) = example();
        let problem = Softmax { x: x.view(), y: &y, classes: 4, lambda: 0.0 };
        let v = w.mapv(|a| a * a - 0.3);
        let (z, dz) = (problem.logits(&w), problem.logits(&v));
        let there = &w + &(0.4 * &v);
        let (loss, slope) = problem.along(&z, &dz, 0.4);
        let exact = problem.evaluate(&there, &problem.logits(&there));
        assert!((loss - exact.objective).abs() < 1e-12);
        assert!((slope - (&exact.gradient * &v).sum()).abs() < 1e-12);
    }

    #[test]
    fn rows_of_very_different_scale_keep_their_own_loss() {
        // z₀ = (1000, 0) with class 0 costs 0 and z₁ = (0, 0) costs ln 2, whatever the other row holds.
        let x = ndarray::arr2(&[[1000.0], [0.0]]);
        let problem = Softmax { x: x.view(), y: &[0, 0], classes: 2, lambda: 0.0 };
        let w = ndarray::arr2(&[[1.0, 0.0], [0.0, 0.0]]);
        let objective = problem.evaluate(&w, &problem.logits(&w)).objective;
        assert!((objective - 2f64.ln()).abs() < 1e-12);
    }
}
