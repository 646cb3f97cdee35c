//! The kinds of column that a table may have, and how each lies in Arrow.
//!
//! A column is a growable vector in memory and one Arrow array on disk. Sampled vectors are `FixedSizeList<f32>`,
//! which every Parquet reader opens; short names repeated on every row are shared `Arc<str>` in memory and plain
//! UTF-8 with Parquet's own dictionary on disk, so that no reader needs categorical types.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    LargeBinaryArray, ListArray, StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};

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
    fn into_array(self) -> ArrayRef;
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

/// The array of a column that may not hold nulls.
fn whole<'a, A: Array + 'static>(name: &str, array: &'a ArrayRef) -> Result<&'a A, TableError> {
    let array = downcast::<A>(name, array)?;
    match array.null_count() {
        0 => Ok(array),
        _ => Err(TableError::Nulls { column: name.to_owned() }),
    }
}

macro_rules! plain_column {
    ($rust:ty, $array:ty, $data:expr, $values:expr) => {
        impl Column for Vec<$rust> {
            fn rows(&self) -> usize {
                self.len()
            }
            fn field(&self, name: &str) -> Field {
                Field::new(name, $data, false)
            }
            fn into_array(self) -> ArrayRef {
                Arc::new(<$array>::from(self))
            }
            fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
                let values: fn(&$array) -> Vec<$rust> = $values;
                Ok(values(whole::<$array>(name, array)?))
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
            fn into_array(self) -> ArrayRef {
                Arc::new(<$array>::from(self))
            }
            fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
                let array = downcast::<$array>(name, array)?;
                Ok(array.iter().collect())
            }
            fn append(&mut self, other: &mut Self) {
                Vec::append(self, other);
            }
        }
    };
}

plain_column!(u8, UInt8Array, DataType::UInt8, |array| array.values().to_vec());
plain_column!(u16, UInt16Array, DataType::UInt16, |array| array.values().to_vec());
plain_column!(u32, UInt32Array, DataType::UInt32, |array| array.values().to_vec());
plain_column!(u64, UInt64Array, DataType::UInt64, |array| array.values().to_vec());
plain_column!(i32, Int32Array, DataType::Int32, |array| array.values().to_vec());
plain_column!(f32, Float32Array, DataType::Float32, |array| array.values().to_vec());
plain_column!(f64, Float64Array, DataType::Float64, |array| array.values().to_vec());
plain_column!(bool, BooleanArray, DataType::Boolean, |array| array.values().iter().collect());

impl Column for Vec<Name> {
    fn rows(&self) -> usize {
        self.len()
    }
    fn field(&self, name: &str) -> Field {
        Field::new(name, DataType::Utf8, false)
    }
    fn into_array(self) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(self.iter().map(|s| &**s)))
    }
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
        let array = whole::<StringArray>(name, array)?;
        // Runs of one name share one allocation.
        let mut names: Vec<Name> = Vec::with_capacity(array.len());
        for name in array.iter().flatten() {
            match names.last() {
                Some(last) if **last == *name => names.push(Arc::clone(last)),
                _ => names.push(name.into()),
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
    fn into_array(self) -> ArrayRef {
        Arc::new(self.iter().map(|s| s.as_deref()).collect::<StringArray>())
    }
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
        Ok(downcast::<StringArray>(name, array)?.iter().map(|name| name.map(Name::from)).collect())
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
    fn into_array(self) -> ArrayRef {
        Arc::new(BinaryArray::from_iter_values(self))
    }
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
        Ok(whole::<BinaryArray>(name, array)?.iter().flatten().map(<[u8]>::to_vec).collect())
    }
    fn append(&mut self, other: &mut Self) {
        Vec::append(self, other);
    }
}

/// Numbers in f16, little-endian, of any length: `LargeBinary` on disk, which is written as it is. Features have no
/// pattern that a compressor finds, and a head reads them many times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Halves(pub Vec<u8>);

impl Column for Vec<Halves> {
    fn rows(&self) -> usize {
        self.len()
    }
    fn field(&self, name: &str) -> Field {
        Field::new(name, DataType::LargeBinary, false)
    }
    fn into_array(self) -> ArrayRef {
        Arc::new(LargeBinaryArray::from_iter_values(self.iter().map(|h| &h.0)))
    }
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
        Ok(whole::<LargeBinaryArray>(name, array)?.iter().flatten().map(|bytes| Halves(bytes.to_vec())).collect())
    }
    fn append(&mut self, other: &mut Self) {
        Vec::append(self, other);
    }
}

