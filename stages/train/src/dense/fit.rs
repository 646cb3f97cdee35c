//! Training a head: the order of views, a step, and what is kept between steps.
//!
//! The views of a step are worked on side by side and their derivatives added in the step's order, so the head has the
//! same bits on one thread and on sixty-four. While a step is computed, the next one's views are read.

use engine::StageError;
use rayon::prelude::*;

use super::bins::{LogErrors, LogLoss, depths, depths_derivative, evenly_spaced, squares, squares_by_depth};
use super::cross_entropy::cross_entropy;
use super::error::DenseError;
use super::features::Features;
use super::labels::NONE;
use super::net::{Forward, Moments, Net, Sums};
use super::optimiser::{Optimiser, clip};
use super::recipe::{Depth, DepthLoss, Length, LossAt, MeanOver, Recipe, Segments, Task};
use super::resize::{Axis, Field, Padding};
use super::schedule::{Moment, one_cycle_beta1};
use super::truths::{Cells, Truth};
use crate::random::SplitMix64;

/// Which views each step takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    views: u64,
    per_step: u64,
    length: Length,
    seed: u64,
}

impl Course {
    pub(crate) fn new(recipe: &Recipe, views: usize, seed: u64) -> Self {
        Self { views: views as u64, per_step: recipe.views_per_step as u64, length: recipe.length, seed }
    }

    pub(crate) fn steps(&self) -> u64 {
        match self.length {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) => epochs * self.views.div_ceil(self.per_step),
        }
    }

    fn moment(&self, step: u64) -> Moment {
        let steps = self.steps();
        let (epoch, epochs) = match self.length {
            Length::Steps(_) => (step * self.per_step / self.views, (steps * self.per_step).div_ceil(self.views)),
            Length::Epochs(epochs) => (step / self.views.div_ceil(self.per_step), epochs),
        };
        Moment { step, steps, epoch, epochs }
    }

    /// The views of a step. Each epoch has an order of its own.
    pub(crate) fn views_of(&self, step: u64) -> Vec<u32> {
        let places: Vec<u64> = match self.length {
            Length::Steps(_) => (step * self.per_step..(step + 1) * self.per_step).collect(),
            Length::Epochs(_) => {
                let per_epoch = self.views.div_ceil(self.per_step);
                let start = step / per_epoch * self.views;
                let first = step % per_epoch * self.per_step;
                (start + first..start + (first + self.per_step).min(self.views)).collect()
            }
        };
        let mut order = (u64::MAX, Vec::new());
        let of_place = places.into_iter().map(|place| {
            let epoch = place / self.views;
            if order.0 != epoch {
                order = (epoch, SplitMix64::new(self.seed, 1 + epoch).permutation(self.views as usize));
            }
            order.1[(place % self.views) as usize]
        });
        of_place.collect()
    }
}

/// A head in training.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Training {
    pub net: Net,
    /// What the optimiser remembers of each parameter.
    pub memory: Vec<Vec<f32>>,
    /// Steps done.
    pub step: u64,
    /// Steps done, mean loss since the row before, learning rate.
    pub losses: Vec<(u64, f64, f64)>,
    /// Sum and number of losses since the last row.
    pub pending: (f64, u64),
}

impl Training {
    pub(crate) fn new(recipe: &Recipe, width: usize, sites: usize, seed: u64) -> Self {
        let net = Net::new(recipe, width, sites, seed);
        let memory = net.tensors.iter().flat_map(|t| vec![vec![0.0; t.values.len()]; recipe.optimiser.memories()]);
        let memory = memory.collect();
        Self { net, memory, step: 0, losses: Vec::new(), pending: (0.0, 0) }
    }

