//! Multinomial logistic regression, as scikit-learn and cuML define it.
//!
//! Minimises `F = Σ cross-entropy + ‖W‖²/(2C)` with the intercept free, in f64, for every C of a grid from strong
//! penalty to weak, each fit starting where the last one ended. linfa's parameter is α = 1/C. With two classes this is
//! still the softmax with two weight vectors, where scikit-learn has one: C = 1 here is its C = 2.
//!
//! Features are centred (the free intercept takes the difference up, F is unchanged). They are divided by their spread
//! only on request, since that changes what the penalty means: [`Standardise::Floor`] is for probes that must see
//! directions of little variance, with a floor against directions of none.
//!
//! Two solvers: linfa-logistic, and `lbfgs.rs`, which reaches the optimum on raw tokens where linfa cannot.
//! linfa computes its cost with one maximum for the whole batch (see `softmax.rs`); once logits spread over more
//! than 34, cost and gradient disagree and its line search, which has no limit, may stop, or never return. `Auto`
//! therefore gives linfa the small problems on which no point of its path can spread so far, and takes the others
//! itself. Both are judged by the same certificate, and [`Fit::converged`] says what came out; a fit that did not
//! converge is no result. What is too large for all of that in memory is fitted by `streamed.rs`, under the same
//! certificate.

use std::sync::atomic::AtomicBool;

use engine::StageError;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::ProbeError;
use crate::lbfgs::{self, Minimum, Stop};
use crate::linfa_fit;
use crate::products::multiply;
use crate::softmax::{Softmax, Weights};
use crate::streamed::{Chosen, Streamed};

/// Whether features are divided by their spread before the penalty sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Standardise {
    /// Raw features: the papers' probes.
    #[default]
    None,
    /// Divided by sd + frac × (largest sd) + 1e-6. Without a floor, a leftover of a millionth in an otherwise empty
    /// channel becomes a noise-free feature of unit variance.
    Floor {
        /// Share of the largest standard deviation that is added to each.
        frac: f64,
    },
}

/// Who minimises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// linfa where the problem is small and its cost exact, our own elsewhere.
    #[default]
    Auto,
    /// linfa-logistic alone. On features of large norm it may not return.
    Linfa,
    /// Our own L-BFGS alone.
    Lbfgs,
}

/// Problems of at most this N × D × K may go to linfa: above it linfa is five to twenty times slower.
const LINFA_MAX: usize = 2_000_000;
/// Iterations that linfa gets before our own solver goes on from its point.
const LINFA_ITERATIONS: u32 = 200;
/// Spread of logits below which linfa's log-sum-exp is exact: e⁻³⁰ is well above its clamp of 1e-15.
const LINFA_SPREAD: f64 = 30.0;

/// Parameters, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogisticParams {
    /// Scaling of the features.
    pub standardise: Standardise,
    /// Solver.
    pub solver: Solver,
    /// Largest iterations of one fit.
    pub max_iterations: u32,
    /// Bound on (F − F*)/F at which a fit counts as converged.
    pub gap_frac: f64,
}

impl Default for LogisticParams {
    fn default() -> Self {
        Self { standardise: Standardise::None, solver: Solver::Auto, max_iterations: 2000, gap_frac: 1e-5 }
    }
}

/// Parameters that can run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValidLogistic(LogisticParams);

/// Why a regression cannot run.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LogisticError {
    /// A parameter is out of range.
    #[error("logistic regression: `{name}` = {value} is not a positive number")]
    Parameter {
        /// Parameter.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// Rows and labels differ.
    #[error("logistic regression: {rows} rows but {labels} labels")]
    Lengths {
        /// Rows.
        rows: usize,
        /// Labels.
        labels: usize,
    },
    /// Nothing to learn from.
    #[error("logistic regression: no training rows; the split leaves nothing, or no image has such a token")]
    Empty,
    /// A feature is NaN or infinite.
    #[error("logistic regression: row {row} holds a value that is not finite; check the weights of the encoder")]
    NotFinite {
        /// Row.
        row: usize,
    },
}

/// Features with their classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    x: Array2<f64>,
    labels: Vec<u32>,
}

impl Design {
    /// Features [N, D] and one label per row; labels need not be consecutive.
    pub fn new(x: Array2<f64>, labels: Vec<u32>) -> Result<Self, LogisticError> {
        if x.nrows() != labels.len() {
            return Err(LogisticError::Lengths { rows: x.nrows(), labels: labels.len() });
        }
        if x.nrows() == 0 {
            return Err(LogisticError::Empty);
        }
        match x.rows().into_iter().position(|r| r.iter().any(|v| !v.is_finite())) {
            Some(row) => Err(LogisticError::NotFinite { row }),
            None => Ok(Self { x, labels }),
        }
    }

