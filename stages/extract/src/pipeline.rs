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
//! Position `i` may be read only when `i < written + window`, so whatever a slow image holds up is bounded too. An
//! encoder that wants batches takes positions `[k·B, (k+1)·B)` together, never what happens to be ready: batch
//! composition can change last bits on a GPU.
//!
//! A panic in a worker is caught: of a decoder it costs one image, of an encoder or a mapper it ends the run with its
//! words. No thread ever waits for one that is gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use datasets::{Preprocess, Source};
use engine::{ErrorKind, StageError};
use schemas::fenced;
use vit::{Encoder, Pixels, Trace, VitError};

use crate::params::Tuning;
use crate::prepare::{Prepared, Skip, decoder_bug, prepare, unencodable};

/// Encodes images of one size, given with their indices in the dataset: one pass for each, in order.
pub type Pass<'a, P> = dyn Fn(&[usize], &[&Pixels]) -> Result<Vec<P>, VitError> + Sync + 'a;

/// What is streamed, and through what.
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

/// What becomes of one position.
type Done<R> = (usize, Result<R, Skip>);

/// An image and its pass, before a mapper has seen them.
type Passed<P> = Done<(Prepared, P)>;

/// How long a blocked thread sleeps before it looks whether it should stop.
const NAP: Duration = Duration::from_millis(50);

