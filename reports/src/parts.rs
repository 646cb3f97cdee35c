//! The finished parts of a subject's tables. A part counts when its `.done` marker names its size; see
//! [`engine::store`].

use std::any::Any;
use std::fs;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use engine::store::Marker;
use schemas::{Table, TableError, read_part_batches};

use crate::error::ReportError;
use crate::study::Subject;

/// The finished parts of one run's folder, in shard order. A folder that does not exist has none.
pub fn finished(folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let io = |source| ReportError::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io(e)),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|e| e == "parquet") && is_whole(&path) {
            parts.push(path);
        }
    }
    parts.sort();
    Ok(parts)
}

fn is_whole(part: &Path) -> bool {
    let marker =
        fs::read(part.with_extension("done")).ok().and_then(|bytes| serde_json::from_slice::<Marker>(&bytes).ok());
    marker.is_some_and(|m| fs::metadata(part).is_ok_and(|file| file.len() == m.bytes))
}

/// Hands every row of a subject's table to `take`, a batch at a time, in shard order, until `take` says to stop.
pub(crate) fn each_batch<T: Table>(
    subject: &Subject,
    mut take: impl FnMut(T) -> Result<Go, ReportError>,
) -> Result<(), ReportError> {
    let part_error = |source: TableError| ReportError::Part {
        table: T::NAME,
        subject: format!("{} on {}", subject.model, subject.dataset),
        source: Box::new(source),
    };
    for folder in subject.tables.get(T::NAME).into_iter().flatten() {
        for part in finished(folder)? {
            let mut batches = fenced(&part, || read_part_batches::<T>(&part))?.map_err(part_error)?;
            while let Some(batch) = fenced(&part, || batches.next())? {
                if take(batch.map_err(part_error)?)? == Go::Stop {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Calls a Parquet reader. Both readers in use panic on some corrupt pages, and a damaged file is an error like any.
pub(crate) fn fenced<R>(path: &Path, call: impl FnOnce() -> R) -> Result<R, ReportError> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|panic| ReportError::Damaged { path: path.to_owned(), what: said(&*panic) })
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("its reader gave up").to_owned()
}

/// Whether a reader wants more rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    On,
    Stop,
}

/// A subject's whole table; for tables of few rows.
pub(crate) fn whole<T: Table>(subject: &Subject) -> Result<T, ReportError> {
    let mut all = T::default();
    each_batch::<T>(subject, |mut batch| {
        all.append(&mut batch);
        Ok(Go::On)
    })?;
    Ok(all)
}
