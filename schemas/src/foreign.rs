//! Parquet files that others wrote to hold images: the layout of the Hugging Face hub.
//!
//! An image column (`image` or `img`) is either a struct with a binary child `bytes`, or binary itself; a label column
//! (`label`, `labels` or `fine_label`) holds integers, −1 or null meaning none; class names are in the file's metadata
//! under `huggingface`, as JSON. Labels are read once. Images are read a row group at a time, since a Parquet page
//! cannot be entered in the middle, and the last few groups are kept.
//!
//! The bytes are foreign: whatever they are, the answer is a value. The parquet crate panics on some corrupt pages, so
//! every call into it is fenced.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

/// Row groups kept decoded.
const CACHED_GROUPS: usize = 4;
/// Most rows a file may claim.
const MAX_ROWS: usize = 1 << 31;

const IMAGE_COLUMNS: [&str; 2] = ["image", "img"];
const LABEL_COLUMNS: [&str; 3] = ["label", "labels", "fine_label"];

/// A file of images that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not Parquet, or corrupt.
    #[error("{path}: corrupt parquet: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        what: String,
    },
    /// No image column.
    #[error("{path} has no binary column called image or img (or struct with a binary child bytes); it has: {found}")]
    NoImageColumn {
        /// The file.
        path: PathBuf,
        /// Names of the columns there are.
        found: String,
    },
    /// The image of this row is null: the file refers to a path elsewhere.
    #[error("{path}: row {row} holds no image bytes, only a path; use a file with embedded images")]
    NullImage {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
    },
    /// A row beyond the end.
    #[error("{path}: row {row} of {rows}")]
    NoSuchRow {
        /// The file.
        path: PathBuf,
        /// What was asked.
        row: usize,
        /// How many there are.
        rows: usize,
    },
}

/// One open file: its index and labels, and images by row.
pub struct ImageParquet {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// Leaf column of the image bytes.
    image_leaf: usize,
    /// First row of each row group, then the number of rows.
    starts: Vec<usize>,
    labels: Vec<Option<i64>>,
    class_names: Vec<String>,
    cache: Mutex<VecDeque<(usize, Arc<Group>)>>,
}

/// The images of a row group, decoded by whoever asks first.
#[derive(Default)]
struct Group {
    images: OnceLock<Result<BinaryArray, String>>,
}

impl ImageParquet {
    /// Reads the footer and the labels.
    pub fn open(path: &Path) -> Result<Self, ForeignError> {
        let file = File::open(path).map_err(|source| ForeignError::Io { path: path.to_owned(), source })?;
        let malformed = |what: String| ForeignError::Malformed { path: path.to_owned(), what };
        // Physical types only: an embedded Arrow schema could ask for any other layout of the same bytes.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = fenced(|| ArrowReaderMetadata::load(&file, options)).map_err(malformed)?;

        let mut starts = vec![0_usize];
        for group in metadata.metadata().row_groups() {
            let rows = usize::try_from(group.num_rows()).ok();
            let end = rows.and_then(|rows| rows.checked_add(starts[starts.len() - 1])).filter(|&end| end <= MAX_ROWS);
            starts.push(end.ok_or_else(|| malformed(format!("a row group of {} rows", group.num_rows())))?);
        }
        let image_leaf = image_leaf(&metadata).ok_or_else(|| ForeignError::NoImageColumn {
            path: path.to_owned(),
            found: metadata.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", "),
        })?;
        let rows = starts[starts.len() - 1];
        let labels = match label_leaf(&metadata) {
            Some((leaf, _)) => read_labels(file, &metadata, leaf).map_err(malformed)?,
            None => vec![None; rows],
        };
        if labels.len() != rows {
            return Err(malformed(format!("{} labels for {rows} rows", labels.len())));
        }
        let class_names = label_leaf(&metadata).and_then(|(_, name)| class_names(&metadata, name)).unwrap_or_default();
        let cache = Mutex::new(VecDeque::new());
        Ok(Self { path: path.to_owned(), metadata, image_leaf, starts, labels, class_names, cache })
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The label of each row; none where the file has none, or holds a negative number.
    pub fn labels(&self) -> &[Option<i64>] {
        &self.labels
    }

    /// Class names from the metadata of the Hugging Face hub, or nothing.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Stored bytes per row of the image column, as the row group's mean: the only size known without reading.
    pub fn mean_bytes(&self, row: usize) -> u64 {
        let Some(group) = self.group_of(row) else { return 0 };
        let rows = (self.starts[group + 1] - self.starts[group]) as u64;
        let stored = self.metadata.metadata().row_group(group).column(self.image_leaf).compressed_size();
        u64::try_from(stored).unwrap_or(0) / rows.max(1)
    }

