//! The finished parts of a subject's tables. A part counts when its `.done` marker names its size; see
//! [`engine::store`].

use std::fs;
use std::io::ErrorKind;
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
    let marker = fs::read(part.with_extension("done"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Marker>(&bytes).ok());
    marker.is_some_and(|m| fs::metadata(part).is_ok_and(|file| file.len() == m.bytes))
}

/// Hands every row of a subject's table to `take`, a batch at a time, in shard order, until `take` says to stop.
pub(crate) fn each_batch<T: Table>(
    subject: &Subject,
    mut take: impl FnMut(T) -> Result<Go, ReportError>,
) -> Result<(), ReportError> {
    let part_error = |source: TableError| ReportError::Part {
        table: T::NAME,
        model: subject.model.clone(),
        dataset: subject.dataset.clone(),
        source,
    };
    for folder in subject.tables.get(T::NAME).into_iter().flatten() {
        for part in finished(folder)? {
            for batch in read_part_batches::<T>(&part).map_err(part_error)? {
                if take(batch.map_err(part_error)?)? == Go::Stop {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
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