    /// Some of the rows.
    pub fn select(&self, rows: &[usize]) -> Result<Self, LogisticError> {
        Self::new(self.x.select(Axis(0), rows), rows.iter().map(|&i| self.labels[i]).collect())
    }

    /// Features, [N, D].
    pub fn x(&self) -> ArrayView2<'_, f64> {
        self.x.view()
    }

    /// Labels, N.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }
}

/// Weights on raw features.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Label of each column.
    pub classes: Vec<u32>,
    /// W, `[D, K]`.
    pub weights: Array2<f64>,
    /// b, `[K]`.
    pub intercept: Array1<f64>,
}

/// What a model says of some vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// The label with the largest logit, of each row.
    pub predicted: Vec<u32>,
    /// Whether the row's own label is among those with the five largest.
    pub in_top5: Vec<bool>,
}

impl Model {
    /// Predictions, and where the true labels rank; of equal logits the smaller label comes first.
    pub fn judge(&self, x: ArrayView2<'_, f64>, labels: &[u32]) -> Judged {
        let z = self.logits(x);
        let in_top5 = z.rows().into_iter().zip(labels).map(|(z, label)| {
            let of = self.classes.binary_search(label).ok()?;
            let before = z.iter().enumerate().filter(|&(k, v)| *v > z[of] || *v == z[of] && k < of);
            (before.count() < 5).then_some(())
        });
        let in_top5 = in_top5.map(|hit| hit.is_some()).collect();
        Judged { predicted: self.largest(&z), in_top5 }
    }

    /// The label with the largest logit; the smallest label of several.
    pub fn predict(&self, x: ArrayView2<'_, f64>) -> Vec<u32> {
        self.largest(&self.logits(x))
    }

    fn logits(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        multiply(x, self.weights.view()) + &self.intercept
    }

    fn largest(&self, z: &Array2<f64>) -> Vec<u32> {
        z.rows()
            .into_iter()
            .map(|z| {
                let mut best = 0;
                for (k, v) in z.iter().enumerate() {
                    if *v > z[best] {
                        best = k;
                    }
                }
                self.classes[best]
            })
            .collect()
    }
}

/// One fit and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Inverse penalty.
    pub c: f64,
    /// The model.
    pub model: Model,
    /// F at the model, a sum over rows.
    pub objective: f64,
    /// ‖∇F‖ there.
    pub gradient_norm: f64,
    /// The solver that made the last step: `Linfa` or `Lbfgs`.
    pub by: Solver,
    /// Iterations of our own solver; linfa does not tell its own.
    pub iterations: u32,
    /// Whether F is certified to be within `gap_frac` of its minimum.
    pub converged: bool,
    /// How far a gradient in f32 was from the one in f64 at the end, where steps were found in f32.
    pub rounding: Option<f64>,
}

impl LogisticParams {
    /// Checks the ranges.
    pub fn check(self) -> Result<ValidLogistic, LogisticError> {
        let floor = match self.standardise {
            Standardise::Floor { frac } => frac,
            Standardise::None => 1.0,
        };
        let values = [
            ("gap_frac", self.gap_frac),
            ("max_iterations", f64::from(self.max_iterations)),
            ("standardise.floor.frac", floor),
        ];
        match values.into_iter().find(|(_, v)| !(v.is_finite() && *v > 0.0)) {
            Some((name, value)) => Err(LogisticError::Parameter { name, value }),
            None => Ok(ValidLogistic(self)),
        }
    }
}

impl ValidLogistic {
    /// Fits every C to vectors that are read in blocks, in ascending order of C; hands each fit out as it is done.
    pub(crate) fn fit_streamed(
        &self,
        chosen: &Chosen<'_>,
        c_grid: &[f64],
        cancel: &AtomicBool,
        each: impl FnMut(Fit) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let grid = ascending(c_grid).map_err(ProbeError::from)?;
        Streamed::new(chosen, self.0.standardise, cancel)?.path(&grid, &self.0, each)
    }

    /// Fits every C to vectors [N, D] that are held once, in f32, whatever their number; hands each fit out as it is
    /// done, in ascending order of C. The way that large problems of the stage `probe` take.
    pub fn fit_blocks(
        &self,
        (values, dim): (&[f32], usize),
        labels: &[u32],
        c_grid: &[f64],
        mut each: impl FnMut(Fit),
    ) -> Result<(), StageError> {
        if values.len() != dim * labels.len() {
            let rows = values.len() / dim.max(1);
            return Err(ProbeError::from(LogisticError::Lengths { rows, labels: labels.len() }).into());
        }
        let source = (values, dim);
        let chosen = Chosen::new(&source, (0..labels.len()).collect(), labels.to_vec());
        self.fit_streamed(&chosen, c_grid, &AtomicBool::new(false), |fit| {
            each(fit);
            Ok(())
        })
    }

