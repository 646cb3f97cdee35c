//! Classifies images from one vector each: the protocol of the papers' probes, without any table.
//!
//! - `Select`: DINOv2's procedure. The first ⌊n/10⌋ rows of torch's `randperm(n)` at seed 0 are held out; each C of
//!   10^x, x = −6 … 5 in 45 steps, is fitted on the rest and judged on them; ties go to the smallest C, the one met
//!   first; the best C is fitted again on all rows. The metric of the choice is the metric that is reported.
//! - `Fixed`: one C. The reproducibility study has C = 1.
//!
//! Rows are images here (one token each), so the selection too is by image. A fit that did not converge takes no part
//! in the choice, and when the last fit did not, there is no result.
//! Source: facebookresearch/dinov2 `eval/log_regression.py`; how it is asked: `docs/protocols/table1.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use engine::StageError;
use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::logistic::{Design, Fit, Judged, LogisticError, LogisticParams, Standardise};
use crate::numpy_random::{RandomState, torch_randperm};
use crate::split::Split;
use crate::streamed::{Chosen, judge};

/// How C is found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Regularisation {
    /// One value.
    Fixed {
        /// Inverse penalty.
        c: f64,
    },
    /// The best of a grid on held-out rows.
    Select {
        /// Exponent of the smallest C, base 10.
        low: f64,
        /// Exponent of the largest.
        high: f64,
        /// Values, evenly spaced in the exponent.
        steps: u32,
        /// One of how many training rows is held out.
        one_in: u32,
        /// Seed of the choice of rows.
        seed: u32,
    },
}

/// How accuracies of classes are averaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// Over images.
    #[default]
    Micro,
    /// Over classes, each the mean of its images (Aircraft, Pets, Caltech-101, Flowers).
    Macro,
}

/// A classification protocol.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// How C is found.
    pub regularisation: Regularisation,
    /// What selects C.
    #[serde(default)]
    pub average: Average,
    /// Scaling and solver.
    #[serde(default)]
    pub logistic: LogisticParams,
    /// What is tested.
    pub split: Split,
    /// Control: trains on labels permuted with this seed. The accuracy must fall to chance.
    #[serde(default)]
    pub permute_labels: Option<u32>,
}

impl Protocol {
    /// DINOv2's logistic regression, the CLS rows of Table 1.
    pub fn dinov2_logreg(split: Split, average: Average) -> Self {
        let regularisation = Regularisation::Select { low: -6.0, high: 5.0, steps: 45, one_in: 10, seed: 0 };
        Self { regularisation, average, logistic: LogisticParams::default(), split, permute_labels: None }
    }

    /// The reproducibility study's: C = 1, scikit-learn's 80/20 split.
    pub fn study(seed: u32) -> Self {
        Self::fixed_c(1.0, Split::Sklearn { test_frac: 0.2, seed })
    }

    /// One C on raw features.
    pub fn fixed_c(c: f64, split: Split) -> Self {
        let regularisation = Regularisation::Fixed { c };
        Self {
            regularisation,
            average: Average::Micro,
            logistic: LogisticParams::default(),
            split,
            permute_labels: None,
        }
    }

    /// The same with features divided by their spread (floor of a thousandth of the largest).
    #[must_use]
    pub fn standardised(mut self) -> Self {
        self.logistic.standardise = Standardise::Floor { frac: 1e-3 };
        self
    }

    /// Checks the ranges.
    pub fn check(&self) -> Result<(), ProbeError> {
        self.split.check()?;
        self.logistic.check()?;
        let bad = |name, value| Err(ProbeError::Range { name, value });
        match self.regularisation {
            Regularisation::Fixed { c } if !(c.is_finite() && c > 0.0) => bad("c", c),
            Regularisation::Select { steps: 0, .. } => bad("steps", 0.0),
            Regularisation::Select { one_in, .. } if one_in < 2 => bad("one_in", f64::from(one_in)),
            Regularisation::Select { low, high, .. } if !(low <= high && low > -300.0 && high < 300.0) => {
                bad("high", high)
            }
            _ => Ok(()),
        }
    }
}

impl Regularisation {
    /// The values of C, ascending.
    pub fn grid(&self) -> Vec<f64> {
        match *self {
            Self::Fixed { c } => vec![c],
            Self::Select { low, high, steps, .. } => (0..steps)
                .map(|i| {
                    let at = if steps > 1 { f64::from(i) / f64::from(steps - 1) } else { 0.0 };
                    10f64.powf(low + (high - low) * at)
                })
                .collect(),
        }
    }
}