impl<P: Send> Stream<'_, P> {
    /// Encodes every index; `map` runs on many threads, `sink` on this one, in input order.
    pub fn run<R: Send>(
        &self,
        map: impl Fn(Encoded<'_, P>) -> Result<R, Skip> + Sync,
        mut sink: impl FnMut(usize, Result<R, Skip>) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let stop = AtomicBool::new(false);
        let batch = self.batch.max(1);
        let window = Window::new(self.tuning.window.max(2 * batch));
        let next = AtomicUsize::new(0);
        // A queue longer than the window can never be full for good.
        let (to_encode, prepared) = sync_channel(window.size);
        // Passes are large: each device may be one batch ahead of the mappers.
        let (to_map, passed) = sync_channel(batch * self.tuning.encode_threads.max(1));
        let (to_sink, finished) = sync_channel(window.size);
        let prepared = Mutex::new(Reorder::new(prepared, batch, self.indices.len()));
        let passed = Mutex::new(passed);
        let stopping = || stop.load(Ordering::Relaxed) || self.cancel.load(Ordering::Relaxed);

        std::thread::scope(|scope| {
            // Whatever happens on this thread, the workers must end before the scope can.
            let _ending = Ending { stop: &stop, window: &window };
            for _ in 0..self.tuning.decode_threads.max(1) {
                let to_encode = to_encode.clone();
                let (next, window, stopping) = (&next, &window, &stopping);
                scope.spawn(move || {
                    loop {
                        let position = next.fetch_add(1, Ordering::Relaxed);
                        if position >= self.indices.len() || !window.wait(position, stopping) {
                            return;
                        }
                        let image = fenced(|| prepare(self.source, self.indices[position], self.preprocess))
                            .unwrap_or_else(|words| Err(decoder_bug(&words)));
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
        (position, pass): Passed<P>,
        map: &(impl Fn(Encoded<'_, P>) -> Result<R, Skip> + Sync),
    ) -> Result<Done<R>, StageError> {
        let index = self.indices[position];
        let rows = pass.map(|(prepared, pass)| fenced(|| map(Encoded { index, prepared: &prepared, pass })));
        match rows {
            Ok(Ok(rows)) => Ok((position, rows)),
            Ok(Err(words)) => Err(bug(&words)),
            Err(skip) => Ok((position, Err(skip))),
        }
    }

    /// Takes finished images off the queue and hands them over in input order.
    fn drain<R>(
        &self,
        finished: &Receiver<Result<Done<R>, StageError>>,
        window: &Window,
        sink: &mut impl FnMut(usize, Result<R, Skip>) -> Result<(), StageError>,
        stopping: &dyn Fn() -> bool,
    ) -> Result<(), StageError> {
        let mut early = BTreeMap::new();
        let mut written = 0;
        while written < self.indices.len() {
            if stopping() {
                return Err(StageError::interrupted());
            }
            match finished.recv_timeout(NAP) {
                Ok(Ok((position, result))) => early.insert(position, result),
                Ok(Err(e)) => return Err(e),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(bug("the workers ended before their work"));
                }
            };
            while let Some(result) = early.remove(&written) {
                sink(self.indices[written], result)?;
                written += 1;
                window.advance(written);
            }
        }
        Ok(())
    }

    /// Encodes one batch, size by size.
    fn encode(&self, batch: Vec<Done<Prepared>>) -> Result<Vec<Passed<P>>, StageError> {
        let mut passes = Vec::with_capacity(batch.len());
        let mut by_size: BTreeMap<(usize, usize), Vec<(usize, Prepared)>> = BTreeMap::new();
        for (position, image) in batch {
            match image {
                Err(skip) => passes.push((position, Err(skip))),
                Ok(image) => {
                    by_size.entry((image.pixels.height, image.pixels.width)).or_default().push((position, image));
                }
            }
        }
        for ((height, width), images) in by_size {
            if let Err(e) = self.encoder.layout(height, width) {
                passes.extend(images.iter().map(|(position, _)| (*position, Err(unencodable(&e)))));
                continue;
            }
            let pixels: Vec<&Pixels> = images.iter().map(|(_, image)| &image.pixels).collect();
            let indices: Vec<usize> = images.iter().map(|(position, _)| self.indices[*position]).collect();
            let made = (self.pass)(&indices, &pixels).map_err(|e| device_error(&e))?;
            if made.len() != images.len() {
                return Err(bug("the encoder gave another number of passes than it was given images"));
            }
            passes.extend(images.into_iter().zip(made).map(|((position, image), p)| (position, Ok((image, p)))));
        }
        Ok(passes)
    }
}

fn bug(words: &str) -> StageError {
    StageError::new(ErrorKind::Bug, words, "", "please report this; finished shards are kept")
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

pub(crate) fn device_error(e: &VitError) -> StageError {
    let fix = match e {
        VitError::NotEditable => "write precision = \"f32\" under [extract], or leave the edit out",
        _ => "lower the batch or the resolution, or choose another `--device`, and run again",
    };
    let kind = if matches!(e, VitError::NotEditable) { ErrorKind::Config } else { ErrorKind::Shard };
    StageError::new(kind, e, "", fix)
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

/// Positions that may be in flight.
struct Window {
    size: usize,
    written: Mutex<usize>,
    moved: Condvar,
}

impl Window {
    fn new(size: usize) -> Self {
        Self { size, written: Mutex::new(0), moved: Condvar::new() }
    }

    /// Waits until `position` may start; false when the run stops first.
    fn wait(&self, position: usize, stopping: &dyn Fn() -> bool) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        while position >= *written + self.size {
            if stopping() {
                return false;
            }
            written = self.moved.wait_timeout(written, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
        !stopping()
    }

    fn advance(&self, written: usize) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = written;
        self.moved.notify_all();
    }

    fn wake(&self) {
        self.moved.notify_all();
    }
}

type Item = Done<Prepared>;

/// Prepared images, cut into batches of consecutive positions.
struct Reorder {
    from: Receiver<Item>,
    batch: usize,
    total: usize,
    waiting: BTreeMap<usize, Item>,
    taken: usize,
}

impl Reorder {
    fn new(from: Receiver<Item>, batch: usize, total: usize) -> Self {
        Self { from, batch: batch.max(1), total, waiting: BTreeMap::new(), taken: 0 }
    }
}

/// The next batch, or nothing when all is taken or the run stops.
fn next_batch(prepared: &Mutex<Reorder>, stopping: &dyn Fn() -> bool) -> Option<Vec<Item>> {
    let mut r = prepared.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if stopping() || r.taken >= r.total {
            return None;
        }
        if r.batch == 1 {
            // One image per call: order does not matter, so nothing waits.
            match r.from.recv_timeout(NAP) {
                Ok(item) => {
                    r.taken += 1;
                    return Some(vec![item]);
                }
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        let end = (r.taken + r.batch).min(r.total);
        if (r.taken..end).all(|p| r.waiting.contains_key(&p)) {
            let batch = (r.taken..end).filter_map(|p| r.waiting.remove(&p)).collect();
            r.taken = end;
            return Some(batch);
        }
        match r.from.recv_timeout(NAP) {
            Ok(item) => {
                r.waiting.insert(item.0, item);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// The next pass, or nothing when there will be none or the run stops.
fn next_pass<P>(passed: &Mutex<Receiver<Passed<P>>>, stopping: &dyn Fn() -> bool) -> Option<Passed<P>> {
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
