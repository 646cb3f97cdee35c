//! Part files: the only Parquet writer of the project, and its reader.
//!
//! Compression is zstd-1 with BYTE_STREAM_SPLIT on float columns (best ratio of those measured, and any reader opens
//! it). Row groups stay small so that streaming readers do. The bytes of a part depend on its rows and metadata alone: no
//! time, no host name, no path, and groups are cut at a number of rows, however the rows arrived. Source of the figures: `docs/LOG.md`.

use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use arrow_array::{RecordBatch, RecordBatchReader as _};
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::column::Column;
use crate::fence::fenced;
use crate::table::{Table, TableError};

/// Rows per row group are chosen so that a group is about this large before compression.
const ROW_GROUP_BYTES: usize = 32 << 20;
/// The same of tables that hold whole feature maps, which are read in random order.
const RANDOM_GROUP_BYTES: usize = 4 << 20;

/// Writes one part of one table, batch by batch.
pub struct PartWriter<T: Table> {
    path: PathBuf,
    file: File,
    /// Opened by the first group, which has the schema.
    writer: Option<ArrowWriter<File>>,
    metadata: Vec<(String, String)>,
    /// Less than a group.
    pending: T,
    /// Rows of every group but the last; known once there is a row.
    group_rows: Option<usize>,
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
        // At once, so that a folder that cannot be written is known before an hour of work.
        let file = File::create(path).map_err(|source| TableError::Io { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            writer: None,
            metadata: metadata.to_vec(),
            pending: T::default(),
            group_rows: None,
            rows: 0,
        })
    }

    /// Appends rows, leaving `rows` empty.
    pub fn write(&mut self, rows: &mut T) -> Result<(), TableError> {
        self.rows += rows.rows() as u64;
        self.pending.append(rows);
        if self.pending.rows() == 0 {
            return Ok(());
        }
        if self.group_rows.is_none() {
            self.group_rows = Some(self.rows_of_a_group()?);
        }
        let group = self.group_rows.unwrap_or(1);
        if self.pending.rows() >= group {
            let batch = std::mem::take(&mut self.pending).into_batch()?;
            let whole = batch.num_rows() / group * group;
            for start in (0..whole).step_by(group) {
                self.write_group(&batch.slice(start, group))?;
            }
            self.pending = T::from_batch(&batch.slice(whole, batch.num_rows() - whole))?;
        }
        Ok(())
    }

    /// Decided by the first row, so that it does not matter in what portions rows arrive.
    fn rows_of_a_group(&mut self) -> Result<usize, TableError> {
        if !T::RANDOM {
            return Ok((ROW_GROUP_BYTES / row_bytes(&self.pending)).clamp(64, 1 << 20));
        }
        let batch = std::mem::take(&mut self.pending).into_batch()?;
        let first = batch.columns().iter().map(|column| column.slice(0, 1).to_data().get_slice_memory_size());
        let bytes = first.sum::<Result<usize, _>>()?;
        self.pending = T::from_batch(&batch)?;
        Ok((RANDOM_GROUP_BYTES / bytes.max(1)).clamp(1, 1 << 20))
    }

    fn write_group(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        if self.writer.is_none() {
            self.writer = Some(self.open(batch.schema())?);
        }
        if let Some(writer) = &mut self.writer {
            let failed = |source| TableError::Parquet { path: self.path.clone(), source };
            writer.write(batch).map_err(failed)?;
            writer.flush().map_err(failed)?;
        }
        Ok(())
    }

    fn open(&self, schema: SchemaRef) -> Result<ArrowWriter<File>, TableError> {
        let file = self.file.try_clone().map_err(|source| TableError::Io { path: self.path.clone(), source })?;
        let mut metadata = vec![KeyValue::new("vitals.table".to_owned(), stored_name::<T>())];
        metadata.extend(self.metadata.iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone())));
        let mut properties = WriterProperties::builder()
            .set_created_by("vitals".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_key_value_metadata(Some(metadata))
            // Groups are cut by `write` alone.
            .set_max_row_group_row_count(None);
        for field in schema.fields() {
            let path = match field.data_type() {
                DataType::Float32 | DataType::Float64 => ColumnPath::new(vec![field.name().clone()]),
                DataType::FixedSizeList(..) | DataType::List(_) => {
                    ColumnPath::new(vec![field.name().clone(), "list".to_owned(), "item".to_owned()])
                }
                DataType::LargeBinary => {
                    let path = ColumnPath::new(vec![field.name().clone()]);
                    properties = properties
                        .set_column_dictionary_enabled(path.clone(), false)
                        .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                        .set_column_compression(path, Compression::UNCOMPRESSED);
                    continue;
                }
                _ => continue,
            };
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT);
        }
        ArrowWriter::try_new(file, schema, Some(properties.build()))
            .map_err(|source| TableError::Parquet { path: self.path.clone(), source })
    }

    /// Writes the footer and syncs the file to the disk.
    pub fn finish(mut self) -> Result<PartWritten, TableError> {
        // A part without rows has a schema too.
        if self.pending.rows() > 0 || self.writer.is_none() {
            let batch = std::mem::take(&mut self.pending).into_batch()?;
            self.write_group(&batch)?;
        }
        if let Some(writer) = self.writer.take() {
            writer.close().map_err(|source| TableError::Parquet { path: self.path.clone(), source })?;
        }
        // Of the open file: by now another process may have replaced or removed what the path names.
        let io = |source| TableError::Io { path: self.path.clone(), source };
        self.file.sync_all().map_err(io)?;
        let bytes = self.file.metadata().map_err(io)?.len();
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
            // Pictures and maps: a guess is enough to bound a group.
            DataType::Binary | DataType::LargeBinary | DataType::List(_) => 64 << 10,
            other => width(other),
        })
        .sum()
}

