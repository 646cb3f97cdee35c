//! Minimises the streamed objective: the L-BFGS of `lbfgs.rs`, where an evaluation is a pass over the data.
//!
//! Steps come from the same two loops and the same metric. The line search differs, since logits are not kept: it
//! evaluates F and ∇F at a trial point, and accepts at |φ'(t)| ≤ 0.9·|φ'(0)| with a decrease, which t = 1 nearly always
//! has, so that an iteration costs one pass, 4·N·D·K operations.
//!
//! A fit goes on in f32 until its gradient falls under the certificate's bound less the rounding floor φ, or under 2φ.
//! Then ∇F is taken in f64, which renews φ = ‖∇F₃₂ − ∇F₆₄‖ and the metric, and the certificate is read. Where it fails,
//! which is where its bound lies near φ or below, the fit is polished in f64 by the same iteration.

use std::collections::VecDeque;

use engine::StageError;
use ndarray::{Array2, s};

use super::{Data, Real, Streamed};
use crate::lbfgs::{
    Intercept, Metric, Minimum, Pair, descend, dot, frequencies, is_minimum, norm, remember, tolerance,
};
use crate::line_search::LineSearch;
use crate::logistic::LogisticParams;
use crate::softmax::Weights;

/// Iterations of a fit after which the metric is computed anew; then at three times that, and so on.
const FIRST_METRIC: u32 = 8;
/// Trial points of one line search.
const TRIALS: u32 = 12;
/// Iterations in f32 without a gradient smaller by a twentieth, after which rounding is what is left.
const PATIENCE: u32 = 20;
/// A gradient of so many rounding floors is no matter for f32.
const NEAR_FLOOR: f64 = 8.0;
/// Share of the slope at the start of a line that its end may have.
const SLOPE_LEFT: f64 = 0.9;

/// Fits along a grid of penalties, each from where the last one ended.
pub(super) struct Path<'p, 'a> {
    problem: &'p Streamed<'a>,
    params: LogisticParams,
    weights: Weights,
    /// At `weights`, in f64.
    at: Data,
    gram: Array2<f64>,
    /// F at W = 0 with the intercept at the class frequencies.
    start: f64,
    floor: f64,
    intercept: Intercept,
}

/// One fit on its way.
struct Walk {
    lambda: f64,
    metric: Metric,
    history: VecDeque<Pair>,
    iterations: u32,
    next_metric: u32,
}

impl<'p, 'a> Path<'p, 'a> {
    pub(super) fn new(problem: &'p Streamed<'a>, params: &LogisticParams) -> Result<Self, StageError> {
        let weights = frequencies(problem.zeros(), &problem.y);
        let mut at = problem.data::<f64>(&weights, true)?;
        let narrow = problem.data::<f32>(&weights, false)?;
        let floor = norm(&(&narrow.gradient - &at.gradient));
        let gram = at.gram.take().unwrap_or_default();
        let intercept = Intercept::of(&problem.y, weights.ncols());
        Ok(Self { problem, params: *params, weights, start: at.loss, at, gram, floor, intercept })
    }

    /// ‖∇F₃₂ − ∇F₆₄‖ where the two were last compared.
    pub(super) fn floor(&self) -> f64 {
        self.floor
    }

    /// Fits at the next penalty.
    pub(super) fn next(&mut self, lambda: f64) -> Result<Minimum, StageError> {
        let mut walk = Walk {
            lambda,
            metric: Metric::of(self.gram.clone(), lambda),
            history: VecDeque::new(),
            iterations: 0,
            next_metric: FIRST_METRIC,
        };
        let mut polishing = false;
        let converged = loop {
            let (objective, gradient) = whole(&self.at, &self.weights, lambda);
            let certified = self.intercept.gradient(&gradient, lambda);
            if is_minimum(lambda, objective, certified, self.start, self.params.gap_frac) {
                break true;
            }
            if walk.iterations >= self.params.max_iterations {
                break false;
            }
            let before = walk.iterations;
            if polishing {
                self.walk::<f64>(&mut walk)?;
                if walk.iterations == before {
                    break false;
                }
            } else {
                let stalled = self.walk::<f32>(&mut walk)?;
                let (_, gradient) = whole(&self.at, &self.weights, lambda);
                polishing = stalled || walk.iterations == before || norm(&gradient) <= NEAR_FLOOR * self.floor;
            }
        };
        let (objective, gradient) = whole(&self.at, &self.weights, lambda);
        Ok(Minimum {
            weights: self.weights.clone(),
            objective,
            gradient_norm: norm(&gradient),
            iterations: walk.iterations,
            converged,
        })
    }