    /// Trains to the end. `read` gives the view of a number of the course; `between` is called after each step and may
    /// stop it.
    pub(crate) fn run(
        &mut self,
        (head, recipe): (&str, &Recipe),
        course: &Course,
        read: impl Fn(u32) -> Result<(Features, Truth), StageError> + Sync,
        mut between: impl FnMut(&Self) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let steps = course.steps();
        let batch = |step: u64| -> Result<Vec<(Features, Truth)>, StageError> {
            let views = if step < steps { course.views_of(step) } else { Vec::new() };
            views.into_par_iter().map(&read).collect()
        };
        // At most 500 rows of losses.
        let every = steps.div_ceil(500).max(1);
        let mut next = batch(self.step)?;
        while self.step < steps {
            let step = self.step;
            let (loss, following) = rayon::join(|| self.step(recipe, next, course.moment(step)), || batch(step + 1));
            let (loss, rate) = loss;
            if !loss.is_finite() {
                return Err(DenseError::Diverged { head: head.to_owned(), step: step + 1 }.into());
            }
            self.pending = (self.pending.0 + loss, self.pending.1 + 1);
            if self.step.is_multiple_of(every) || self.step == steps {
                self.losses.push((self.step, self.pending.0 / self.pending.1 as f64, rate));
                self.pending = (0.0, 0);
            }
            between(self)?;
            next = following?;
        }
        Ok(())
    }

    /// One step: its loss and its learning rate.
    pub(crate) fn step(&mut self, recipe: &Recipe, batch: Vec<(Features, Truth)>, now: Moment) -> (f64, f64) {
        let (loss, mut gradients) = match &recipe.task {
            Task::Segments(task) => segments(&mut self.net, task, recipe.padding, batch),
            Task::Depth(task) => depth(&self.net, task, recipe.padding, batch, self.step),
        };
        if let Some(longest) = recipe.clip_norm {
            clip(&mut gradients, longest);
        }
        let rate = recipe.schedule.at(now);
        let cycles = matches!(recipe.optimiser, Optimiser::Adam { cycle_beta1: true, .. });
        let beta1 = cycles.then(|| one_cycle_beta1(now));
        recipe.optimiser.step(&mut self.net.tensors, &gradients, &mut self.memory, (rate, beta1, self.step));
        self.step += 1;
        (loss, rate)
    }
}

/// The loss of a step and its derivative with respect to each tensor.
type Step = (f64, Vec<Vec<f32>>);

/// Where an answer and a truth meet.
struct Target {
    rows: Axis,
    columns: Axis,
    classes: Vec<u8>,
}

/// Adds up the views' losses and derivatives, in order.
fn added(parts: Vec<(f64, Vec<Vec<f32>>)>) -> Step {
    let mut parts = parts.into_iter();
    let Some((mut loss, mut sum)) = parts.next() else { return (0.0, Vec::new()) };
    for (own, gradients) in parts {
        loss += own;
        for (sum, gradient) in sum.iter_mut().zip(gradients) {
            sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
        }
    }
    (loss, sum)
}

/// The loss of a step of segmentation and its derivative.
fn segments(net: &mut Net, task: &Segments, padding: Padding, mut batch: Vec<(Features, Truth)>) -> Step {
    let finer = net.finer();
    let targets: Vec<Target> = batch
        .par_iter_mut()
        .map(|(features, truth)| {
            let (cells, size) = ((features.h * finer, features.w * finer), (truth.height, truth.width));
            let Cells::Classes(classes) = &mut truth.cells else {
                return Target { rows: Axis::stretch(1, 0), columns: Axis::stretch(1, 0), classes: Vec::new() };
            };
            match task.at {
                LossAt::Pixels => {
                    let (rows, columns) = Axis::of_view(cells, &features.place, padding, size);
                    Target { rows, columns, classes: std::mem::take(classes) }
                }
                LossAt::Cells => Target {
                    rows: Axis::stretch(cells.0, cells.0),
                    columns: Axis::stretch(cells.1, cells.1),
                    classes: features.place.centres(cells, size).map(|at| at.map_or(NONE, |at| classes[at])).collect(),
                },
            }
        })
        .collect();
    let counted = |target: &Target| match task.mean {
        MeanOver::All => target.classes.len(),
        MeanOver::Labelled => target.classes.iter().filter(|&&c| c != NONE).count(),
    };
    let scale = 1.0 / targets.iter().map(counted).sum::<usize>().max(1) as f64;
    let sums: Vec<Sums> = if net.counts() { batch.par_iter().map(|(f, _)| Sums::of(f)).collect() } else { Vec::new() };
    let moments: Option<Moments> = net.normalise(&sums);
    let net = &*net;
    let parts = batch
        .into_par_iter()
        .zip(targets)
        .map(|((mut features, _), target)| {
            if let Some(moments) = &moments {
                moments.apply(&mut features);
            }
            let forward = net.forward(&features);
            let axes = (&target.rows, &target.columns);
            let (loss, by_logits) = cross_entropy(&forward.logits, axes, &target.classes, scale);
            (loss, net.backward(&features, &forward, &by_logits))
        })
        .collect();
    added(parts)
}

