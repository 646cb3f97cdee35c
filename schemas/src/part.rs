//! Part files: the only Parquet writer of the project, and its reader.
//!
//! Compression is zstd-1 with BYTE_STREAM_SPLIT on float columns (best ratio of those measured, and any reader opens
//! it). Row groups stay small so that streaming readers do. The bytes of a part depend on its rows alone: no time,
//! no host name, no path. Source of the figures: `docs/LOG.md`.

use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::table::{Table, TableError};

/// Rows per row group are chosen so that a group is about this large before compression.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Writes one part of one table, batch by batch.
pub struct PartWriter<T: Table> {
    path: PathBuf,
    writer: Option<ArrowWriter<File>>,
    metadata: Vec<(String, String)>,
    pending: T,
    pending_rows_max: usize,
    rows: u64,
}

/// What a finished part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartWritten {
    /// Rows.
    pub rows: u64,
    /// File size.
    pub bytes: u64,
}

impl<T: Table> PartWriter<T> {
    /// Creates the file. `metadata` is stored in the footer beside the table's name and version.
    pub fn create(path: &Path, metadata: &[(String, String)]) -> Result<Self, TableError> {
        // Opened at once, so that a folder that cannot be written is known before an hour of work.
        File::create(path).map_err(|source| TableError::Io { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            writer: None,
            metadata: metadata.to_vec(),
            pending: T::default(),
            pending_rows_max: 0,
            rows: 0,
        })
    }

    /// Appends rows, leaving `rows` empty.
    pub fn write(&mut self, rows: &mut T) -> Result<(), TableError> {
        self.rows += rows.rows() as u64;
        self.pending.append(rows);
        if self.pending_rows_max == 0 && self.pending.rows() > 0 {
            self.pending_rows_max = (ROW_GROUP_BYTES / row_bytes(&self.pending)).clamp(64, 1 << 20);
        }
        if self.pending_rows_max > 0 && self.pending.rows() >= self.pending_rows_max {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TableError> {
        let batch = std::mem::take(&mut self.pending).to_batch()?;
        if self.writer.is_none() {
            self.writer = Some(self.open(&batch)?);
        }
        if let Some(writer) = &mut self.writer {
            let failed = |source| TableError::Parquet { path: self.path.clone(), source };
            writer.write(&batch).map_err(failed)?;
            writer.flush().map_err(failed)?;
        }
        Ok(())
    }

    fn open(&self, batch: &RecordBatch) -> Result<ArrowWriter<File>, TableError> {
        let file = File::create(&self.path).map_err(|source| TableError::Io { path: self.path.clone(), source })?;
        let mut metadata = vec![KeyValue::new("vitals.table".to_owned(), stored_name::<T>())];
        metadata.extend(self.metadata.iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone())));
        let mut properties = WriterProperties::builder()
            .set_created_by("vitals".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_key_value_metadata(Some(metadata))
            // Groups are cut by `flush` alone.
            .set_max_row_group_row_count(None);
        for field in batch.schema().fields() {
            let path = match field.data_type() {
                DataType::Float32 | DataType::Float64 => ColumnPath::new(vec![field.name().clone()]),
                DataType::FixedSizeList(..) => {
                    ColumnPath::new(vec![field.name().clone(), "list".to_owned(), "item".to_owned()])
                }
                _ => continue,
            };
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT);
        }
        ArrowWriter::try_new(file, batch.schema(), Some(properties.build()))
            .map_err(|source| TableError::Parquet { path: self.path.clone(), source })
    }

    /// Writes the footer and syncs the file to the disk.
    pub fn finish(mut self) -> Result<PartWritten, TableError> {
        if self.pending.rows() > 0 || self.writer.is_none() {
            self.flush()?;
        }
        let io = |source| TableError::Io { path: self.path.clone(), source };
        if let Some(writer) = self.writer.take() {
            let file = writer.into_inner().map_err(|source| TableError::Parquet { path: self.path.clone(), source })?;
            file.sync_all().map_err(io)?;
        }
        let bytes = std::fs::metadata(&self.path).map_err(io)?.len();
        Ok(PartWritten { rows: self.rows, bytes })
    }
}

fn stored_name<T: Table>() -> String {
    format!("{} v{}", T::NAME, T::VERSION)
}

/// Uncompressed bytes of a row, from the fixed widths of its columns.
fn row_bytes<T: Table>(rows: &T) -> usize {
    let width = |t: &DataType| t.primitive_width().unwrap_or(16);
    rows.schema()
        .fields()
        .iter()
        .map(|f| match f.data_type() {
            DataType::FixedSizeList(item, n) => width(item.data_type()) * (*n as usize).max(1),
            // Pictures: a guess is enough to bound a group.
            DataType::Binary => 64 << 10,
            other => width(other),
        })
        .sum()
}

/// Reads a part whole.
pub fn read_part<T: Table>(path: &Path) -> Result<T, TableError> {
    let mut all = T::default();
    for batch in read_part_batches::<T>(path)? {
        all.append(&mut batch?);
    }
    Ok(all)
}

/// Reads a part batch by batch (at most 64 Ki rows each), in bounded memory.
pub fn read_part_batches<T: Table>(
    path: &Path,
) -> Result<impl Iterator<Item = Result<T, TableError>> + use<T>, TableError> {
    let file = File::open(path).map_err(|source| TableError::Io { path: path.to_owned(), source })?;
    let parquet = |source| TableError::Parquet { path: path.to_owned(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
    let found = builder
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .and_then(|all| all.iter().find(|kv| kv.key == "vitals.table"))
        .and_then(|kv| kv.value.clone())
        .unwrap_or_default();
    if found != stored_name::<T>() {
        return Err(TableError::Version { path: path.to_owned(), found, wanted: stored_name::<T>() });
    }
    let mut reader = builder.with_batch_size(64 << 10).build().map_err(parquet)?;
    let path = path.to_owned();
    let mut ended = false;
    Ok(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        // The parquet crate panics on some damaged pages (a dictionary that is referred to and not there).
        let rows = if let Ok(batch) = panic::catch_unwind(AssertUnwindSafe(|| reader.next())) {
            batch.map(|batch| T::from_batch(&batch?))
        } else {
            let source = ParquetError::General("a page is damaged".to_owned());
            Some(Err(TableError::Parquet { path: path.clone(), source }))
        };
        ended = !matches!(rows, Some(Ok(_)));
        rows
    }))
}

/// Footer metadata of a part (`vitals.table`, and what its writer added).
pub fn part_metadata(path: &Path) -> Result<Vec<(String, String)>, TableError> {
    let file = File::open(path).map_err(|source| TableError::Io { path: path.to_owned(), source })?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|source| TableError::Parquet { path: path.to_owned(), source })?;
    let metadata = Arc::clone(builder.metadata());
    Ok(metadata
        .file_metadata()
        .key_value_metadata()
        .into_iter()
        .flatten()
        .map(|kv| (kv.key.clone(), kv.value.clone().unwrap_or_default()))
        .collect())
}

#[cfg(test)]
mod tests;
