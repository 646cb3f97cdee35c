//! Minimises the softmax objective: L-BFGS with a whitening metric.
//!
//! Each step goes along −H·∇F, where H is the two-loop L-BFGS inverse Hessian of the last M steps around
//! `H₀ = (a·XᵀX + λI)⁻¹ ⊗ I_K` (intercept: 1/(a·N)), a the softmax's mean curvature at the start. At W = 0 that is
//! the exact inverse Hessian, whatever the scale of the features and however they correlate: raw tokens, whose
//! channels differ in size by factors of a hundred, need no standardising, which would change the penalty. Plain
//! L-BFGS on them stops hundreds of iterations before the optimum.
//!
//! The line search ends at half the slope. It costs no matrix product (see [`Softmax::along`]).
//!
//! **Stop.** Minimised over b, F is λ-strongly convex in W, so `F − F* ≤ ‖∇_W F‖²/(2λ)` where ∂F/∂b = 0: a certificate,
//! not a guess. What ∂F/∂b is left has the curvature of the intercept, `h_k = n_k·(1 − n_k/N)` at the class frequencies,
//! which strong penalties exceed; there it counts `λ/h_k` times (see [`Intercept::gradient`]). A fit is converged when that
//! bound is at most `gap_frac` × F and at most 1e-4 of the decrease since W = 0; the second matters at strong penalties,
//! where W = 0 is already within any bound and says nothing about classes.
//!
//! Source: Nocedal & Wright, Algorithm 7.4; the bound: Boyd & Vandenberghe §9.1.2.

use std::collections::VecDeque;

use ndarray::{Array2, Axis, s};

use crate::cholesky::Cholesky;
use crate::line_search::LineSearch;
use crate::products::gram;
use crate::softmax::{Evaluation, Softmax, Weights};

/// Iterations after which the metric is first computed anew; then at three times that, and so on.
const FIRST_METRIC: u32 = 8;
/// Rows of features that the metric copies at a time.
const GRAM_ROWS: usize = 4096;
/// Steps remembered, M.
const MEMORY: usize = 12;
/// Share of the decrease since W = 0 that a converged fit may have left to go.
const LEFT_TO_GO: f64 = 1e-4;
/// Logits drift by rounding as steps are added to them; they are computed afresh this often.
const REFRESH: u32 = 25;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    /// Bound on (F − F*)/F.
    pub gap_frac: f64,
    /// Iterations.
    pub max_iterations: u32,
}

/// Where a minimisation ended.
#[derive(Debug, Clone)]
pub(crate) struct Minimum {
    pub weights: Weights,
    pub objective: f64,
    pub gradient_norm: f64,
    pub iterations: u32,
    pub converged: bool,
}

/// Curvature of F along the intercept of each class, with the class frequencies as probabilities.
#[derive(Debug, Clone)]
pub(crate) struct Intercept(Vec<f64>);

impl Intercept {
    pub(crate) fn of(y: &[usize], classes: usize) -> Self {
        let n = y.len() as f64;
        let curvature = counts(y, classes).into_iter().map(|count| (count as f64 * (1.0 - count as f64 / n)).max(1e-3));
        Self(curvature.collect())
    }

    /// The length of a gradient as the certificate takes it: `√(‖∇_W‖² + Σ_k (∂F/∂b_k)²·max(1, λ/h_k))`.
    pub(crate) fn gradient(&self, gradient: &Weights, lambda: f64) -> f64 {
        let (w, b) = gradient.view().split_at(Axis(0), gradient.nrows() - 1);
        let of_b = b.iter().zip(&self.0).map(|(g, h)| g * g * (lambda / h).max(1.0)).sum::<f64>();
        (w.iter().map(|g| g * g).sum::<f64>() + of_b).sqrt()
    }
}

/// Rows of each class.
fn counts(y: &[usize], classes: usize) -> Vec<usize> {
    let mut counts = vec![0usize; classes];
    for &y in y {
        counts[y] += 1;
    }
    counts
}

