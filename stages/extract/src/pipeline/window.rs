//! How much may be in flight between the first read of an image and the last write of its rows.
//!
//! An image weighs as many inputs as it has views: a guess until it is prepared, then the truth; one that is skipped
//! weighs 1. The next image is read when all images in flight *but the oldest* weigh less than `size`. So there are never
//! more than `size` inputs in flight and two images, plus what guesses were too low by.
//!
//! The oldest is left out so that nothing can wait for ever: as long as some of its views have not been encoded, all the
//! others wait too, and these alone fill a batch.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::NAP;

/// Positions that may be in flight.
pub(super) struct Window {
    size: usize,
    expected: usize,
    total: usize,
    flight: Mutex<InFlight>,
    moved: Condvar,
}

/// The positions `written..written + inputs.len()`.
#[derive(Default)]
struct InFlight {
    written: usize,
    /// Weight of each position.
    inputs: VecDeque<usize>,
    sum: usize,
}

impl Window {
    /// Of `total` images of about `expected` inputs each, of which `size` may be in flight beside the oldest image.
    pub(super) fn new(size: usize, expected: usize, total: usize) -> Self {
        let flight = Mutex::default();
        Self { size: size.max(1), expected: expected.max(1), total, flight, moved: Condvar::new() }
    }

    /// The next position to be read, as soon as it may be; none when there is no other or the run stops.
    pub(super) fn admit(&self, stopping: &dyn Fn() -> bool) -> Option<usize> {
        let mut flight = self.lock();
        loop {
            let position = flight.written + flight.inputs.len();
            if position >= self.total || stopping() {
                return None;
            }
            if flight.sum - flight.inputs.front().unwrap_or(&0) < self.size {
                flight.inputs.push_back(self.expected);
                flight.sum += self.expected;
                return Some(position);
            }
            flight = self.moved.wait_timeout(flight, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A prepared image has so many inputs.
    pub(super) fn weigh(&self, position: usize, inputs: usize) {
        let flight = &mut *self.lock();
        if let Some(known) = position.checked_sub(flight.written).and_then(|i| flight.inputs.get_mut(i)) {
            flight.sum = flight.sum - *known + inputs.max(1);
            *known = inputs.max(1);
        }
        self.moved.notify_all();
    }

    /// The oldest image is written.
    pub(super) fn advance(&self) {
        let mut flight = self.lock();
        flight.sum -= flight.inputs.pop_front().unwrap_or(0);
        flight.written += 1;
        self.moved.notify_all();
    }

    /// Wakes whoever waits, to see that the run stops.
    pub(super) fn wake(&self) {
        self.moved.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
