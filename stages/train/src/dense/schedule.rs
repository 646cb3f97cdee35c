//! The learning rate of each step.
//!
//! ```text
//! cosine      lr·(r + (1 − r)·(1 + cos(π·t/T))/2)         t: steps done, T: all steps, r: the ratio at the end
//! poly        lr·(1 − t/T)^p
//! step        lr·f^⌊e/n⌋                                   e: epoch
//! late cosine per epoch, from the epoch before: timm's schedule as DeiT's `main.py` steps it
//! warm-up     × (1 − (1 − t/W)·(1 − w))  for t < W         mmcv's linear warm-up, on the schedule's own value
//! ```
//!
//! Source: mmcv `runner/hooks/lr_updater.py` and `momentum_updater.py`, timm `scheduler/cosine_lr.py`, PyTorch `StepLR`.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::error::DenseError;

/// A learning rate over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its largest value.
    pub learning_rate: f64,
    /// Its course.
    pub shape: Shape,
    /// Its beginning.
    pub warm_up: Option<WarmUp>,
}

/// A course of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Always the same.
    Constant,
    /// Half a cosine down to a part of the largest.
    Cosine {
        /// That part.
        min_ratio: f64,
    },
    /// A power of what is left, down to 0.
    Poly {
        /// The power.
        power: f64,
    },
    /// Times a factor every so many epochs.
    Step {
        /// Epochs between.
        epochs: u64,
        /// The factor.
        factor: f64,
    },
    /// Half a cosine by epochs, each epoch with the value meant for the one before it; linear in the first ones.
    LateCosine {
        /// Value at the end.
        min: f64,
        /// Epochs of warm-up.
        warm_up_epochs: u64,
        /// Value at the start.
        warm_up_start: f64,
    },
}

/// A linear beginning. A training of another length has one of the same proportion: else a short one would never leave it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// Steps,
    pub steps: u64,
    /// of a training of so many.
    pub of: u64,
    /// Part of the rate at step 0.
    pub ratio: f64,
}

/// Where training stands, steps and epochs from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub step: u64,
    pub steps: u64,
    pub epoch: u64,
    pub epochs: u64,
}

impl Schedule {
    /// Without warm-up.
    pub fn new(learning_rate: f64, shape: Shape) -> Self {
        Self { learning_rate, shape, warm_up: None }
    }

    /// The same with a linear beginning.
    #[must_use]
    pub fn warmed_up(self, (steps, of): (u64, u64), ratio: f64) -> Self {
        Self { warm_up: Some(WarmUp { steps, of, ratio }), ..self }
    }

    pub(crate) fn check(&self) -> Result<(), DenseError> {
        let ok = |v: f64| v >= 0.0 && v.is_finite();
        let bad = |name, value| Err(DenseError::Range { name, value });
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return bad("learning_rate", self.learning_rate);
        }
        let (name, value, fine) = match self.shape {
            Shape::Constant => ("shape", 0.0, true),
            Shape::Cosine { min_ratio } => ("min_ratio", min_ratio, ok(min_ratio)),
            Shape::Poly { power } => ("power", power, ok(power)),
            Shape::Step { epochs, factor } => ("factor", factor, ok(factor) && epochs > 0),
            Shape::LateCosine { min, warm_up_start, .. } => ("min", min, ok(min) && ok(warm_up_start)),
        };
        if !fine {
            return bad(name, value);
        }
        match self.warm_up {
            Some(warm) if !ok(warm.ratio) => bad("warm_up.ratio", warm.ratio),
            Some(warm) if warm.steps > warm.of || warm.of > u64::from(u32::MAX) => {
                bad("warm_up.steps", warm.steps as f64)
            }
            _ => Ok(()),
        }
    }

    /// The rate of a step.
    pub(crate) fn at(&self, now: Moment) -> f64 {
        let lr = self.learning_rate;
        let done = now.step as f64 / now.steps.max(1) as f64;
        let regular = match self.shape {
            Shape::Constant => lr,
            Shape::Cosine { min_ratio } => annealed(lr, lr * min_ratio, done),
            Shape::Poly { power } => lr * (1.0 - done).powf(power),
            Shape::Step { epochs, factor } => lr * factor.powi((now.epoch / epochs.max(1)) as i32),
            Shape::LateCosine { min, warm_up_epochs, warm_up_start } => {
                let epoch = now.epoch.saturating_sub(1);
                if epoch < warm_up_epochs {
                    warm_up_start + epoch as f64 * (lr - warm_up_start) / warm_up_epochs as f64
                } else {
                    annealed(lr, min, epoch as f64 / now.epochs.max(1) as f64)
                }
            }
        };
        let Some(WarmUp { steps, of, ratio }) = self.warm_up else { return regular };
        let steps = (steps as f64 * now.steps as f64 / of.max(1) as f64).round();
        let step = now.step as f64;
        if step < steps { regular * (1.0 - (1.0 - step / steps) * (1.0 - ratio)) } else { regular }
    }
}

