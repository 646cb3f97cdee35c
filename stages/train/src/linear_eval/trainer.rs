//! A training: all its heads from the first step to the last, and how their losses went.

use std::f64::consts::PI;

use engine::StageError;

use super::heads::{Batch, Heads};
use super::params::LinearEvalParams;
use super::sampler::Sampler;

/// Rows of `losses` of a head.
const LOGGED: u64 = 100;

/// Mean losses of the heads since the row before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Logged {
    /// Steps done.
    pub step: u64,
    /// Part of its first rate at which each head made the last of them.
    pub course: f64,
    /// Of each head.
    pub losses: Vec<f64>,
}

/// A training that has come to some step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trainer {
    pub heads: Heads,
    /// Steps in all.
    pub steps: u64,
    /// Steps done.
    pub step: u64,
    pub log: Vec<Logged>,
    /// Sums of losses since the last row, and of how many steps.
    pub sums: Vec<f64>,
    pub since: u64,
    batch: usize,
}

impl Trainer {
    pub(super) fn new(params: &LinearEvalParams, width: usize, classes: usize, samples: usize) -> Self {
        let heads = Heads::new(params, width, classes);
        Self {
            sums: vec![0.0; heads.all.len()],
            heads,
            steps: params.steps(samples),
            step: 0,
            log: Vec::new(),
            since: 0,
            batch: params.batch as usize,
        }
    }

    /// Trains to the end. The next batch is read while heads learn from this one; `after` is called between steps.
    pub(super) fn run(
        &mut self,
        sampler: &mut Sampler<'_>,
        mut after: impl FnMut(&Self) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        if self.step == self.steps {
            return Ok(());
        }
        let count = self.batch;
        let (mut batch, mut next) = (Batch::default(), Batch::default());
        sampler.seek(self.step * count as u64)?;
        sampler.fill(&mut batch, count)?;
        while self.step < self.steps {
            let course = 0.5 * (1.0 + libm::cos(PI * self.step as f64 / self.steps as f64));
            let more = self.step + 1 < self.steps;
            let (losses, read) = rayon::join(
                || self.heads.step(&batch, course),
                || if more { sampler.fill(&mut next, count) } else { Ok(()) },
            );
            self.note(&losses, course);
            after(self)?;
            read?;
            std::mem::swap(&mut batch, &mut next);
        }
        Ok(())
    }

    fn note(&mut self, losses: &[f64], course: f64) {
        self.step += 1;
        self.since += 1;
        self.sums.iter_mut().zip(losses).for_each(|(sum, loss)| *sum += loss);
        if self.step.is_multiple_of(self.steps.div_ceil(LOGGED)) || self.step == self.steps {
            let losses = self.sums.iter().map(|sum| sum / self.since as f64).collect();
            self.log.push(Logged { step: self.step, course, losses });
            self.sums.fill(0.0);
            self.since = 0;
        }
    }
}
