//! The stream itself: images of several inputs each, delivered whole and in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::StageError;
use schemas::fenced;
use vit::{Encoder, Pixels};

use super::batches::{Batches, Done, Slot, next_batch};
use super::window::Window;
use super::{NAP, Pass, bug, device_error};
use crate::params::Tuning;
use crate::prepare::{Prepared, Skip, decoder_bug, unencodable};

/// Something that is encoded, with whatever else is known of it.
pub trait Input: Send {
    /// What the model sees.
    fn pixels(&self) -> &Pixels;
}

impl Input for Prepared {
    fn pixels(&self) -> &Pixels {
        &self.pixels
    }
}

/// Makes the inputs of an image, given its index in the dataset.
pub type Prepare<'a, I> = dyn Fn(usize) -> Result<Vec<I>, Skip> + Sync + 'a;

/// Images of several inputs each, and through what they go.
pub struct Flow<'a, I, P> {
    /// Which images, in order.
    pub indices: &'a [usize],
    /// How they become inputs.
    pub prepare: &'a Prepare<'a, I>,
    /// How many inputs most images have: it decides how many images are in flight, and no number.
    pub expected: usize,
    /// Whether an input of a size can be encoded is asked of it.
    pub encoder: &'a dyn Encoder,
    /// What encodes them, and how.
    pub pass: &'a Pass<'a, P>,
    /// Inputs that are prepared before they are encoded together.
    pub batch: usize,
    /// Threads and queues; its window counts inputs.
    pub tuning: Tuning,
    /// Set by the user to stop.
    pub cancel: &'a AtomicBool,
}

/// An input with its pass.
pub struct Seen<I, P> {
    /// Index of the image in the dataset.
    pub index: usize,
    /// Which of its views.
    pub view: usize,
    /// What the model saw.
    pub input: I,
    /// What it made of it.
    pub pass: P,
}

/// An input and its pass, before a mapper has seen them.
type Passed<I, P> = Done<(I, P)>;