/// Accuracy on a test set.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// Correct share of the images.
    pub micro: f64,
    /// Mean over the classes that occur, of the correct share of each.
    pub per_class: f64,
    /// Binomial standard error of `micro`, `√(p(1 − p)/n)`.
    pub micro_stderr: f64,
    /// Standard error of `per_class`, `√Σ p_k(1 − p_k)/n_k / K`.
    pub per_class_stderr: f64,
}

impl Accuracy {
    /// Of predictions against labels; `None` without rows.
    pub fn of(predicted: &[u32], labels: &[u32]) -> Option<Self> {
        let mut classes: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for (p, l) in predicted.iter().zip(labels) {
            let (right, count) = classes.entry(*l).or_default();
            *right += f64::from(u8::from(p == l));
            *count += 1.0;
        }
        if classes.is_empty() {
            return None;
        }
        let (n, k) = (labels.len() as f64, classes.len() as f64);
        let micro = classes.values().map(|c| c.0).sum::<f64>() / n;
        let variance = |&(right, count): &(f64, f64)| right / count * (1.0 - right / count) / count;
        Some(Self {
            micro,
            per_class: classes.values().map(|c| c.0 / c.1).sum::<f64>() / k,
            micro_stderr: (micro * (1.0 - micro) / n).sqrt(),
            per_class_stderr: classes.values().map(variance).sum::<f64>().sqrt() / k,
        })
    }

    /// The one that a protocol selects by.
    pub fn by(&self, average: Average) -> f64 {
        match average {
            Average::Micro => self.micro,
            Average::Macro => self.per_class,
        }
    }
}

/// What one classification gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Accuracy on the test rows, of the last fit whether or not it converged: look at `fit.converged`.
    pub accuracy: Accuracy,
    /// Share of the test rows whose class is among the five most likely ones; none where there are no more than five.
    pub top5: Option<f64>,
    /// The last fit: its C, objective, gradient and convergence.
    pub fit: Fit,
    /// Test rows.
    pub n_test: usize,
    /// How C was chosen; none: it was given.
    pub choice: Option<Choice>,
}

/// How one C of several came to be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The C.
    pub c: f64,
    /// Rows that it was judged on.
    pub held_out: usize,
    /// Classes of the training rows.
    pub classes: usize,
    /// Whether it is the smallest or the largest of several: the best may lie beyond.
    pub at_end: bool,
    /// Values that were left out, as their fits had not converged.
    pub unconverged: usize,
}

impl Choice {
    /// What a reader must know before trusting the accuracy, if anything.
    pub fn doubt(&self) -> Option<String> {
        let few = self.held_out < FEW_PER_CLASS * self.classes;
        let two_digits: f64 = format!("{:.1e}", self.c).parse().unwrap_or(self.c);
        let c = if (1e-3..1e4).contains(&two_digits) { two_digits.to_string() } else { format!("{two_digits:e}") };
        let chosen = format!("C = {c} chosen on {} images", self.held_out);
        match (self.at_end, few) {
            (true, _) => Some(format!("{chosen}, at the end of its range")),
            (false, true) => Some(format!("{chosen} of {} classes", self.classes)),
            (false, false) => None,
        }
    }
}

/// What a reader must know of the choices of C, one per draw: values that took no part, and doubts.
pub(crate) fn reservations(choices: &[Option<Choice>]) -> Vec<String> {
    let left_out: usize = choices.iter().flatten().map(|c| c.unconverged).sum();
    let doubts: Vec<String> = choices.iter().flatten().filter_map(Choice::doubt).collect();
    let left_out = (left_out > 0).then(|| format!("{left_out} values of C left out of the choice: not converged"));
    let doubt = match (doubts.as_slice(), choices.len()) {
        ([], _) => None,
        ([one], 1) => Some(one.clone()),
        ([first, ..], n) => Some(format!("in {} of {n} draws, as in: {first}", doubts.len())),
    };
    left_out.into_iter().chain(doubt).collect()
}

/// Held-out images per class under which a choice of C is mostly chance.
const FEW_PER_CLASS: usize = 5;

impl Outcome {
    fn of(fit: Fit, judged: &Judged, labels: &[u32], choice: Option<Choice>) -> Option<Self> {
        let accuracy = Accuracy::of(&judged.predicted, labels)?;
        let hits = judged.in_top5.iter().filter(|hit| **hit).count();
        let top5 = (fit.model.classes.len() > 5).then(|| hits as f64 / labels.len() as f64);
        Some(Self { accuracy, top5, fit, n_test: labels.len(), choice })
    }
}