/// Whether a point with a gradient of this length is the minimum to tolerance. `start` is F at W = 0.
pub(crate) fn is_minimum(lambda: f64, objective: f64, gradient: f64, start: f64, gap_frac: f64) -> bool {
    gradient <= tolerance(lambda, objective, start, gap_frac)
}

/// The gradient at which a point of this objective counts as the minimum.
pub(crate) fn tolerance(lambda: f64, objective: f64, start: f64, gap_frac: f64) -> f64 {
    // Features without any information decrease nothing: F cannot be resolved below its rounding.
    let gap = (gap_frac * objective).min(LEFT_TO_GO * (start - objective).max(0.0) + 1e-13 * start);
    (2.0 * lambda * gap).sqrt()
}

/// F at W = 0 with the intercept at the class frequencies.
pub(crate) fn start(problem: &Softmax<'_>) -> f64 {
    let w = prior(problem);
    problem.evaluate(&w, &problem.logits(&w)).objective
}

/// W = 0 and b = ln of the class frequencies: the best weights without features.
pub(crate) fn prior(problem: &Softmax<'_>) -> Weights {
    frequencies(problem.zeros(), problem.y)
}

/// Weights 0 with the intercept at ln of the class frequencies.
pub(crate) fn frequencies(mut w: Weights, y: &[usize]) -> Weights {
    let counts = counts(y, w.ncols());
    let last = w.nrows() - 1;
    for (b, &count) in w.row_mut(last).iter_mut().zip(&counts) {
        *b = (count.max(1) as f64 / y.len() as f64).ln();
    }
    w
}

/// Minimises from `weights`.
pub(crate) fn minimise(problem: &Softmax<'_>, mut weights: Weights, start: f64, stop: Stop) -> Minimum {
    let intercept = Intercept::of(problem.y, problem.classes);
    let mut z = problem.logits(&weights);
    let mut at = problem.evaluate(&weights, &z);
    let mut metric = Metric::new(problem, &at.curvature);
    let mut next_metric = FIRST_METRIC;
    let mut history: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    let mut iterations = 0;
    let mut drifted = false;
    let converged = loop {
        let gradient = intercept.gradient(&at.gradient, problem.lambda);
        let done = is_minimum(problem.lambda, at.objective, gradient, start, stop.gap_frac);
        if done && !drifted {
            break true;
        }
        if done || iterations >= stop.max_iterations {
            if !drifted {
                break false;
            }
            // Judge the end on logits without drift.
            z = problem.logits(&weights);
            at = problem.evaluate(&weights, &z);
            drifted = false;
            continue;
        }
        let mut step = descend(&at.gradient, &history, &metric);
        let dz = problem.logits(&step);
        let Some(t) = search(problem, &weights, &step, &at, &z, &dz) else {
            // The objective no longer resolves a decrease. Without the memory of past steps it may.
            if history.is_empty() {
                break false;
            }
            history.clear();
            continue;
        };
        step *= t;
        weights += &step;
        iterations += 1;
        drifted = iterations % REFRESH != 0;
        if drifted {
            z.scaled_add(t, &dz);
        } else {
            z = problem.logits(&weights);
        }
        let before = std::mem::replace(&mut at, problem.evaluate(&weights, &z));
        remember(&mut history, step, &at.gradient - &before.gradient);
        if iterations >= next_metric {
            metric = Metric::new(problem, &at.curvature);
            next_metric *= 3;
        }
    };
    Minimum { objective: at.objective, gradient_norm: norm(&at.gradient), weights, iterations, converged }
}

/// A step and what it did to the gradient.
pub(crate) struct Pair {
    step: Weights,
    change: Weights,
    /// stepᵀ·change.
    curvature: f64,
}

/// Adds a pair to the last M, unless rounding made it one of no curvature.
pub(crate) fn remember(history: &mut VecDeque<Pair>, step: Weights, change: Weights) {
    let curvature = dot(&step, &change);
    if curvature > 0.0 {
        if history.len() == MEMORY {
            history.pop_front();
        }
        history.push_back(Pair { step, change, curvature });
    }
}

