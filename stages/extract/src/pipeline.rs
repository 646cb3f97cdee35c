//! Decode ∥ forward ∥ write, in order, in bounded memory, with the same result on any number of threads.
//!
//! ```text
//! decoders ──▶ prepared images ──▶ encoders ──▶ passes ──▶ mappers ──▶ rows ──▶ the calling thread, in input order
//!    ▲                                                                                    │
//!    └───────────────────── a window of positions that may be in flight ◀─────────────────┘
//! ```
//! On a CPU the encoders map too: one image per thread keeps every core busy. A device has a thread of its own that
//! does nothing else, so that it never waits for rows to be made.
//!
//! An image is encoded once ([`Stream`]) or in several views of any sizes ([`flow::Flow`], which does the work of both).
//! How much is in flight is counted in views (`window`), so whatever a slow image holds up is bounded too. An encoder
//! that wants batches takes consecutive views (`batches`), never what happens to be ready: batch composition can change
//! last bits on a GPU.
//!
//! A panic in a worker is caught: of a decoder it costs one image, of an encoder or a mapper it ends the run with its
//! words. No thread ever waits for one that is gone.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use datasets::{Preprocess, Source};
use engine::{ErrorKind, StageError};
use vit::{Encoder, Pixels, Trace, VitError};

use self::flow::Flow;
use crate::params::Tuning;
use crate::prepare::{Prepared, Skip, prepare};

mod batches;
pub mod flow;
mod window;

/// Encodes inputs of one size, given with the indices of their images in the dataset: one pass for each, in order.
pub type Pass<'a, P> = dyn Fn(&[usize], &[&Pixels]) -> Result<Vec<P>, VitError> + Sync + 'a;

/// Images that are encoded once each, and through what.
pub struct Stream<'a, P = Trace> {
    /// Where images come from.
    pub source: &'a dyn Source,
    /// Which of them, in order.
    pub indices: &'a [usize],
    /// How they become pixels.
    pub preprocess: &'a Preprocess,
    /// Whether an image of a size can be encoded is asked of it.
    pub encoder: &'a dyn Encoder,
    /// What encodes them, and how.
    pub pass: &'a Pass<'a, P>,
    /// Images that are prepared before they are encoded together.
    pub batch: usize,
    /// Threads and queues.
    pub tuning: Tuning,
    /// Set by the user to stop.
    pub cancel: &'a AtomicBool,
}

/// An image with its pass.
pub struct Encoded<'a, P = Trace> {
    /// Index in the dataset.
    pub index: usize,
    /// What the model saw.
    pub prepared: &'a Prepared,
    /// What it made of it.
    pub pass: P,
}

/// How long a blocked thread sleeps before it looks whether it should stop.
const NAP: Duration = Duration::from_millis(50);

impl<P: Send> Stream<'_, P> {
    /// Encodes every index; `map` runs on many threads, `sink` on this one, in input order.
    pub fn run<R: Send>(
        &self,
        map: impl Fn(Encoded<'_, P>) -> Result<R, Skip> + Sync,
        mut sink: impl FnMut(usize, Result<R, Skip>) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let flow = Flow {
            indices: self.indices,
            prepare: &|index| prepare(self.source, index, self.preprocess).map(|image| vec![image]),
            expected: 1,
            encoder: self.encoder,
            pass: self.pass,
            batch: self.batch,
            tuning: self.tuning,
            cancel: self.cancel,
        };
        flow.run(
            |seen| map(Encoded { index: seen.index, prepared: &seen.input, pass: seen.pass }),
            |index, result| match result.map(|mut rows| rows.pop()) {
                Ok(Some(rows)) => sink(index, Ok(rows)),
                Ok(None) => Err(bug("an image came without rows")),
                Err(skip) => sink(index, Err(skip)),
            },
        )
    }
}

fn bug(words: &str) -> StageError {
    StageError::new(ErrorKind::Bug, words, "", "please report this; finished shards are kept")
}

pub(crate) fn device_error(e: &VitError) -> StageError {
    let fix = match e {
        VitError::NotEditable => "write precision = \"f32\" under [extract], or leave the edit out",
        _ => "lower the batch or the resolution, or choose another `--device`, and run again",
    };
    let kind = if matches!(e, VitError::NotEditable) { ErrorKind::Config } else { ErrorKind::Shard };
    StageError::new(kind, e, "", fix)
}

#[cfg(test)]
mod tests;