/// Reads a part whole. Without rows, its vectors still have their length.
pub fn read_part<T: Table>(path: &Path) -> Result<T, TableError> {
    let reader = open::<T>(path)?;
    let mut all = T::from_batch(&RecordBatch::new_empty(reader.schema()))?;
    for batch in batches::<T>(path, reader) {
        all.append(&mut batch?);
    }
    Ok(all)
}

/// Reads a part batch by batch (at most 64 Ki rows each), in bounded memory. An error is the last item.
pub fn read_part_batches<T: Table>(
    path: &Path,
) -> Result<impl Iterator<Item = Result<T, TableError>> + use<T>, TableError> {
    Ok(batches(path, open::<T>(path)?))
}

/// A part whose row groups are read one at a time, in any order, by any number of threads.
pub struct PartGroups<T: Table> {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    table: PhantomData<T>,
}

impl<T: Table> PartGroups<T> {
    /// Reads the footer.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        let file = File::open(path).map_err(|source| TableError::Io { path: path.to_owned(), source })?;
        let parquet = |source| TableError::Parquet { path: path.to_owned(), source };
        let load = || ArrowReaderMetadata::load(&file, ArrowReaderOptions::default());
        let metadata = fenced(load).map_err(damaged(path))?.map_err(parquet)?;
        check_name::<T>(path, metadata.metadata().file_metadata().key_value_metadata())?;
        Ok(Self { path: path.to_owned(), metadata, table: PhantomData })
    }

    /// Rows of each group.
    pub fn rows(&self) -> Vec<usize> {
        self.metadata.metadata().row_groups().iter().map(|group| group.num_rows().max(0) as usize).collect()
    }

    /// One column of one group, without the bytes of the others.
    pub fn column<C: Column>(&self, group: usize, name: &str) -> Result<C, TableError> {
        let root = self.metadata.metadata().file_metadata().schema_descr();
        let mask = ProjectionMask::columns(root, [name]);
        let mut all = C::default();
        for batch in self.batches(group, mask)? {
            let batch = batch?;
            let missing = || TableError::Missing { column: name.to_owned() };
            all.append(&mut C::from_array(name, batch.column_by_name(name).ok_or_else(missing)?)?);
        }
        Ok(all)
    }

    /// Reads one group; a group that is not there has no rows.
    pub fn read(&self, group: usize) -> Result<T, TableError> {
        let mut all = T::default();
        for batch in self.batches(group, ProjectionMask::all())? {
            all.append(&mut fenced(|| T::from_batch(&batch?)).map_err(damaged(&self.path))??);
        }
        Ok(all)
    }

    fn batches(
        &self,
        group: usize,
        columns: ProjectionMask,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, TableError>> + use<T>, TableError> {
        let io = |source| TableError::Io { path: self.path.clone(), source };
        let parquet = |source| TableError::Parquet { path: self.path.clone(), source };
        // A clone of one file would share the place at which it is read with all others.
        let file = File::open(&self.path).map_err(io)?;
        let rows = self.rows().get(group).copied();
        let build = || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(rows.map(|_| group).into_iter().collect())
                .with_projection(columns)
                .with_batch_size(rows.unwrap_or(0).max(1))
                .build()
        };
        let reader = fenced(build).map_err(damaged(&self.path))?.map_err(parquet)?;
        Ok(record_batches(&self.path, reader))
    }
}

fn open<T: Table>(path: &Path) -> Result<ParquetRecordBatchReader, TableError> {
    let file = File::open(path).map_err(|source| TableError::Io { path: path.to_owned(), source })?;
    let parquet = |source| TableError::Parquet { path: path.to_owned(), source };
    let builder = fenced(|| ParquetRecordBatchReaderBuilder::try_new(file)).map_err(damaged(path))?.map_err(parquet)?;
    check_name::<T>(path, builder.metadata().file_metadata().key_value_metadata())?;
    fenced(|| builder.with_batch_size(64 << 10).build()).map_err(damaged(path))?.map_err(parquet)
}

/// An error unless the part holds this table in this version.
fn check_name<T: Table>(path: &Path, footer: Option<&Vec<KeyValue>>) -> Result<(), TableError> {
    let stored = footer.and_then(|all| all.iter().find(|kv| kv.key == "vitals.table"));
    let found = stored.and_then(|kv| kv.value.clone()).unwrap_or_default();
    if found == stored_name::<T>() {
        return Ok(());
    }
    Err(TableError::Version { path: path.to_owned(), found, wanted: stored_name::<T>() })
}

fn batches<T: Table>(
    path: &Path,
    reader: ParquetRecordBatchReader,
) -> impl Iterator<Item = Result<T, TableError>> + use<T> {
    let damage = damaged(path);
    record_batches(path, reader)
        .map(move |batch| fenced(|| T::from_batch(&batch?)).unwrap_or_else(|what| Err(damage(what))))
}

/// Batches up to the first error, which is the last item.
fn record_batches(
    path: &Path,
    mut reader: ParquetRecordBatchReader,
) -> impl Iterator<Item = Result<RecordBatch, TableError>> + use<> {
    let damage = damaged(path);
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let next = fenced(|| reader.next().map(|batch| batch.map_err(TableError::Arrow)));
        let batch = next.unwrap_or_else(|what| Some(Err(damage(what))));
        ended = !matches!(batch, Some(Ok(_)));
        batch
    })
}

fn damaged(path: &Path) -> impl Fn(String) -> TableError + use<> {
    let path = path.to_owned();
    move |what| TableError::Parquet { path: path.clone(), source: ParquetError::General(format!("damaged: {what}")) }
}

#[cfg(test)]
mod tests;