/// −H·g by the two-loop recursion.
pub(crate) fn descend(gradient: &Weights, history: &VecDeque<Pair>, metric: &Metric) -> Weights {
    let mut q = gradient.clone();
    let mut alphas = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let alpha = dot(&pair.step, &q) / pair.curvature;
        q.scaled_add(-alpha, &pair.change);
        alphas.push(alpha);
    }
    let mut r = metric.apply(&q);
    for (pair, alpha) in history.iter().zip(alphas.iter().rev()) {
        let beta = dot(&pair.change, &r) / pair.curvature;
        r.scaled_add(alpha - beta, &pair.step);
    }
    r *= -1.0;
    r
}

/// A step length along `step` from the point `from`, or `None` when no decrease can be resolved.
fn search(
    problem: &Softmax<'_>,
    weights: &Weights,
    step: &Weights,
    from: &Evaluation,
    z: &Array2<f64>,
    dz: &Array2<f64>,
) -> Option<f64> {
    let d = problem.x.ncols();
    let (w, v) = (weights.slice(s![..d, ..]), step.slice(s![..d, ..]));
    let wv = w.iter().zip(v.iter()).map(|(a, b)| a * b).sum::<f64>();
    let vv = v.iter().map(|a| a * a).sum::<f64>();
    // Penalty without its constant ‖W‖² part.
    let at = |t: f64| {
        let (loss, slope) = problem.along(z, dz, t);
        (loss + problem.lambda * t * (wv + 0.5 * t * vv), slope + problem.lambda * (wv + t * vv))
    };
    let start = from.objective - problem.penalty(weights);
    let mut search = LineSearch::new(start, dot(&from.gradient, step), 1e-14 * start.abs(), 0.5)?;
    for _ in 0..40 {
        let t = search.length();
        let (value, slope) = at(t);
        if search.accepts(value, slope) {
            return Some(t);
        }
    }
    search.falling()
}

/// H₀ = (X̃ᵀ·diag(a)·X̃ + λI)⁻¹ over the features and the intercept's column of ones.
pub(crate) struct Metric {
    /// None: the matrix is not positive definite to rounding; the identity serves.
    factor: Option<Cholesky>,
}

impl Metric {
    fn new(problem: &Softmax<'_>, curvature: &[f64]) -> Self {
        let d = problem.x.ncols();
        let mut matrix = Array2::zeros((d + 1, d + 1));
        for (x, a) in problem.x.axis_chunks_iter(Axis(0), GRAM_ROWS).zip(curvature.chunks(GRAM_ROWS)) {
            let mut weighted = Array2::ones((x.nrows(), d + 1));
            weighted.slice_mut(s![.., ..d]).assign(&x);
            for (mut row, a) in weighted.rows_mut().into_iter().zip(a) {
                row *= a.sqrt();
            }
            matrix += &gram(weighted.view());
        }
        Self::of(matrix, problem.lambda)
    }

    /// From X̃ᵀ·diag(a)·X̃, [D + 1, D + 1].
    pub(crate) fn of(mut matrix: Array2<f64>, lambda: f64) -> Self {
        let d = matrix.nrows() - 1;
        // Rows that are all certain have no curvature: the floor keeps their metric from asking for endless steps.
        let floor = 1e-10 * matrix.diag().sum() / (d + 1) as f64 + 1e-12;
        matrix.diag_mut().map_inplace(|v| *v += floor);
        matrix.diag_mut().slice_mut(s![..d]).map_inplace(|v| *v += lambda);
        Self { factor: Cholesky::factor(matrix) }
    }

    fn apply(&self, g: &Weights) -> Weights {
        let mut out = g.clone();
        if let Some(factor) = &self.factor {
            factor.solve(&mut out);
        }
        out
    }
}

pub(crate) fn dot(a: &Weights, b: &Weights) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn norm(a: &Weights) -> f64 {
    dot(a, a).sqrt()
}