    /// The bytes of one image file. Thread-safe.
    pub fn read(&self, row: usize) -> Result<Vec<u8>, ForeignError> {
        let missing = || ForeignError::NoSuchRow { path: self.path.clone(), row, rows: self.len() };
        let index = self.group_of(row).ok_or_else(missing)?;
        let group = self.group(index);
        let images = group.images.get_or_init(|| self.decode(index)).as_ref();
        let images = images.map_err(|what| ForeignError::Malformed { path: self.path.clone(), what: what.clone() })?;
        let at = row - self.starts[index];
        if at >= images.len() {
            return Err(missing());
        }
        if images.is_null(at) {
            return Err(ForeignError::NullImage { path: self.path.clone(), row });
        }
        Ok(images.value(at).to_vec())
    }

    fn group_of(&self, row: usize) -> Option<usize> {
        (row < self.len()).then(|| self.starts.partition_point(|&start| start <= row) - 1)
    }

    fn group(&self, index: usize) -> Arc<Group> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = cache.iter().position(|(group, _)| *group == index).and_then(|at| cache.remove(at));
        let (_, group) = cached.unwrap_or_default();
        cache.push_front((index, Arc::clone(&group)));
        cache.truncate(CACHED_GROUPS);
        group
    }

    fn decode(&self, index: usize) -> Result<BinaryArray, String> {
        let file = File::open(&self.path).map_err(|error| error.to_string())?;
        let rows = self.starts[index + 1] - self.starts[index];
        let column = fenced(|| {
            let reader = reader(file, &self.metadata, self.image_leaf, Some(index), rows)?;
            let batches = reader.collect::<Result<Vec<_>, _>>()?;
            let columns: Vec<_> = batches.iter().map(|batch| innermost(batch.column(0))).collect();
            let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
            arrow::compute::concat(&columns)
        })?;
        column.as_binary_opt::<i32>().cloned().ok_or_else(|| format!("images of type {}", column.data_type()))
    }
}

/// Runs a call into the parquet crate, which returns errors and, on some corrupt files, panics.
fn fenced<T, E: std::fmt::Display>(call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the reader gave up".to_owned()),
    }
}

fn reader(
    file: File,
    metadata: &ArrowReaderMetadata,
    leaf: usize,
    group: Option<usize>,
    batch_rows: usize,
) -> parquet::errors::Result<ParquetRecordBatchReader> {
    let mask = ProjectionMask::leaves(metadata.parquet_schema(), [leaf]);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
        .with_projection(mask)
        .with_batch_size(batch_rows.clamp(1, 8192));
    match group {
        Some(group) => builder.with_row_groups(vec![group]).build(),
        None => builder.build(),
    }
}

/// The binary array itself, or the one child that the projection left of a struct, with the struct's nulls.
fn innermost(column: &ArrayRef) -> ArrayRef {
    match column.as_struct_opt() {
        Some(fields) if fields.num_columns() == 1 => {
            let child = fields.column(0);
            match (fields.nulls(), child.as_binary_opt::<i32>()) {
                (Some(outer), Some(images)) => {
                    let nulls = arrow::buffer::NullBuffer::union(Some(outer), images.nulls());
                    Arc::new(BinaryArray::new(images.offsets().clone(), images.values().clone(), nulls))
                }
                _ => Arc::clone(child),
            }
        }
        _ => Arc::clone(column),
    }
}

fn image_leaf(metadata: &ArrowReaderMetadata) -> Option<usize> {
    IMAGE_COLUMNS.iter().find_map(|name| {
        let field = metadata.schema().field_with_name(name).ok()?;
        let path: Vec<&str> = match field.data_type() {
            DataType::Binary => vec![name],
            DataType::Struct(children) => {
                let bytes = children.iter().find(|child| child.name() == "bytes")?;
                (*bytes.data_type() == DataType::Binary).then(|| vec![*name, "bytes"])?
            }
            _ => return None,
        };
        leaf_at(metadata, &path)
    })
}

fn label_leaf(metadata: &ArrowReaderMetadata) -> Option<(usize, &'static str)> {
    LABEL_COLUMNS.iter().find_map(|name| {
        let field = metadata.schema().field_with_name(name).ok()?;
        field.data_type().is_integer().then_some(())?;
        Some((leaf_at(metadata, &[name])?, *name))
    })
}

fn leaf_at(metadata: &ArrowReaderMetadata, path: &[&str]) -> Option<usize> {
    metadata.parquet_schema().columns().iter().position(|column| column.path().parts() == path)
}

fn read_labels(file: File, metadata: &ArrowReaderMetadata, leaf: usize) -> Result<Vec<Option<i64>>, String> {
    fenced(|| {
        let mut labels = Vec::new();
        for batch in reader(file, metadata, leaf, None, 8192)? {
            let column = arrow::compute::cast(batch?.column(0), &DataType::Int64)?;
            labels.extend(column.as_primitive::<Int64Type>().iter().map(|label| label.filter(|&label| label >= 0)));
        }
        Ok::<_, arrow::error::ArrowError>(labels)
    })
}

/// `huggingface` → info → features → column → names.
fn class_names(metadata: &ArrowReaderMetadata, column: &str) -> Option<Vec<String>> {
    let pairs = metadata.metadata().file_metadata().key_value_metadata()?;
    let text = pairs.iter().find(|pair| pair.key == "huggingface")?.value.as_ref()?;
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let names = json.pointer(&format!("/info/features/{column}/names"))?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
