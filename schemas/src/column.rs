//! The kinds of column that a table may have, and how each lies in Arrow.
//!
//! A column is a growable vector in memory and one Arrow array on disk. Sampled vectors are `FixedSizeList<f32>`,
//! which every Parquet reader opens; short names repeated on every row are shared `Arc<str>` in memory and plain
//! UTF-8 with Parquet's own dictionary on disk, so that no reader needs categorical types.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field};

use crate::table::TableError;

/// A short name that repeats on many rows (a site, a model, a kind of token).
pub type Name = Arc<str>;

/// One column of a table.
pub trait Column: Default {
    /// Rows.
    fn rows(&self) -> usize;
    /// Arrow field of this column under a name.
    fn field(&self, name: &str) -> Field;
    /// The column as one Arrow array.
    fn to_array(&self) -> ArrayRef;
    /// Reads an array back, or names what was found instead.
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError>;
    /// Appends the rows of another column of the same kind.
    fn append(&mut self, other: &mut Self);
}

fn downcast<'a, A: Array + 'static>(name: &str, array: &'a ArrayRef) -> Result<&'a A, TableError> {
    array
        .as_any()
        .downcast_ref::<A>()
        .ok_or_else(|| TableError::Column { column: name.to_owned(), found: array.data_type().to_string() })
}

macro_rules! plain_column {
    ($rust:ty, $array:ty, $data:expr) => {
        impl Column for Vec<$rust> {
            fn rows(&self) -> usize {
                self.len()
            }
            fn field(&self, name: &str) -> Field {
                Field::new(name, $data, false)
            }
            fn to_array(&self) -> ArrayRef {
                Arc::new(<$array>::from(self.clone()))
            }
            fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
                let array = downcast::<$array>(name, array)?;
                if array.null_count() > 0 {
                    return Err(TableError::Nulls { column: name.to_owned() });
                }
                Ok((0..array.len()).map(|i| array.value(i)).collect())
            }
            fn append(&mut self, other: &mut Self) {
                Vec::append(self, other);
            }
        }

        impl Column for Vec<Option<$rust>> {
            fn rows(&self) -> usize {
                self.len()
            }
            fn field(&self, name: &str) -> Field {
                Field::new(name, $data, true)
            }
            fn to_array(&self) -> ArrayRef {
                Arc::new(<$array>::from(self.clone()))
            }
            fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
                let array = downcast::<$array>(name, array)?;
                Ok((0..array.len()).map(|i| array.is_valid(i).then(|| array.value(i))).collect())
            }
            fn append(&mut self, other: &mut Self) {
                Vec::append(self, other);
            }
        }
    };
}

plain_column!(u8, UInt8Array, DataType::UInt8);
plain_column!(u16, UInt16Array, DataType::UInt16);
plain_column!(u32, UInt32Array, DataType::UInt32);
plain_column!(u64, UInt64Array, DataType::UInt64);
plain_column!(i32, Int32Array, DataType::Int32);
plain_column!(f32, Float32Array, DataType::Float32);
plain_column!(f64, Float64Array, DataType::Float64);
plain_column!(bool, BooleanArray, DataType::Boolean);

impl Column for Vec<Name> {
    fn rows(&self) -> usize {
        self.len()
    }
    fn field(&self, name: &str) -> Field {
        Field::new(name, DataType::Utf8, false)
    }
    fn to_array(&self) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(self.iter().map(|s| &**s)))
    }
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
        let array = downcast::<StringArray>(name, array)?;
        if array.null_count() > 0 {
            return Err(TableError::Nulls { column: name.to_owned() });
        }
        // Runs of one name share one allocation.
        let mut names: Vec<Name> = Vec::with_capacity(array.len());
        for i in 0..array.len() {
            match names.last() {
                Some(last) if **last == *array.value(i) => names.push(Arc::clone(last)),
                _ => names.push(array.value(i).into()),
            }
        }
        Ok(names)
    }
    fn append(&mut self, other: &mut Self) {
        Vec::append(self, other);
    }
}

impl Column for Vec<Option<Name>> {
    fn rows(&self) -> usize {
        self.len()
    }
    fn field(&self, name: &str) -> Field {
        Field::new(name, DataType::Utf8, true)
    }
    fn to_array(&self) -> ArrayRef {
        Arc::new(self.iter().map(|s| s.as_deref()).collect::<StringArray>())
    }
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
        let array = downcast::<StringArray>(name, array)?;
        Ok((0..array.len()).map(|i| array.is_valid(i).then(|| array.value(i).into())).collect())
    }
    fn append(&mut self, other: &mut Self) {
        Vec::append(self, other);
    }
}

impl Column for Vec<Vec<u8>> {
    fn rows(&self) -> usize {
        self.len()
    }
    fn field(&self, name: &str) -> Field {
        Field::new(name, DataType::Binary, false)
    }
    fn to_array(&self) -> ArrayRef {
        Arc::new(BinaryArray::from_iter_values(self))
    }
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
        let array = downcast::<BinaryArray>(name, array)?;
        Ok((0..array.len()).map(|i| array.value(i).to_vec()).collect())
    }
    fn append(&mut self, other: &mut Self) {
        Vec::append(self, other);
    }
}

/// Rows of equal length D, row-major: `FixedSizeList<f32>[D]` on disk.
///
/// `dim` is set by the first row; an empty column has dim 0 until then.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vectors {
    dim: usize,
    values: Vec<f32>,
}

impl Vectors {
    /// An empty column of rows of length `dim`.
    pub fn with_dim(dim: usize) -> Self {
        Self { dim, values: Vec::new() }
    }

    /// Length of a row, D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Appends a row. The first row fixes D of a column that has none.
    ///
    /// # Panics
    /// When the row's length is not D: a table holds the vectors of one model only.
    pub fn push(&mut self, row: &[f32]) {
        if self.dim == 0 {
            self.dim = row.len();
        }
        assert_eq!(row.len(), self.dim, "rows of one column have one length");
        self.values.extend_from_slice(row);
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..(i + 1) * self.dim]
    }

    /// All values, row-major `[rows, D]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl Column for Vectors {
    fn rows(&self) -> usize {
        self.values.len().checked_div(self.dim).unwrap_or(0)
    }
    fn field(&self, name: &str) -> Field {
        Field::new(name, DataType::FixedSizeList(item(), self.dim as i32), false)
    }
    fn to_array(&self) -> ArrayRef {
        let values = Arc::new(Float32Array::from(self.values.clone()));
        Arc::new(FixedSizeListArray::new(item(), self.dim as i32, values, None))
    }
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
        let list = downcast::<FixedSizeListArray>(name, array)?;
        let dim = list.value_length() as usize;
        // `values()` ignores the slice that `list` may be of a larger array.
        let start = list.offset() * dim;
        let values = downcast::<Float32Array>(name, list.values())?.values()[start..start + list.len() * dim].to_vec();
        Ok(Self { dim, values })
    }
    fn append(&mut self, other: &mut Self) {
        if self.dim == 0 {
            self.dim = other.dim;
        }
        assert!(self.dim == other.dim || other.values.is_empty(), "rows of one column have one length");
        self.values.append(&mut other.values);
    }
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, false))
}
