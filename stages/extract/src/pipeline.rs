//! Decode ∥ forward ∥ write, in order, in bounded memory, with the same result on any number of threads.
//!
//! ```text
//! decoders ──▶ prepared images ──▶ encoders ──▶ finished images ──▶ the calling thread, in input order
//!    ▲                                                                     │
//!    └───────────── a window of positions that may be in flight ◀──────────┘
//! ```
//! Position `i` may be read only when `i < written + window`, so whatever a slow image holds up is bounded too. An
//! encoder that wants batches takes positions `[k·B, (k+1)·B)` together, never what happens to be ready: batch
//! composition can change last bits on a GPU.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use datasets::{Preprocess, Source};
use engine::{ErrorKind, StageError};
use vit::{Encoder, Pixels, Request, Trace, VitError};

use crate::params::Tuning;
use crate::prepare::{Prepared, Skip, prepare, unencodable};

/// What is streamed, and through what.
pub struct Stream<'a> {
    /// Where images come from.
    pub source: &'a dyn Source,
    /// Which of them, in order.
    pub indices: &'a [usize],
    /// How they become pixels.
    pub preprocess: &'a Preprocess,
    /// What encodes them.
    pub encoder: &'a dyn Encoder,
    /// What to keep of a pass.
    pub want: &'a Request,
    /// Threads and queues.
    pub tuning: Tuning,
    /// Set by the user to stop.
    pub cancel: &'a AtomicBool,
}

/// An image with its pass.
pub struct Encoded<'a> {
    /// Index in the dataset.
    pub index: usize,
    /// What the model saw.
    pub prepared: &'a Prepared,
    /// What it made of it.
    pub trace: Trace,
}

/// What becomes of one position.
type Done<R> = (usize, Result<R, Skip>);

/// How long a blocked thread sleeps before it looks whether it should stop.
const NAP: Duration = Duration::from_millis(50);

impl Stream<'_> {
    /// Encodes every index; `map` runs on the encoding threads, `sink` on this one, in input order.
    pub fn run<R: Send>(
        &self,
        map: impl Fn(Encoded<'_>) -> Result<R, Skip> + Sync,
        mut sink: impl FnMut(usize, Result<R, Skip>) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let stop = AtomicBool::new(false);
        let window = Window::new(self.tuning.window.max(2 * self.encoder.batch()));
        let next = AtomicUsize::new(0);
        // A queue longer than the window can never be full for good.
        let (to_encode, prepared) = sync_channel(window.size);
        let (to_sink, finished) = sync_channel(window.size);
        let prepared = Mutex::new(Reorder::new(prepared, self.encoder.batch(), self.indices.len()));
        let stopping = || stop.load(Ordering::Relaxed) || self.cancel.load(Ordering::Relaxed);

        std::thread::scope(|scope| {
            for _ in 0..self.tuning.decode_threads.max(1) {
                let to_encode = to_encode.clone();
                let (next, window, stopping) = (&next, &window, &stopping);
                scope.spawn(move || {
                    loop {
                        let position = next.fetch_add(1, Ordering::Relaxed);
                        if position >= self.indices.len() || !window.wait(position, stopping) {
                            return;
                        }
                        let image = prepare(self.source, self.indices[position], self.preprocess);
                        if !send(&to_encode, (position, image), stopping) {
                            return;
                        }
                    }
                });
            }
            drop(to_encode);
            for _ in 0..self.tuning.encode_threads.max(1) {
                let to_sink = to_sink.clone();
                let (prepared, stopping, map) = (&prepared, &stopping, &map);
                scope.spawn(move || {
                    while let Some(batch) = next_batch(prepared, stopping) {
                        match self.encode(batch, map) {
                            Ok(results) => {
                                if !results.into_iter().all(|r| send(&to_sink, Ok(r), stopping)) {
                                    return;
                                }
                            }
                            Err(e) => {
                                send(&to_sink, Err(e), stopping);
                                return;
                            }
                        }
                    }
                });
            }
            drop(to_sink);
            let drained = self.drain(&finished, &window, &mut sink, &stopping);
            // Whatever happened, the workers must end before the scope can.
            stop.store(true, Ordering::Relaxed);
            window.wake();
            drained
        })
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
                    let what = "an encoding thread ended before its work";
                    return Err(StageError::new(ErrorKind::Bug, what, "", "please report this"));
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
    fn encode<R>(
        &self,
        batch: Vec<Done<Prepared>>,
        map: &(impl Fn(Encoded<'_>) -> Result<R, Skip> + Sync),
    ) -> Result<Vec<Done<R>>, StageError> {
        let mut results = Vec::with_capacity(batch.len());
        let mut by_size: BTreeMap<(usize, usize), Vec<(usize, Prepared)>> = BTreeMap::new();
        for (position, image) in batch {
            match image {
                Err(skip) => results.push((position, Err(skip))),
                Ok(image) => {
                    by_size.entry((image.pixels.height, image.pixels.width)).or_default().push((position, image));
                }
            }
        }
        for ((height, width), images) in by_size {
            if let Err(e) = self.encoder.layout(height, width) {
                results.extend(images.iter().map(|(position, _)| (*position, Err(unencodable(&e)))));
                continue;
            }
            let pixels: Vec<&Pixels> = images.iter().map(|(_, image)| &image.pixels).collect();
            let traces = self.encoder.encode(&pixels, self.want).map_err(|e| device_error(&e))?;
            for ((position, prepared), trace) in images.iter().zip(traces) {
                let index = self.indices[*position];
                results.push((*position, map(Encoded { index, prepared, trace })));
            }
        }
        Ok(results)
    }
}

fn device_error(e: &VitError) -> StageError {
    StageError::new(
        ErrorKind::Shard,
        e,
        "",
        "lower the batch or the resolution, or choose another `--device`, and run again",
    )
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
