//! The finished parts of a subject's tables. A part counts when its `.done` marker names its size; see
//! [`engine::store`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::{Table, TableError, read_part_batches};

use crate::error::ReportError;
use crate::study::Subject;

/// The finished parts of one run's folder, in shard order. A folder that does not exist has none.
pub fn finished(folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    engine::store::finished_parts(folder).map_err(|source| ReportError::Io { path: folder.to_owned(), source })
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
            for batch in read_part_batches::<T>(&part).map_err(part_error)? {
                if take(batch.map_err(part_error)?)? == Go::Stop {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Calls Polars' Parquet reader, which panics on some corrupt pages. A damaged file is an error like any.
pub(crate) fn fenced<R>(path: &Path, call: impl FnOnce() -> R) -> Result<R, ReportError> {
    schemas::fenced(call).map_err(|what| ReportError::Damaged { path: path.to_owned(), what })
}

/// Whether a reader wants more rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    On,
    Stop,
}

/// One run's whole table; for tables of few rows.
pub(crate) fn of_folder<T: Table>(subject: &Subject, folder: &Path) -> Result<T, ReportError> {
    let tables = BTreeMap::from([(T::NAME.to_owned(), vec![folder.to_owned()])]);
    whole(&Subject { tables, model: subject.model.clone(), dataset: subject.dataset.clone(), ..Subject::default() })
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
