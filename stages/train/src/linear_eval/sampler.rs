//! The order in which samples teach: passes over the training vectors, each in an order of its own.
//!
//! A set of at most `shuffle_samples` is held in memory, and each pass is a permutation of it. A larger one is read in a
//! random order of its groups of rows through a buffer of that many samples, from which the next is drawn at random. So
//! memory does not grow with the set. The order of a pass depends on the seed and its number alone: whoever goes on in
//! the middle of one draws what was drawn, and drops it.

use std::sync::atomic::{AtomicBool, Ordering};

use engine::StageError;

use super::classes::Classes;
use super::error::LinearEvalError;
use super::heads::Batch;
use super::stored::{Assembly, Stored};
use crate::random::SplitMix64;

/// Pass p has the stream `PASSES + p`.
const PASSES: u64 = 1 << 40;

/// A sample: its class and its features.
type Sample = (Option<u32>, Vec<f32>);

/// Samples without end.
pub(super) struct Sampler<'a> {
    stored: &'a Stored,
    classes: &'a Classes,
    seed: u64,
    buffer: usize,
    /// All samples, where they fit.
    held: Option<Vec<Sample>>,
    /// Samples of a pass.
    pub samples: usize,
    /// Channels of a vector.
    pub width: usize,
    /// Share of the samples that follow one of their own class in the table.
    pub sorted_frac: f64,
    /// Pass that is going on.
    pass: u64,
    now: Pass<'a>,
    cancel: &'a AtomicBool,
}

enum Pass<'a> {
    /// What is left, from the end.
    Held(Vec<u32>),
    Read {
        /// Groups that are left, from the end.
        groups: Vec<u32>,
        assembly: Assembly<'a>,
        random: SplitMix64,
        buffer: Vec<Sample>,
        given: usize,
    },
}

impl<'a> Sampler<'a> {
    /// Reads every sample once, to hold or to count it.
    pub(super) fn new(
        stored: &'a Stored,
        classes: &'a Classes,
        seed: u64,
        buffer: usize,
        cancel: &'a AtomicBool,
    ) -> Result<Self, StageError> {
        let (mut held, mut samples, mut same, mut last) = (Some(Vec::new()), 0, 0, None);
        let mut assembly = Assembly::new(stored, classes, None);
        for &group in &stored.groups {
            stop(cancel)?;
            assembly.read(group, |(image, _), x| {
                let class = classes.get(&image).copied().flatten();
                samples += 1;
                same += usize::from(last == Some(class));
                last = Some(class);
                match &mut held {
                    Some(all) if samples <= buffer => all.push((class, x)),
                    _ => held = None,
                }
                Ok::<(), StageError>(())
            })?;
        }
        let width = assembly.width;
        assembly.finish()?;
        let Some(width) = width.filter(|_| samples > 0) else { return Err(LinearEvalError::Nothing.into()) };
        let sorted_frac = same as f64 / samples as f64;
        let now = Pass::Held(Vec::new());
        let mut sampler =
            Self { stored, classes, seed, buffer, held, samples, width, sorted_frac, pass: 0, now, cancel };
        sampler.begin(0);
        Ok(sampler)
    }

    /// Whether samples are read again in every pass.
    pub(super) fn streams(&self) -> bool {
        self.held.is_none()
    }

    fn begin(&mut self, pass: u64) {
        let mut random = SplitMix64::new(self.seed, PASSES + pass);
        self.pass = pass;
        self.now = if self.held.is_some() {
            Pass::Held(random.permutation(self.samples))
        } else {
            let groups = random.permutation(self.stored.groups.len());
            let assembly = Assembly::new(self.stored, self.classes, Some(self.width));
            Pass::Read { groups, assembly, random, buffer: Vec::new(), given: 0 }
        };
    }

    /// Goes to the place after the first `done` samples.
    pub(super) fn seek(&mut self, done: u64) -> Result<(), StageError> {
        self.begin(done / self.samples as u64);
        for _ in 0..done % self.samples as u64 {
            self.next(|_, _| ())?;
        }
        Ok(())
    }

    /// The next samples, as many as `count`.
    pub(super) fn fill(&mut self, batch: &mut Batch, count: usize) -> Result<(), StageError> {
        batch.x.clear();
        batch.classes.clear();
        for _ in 0..count {
            self.next(|class, x| {
                batch.classes.push(class);
                batch.x.extend_from_slice(x);
            })?;
        }
        Ok(())
    }

    fn next(&mut self, give: impl FnOnce(Option<u32>, &[f32])) -> Result<(), StageError> {
        let over = match &self.now {
            Pass::Held(left) => left.is_empty(),
            Pass::Read { given, .. } => *given == self.samples,
        };
        if over {
            self.begin(self.pass + 1);
        }
        match &mut self.now {
            Pass::Held(left) => {
                let sample = left.pop().and_then(|i| self.held.as_ref()?.get(i as usize));
                let Some((class, x)) = sample else { return Err(LinearEvalError::Nothing.into()) };
                give(*class, x);
            }
            Pass::Read { groups, assembly, random, buffer, given } => {
                while buffer.len() < self.buffer
                    && let Some(group) = groups.pop()
                {
                    stop(self.cancel)?;
                    assembly.read(self.stored.groups[group as usize], |(image, _), x| {
                        buffer.push((self.classes.get(&image).copied().flatten(), x));
                        Ok::<(), StageError>(())
                    })?;
                }
                if buffer.is_empty() {
                    return Err(LinearEvalError::Changed { first: self.samples, second: *given }.into());
                }
                let (class, x) = buffer.swap_remove(random.below(buffer.len() as u64) as usize);
                *given += 1;
                give(class, &x);
            }
        }
        Ok(())
    }
}

/// An error when the user asked to stop.
pub(super) fn stop(cancel: &AtomicBool) -> Result<(), StageError> {
    if cancel.load(Ordering::Relaxed) { Err(StageError::interrupted()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