/// Rows of any length: `List<f32>` on disk.
impl Column for Vec<Vec<f32>> {
    fn rows(&self) -> usize {
        self.len()
    }
    fn field(&self, name: &str) -> Field {
        Field::new(name, DataType::List(item()), false)
    }
    fn into_array(self) -> ArrayRef {
        let offsets = OffsetBuffer::from_lengths(self.iter().map(Vec::len));
        let values = Arc::new(Float32Array::from(self.concat()));
        Arc::new(ListArray::new(item(), offsets, values, None))
    }
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
        let list = whole::<ListArray>(name, array)?;
        (0..list.len()).map(|i| Ok(whole::<Float32Array>(name, &list.value(i))?.values().to_vec())).collect()
    }
    fn append(&mut self, other: &mut Self) {
        Vec::append(self, other);
    }
}

/// Rows of equal length D, row-major: `FixedSizeList<f32>[D]` on disk.
///
/// A column made by [`Vectors::with_dim`] has its D from the start. One made by `default` takes D from its first row and
/// has 0 until then, so a part that may end without rows begins with the former: otherwise its type on disk is
/// `FixedSizeList[0]`, which readers refuse beside the `[D]` of other parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vectors {
    dim: usize,
    values: Vec<f32>,
}

impl Vectors {
    /// An empty column of rows of length `dim`, which it keeps on disk even without rows.
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
    fn into_array(self) -> ArrayRef {
        let values = Arc::new(Float32Array::from(self.values));
        Arc::new(FixedSizeListArray::new(item(), self.dim as i32, values, None))
    }
    fn from_array(name: &str, array: &ArrayRef) -> Result<Self, TableError> {
        let list = whole::<FixedSizeListArray>(name, array)?;
        let dim = list.value_length() as usize;
        // `values()` ignores the slice that `list` may be of a larger array.
        let start = list.offset() * dim;
        let values = whole::<Float32Array>(name, list.values())?.values()[start..start + list.len() * dim].to_vec();
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use arrow_array::types::Float32Type;
    use arrow_buffer::NullBuffer;

    use super::*;

    /// Breaks when a null is read as an empty or a zero value.
    #[test]
    fn nulls_are_refused_where_a_column_has_none() {
        fn refuses<C: Column>(array: impl Array + 'static) {
            let refused = C::from_array("c", &(Arc::new(array) as ArrayRef)).err();
            assert!(matches!(refused, Some(TableError::Nulls { ref column }) if column == "c"), "{refused:?}");
        }
        refuses::<Vec<u32>>(UInt32Array::from(vec![Some(1), None]));
        refuses::<Vec<Name>>(StringArray::from(vec![Some("a"), None]));
        let some = |v: f32| Some(vec![Some(v)]);
        refuses::<Vec<Vec<f32>>>(ListArray::from_iter_primitive::<Float32Type, _, _>([some(1.0), None]));
        refuses::<Vec<Vec<f32>>>(ListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(1.0), None])]));
        refuses::<Vec<Vec<u8>>>(BinaryArray::from(vec![Some(&b"a"[..]), None]));
        let values = Arc::new(Float32Array::from(vec![1.0, 2.0, 3.0, 4.0]));
        let outer = NullBuffer::from(vec![true, false]);
        refuses::<Vectors>(FixedSizeListArray::new(item(), 2, values, Some(outer)));
        let nullable = Arc::new(Field::new("item", DataType::Float32, true));
        let values = Arc::new(Float32Array::from(vec![Some(1.0), None]));
        refuses::<Vectors>(FixedSizeListArray::new(nullable, 2, values, None));
    }

    /// Breaks when a slice is read from the start of the array that it is a part of.
    #[test]
    fn slices_are_read_from_where_they_start() {
        let bools: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, false, true]));
        assert_eq!(Vec::<bool>::from_array("c", &bools.slice(2, 2)).unwrap(), [false, true]);
        let numbers = vec![5_u16, 6, 7].into_array();
        assert_eq!(Vec::<u16>::from_array("c", &numbers.slice(1, 2)).unwrap(), [6, 7]);
        let lists = vec![vec![1.0_f32], vec![], vec![2.0, 3.0]];
        assert_eq!(Vec::<Vec<f32>>::from_array("c", &lists.clone().into_array().slice(1, 2)).unwrap(), lists[1..]);
        let mut vectors = Vectors::with_dim(2);
        vectors.push(&[1.0, 2.0]);
        vectors.push(&[3.0, 4.0]);
        assert_eq!(Vectors::from_array("c", &vectors.into_array().slice(1, 1)).unwrap().values(), [3.0, 4.0]);
    }
}