    /// Fits every C, returned in ascending order of C.
    pub fn fit(&self, design: &Design, c_grid: &[f64]) -> Result<Vec<Fit>, LogisticError> {
        let grid = ascending(c_grid)?;
        let mut classes = design.labels.clone();
        classes.sort_unstable();
        classes.dedup();
        let y: Vec<usize> = design.labels.iter().map(|l| classes.partition_point(|c| c < l)).collect();

        let (x, mean, scale) = self.prepare(design.x());
        let mut problem = Softmax { x: x.view(), y: &y, classes: classes.len(), lambda: 1.0 };
        let mut weights = lbfgs::prior(&problem);
        let start = lbfgs::start(&problem);
        let mut fits = Vec::with_capacity(grid.len());
        for c in grid {
            problem.lambda = 1.0 / c;
            let (end, by) = self.minimise(&problem, weights, start);
            // Back to raw features: z = ((x − mean)/scale)·W + b.
            let (w, b) = end.weights.view().split_at(Axis(0), x.ncols());
            let raw = &w / &scale.view().insert_axis(Axis(1));
            let intercept = &b.row(0) - &mean.dot(&raw);
            fits.push(Fit {
                c,
                model: Model { classes: classes.clone(), weights: raw, intercept },
                objective: end.objective,
                gradient_norm: end.gradient_norm,
                by,
                iterations: end.iterations,
                converged: end.converged,
                rounding: None,
            });
            weights = end.weights;
        }
        Ok(fits)
    }

    /// One fit of the path, and who made it.
    fn minimise(&self, problem: &Softmax<'_>, weights: Weights, start: f64) -> (Minimum, Solver) {
        let stop = Stop { gap_frac: self.0.gap_frac, max_iterations: self.0.max_iterations };
        let weights = match self.0.solver {
            Solver::Linfa => return (linfa_fit::minimise(problem, weights, start, stop, 3), Solver::Linfa),
            Solver::Auto if linfa_is_exact(problem, start) => {
                let stop = Stop { max_iterations: LINFA_ITERATIONS, ..stop };
                let end = linfa_fit::minimise(problem, weights, start, stop, 1);
                if end.converged {
                    return (end, Solver::Linfa);
                }
                end.weights
            }
            Solver::Auto | Solver::Lbfgs => weights,
        };
        (lbfgs::minimise(problem, weights, start, stop), Solver::Lbfgs)
    }

    /// Centred and scaled features, their means and their scales.
    fn prepare(&self, x: ArrayView2<'_, f64>) -> (Array2<f64>, Array1<f64>, Array1<f64>) {
        let n = x.nrows() as f64;
        let mean = x.sum_axis(Axis(0)) / n;
        let mut x = &x - &mean;
        let mut scale = Array1::ones(x.ncols());
        if let Standardise::Floor { frac } = self.0.standardise {
            let sd = x.map_axis(Axis(0), |column| (column.iter().map(|v| v * v).sum::<f64>() / n).sqrt());
            let largest = sd.fold(0.0, |a: f64, &b| a.max(b));
            scale = sd + (frac * largest + 1e-6);
            x /= &scale;
        }
        (x, mean, scale)
    }
}

fn ascending(c_grid: &[f64]) -> Result<Vec<f64>, LogisticError> {
    let mut grid = c_grid.to_vec();
    grid.sort_by(f64::total_cmp);
    match grid.iter().find(|c| !(c.is_finite() && **c > 0.0)) {
        Some(&value) => Err(LogisticError::Parameter { name: "c", value }),
        None => Ok(grid),
    }
}

/// Whether the problem is small and no point of a descent from `start` has logits that spread beyond linfa's reach.
///
/// A descent keeps λ/2·‖W‖² ≤ F ≤ `start`, so that logits of one row differ by at most 2·‖x‖·√(2·`start`/λ), and
/// those of two rows by no more with the longest x.
fn linfa_is_exact(problem: &Softmax<'_>, start: f64) -> bool {
    if problem.x.len() * problem.classes > LINFA_MAX {
        return false;
    }
    let longest = problem.x.rows().into_iter().map(|r| r.dot(&r)).fold(0.0, f64::max).sqrt();
    2.0 * longest * (2.0 * start / problem.lambda).sqrt() <= LINFA_SPREAD
}

#[cfg(test)]
mod tests;
