//! What a running shard may touch: its inputs, its outputs, its progress, and whether it should stop.
//!
//! Crash points, in order, and what each leaves: while rows are written, a temporary file that no reader sees; after
//! [`ShardIo::finish`], a whole temporary file; between renames, parts without markers, which do not count and are
//! written over with the same bytes; between markers, some outputs finished and some not, of which the finished are
//! kept as they are; after the last marker, a finished shard that the ledger may not mention, which harms nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use schemas::{PartWriter, PartWritten, Table};

use crate::error::{ErrorKind, StageError};
use crate::ledger::{self, Line};
use crate::progress::{Event, Progress};
use crate::stage::{Shard, ShardReport, TableRef};
use crate::store::{Marker, Store, attempt, sync_dir, write_atomic};

/// A shard's doors.
pub struct ShardIo<'a> {
    store: &'a Store,
    outputs: Vec<TableRef>,
    inputs: Vec<TableRef>,
    stage: &'static str,
    shard: u32,
    attempt: String,
    written: BTreeMap<&'static str, (PathBuf, PartWritten)>,
    progress: &'a dyn Progress,
    cancel: &'a AtomicBool,
}

impl<'a> ShardIo<'a> {
    pub(crate) fn new(
        store: &'a Store,
        inputs: Vec<TableRef>,
        outputs: Vec<TableRef>,
        (stage, shard): (&'static str, u32),
        progress: &'a dyn Progress,
        cancel: &'a AtomicBool,
    ) -> Self {
        Self { store, outputs, inputs, stage, shard, attempt: attempt(), written: BTreeMap::new(), progress, cancel }
    }

    /// Opens this shard's part of an output table.
    pub fn create<T: Table>(&mut self) -> Result<PartWriter<T>, StageError> {
        let output = self.output(T::NAME)?;
        let dir = self.store.dir(output);
        fs::create_dir_all(&dir).map_err(|e| StageError::disk(&dir, &e))?;
        let metadata = [("vitals.run".to_owned(), output.fingerprint.to_string())];
        let path = self.temporary(output);
        // Taken by this attempt alone, even should two draw the same digits.
        fs::File::create_new(&path).map_err(|e| StageError::disk(&path, &e))?;
        Ok(PartWriter::create(&path, &metadata)?)
    }

    /// Ends a part: footer, sync. It becomes visible when the whole shard is done.
    pub fn finish<T: Table>(&mut self, writer: PartWriter<T>) -> Result<PartWritten, StageError> {
        let path = self.temporary(self.output(T::NAME)?);
        let written = writer.finish()?;
        self.written.insert(T::NAME, (path, written));
        Ok(written)
    }

    /// Writes a whole table as this shard's part.
    pub fn write<T: Table>(&mut self, mut rows: T) -> Result<PartWritten, StageError> {
        let mut writer = self.create::<T>()?;
        writer.write(&mut rows)?;
        self.finish(writer)
    }

    /// Finished parts of the inputs called `table`, in input and shard order.
    pub fn parts(&self, table: &str) -> Result<Vec<PathBuf>, StageError> {
        let mut parts = Vec::new();
        for input in self.inputs.iter().filter(|t| t.table == table) {
            parts.extend(self.store.parts(input)?);
        }
        Ok(parts)
    }

    /// Finished parts of one input.
    pub fn parts_of(&self, input: &TableRef) -> Result<Vec<PathBuf>, StageError> {
        self.store.parts(input)
    }

    /// Reads every part of the inputs called `T::NAME` at once: for tables that are small by nature.
    pub fn read_all<T: Table>(&self) -> Result<T, StageError> {
        let mut all = T::default();
        for part in self.parts(T::NAME)? {
            all.append(&mut schemas::read_part(&part)?);
        }
        Ok(all)
    }

    /// Reads every part of one input at once: for tables that are small by nature.
    pub fn read_of<T: Table>(&self, input: &TableRef) -> Result<T, StageError> {
        let mut all = T::default();
        for part in self.parts_of(input)? {
            all.append(&mut schemas::read_part(&part)?);
        }
        Ok(all)
    }

    /// Keeps the state of a long shard, so that an attempt after this one need not begin again. It replaces what was
    /// kept before, is there whole or not at all, and goes when the shard is done. What comes out in the end must not
    /// depend on whether a state was found.
    pub fn keep(&self, state: &[u8]) -> Result<(), StageError> {
        let Some(path) = self.kept_path() else { return Ok(()) };
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|e| StageError::disk(dir, &e))?;
        }
        write_atomic(&path, state)
    }

    /// What an earlier attempt at this shard kept, if anything. Whoever reads it checks it: it may be of another build.
    pub fn kept(&self) -> Option<Vec<u8>> {
        fs::read(self.kept_path()?).ok()
    }

    /// Tells that this attempt goes on from a kept state, which has so many of the shard's items: listeners count from
    /// there, and the ledger says it.
    pub fn resumed(&self, done: u64) {
        let Some(output) = self.outputs.first() else { return };
        self.progress.event(&Event::Resumed { done });
        let mut line = Line::now("shard_resumed", self.stage, output.fingerprint.as_str());
        let note = format!("goes on from step {done}");
        (line.shard, line.note) = (Some(self.shard), &note);
        // A story that is lost costs no result.
        let _ = ledger::append(self.store, &line);
    }

    /// Tells how many items this shard has, where the plan could only guess.
    pub fn items_in_all(&self, items: u64) {
        self.progress.event(&Event::Total { items });
    }

    fn kept_path(&self) -> Option<PathBuf> {
        self.outputs.first().map(|output| self.store.kept(output, self.shard))
    }

    /// Tells how many items of this shard are done.
    pub fn items_done(&self, done: u64) {
        self.progress.event(&Event::Items { done });
    }

    /// Whether the user asked to stop. A stage looks between items and returns [`StageError::interrupted`].
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// The flag behind [`ShardIo::cancelled`], for threads that do not hold the doors.
    pub fn cancel_flag(&self) -> &'a AtomicBool {
        self.cancel
    }

    fn output(&self, table: &str) -> Result<&TableRef, StageError> {
        self.outputs.iter().find(|t| t.table == table).ok_or_else(|| {
            StageError::new(
                ErrorKind::Bug,
                format!("table `{table}` is not an output of this stage"),
                "",
                "please report this",
            )
        })
    }

    fn temporary(&self, output: &TableRef) -> PathBuf {
        self.store.dir(output).join(format!(".part-{:05}.{}.tmp", self.shard, self.attempt))
    }

    /// Makes the shard's parts visible, then marks them.
    pub(crate) fn commit(&mut self, shard: &Shard, report: &ShardReport) -> Result<u64, StageError> {
        let mut marks = Vec::new();
        let mut rows = 0;
        for output in &self.outputs {
            let Some((temporary, written)) = self.written.remove(output.table) else {
                let what = format!("the stage did not write its table `{}`", output.table);
                return Err(StageError::new(
                    ErrorKind::Bug,
                    what,
                    format!("shard {}", shard.index),
                    "please report this",
                ));
            };
            rows += written.rows;
            // Marked already, by an earlier attempt that was cut off or by another process: that part stays.
            if self.store.marker(output, shard.index).is_some() {
                let _ = fs::remove_file(&temporary);
                continue;
            }
            let part = self.store.part(output, shard.index);
            fs::rename(&temporary, &part).map_err(|e| StageError::disk(&part, &e))?;
            sync_dir(&self.store.dir(output))?;
            marks.push((part, written));
        }
        for (part, written) in marks {
            let marker =
                Marker { rows: written.rows, bytes: written.bytes, items: report.items, skipped: report.skipped };
            let json = serde_json::to_vec(&marker)
                .map_err(|e| StageError::new(ErrorKind::Bug, e, "", "please report this"))?;
            write_atomic(&part.with_extension("done"), &json)?;
        }
        for output in &self.outputs {
            sweep(&self.store.dir(output), shard.index);
        }
        if let Some(kept) = self.kept_path() {
            let _ = fs::remove_file(kept);
        }
        Ok(rows)
    }
}

impl Drop for ShardIo<'_> {
    fn drop(&mut self) {
        // A failed or stopped attempt leaves nothing behind; a killed one is swept by the next.
        for output in &self.outputs {
            let _ = fs::remove_file(self.temporary(output));
        }
    }
}

/// Removes what cut-off attempts at a finished shard left: parts and markers under temporary names. An attempt of
/// another process that is still writing loses its files too; it will find the shard done.
fn sweep(dir: &Path, shard: u32) {
    let prefix = format!(".part-{shard:05}.");
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
