//! A table: a struct of columns with a name and a version on disk.
//!
//! The `table!` macro writes the conversions, so that a table's file holds its columns' meanings and nothing else.
//! Readers accept their own version only; a change of columns bumps the version and leaves old stores readable by
//! Polars and DuckDB, which need no schema of ours.

use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use thiserror::Error;

/// A typed table.
pub trait Table: Default + Send + 'static {
    /// Folder of the table in a store.
    const NAME: &'static str;
    /// Schema version, stored in every part.
    const VERSION: u32;
    /// Column names and their meanings, in order.
    const COLUMNS: &'static [(&'static str, &'static str)];
    /// Whether rows are large and read in any order, so that row groups must be small.
    const RANDOM: bool = false;
    /// Rows.
    fn rows(&self) -> usize;
    /// Arrow schema (vector lengths are those of the rows at hand).
    fn schema(&self) -> SchemaRef;
    /// The rows as one Arrow batch; no value is copied where Arrow lays it out alike.
    fn into_batch(self) -> Result<RecordBatch, TableError>;
    /// Reads a batch back.
    fn from_batch(batch: &RecordBatch) -> Result<Self, TableError>;
    /// Appends the rows of another table, leaving it empty.
    fn append(&mut self, other: &mut Self);
}

/// What can go wrong between a table in memory and a part file.
#[derive(Debug, Error)]
pub enum TableError {
    /// A column has another type than the table says.
    #[error("column `{column}` has type {found}, which this version does not read")]
    Column {
        /// Column name.
        column: String,
        /// Arrow type found.
        found: String,
    },
    /// A column is missing.
    #[error("column `{column}` is missing")]
    Missing {
        /// Column name.
        column: String,
    },
    /// A column that may not hold nulls does.
    #[error("column `{column}` holds nulls")]
    Nulls {
        /// Column name.
        column: String,
    },
    /// The part belongs to another table or version.
    #[error("{path} holds table `{found}`, not `{wanted}`; it was written by another version of vitals")]
    Version {
        /// Part file.
        path: PathBuf,
        /// `name v1` as stored.
        found: String,
        /// `name v2` as wanted.
        wanted: String,
    },
    /// Arrow refused.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// Parquet refused.
    #[error("{path}: {source}")]
    Parquet {
        /// Part file.
        path: PathBuf,
        /// Parquet's own words.
        source: parquet::errors::ParquetError,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// File.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
}

macro_rules! table {
    (
        $(#[$doc:meta])*
        $name:ident = $disk:literal v $version:literal $(random $random:literal)? {
            $( #[doc = $coldoc:literal] $col:ident : $ty:ty ),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name {
            $( #[doc = $coldoc] pub $col: $ty, )+
        }

        impl $crate::table::Table for $name {
            const NAME: &'static str = $disk;
            const VERSION: u32 = $version;
            const COLUMNS: &'static [(&'static str, &'static str)] = &[$((stringify!($col), $coldoc)),+];
            $(const RANDOM: bool = $random;)?

            fn rows(&self) -> usize {
                let counts = [$($crate::column::Column::rows(&self.$col)),+];
                debug_assert!(counts.iter().all(|&n| n == counts[0]), "columns of {} differ: {counts:?}", $disk);
                counts[0]
            }

            fn schema(&self) -> arrow_schema::SchemaRef {
                std::sync::Arc::new(arrow_schema::Schema::new(vec![
                    $($crate::column::Column::field(&self.$col, stringify!($col))),+
                ]))
            }

            fn into_batch(self) -> Result<arrow_array::RecordBatch, $crate::table::TableError> {
                Ok(arrow_array::RecordBatch::try_new(
                    self.schema(),
                    vec![$($crate::column::Column::into_array(self.$col)),+],
                )?)
            }

            fn from_batch(batch: &arrow_array::RecordBatch) -> Result<Self, $crate::table::TableError> {
                Ok(Self {
                    $($col: $crate::column::Column::from_array(
                        stringify!($col),
                        batch.column_by_name(stringify!($col)).ok_or_else(|| $crate::table::TableError::Missing {
                            column: stringify!($col).to_owned(),
                        })?,
                    )?),+
                })
            }

            fn append(&mut self, other: &mut Self) {
                $($crate::column::Column::append(&mut self.$col, &mut other.$col);)+
            }
        }
    };
}
pub(crate) use table;
