//! From counts to rows of `scores`, `heads` and `losses`.

use std::sync::atomic::AtomicBool;

use engine::StageError;
use schemas::tables::{Losses, Scores};

use super::classes::Classes;
use super::heads::{Batch, Heads};
use super::params::{LinearEvalParams, Training, percent};
use super::sampler::stop;
use super::stored::{Assembly, Stored};
use super::trainer::Trainer;

/// Samples of a step of testing.
const BLOCK: usize = 1024;

/// How the heads of a training did on some images.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Right {
    /// Of each head, samples whose class came first, and among the first five.
    pub of: Vec<(u64, u64)>,
    /// Samples.
    pub n: u64,
}

impl Right {
    /// Tests heads on every sample of some images.
    pub(super) fn count(
        heads: &Heads,
        stored: &Stored,
        classes: &Classes,
        cancel: &AtomicBool,
    ) -> Result<Self, StageError> {
        let mut right = Self { of: vec![(0, 0); heads.all.len()], n: 0 };
        let mut batch = Batch::default();
        let mut assembly = Assembly::new(stored, classes, Some(heads.width));
        for &group in &stored.groups {
            stop(cancel)?;
            assembly.read(group, |(image, _), x| {
                batch.x.extend(x);
                batch.classes.push(classes.get(&image).copied().flatten());
                if batch.classes.len() == BLOCK {
                    right.take(heads, &mut batch);
                }
                Ok::<(), StageError>(())
            })?;
        }
        assembly.finish()?;
        right.take(heads, &mut batch);
        Ok(right)
    }

    fn take(&mut self, heads: &Heads, batch: &mut Batch) {
        if !batch.classes.is_empty() {
            let counted = heads.count(batch);
            self.of.iter_mut().zip(counted).for_each(|(all, of)| *all = (all.0 + of.0, all.1 + of.1));
            self.n += batch.classes.len() as u64;
        }
        batch.x.clear();
        batch.classes.clear();
    }

    /// The head that has most right, the first of several, as `DINOv2` takes it; none: nothing was tested.
    pub(super) fn best(&self) -> Option<usize> {
        let most = self.of.iter().map(|r| r.0).max().filter(|_| self.n > 0)?;
        self.of.iter().position(|r| r.0 == most)
    }
}

/// What is said of the heads.
pub(super) struct Outcome<'a> {
    pub params: &'a LinearEvalParams,
    /// Of the training whose heads are tested.
    pub trainer: &'a Trainer,
    /// On the test images.
    pub test: Right,
    /// On the held-out images, of heads that have not seen them.
    pub held_out: Right,
    /// Test images without vectors.
    pub without: u32,
    /// What a reader must know of every number.
    pub notes: Vec<String>,
}

impl Outcome<'_> {
    /// The heads that are reported, with what they are called.
    pub(super) fn chosen(&self) -> [(&'static str, Option<usize>); 2] {
        [("chosen_on_test", self.test.best()), ("chosen_on_train", self.held_out.best())]
    }

    /// Rows of `scores`.
    pub(super) fn scores(&self) -> Scores {
        let heads = &self.trainer.heads.all;
        let count = heads.len();
        let held = format!("the held-out {} % of the training images", percent(self.params.hold_out_frac));
        let twice = self.params.training == Training::Twice;
        let mut scores = Scores::default();
        for (subject, head) in self.chosen() {
            let name = head.map_or("", |h| &heads[h].name);
            let note = match (subject, head) {
                (_, None) if subject == "chosen_on_test" => "no test image has vectors".to_owned(),
                (_, None) => "too few training images to hold some out".to_owned(),
                ("chosen_on_test", _) => {
                    let learned = if twice { String::new() } else { format!("; it learned without {held}") };
                    format!(
                        "head {name}, the best of {count} on the test images themselves, as DINOv2 reports{learned}"
                    )
                }
                _ => {
                    let learned = if twice { "and trained again with them" } else { "not trained on them" };
                    format!("head {name}, the best of {count} on {held} ({} vectors), {learned}", self.held_out.n)
                }
            };
            self.pair(&mut scores, subject, head, &note);
        }
        for (head, of) in heads.iter().enumerate() {
            self.pair(&mut scores, &of.name, Some(head), "");
            let share = (self.held_out.n > 0).then(|| (self.held_out.of[head].0, self.held_out.n));
            self.push(&mut scores, (&of.name, "held_out_accuracy_frac"), share, "");
        }
        scores
    }

    fn pair(&self, scores: &mut Scores, subject: &str, head: Option<usize>, note: &str) {
        let of = head.filter(|_| self.test.n > 0).map(|h| self.test.of[h]);
        self.push(scores, (subject, "accuracy_frac"), of.map(|of| (of.0, self.test.n)), note);
        self.push(scores, (subject, "top5_accuracy_frac"), of.map(|of| (of.1, self.test.n)), note);
    }

    /// A share of samples, with its binomial error.
    fn push(&self, scores: &mut Scores, (subject, metric): (&str, &str), share: Option<(u64, u64)>, note: &str) {
        let value = share.map(|(right, n)| right as f64 / n as f64);
        let n = share.map_or(0, |s| s.1);
        let control = self
            .params
            .permute_labels
            .map(|seed| format!("control: labels of the training images permuted with seed {seed}"));
        let notes = control.iter().map(String::as_str).chain([note]).chain(self.notes.iter().map(String::as_str));
        let note = notes.filter(|n| !n.is_empty()).collect::<Vec<_>>().join("; ");
        scores.experiment.push("linear_eval".into());
        scores.subject.push(subject.into());
        scores.site.push(self.params.sites.last().map_or("", String::as_str).into());
        scores.metric.push(metric.into());
        scores.value.push(value);
        scores.std.push(None);
        scores.stderr.push(value.map(|p| (p * (1.0 - p) / n as f64).sqrt()));
        scores.n.push(n);
        scores.draws.push(1);
        scores.images_without.push(self.without);
        scores.c.push(None);
        // A training of so many steps has no optimum that it could miss.
        scores.converged.push(true);
        scores.note.push(note.into());
    }
}

/// Rows of `losses` of a training; `prefix` tells two trainings apart.
pub(super) fn losses(trainer: &Trainer, prefix: &str, table: &mut Losses) {
    for (i, head) in trainer.heads.all.iter().enumerate() {
        let name: schemas::Name = format!("{prefix}{}", head.name).into();
        for row in &trainer.log {
            table.head.push(name.clone());
            table.step.push(row.step);
            table.loss.push(row.losses[i]);
            table.learning_rate.push(head.rate * row.course);
        }
    }
}
