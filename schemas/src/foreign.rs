//! Parquet files that others wrote to hold images: the layout of the Hugging Face hub.
//!
//! An image column (`image` or `img`) is either a struct with a binary child `bytes`, or binary itself; a label column
//! (`label`, `labels` or `fine_label`) holds integers, −1 or null meaning none; class names are in the file's metadata
//! under `huggingface`, as JSON. Labels are read once. Images are read a row group at a time, since a Parquet page
//! cannot be entered in the middle, and a [`GroupCache`] keeps the last few groups of all files: memory does not grow with
//! their number.
//!
//! The bytes are foreign: whatever they are, the answer is a value.

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BinaryArray};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use crate::fence::fenced;

/// Row groups kept decoded, of all files.
const CACHED_GROUPS: usize = 4;

const IMAGE_COLUMNS: [&str; 2] = ["image", "img"];
const LABEL_COLUMNS: [&str; 3] = ["label", "labels", "fine_label"];

/// A file of images that could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ForeignError {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said; shared by all rows of a group that could not be read.
        source: Arc<std::io::Error>,
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

impl ForeignError {
    /// A short reason that is the same on every machine, for the table of skipped images.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "cannot read",
            Self::Malformed { .. } => "corrupt parquet",
            Self::NoImageColumn { .. } => "no image column",
            Self::NullImage { .. } => "no embedded image",
            Self::NoSuchRow { .. } => "no such row",
        }
    }

    /// What the reader said about a file: the system's refusals told from damage.
    fn of(path: &Path, error: ParquetError) -> Self {
        let said = match error {
            ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(source) if source.kind() != ErrorKind::UnexpectedEof => return Self::io(path, *source),
                Ok(source) => source.to_string(),
                Err(inner) => inner.to_string(),
            },
            other => other.to_string(),
        };
        Self::malformed(path, said)
    }

    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source: Arc::new(source) }
    }

    fn malformed(path: &Path, what: String) -> Self {
        Self::Malformed { path: path.to_owned(), what }
    }
}

/// The row groups decoded last, of all files that are read with it. A file must not change meanwhile.
#[derive(Default)]
pub struct GroupCache {
    /// The latest first.
    groups: Mutex<VecDeque<Cached>>,
}

/// A row group by its file and number.
struct Cached {
    path: PathBuf,
    index: usize,
    group: Arc<Group>,
}

/// The images of a row group, decoded by whoever asks first.
#[derive(Default)]
struct Group {
    images: OnceLock<Result<BinaryArray, ForeignError>>,
}

impl GroupCache {
    fn group(&self, path: &Path, index: usize) -> Arc<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let at = groups.iter().position(|cached| cached.index == index && cached.path == path);
        let cached = at.and_then(|at| groups.remove(at));
        let cached = cached.unwrap_or_else(|| Cached { path: path.to_owned(), index, group: Arc::default() });
        let group = Arc::clone(&cached.group);
        groups.push_front(cached);
        groups.truncate(CACHED_GROUPS);
        group
    }

    /// Lets the next reader of a group try again.
    fn forget(&self, group: &Arc<Group>) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|cached| !Arc::ptr_eq(&cached.group, group));
    }
}

/// The index and labels of one file, and its images by row.
pub struct ImageParquet {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// Leaf column of the image bytes.
    image_leaf: usize,
    /// First row of each row group, then the number of rows.
    starts: Vec<usize>,
    labels: Vec<Option<i64>>,
    class_names: Vec<String>,
}

