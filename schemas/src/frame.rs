//! A small table whose columns are named at run time: the numbers behind a figure or a printed table.
//!
//! A column takes its type from its first value and keeps it. Numbers that are not finite are null, since no reader of
//! CSV or Parquet agrees with another on them. [`Frame::parquet`] gives the bytes of a file; they depend on the rows alone.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::column::{Column as _, Name};
use crate::table::TableError;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(Name),
    /// A finite number, or null.
    Number(Option<f64>),
    /// A count or index, or null.
    Count(Option<u64>),
    /// Numbers of one map, row-major.
    List(Vec<f32>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.as_str().into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::from(Some(number))
    }
}

impl From<Option<f64>> for Value {
    fn from(number: Option<f64>) -> Self {
        Self::Number(number.filter(|x| x.is_finite()))
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(Some(count))
    }
}

impl From<Option<u64>> for Value {
    fn from(count: Option<u64>) -> Self {
        Self::Count(count)
    }
}

impl From<&[f32]> for Value {
    fn from(values: &[f32]) -> Self {
        Self::List(values.to_vec())
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    Text(Vec<Name>),
    Number(Vec<Option<f64>>),
    Count(Vec<Option<u64>>),
    List(Vec<Vec<f32>>),
}

/// Named columns of equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    names: Vec<&'static str>,
    /// Empty until there is a row.
    columns: Vec<Values>,
    rows: usize,
}

impl Frame {
    /// A frame without rows.
    pub fn new<const N: usize>(names: [&'static str; N]) -> Self {
        Self { names: names.to_vec(), ..Self::default() }
    }

    /// Column names.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends a row.
    ///
    /// # Panics
    /// When the row has not the frame's columns, or a value not its column's type: both are faults of the caller.
    pub fn push<const N: usize>(&mut self, row: [Value; N]) {
        assert_eq!(N, self.names.len(), "a row has the columns of its frame");
        if self.columns.is_empty() {
            let empty = |value: &Value| match value {
                Value::Text(_) => Values::Text(vec![]),
                Value::Number(_) => Values::Number(vec![]),
                Value::Count(_) => Values::Count(vec![]),
                Value::List(_) => Values::List(vec![]),
            };
            self.columns = row.iter().map(empty).collect();
        }
        for ((column, value), name) in self.columns.iter_mut().zip(row).zip(&self.names) {
            match (column, value) {
                (Values::Text(all), Value::Text(one)) => all.push(one),
                (Values::Number(all), Value::Number(one)) => all.push(one),
                (Values::Count(all), Value::Count(one)) => all.push(one),
                (Values::List(all), Value::List(one)) => all.push(one),
                (_, other) => panic!("column `{name}` has values of one type, not also {other:?}"),
            }
        }
        self.rows += 1;
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> impl Iterator<Item = Value> + '_ {
        self.columns.iter().map(move |column| match column {
            Values::Text(all) => Value::Text(Arc::clone(&all[i])),
            Values::Number(all) => Value::Number(all[i]),
            Values::Count(all) => Value::Count(all[i]),
            Values::List(all) => Value::List(all[i].clone()),
        })
    }

    /// The frame as a Parquet file. Without rows, its columns are of text.
    pub fn parquet(&self) -> Result<Vec<u8>, TableError> {
        let text = Values::Text(vec![]);
        let columns = self.names.iter().enumerate().map(|(i, name)| match self.columns.get(i).unwrap_or(&text) {
            Values::Text(all) => (all.field(name), all.clone().into_array()),
            Values::Number(all) => (all.field(name), all.clone().into_array()),
            Values::Count(all) => (all.field(name), all.clone().into_array()),
            Values::List(all) => (all.field(name), all.clone().into_array()),
        });
        let (fields, arrays): (Vec<_>, Vec<ArrayRef>) = columns.unzip();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
        let properties = WriterProperties::builder()
            .set_created_by("vitals".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let failed = |e: parquet::errors::ParquetError| TableError::Arrow(e.into());
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map_err(failed)?;
        writer.write(&batch).map_err(failed)?;
        writer.into_inner().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn written(frame: &Frame) -> RecordBatch {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frame.parquet");
        std::fs::write(&path, frame.parquet().unwrap()).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let schema = Arc::clone(builder.schema());
        builder.build().unwrap().next().map_or_else(|| RecordBatch::new_empty(schema), Result::unwrap)
    }

    /// Breaks when a column loses its type, a null becomes a number, or a row its place.
    #[test]
    fn a_frame_is_read_back_as_it_was() {
        let mut frame = Frame::new(["who", "x", "n", "map"]);
        frame.push(["a,\"狗".into(), 0.1.into(), 7_u64.into(), [1.0_f32, -2.5][..].into()]);
        frame.push(["".into(), f64::NAN.into(), None::<u64>.into(), [][..].into()]);
        let read = written(&frame);
        let column = |name: &str| read.column_by_name(name).unwrap();
        let who = Vec::<Name>::from_array("who", column("who")).unwrap();
        assert_eq!(who.iter().map(|w| &**w).collect::<Vec<_>>(), ["a,\"狗", ""]);
        assert_eq!(Vec::<Option<f64>>::from_array("x", column("x")).unwrap(), [Some(0.1), None]);
        assert_eq!(Vec::<Option<u64>>::from_array("n", column("n")).unwrap(), [Some(7), None]);
        assert_eq!(Vec::<Vec<f32>>::from_array("map", column("map")).unwrap(), [vec![1.0, -2.5], vec![]]);
        assert_eq!(frame.row(0).collect::<Vec<_>>()[1], Value::Number(Some(0.1)));
        assert_eq!(frame.parquet().unwrap(), frame.parquet().unwrap());
    }

    #[test]
    fn a_frame_without_rows_has_its_columns() {
        let read = written(&Frame::new(["a", "b"]));
        assert_eq!((read.num_rows(), read.num_columns()), (0, 2));
    }

    #[test]
    #[should_panic(expected = "column `x` has values of one type")]
    fn a_column_has_one_type() {
        let mut frame = Frame::new(["x"]);
        frame.push([1.0.into()]);
        frame.push(["one".into()]);
    }
}