/// A view's answer and truth on the way.
struct Answered {
    features: Features,
    forward: Forward,
    depths: Field,
    rows: Axis,
    columns: Axis,
    truth: Vec<f32>,
}

/// The loss of a step of depth and its derivative.
fn depth(net: &Net, task: &Depth, padding: Padding, batch: Vec<(Features, Truth)>, step: u64) -> Step {
    let bins = evenly_spaced(task.bins, task.min_m, task.max_m);
    let answered: Vec<Answered> = batch
        .into_par_iter()
        .map(|(features, truth)| {
            let forward = net.forward(&features);
            let depths = depths(&forward.logits, task.upsample, &bins);
            let (cells, size) = ((depths.h, depths.w), (truth.height, truth.width));
            let truth = if let Cells::Depths(all) = truth.cells { all } else { Vec::new() };
            let (rows, columns, truth) = match task.at {
                LossAt::Pixels => {
                    let (rows, columns) = Axis::of_view(cells, &features.place, padding, size);
                    (rows, columns, truth)
                }
                LossAt::Cells => {
                    let truth = features.place.centres(cells, size).map(|at| at.map_or(0.0, |at| truth[at])).collect();
                    (Axis::stretch(cells.0, cells.0), Axis::stretch(cells.1, cells.1), truth)
                }
            };
            Answered { features, forward, depths, rows, columns, truth }
        })
        .collect();
    let way_back = |view: &Answered, by_depth: &[f32]| {
        let by_logits = depths_derivative(&view.forward.logits, task.upsample, &bins, by_depth);
        net.backward(&view.features, &view.forward, &by_logits)
    };
    match task.loss {
        DepthLoss::Logarithmic { views_per_loss, warm_up_steps } => {
            let errors: Vec<LogErrors> =
                answered.par_iter().map(|v| LogErrors::of(&v.depths, (&v.rows, &v.columns), &v.truth)).collect();
            // Views share a loss by groups, and the step's is the mean of these.
            let groups = errors.chunks(views_per_loss).map(|group| {
                let mut sum = LogErrors::default();
                for errors in group {
                    sum.add(errors);
                }
                sum.loss(step < warm_up_steps)
            });
            let losses: Vec<LogLoss> = groups.collect();
            let share = 1.0 / losses.len().max(1) as f64;
            let views = answered.par_iter().enumerate().map(|(i, view)| {
                let axes = (&view.rows, &view.columns);
                let by_depth = losses[i / views_per_loss].by_depth(&view.depths, axes, &view.truth, share);
                (0.0, way_back(view, &by_depth))
            });
            let (_, gradients) = added(views.collect());
            (losses.iter().map(|l| l.value).sum::<f64>() * share, gradients)
        }
        DepthLoss::Squared => {
            let sums: Vec<(f64, u64)> =
                answered.par_iter().map(|v| squares(&v.depths, (&v.rows, &v.columns), &v.truth)).collect();
            let share = 1.0 / sums.iter().map(|s| s.1).sum::<u64>().max(1) as f64;
            let views = answered.par_iter().zip(sums).map(|(view, (sum, _))| {
                let by_depth = squares_by_depth(&view.depths, (&view.rows, &view.columns), &view.truth, share);
                (sum * share, way_back(view, &by_depth))
            });
            added(views.collect())
        }
    }
}

#[cfg(test)]
mod tests;