impl ImageParquet {
    /// Reads the footer and the labels.
    pub fn open(path: &Path) -> Result<Self, ForeignError> {
        let malformed = |what: String| ForeignError::malformed(path, what);
        let file = File::open(path).map_err(|source| ForeignError::io(path, source))?;
        let bytes = file.metadata().map_err(|source| ForeignError::io(path, source))?.len();
        // Physical types only: an embedded Arrow schema could ask for any other layout of the same bytes.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = read_fenced(path, || ArrowReaderMetadata::load(&file, options))?;

        let mut starts = vec![0_usize];
        for group in metadata.metadata().row_groups() {
            let rows = usize::try_from(group.num_rows()).ok();
            // An image is a byte at least, and so a footer cannot ask for more memory than the file is worth.
            let end = rows.and_then(|rows| rows.checked_add(starts[starts.len() - 1]));
            let end = end.filter(|&end| end as u64 <= bytes);
            starts.push(end.ok_or_else(|| {
                malformed(format!("a row group of {} rows in a file of {bytes} bytes", group.num_rows()))
            })?);
        }
        let image_leaf = image_leaf(&metadata).ok_or_else(|| ForeignError::NoImageColumn {
            path: path.to_owned(),
            found: metadata.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", "),
        })?;
        let rows = starts[starts.len() - 1];
        let labels = match label_leaf(&metadata) {
            Some((leaf, _)) => read_labels(path, file, &metadata, leaf)?,
            None => vec![None; rows],
        };
        if labels.len() != rows {
            return Err(malformed(format!("{} labels for {rows} rows", labels.len())));
        }
        let class_names = label_leaf(&metadata).and_then(|(_, name)| class_names(&metadata, name)).unwrap_or_default();
        Ok(Self { path: path.to_owned(), metadata, image_leaf, starts, labels, class_names })
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
    pub fn read(&self, row: usize, cache: &GroupCache) -> Result<Vec<u8>, ForeignError> {
        let missing = || ForeignError::NoSuchRow { path: self.path.clone(), row, rows: self.len() };
        let index = self.group_of(row).ok_or_else(missing)?;
        let group = cache.group(&self.path, index);
        let images = group.images.get_or_init(|| self.decode(index)).as_ref().map_err(|error| {
            // Damage stays; a refusal of the system may pass.
            if matches!(error, ForeignError::Io { .. }) {
                cache.forget(&group);
            }
            error.clone()
        })?;
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

    fn decode(&self, index: usize) -> Result<BinaryArray, ForeignError> {
        let file = File::open(&self.path).map_err(|source| ForeignError::io(&self.path, source))?;
        let rows = self.starts[index + 1] - self.starts[index];
        let column = read_fenced(&self.path, || {
            let reader = reader(file, &self.metadata, self.image_leaf, Some(index), rows)?;
            let batches = reader.collect::<Result<Vec<_>, _>>()?;
            let columns: Vec<_> = batches.iter().map(|batch| innermost(batch.column(0))).collect();
            let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
            Ok(arrow_select::concat::concat(&columns)?)
        })?;
        let images = column.as_binary_opt::<i32>().cloned();
        images.ok_or_else(|| ForeignError::malformed(&self.path, format!("images of type {}", column.data_type())))
    }
}

fn read_fenced<T>(path: &Path, read: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T, ForeignError> {
    fenced(read).map_err(|what| ForeignError::malformed(path, what))?.map_err(|error| ForeignError::of(path, error))
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
                    let nulls = arrow_buffer::NullBuffer::union(Some(outer), images.nulls());
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

fn read_labels(
    path: &Path,
    file: File,
    metadata: &ArrowReaderMetadata,
    leaf: usize,
) -> Result<Vec<Option<i64>>, ForeignError> {
    read_fenced(path, || {
        let mut labels = Vec::new();
        for batch in reader(file, metadata, leaf, None, 8192)? {
            labels.extend(integers(batch?.column(0)).into_iter().map(|label| label.filter(|&label| label >= 0)));
        }
        Ok(labels)
    })
}

/// Integers of any width; none for null and for what is beyond `i64`.
fn integers(column: &ArrayRef) -> Vec<Option<i64>> {
    fn widened<T: ArrowPrimitiveType<Native: TryInto<i64>>>(column: &ArrayRef) -> Vec<Option<i64>> {
        column.as_primitive::<T>().iter().map(|value| value?.try_into().ok()).collect()
    }
    match column.data_type() {
        DataType::Int8 => widened::<Int8Type>(column),
        DataType::Int16 => widened::<Int16Type>(column),
        DataType::Int32 => widened::<Int32Type>(column),
        DataType::Int64 => widened::<Int64Type>(column),
        DataType::UInt8 => widened::<UInt8Type>(column),
        DataType::UInt16 => widened::<UInt16Type>(column),
        DataType::UInt32 => widened::<UInt32Type>(column),
        DataType::UInt64 => widened::<UInt64Type>(column),
        _ => vec![None; column.len()],
    }
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