/// Trains and tests. `None` when no row is left to test or to hold out.
pub fn classify(train: &Design, test: &Design, protocol: &Protocol) -> Result<Option<Outcome>, ProbeError> {
    let logistic = protocol.logistic.check()?;
    let permuted = match protocol.permute_labels {
        None => None,
        Some(seed) => Some(Design::new(train.x().to_owned(), permuted(train.labels(), seed))?),
    };
    let train = permuted.as_ref().unwrap_or(train);
    let (c, choice) = match protocol.regularisation {
        Regularisation::Fixed { c } => (c, None),
        Regularisation::Select { one_in, seed, .. } => match choose(train, protocol, one_in, seed)? {
            Some(choice) => (choice.c, Some(choice)),
            None => return Ok(None),
        },
    };
    let Some(fit) = logistic.fit(train, &[c])?.pop() else { return Err(LogisticError::Empty.into()) };
    let judged = fit.model.judge(test.x(), test.labels());
    Ok(Outcome::of(fit, &judged, test.labels(), choice))
}

/// The same on vectors that are read in blocks.
pub(crate) fn classify_streamed(
    train: &Chosen<'_>,
    test: &Chosen<'_>,
    protocol: &Protocol,
    cancel: &AtomicBool,
) -> Result<Option<Outcome>, StageError> {
    let logistic = protocol.logistic.check().map_err(ProbeError::from)?;
    let labels = match protocol.permute_labels {
        None => train.labels.clone(),
        Some(seed) => permuted(&train.labels, seed),
    };
    let train = Chosen { source: train.source, rows: train.rows.clone(), labels };
    let (c, choice) = match protocol.regularisation {
        Regularisation::Fixed { c } => (c, None),
        Regularisation::Select { one_in, seed, .. } => {
            let order = torch_randperm(seed, train.labels.len());
            let (held_out, rest) = order.split_at(train.labels.len() / one_in as usize);
            if held_out.is_empty() {
                return Ok(None);
            }
            let (held_out, rest) = (train.select(held_out), train.select(rest));
            let mut selection = Selection::default();
            logistic.fit_streamed(&rest, &protocol.regularisation.grid(), cancel, |fit| {
                let predicted = judge(&fit.model, &held_out)?.predicted;
                selection.see(&fit, Accuracy::of(&predicted, &held_out.labels), protocol.average);
                Ok(())
            })?;
            match selection.choice(&protocol.regularisation.grid(), held_out.labels.len(), &train.labels) {
                Some(choice) => (choice.c, Some(choice)),
                None => return Ok(None),
            }
        }
    };
    let mut outcome = None;
    logistic.fit_streamed(&train, &[c], cancel, |fit| {
        let judged = judge(&fit.model, test)?;
        outcome = Outcome::of(fit, &judged, &test.labels, choice);
        Ok(())
    })?;
    Ok(outcome)
}

fn permuted(labels: &[u32], seed: u32) -> Vec<u32> {
    RandomState::new(seed).permutation(labels.len()).into_iter().map(|i| labels[i]).collect()
}

/// The best C so far.
#[derive(Default)]
struct Selection {
    best: Option<(f64, f64)>,
    unconverged: usize,
}

impl Selection {
    fn see(&mut self, fit: &Fit, accuracy: Option<Accuracy>, average: Average) {
        let Some(accuracy) = accuracy.map(|a| a.by(average)) else { return };
        if !fit.converged {
            self.unconverged += 1;
        } else if self.best.is_none_or(|(_, a)| accuracy > a) {
            self.best = Some((fit.c, accuracy));
        }
    }

    fn choice(&self, grid: &[f64], held_out: usize, labels: &[u32]) -> Option<Choice> {
        // No fit converged: the last one will say so of the smallest C.
        let c = self.best.map(|b| b.0).or(grid.first().copied())?;
        Some(Choice {
            c,
            held_out,
            classes: labels.iter().collect::<BTreeSet<_>>().len(),
            at_end: grid.len() > 1 && (grid.first() == Some(&c) || grid.last() == Some(&c)),
            unconverged: self.unconverged,
        })
    }
}

fn choose(train: &Design, protocol: &Protocol, one_in: u32, seed: u32) -> Result<Option<Choice>, ProbeError> {
    let grid = protocol.regularisation.grid();
    let n = train.labels().len();
    let order = torch_randperm(seed, n);
    let (held_out, rest) = order.split_at(n / one_in as usize);
    if held_out.is_empty() {
        return Ok(None);
    }
    let held_out = train.select(held_out)?;
    let mut selection = Selection::default();
    for fit in protocol.logistic.check()?.fit(&train.select(rest)?, &grid)? {
        let accuracy = Accuracy::of(&fit.model.predict(held_out.x()), held_out.labels());
        selection.see(&fit, accuracy, protocol.average);
    }
    Ok(selection.choice(&grid, held_out.labels().len(), train.labels()))
}

#[cfg(test)]
mod tests;
