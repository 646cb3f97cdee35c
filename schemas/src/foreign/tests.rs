//! Miniatures of hub files: struct and plain images, several row groups, nulls, class names; and mutated ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use arrow::array::{BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::*;

fn image(row: usize) -> Vec<u8> {
    vec![row as u8; 10 + row]
}

fn write(path: &Path, batch: &RecordBatch) {
    let features = r#"{"info": {"features": {"image": {"_type": "Image"},
        "label": {"names": ["cat", "dog", "fox"], "_type": "ClassLabel"}}}}"#;
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(7))
        .set_key_value_metadata(Some(vec![KeyValue::new("huggingface".to_owned(), features.to_owned())]))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// Twenty rows as `datasets` writes them; row 5 has no bytes, row 6 no label, row 7 label −1.
fn hub_batch() -> RecordBatch {
    let images: Vec<_> = (0..20).map(|row| (row != 5).then(|| image(row))).collect();
    let bytes: ArrayRef = Arc::new(BinaryArray::from(images.iter().map(Option::as_deref).collect::<Vec<_>>()));
    let paths: ArrayRef = Arc::new(StringArray::from((0..20).map(|row| format!("{row}.jpg")).collect::<Vec<_>>()));
    let fields =
        Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)]);
    let column: ArrayRef = Arc::new(StructArray::new(fields.clone(), vec![bytes, paths], None));
    let labels = (0..20).map(|row| match row {
        6 => None,
        7 => Some(-1),
        row => Some(row % 3),
    });
    let labels: ArrayRef = Arc::new(Int64Array::from(labels.collect::<Vec<_>>()));
    let schema = Schema::new(vec![
        Field::new("image", DataType::Struct(fields), true),
        Field::new("label", DataType::Int64, true),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![column, labels]).unwrap()
}

#[test]
fn hub_files_give_bytes_labels_and_class_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train-00000-of-00001.parquet");
    write(&path, &hub_batch());
    let file = ImageParquet::open(&path).unwrap();
    assert_eq!(file.len(), 20);
    assert_eq!(file.class_names(), ["cat", "dog", "fox"]);
    assert_eq!(file.labels()[6], None);
    assert_eq!(file.labels()[7], None);
    assert_eq!(file.labels()[19], Some(1));
    assert_eq!(file.starts, [0, 7, 14, 20]);
    for row in [19, 0, 13, 14, 7, 6, 4] {
        assert_eq!(file.read(row).unwrap(), image(row));
        assert!(file.mean_bytes(row) > 0);
    }
    assert!(matches!(file.read(5), Err(ForeignError::NullImage { row: 5, .. })));
    assert!(matches!(file.read(20), Err(ForeignError::NoSuchRow { rows: 20, .. })));
}

#[test]
fn plain_binary_columns_without_labels_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.parquet");
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..9).map(image)));
    write(&path, &RecordBatch::try_from_iter([("img", column)]).unwrap());
    let file = ImageParquet::open(&path).unwrap();
    assert_eq!(file.read(8).unwrap(), image(8));
    assert_eq!(file.labels(), [None; 9]);
    assert!(file.class_names().is_empty());
}

#[test]
fn a_file_without_images_lists_its_columns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text.parquet");
    let column: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    write(&path, &RecordBatch::try_from_iter([("caption", column)]).unwrap());
    let Err(error) = ImageParquet::open(&path) else { panic!("it opened") };
    assert!(error.to_string().contains("caption"), "{error}");
}

#[test]
fn more_groups_than_the_cache_holds_are_still_right() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.parquet");
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..70).map(image)));
    write(&path, &RecordBatch::try_from_iter([("image", column)]).unwrap());
    let file = ImageParquet::open(&path).unwrap();
    for row in (0..70).chain((0..70).rev()) {
        assert_eq!(file.read(row).unwrap(), image(row));
    }
    assert_eq!(file.cache.lock().unwrap().len(), CACHED_GROUPS);
}

/// Opens and reads everything; only a panic or an abort is a failure.
fn exhaust(path: &Path) {
    if let Ok(file) = ImageParquet::open(path) {
        for row in 0..file.len().min(50) {
            let _ = file.read(row);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn mutated_files_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in 0.0_f64..2.0) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mutated.parquet");
        write(&path, &hub_batch());
        let mut bytes = fs::read(&path).unwrap();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        bytes.truncate((bytes.len() as f64 * cut) as usize);
        fs::write(&path, bytes).unwrap();
        exhaust(&path);
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("random.parquet");
        bytes.extend(b"PAR1");
        fs::write(&path, bytes).unwrap();
        exhaust(&path);
    }
}
