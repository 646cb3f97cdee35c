//! Prepared images, cut into batches of consecutive inputs.
//!
//! Inputs are numbered in image order, then in view order; an image that is skipped has one number. Batch k holds the
//! numbers `[k·B, (k+1)·B)`, whichever images they are of, so that a device is given full batches and always the same
//! ones. With B = 1 order does not matter, and nothing waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};

use super::NAP;
use crate::prepare::Skip;

/// Which input of which image.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// Position of the image among those streamed.
    pub position: usize,
    /// Which of its views.
    pub view: usize,
    /// How many it has.
    pub of: usize,
}

/// What becomes of one input.
pub(super) type Done<R> = (Slot, Result<R, Skip>);

/// A position with its views.
pub(super) type Image<I> = (usize, Result<Vec<I>, Skip>);

/// Prepared images on their way into batches.
pub(super) struct Batches<I> {
    from: Receiver<Image<I>>,
    batch: usize,
    total: usize,
    /// Images that came before their turn.
    early: BTreeMap<usize, Result<Vec<I>, Skip>>,
    /// Images whose inputs are or were in the queue.
    queued: usize,
    queue: VecDeque<Done<I>>,
}

impl<I> Batches<I> {
    pub(super) fn new(from: Receiver<Image<I>>, batch: usize, total: usize) -> Self {
        Self { from, batch, total, early: BTreeMap::new(), queued: 0, queue: VecDeque::new() }
    }

    fn arrived(&mut self, (position, image): Image<I>) {
        if self.batch == 1 {
            self.enqueue(position, image);
            return;
        }
        self.early.insert(position, image);
        while let Some(image) = self.early.remove(&self.queued) {
            self.enqueue(self.queued, image);
        }
    }

    fn enqueue(&mut self, position: usize, image: Result<Vec<I>, Skip>) {
        self.queued += 1;
        match image {
            Ok(views) if views.is_empty() => {
                self.queue.push_back((
                    Slot { position, view: 0, of: 1 },
                    Err(Skip::new("no view", &"the views of this size are none")),
                ));
            }
            Ok(views) => {
                let of = views.len();
                let slots = views.into_iter().enumerate();
                self.queue.extend(slots.map(|(view, input)| (Slot { position, view, of }, Ok(input))));
            }
            Err(skip) => self.queue.push_back((Slot { position, view: 0, of: 1 }, Err(skip))),
        }
    }
}

/// The next batch, or nothing when all is taken or the run stops.
pub(super) fn next_batch<I>(batches: &Mutex<Batches<I>>, stopping: &dyn Fn() -> bool) -> Option<Vec<Done<I>>> {
    let mut b = batches.lock().unwrap_or_else(PoisonError::into_inner);
    while !stopping() {
        let whole = b.queue.len() >= b.batch;
        if whole || b.queued == b.total {
            let n = b.batch.min(b.queue.len());
            return (n > 0).then(|| b.queue.drain(..n).collect());
        }
        match b.from.recv_timeout(NAP) {
            Ok(image) => b.arrived(image),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}