    /// Steps with products in `T` until the gradient is small enough, or no longer resolved, which is what it returns;
    /// `at` is in f64 afterwards.
    fn walk<T: Real>(&mut self, walk: &mut Walk) -> Result<bool, StageError> {
        let wide = size_of::<T>() == size_of::<f64>();
        let first = walk.iterations;
        let mut narrow = None;
        let mut least = (f64::INFINITY, first);
        let stalled = loop {
            let at = narrow.as_ref().unwrap_or(&self.at);
            let (objective, gradient) = whole(at, &self.weights, walk.lambda);
            let asked = tolerance(walk.lambda, objective, self.start, self.params.gap_frac);
            let enough = if wide { asked } else { (asked - self.floor).max(2.0 * self.floor) };
            let size = self.intercept.gradient(&gradient, walk.lambda);
            if size <= enough || walk.iterations >= self.params.max_iterations {
                break false;
            }
            if size < 0.95 * least.0 {
                least = (size, walk.iterations);
            } else if !wide && walk.iterations >= least.1 + PATIENCE {
                break true;
            }
            let step = descend(&gradient, &walk.history, &walk.metric);
            let renew = walk.iterations >= walk.next_metric;
            let Some((t, mut there)) =
                search::<T>(self.problem, &self.weights, &step, at, &gradient, walk.lambda, renew)?
            else {
                // Without the memory of past steps a decrease may be resolved.
                if walk.history.is_empty() {
                    break true;
                }
                walk.history.clear();
                continue;
            };
            let step = step * t;
            self.weights += &step;
            walk.iterations += 1;
            if let Some(gram) = there.gram.take() {
                walk.metric = Metric::of(gram, walk.lambda);
                walk.next_metric *= 3;
            }
            let (_, after) = whole(&there, &self.weights, walk.lambda);
            remember(&mut walk.history, step, after - gradient);
            narrow = Some(there);
        };
        if walk.iterations == first {
            return Ok(stalled);
        }
        match narrow {
            Some(there) if wide => self.at = there,
            narrow => {
                self.at = self.problem.data::<f64>(&self.weights, true)?;
                if let Some(gram) = self.at.gram.take() {
                    walk.metric = Metric::of(gram.clone(), walk.lambda);
                    self.gram = gram;
                }
                if let Some(narrow) = narrow {
                    self.floor = norm(&(&narrow.gradient - &self.at.gradient));
                }
            }
        }
        Ok(stalled)
    }
}

/// F and ∇F with the penalty.
fn whole(at: &Data, weights: &Weights, lambda: f64) -> (f64, Weights) {
    let w = weights.slice(s![..-1, ..]);
    let mut gradient = at.gradient.clone();
    gradient.slice_mut(s![..-1, ..]).scaled_add(lambda, &w);
    (at.loss + 0.5 * lambda * w.iter().map(|v| v * v).sum::<f64>(), gradient)
}

/// A step length along `step`, with what the data say there; `None` when no decrease can be resolved.
fn search<T: Real>(
    problem: &Streamed<'_>,
    weights: &Weights,
    step: &Weights,
    from: &Data,
    gradient: &Weights,
    lambda: f64,
    gram: bool,
) -> Result<Option<(f64, Data)>, StageError> {
    let (w, v) = (weights.slice(s![..-1, ..]), step.slice(s![..-1, ..]));
    let wv = w.iter().zip(v.iter()).map(|(a, b)| a * b).sum::<f64>();
    let vv = v.iter().map(|a| a * a).sum::<f64>();
    let Some(mut search) = LineSearch::new(from.loss, dot(gradient, step), T::ROUNDING * from.loss.abs(), SLOPE_LEFT)
    else {
        return Ok(None);
    };
    for _ in 0..TRIALS {
        let t = search.length();
        let mut there = weights.clone();
        there.scaled_add(t, step);
        let at = problem.data::<T>(&there, gram)?;
        // Penalty without its constant ‖W‖² part.
        let value = at.loss + lambda * t * (wv + 0.5 * t * vv);
        let slope = dot(&at.gradient, step) + lambda * (wv + t * vv);
        if search.accepts(value, slope) {
            return Ok(Some((t, at)));
        }
    }
    Ok(None)
}