/// Half a cosine from `from` to `to`.
fn annealed(from: f64, to: f64, done: f64) -> f64 {
    to + 0.5 * (from - to) * (1.0 + libm::cos(PI * done))
}

/// mmcv's one-cycle momentum: .95 → .85 over the first 30 % of the steps, and back.
pub(crate) fn one_cycle_beta1(now: Moment) -> f64 {
    let turn = 0.3 * now.steps as f64 - 1.0;
    let (step, last) = (now.step as f64, now.steps as f64 - 1.0);
    if step <= turn {
        annealed(0.95, 0.85, if turn > 0.0 { step / turn } else { 0.0 })
    } else {
        let start = turn.max(0.0);
        annealed(0.85, 0.95, if last > start { (step - start) / (last - start) } else { 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64, steps: u64) -> Moment {
        Moment { step, steps, epoch: 0, epochs: 1 }
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-10 * b.abs(), "{a} {b}");
    }

    /// Closed forms at the start, a quarter, the middle and the end.
    #[test]
    fn courses_have_the_values_of_their_formulas() {
        let cosine = Schedule::new(2.0, Shape::Cosine { min_ratio: 0.0 });
        near(cosine.at(at(0, 100)), 2.0);
        near(cosine.at(at(25, 100)), 1.0 + 0.5f64.sqrt());
        near(cosine.at(at(50, 100)), 1.0);
        let poly = Schedule::new(1.0, Shape::Poly { power: 1.0 }).warmed_up((10, 100), 1e-6);
        near(poly.at(at(0, 100)), 1e-6);
        // Half-way through the warm-up, of a rate that has itself gone down.
        near(poly.at(at(5, 100)), 0.95 * (0.5 + 0.5e-6));
        near(poly.at(at(10, 100)), 0.9);
        near(poly.at(at(99, 100)), 0.01);
        // A tenth of a shorter training, and none of one of four steps.
        near(poly.at(at(1, 20)), 0.95 * (0.5 + 0.5e-6));
        near(poly.at(at(2, 20)), 0.9);
        near(poly.at(at(0, 4)), 1.0);
        let step = Schedule::new(0.3, Shape::Step { epochs: 5, factor: 0.1 });
        let in_epoch = |epoch| Moment { step: 0, steps: 1, epoch, epochs: 20 };
        near(step.at(in_epoch(4)), 0.3);
        near(step.at(in_epoch(5)), 0.03);
        near(step.at(in_epoch(19)), 0.3e-3);
    }

    /// The rates of ten epochs of DeiT-III's fine-tuning as its stored log has them: 5e-4, minimum 1e-5.
    #[test]
    fn the_late_cosine_is_that_of_the_stored_log() {
        let shape = Shape::LateCosine { min: 1e-5, warm_up_epochs: 5, warm_up_start: 1e-6 };
        let schedule = Schedule::new(5e-4, shape);
        let logged = [1e-6, 1e-6, 1.008e-4, 2.006e-4, 3.004e-4, 4.002e-4, 2.55e-4, 1.79e-4, 1.11e-4, 5.7e-5];
        for (epoch, want) in logged.into_iter().enumerate() {
            let now = Moment { step: 0, steps: 1, epoch: epoch as u64, epochs: 10 };
            assert!((schedule.at(now) - want).abs() < 0.005 * want, "epoch {epoch}: {}", schedule.at(now));
        }
    }

    #[test]
    fn the_momentum_goes_down_and_up_again() {
        near(one_cycle_beta1(at(0, 100)), 0.95);
        near(one_cycle_beta1(at(29, 100)), 0.85);
        near(one_cycle_beta1(at(64, 100)), 0.9);
        near(one_cycle_beta1(at(99, 100)), 0.95);
        for steps in 1..6 {
            assert!((0..steps).all(|step| (0.85..=0.95).contains(&one_cycle_beta1(at(step, steps)))), "{steps}");
        }
    }
}
