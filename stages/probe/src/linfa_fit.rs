//! The same objective minimised by linfa-logistic.
//!
//! linfa's L-BFGS stops at 100 iterations or at a gradient of 1e-4 by default, and gives up altogether when its line
//! search fails, returning no point. So it is asked for the gradient that convergence needs, restarted from where it
//! stopped while that helps, and what it returns is judged like any other point: on our objective, whose log-sum-exp
//! is exact (see `softmax.rs`).

use std::cmp::Ordering;

use linfa::prelude::Fit as _;
use linfa::{DatasetBase, ParamGuard as _};
use linfa_logistic::MultiLogisticRegression;
use ndarray::{Array1, Axis};

use crate::lbfgs::{Intercept, Minimum, Stop, is_minimum, norm, tolerance};
use crate::softmax::{Softmax, Weights};

/// Minimises from `weights` in at most `attempts` runs, each from the last point with the memory of past steps
/// dropped. The end is never worse than the start. Its iterations are not known and reported as 0.
pub(crate) fn minimise(problem: &Softmax<'_>, weights: Weights, start: f64, stop: Stop, attempts: u32) -> Minimum {
    let intercept = Intercept::of(problem.y, problem.classes);
    let judge = |weights: Weights| {
        let at = problem.evaluate(&weights, &problem.logits(&weights));
        let gradient_norm = norm(&at.gradient);
        let certified = intercept.gradient(&at.gradient, problem.lambda);
        let converged = is_minimum(problem.lambda, at.objective, certified, start, stop.gap_frac);
        Minimum { objective: at.objective, gradient_norm, weights, iterations: 0, converged }
    };
    let targets = Array1::from_iter(problem.y.iter().copied());
    let data = DatasetBase::new(problem.x, targets);
    let mut best = judge(weights);
    for _ in 0..attempts {
        if best.converged {
            break;
        }
        // Half of what the present objective asks for, since the objective can only fall.
        let tolerance = tolerance(problem.lambda, best.objective, start, stop.gap_frac) / 2.0;
        let Ok(params) = MultiLogisticRegression::default()
            .alpha(problem.lambda)
            .with_intercept(true)
            .max_iterations(u64::from(stop.max_iterations))
            .gradient_tolerance(tolerance)
            .initial_params(best.weights.clone())
            .check()
        else {
            break;
        };
        let Ok(model) = params.fit(&data) else { break };
        let mut weights = problem.zeros();
        let (mut w, mut b) = weights.view_mut().split_at(Axis(0), problem.x.ncols());
        w.assign(model.params());
        b.row_mut(0).assign(model.intercept());
        let point = judge(weights);
        // Neither worse nor NaN.
        if point.objective.partial_cmp(&best.objective) != Some(Ordering::Less) {
            break;
        }
        best = point;
    }
    best
}