impl<I: Input, P: Send> Flow<'_, I, P> {
    /// Encodes every input of every index. `map` runs on many threads, input by input; `sink` on this one, image by image
    /// in order, with the rows of all its inputs in theirs. If any of them is skipped, the image is, for the reason of the
    /// first.
    pub fn run<R: Send>(
        &self,
        map: impl Fn(Seen<I, P>) -> Result<R, Skip> + Sync,
        mut sink: impl FnMut(usize, Result<Vec<R>, Skip>) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let stop = AtomicBool::new(false);
        let batch = self.batch.max(1);
        let in_flight = self.tuning.window.max(2 * batch);
        let window = Window::new(in_flight - 1, self.expected, self.indices.len());
        // A queue as long as the window can never be full for good.
        let (to_encode, prepared) = sync_channel(in_flight);
        // Passes are large: each device may be one batch ahead of the mappers.
        let (to_map, passed) = sync_channel(batch * self.tuning.encode_threads.max(1));
        let (to_sink, finished) = sync_channel(in_flight);
        let prepared = Mutex::new(Batches::new(prepared, batch, self.indices.len()));
        let passed = Mutex::new(passed);
        let stopping = || stop.load(Ordering::Relaxed) || self.cancel.load(Ordering::Relaxed);

        std::thread::scope(|scope| {
            // Whatever happens on this thread, the workers must end before the scope can.
            let _ending = Ending { stop: &stop, window: &window };
            for _ in 0..self.tuning.decode_threads.max(1) {
                let to_encode = to_encode.clone();
                let (window, stopping) = (&window, &stopping);
                scope.spawn(move || {
                    while let Some(position) = window.admit(stopping) {
                        let image = fenced(|| (self.prepare)(self.indices[position]))
                            .unwrap_or_else(|words| Err(decoder_bug(&words)));
                        window.weigh(position, image.as_ref().map_or(1, Vec::len));
                        if !send(&to_encode, (position, image), stopping) {
                            return;
                        }
                    }
                });
            }
            drop(to_encode);
            for _ in 0..self.tuning.encode_threads.max(1) {
                let (to_map, to_sink) = (to_map.clone(), to_sink.clone());
                let (prepared, stopping, map) = (&prepared, &stopping, &map);
                scope.spawn(move || {
                    while let Some(batch) = next_batch(prepared, stopping) {
                        let passes = match fenced(|| self.encode(batch)).unwrap_or_else(|words| Err(bug(&words))) {
                            Ok(passes) => passes,
                            Err(e) => {
                                send(&to_sink, Err(e), stopping);
                                return;
                            }
                        };
                        for pass in passes {
                            let sent = if self.tuning.map_threads > 0 {
                                send(&to_map, pass, stopping)
                            } else {
                                send(&to_sink, self.mapped(pass, map), stopping)
                            };
                            if !sent {
                                return;
                            }
                        }
                    }
                });
            }
            drop(to_map);
            for _ in 0..self.tuning.map_threads {
                let to_sink = to_sink.clone();
                let (passed, stopping, map) = (&passed, &stopping, &map);
                scope.spawn(move || {
                    while let Some(pass) = next_pass(passed, stopping) {
                        if !send(&to_sink, self.mapped(pass, map), stopping) {
                            return;
                        }
                    }
                });
            }
            drop(to_sink);
            self.drain(&finished, &window, &mut sink, &stopping)
        })
    }

    /// Rows of one pass.
    fn mapped<R>(
        &self,
        (slot, pass): Passed<I, P>,
        map: &(impl Fn(Seen<I, P>) -> Result<R, Skip> + Sync),
    ) -> Result<Done<R>, StageError> {
        let (index, view) = (self.indices[slot.position], slot.view);
        let rows = pass.map(|(input, pass)| fenced(|| map(Seen { index, view, input, pass })));
        match rows {
            Ok(Ok(rows)) => Ok((slot, rows)),
            Ok(Err(words)) => Err(bug(&words)),
            Err(skip) => Ok((slot, Err(skip))),
        }
    }

    /// Takes finished inputs off the queue and hands their images over in input order.
    fn drain<R>(
        &self,
        finished: &Receiver<Result<Done<R>, StageError>>,
        window: &Window,
        sink: &mut impl FnMut(usize, Result<Vec<R>, Skip>) -> Result<(), StageError>,
        stopping: &dyn Fn() -> bool,
    ) -> Result<(), StageError> {
        let mut early: BTreeMap<usize, Parts<R>> = BTreeMap::new();
        for (position, &index) in self.indices.iter().enumerate() {
            while early.get(&position).is_none_or(|parts| parts.missing > 0) {
                if stopping() {
                    return Err(StageError::interrupted());
                }
                match finished.recv_timeout(NAP) {
                    Ok(Ok((slot, result))) => {
                        early.entry(slot.position).or_insert_with(|| Parts::of(slot.of)).put(slot.view, result);
                    }
                    Ok(Err(e)) => return Err(e),
                    Err(RecvTimeoutError::Timeout) => {}
                    // They see the flag before this thread does.
                    Err(RecvTimeoutError::Disconnected) if stopping() => return Err(StageError::interrupted()),
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(bug("the workers ended before their work"));
                    }
                }
            }
            if stopping() {
                return Err(StageError::interrupted());
            }
            if let Some(parts) = early.remove(&position) {
                sink(index, parts.rows.into_iter().flatten().collect())?;
                window.advance();
            }
        }
        Ok(())
    }

    /// Encodes one batch, size by size.
    fn encode(&self, batch: Vec<Done<I>>) -> Result<Vec<Passed<I, P>>, StageError> {
        let mut passes = Vec::with_capacity(batch.len());
        let mut by_size: BTreeMap<(usize, usize), Vec<(Slot, I)>> = BTreeMap::new();
        for (slot, input) in batch {
            match input {
                Err(skip) => passes.push((slot, Err(skip))),
                Ok(input) => {
                    let pixels = input.pixels();
                    by_size.entry((pixels.height, pixels.width)).or_default().push((slot, input));
                }
            }
        }
        for ((height, width), inputs) in by_size {
            if let Err(e) = self.encoder.layout(height, width) {
                passes.extend(inputs.iter().map(|(slot, _)| (*slot, Err(unencodable(&e)))));
                continue;
            }
            let pixels: Vec<&Pixels> = inputs.iter().map(|(_, input)| input.pixels()).collect();
            let indices: Vec<usize> = inputs.iter().map(|(slot, _)| self.indices[slot.position]).collect();
            let made = (self.pass)(&indices, &pixels).map_err(|e| device_error(&e))?;
            if made.len() != inputs.len() {
                return Err(bug("the encoder gave another number of passes than it was given images"));
            }
            passes.extend(inputs.into_iter().zip(made).map(|((slot, input), p)| (slot, Ok((input, p)))));
        }
        Ok(passes)
    }
}

/// Rows of an image whose inputs are not all done.
struct Parts<R> {
    rows: Vec<Option<Result<R, Skip>>>,
    missing: usize,
}

impl<R> Parts<R> {
    fn of(inputs: usize) -> Self {
        Self { rows: std::iter::repeat_with(|| None).take(inputs).collect(), missing: inputs }
    }

    fn put(&mut self, view: usize, result: Result<R, Skip>) {
        if let Some(place) = self.rows.get_mut(view).filter(|place| place.is_none()) {
            *place = Some(result);
            self.missing -= 1;
        }
    }
}

/// Ends the workers of a stream when dropped, by a return or by a panic.
struct Ending<'a> {
    stop: &'a AtomicBool,
    window: &'a Window,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.window.wake();
    }
}

/// Sends, but gives up when the run stops.
fn send<T>(to: &SyncSender<T>, mut item: T, stopping: &dyn Fn() -> bool) -> bool {
    loop {
        match to.try_send(item) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(back)) => {
                if stopping() {
                    return false;
                }
                item = back;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The next pass, or nothing when there will be none or the run stops.
fn next_pass<T>(passed: &Mutex<Receiver<T>>, stopping: &dyn Fn() -> bool) -> Option<T> {
    let passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
    while !stopping() {
        match passed.recv_timeout(NAP) {
            Ok(pass) => return Some(pass),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests;
