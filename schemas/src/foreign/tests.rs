//! Miniatures of hub files: struct and plain images, several row groups, nulls, class names; and mutated ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use arrow_array::{BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{Field, Fields, Schema};
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
    let (file, cache) = (ImageParquet::open(&path).unwrap(), GroupCache::default());
    assert_eq!(file.len(), 20);
    assert_eq!(file.class_names(), ["cat", "dog", "fox"]);
    assert_eq!(file.labels()[6], None);
    assert_eq!(file.labels()[7], None);
    assert_eq!(file.labels()[19], Some(1));
    assert_eq!(file.starts, [0, 7, 14, 20]);
    for row in [19, 0, 13, 14, 7, 6, 4] {
        assert_eq!(file.read(row, &cache).unwrap(), image(row));
        assert!(file.mean_bytes(row) > 0);
    }
    assert!(matches!(file.read(5, &cache), Err(ForeignError::NullImage { row: 5, .. })));
    assert!(matches!(file.read(20, &cache), Err(ForeignError::NoSuchRow { rows: 20, .. })));
}

#[test]
fn plain_binary_columns_without_labels_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.parquet");
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..9).map(image)));
    write(&path, &RecordBatch::try_from_iter([("img", column)]).unwrap());
    let (file, cache) = (ImageParquet::open(&path).unwrap(), GroupCache::default());
    assert_eq!(file.read(8, &cache).unwrap(), image(8));
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

/// Breaks when each file keeps groups of its own: memory would grow with the dataset.
#[test]
fn one_cache_serves_all_files_and_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<ImageParquet> = (0..3)
        .map(|k| {
            let path = dir.path().join(format!("{k}.parquet"));
            let column: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..70).map(|row| image(row + 70 * k))));
            write(&path, &RecordBatch::try_from_iter([("image", column)]).unwrap());
            ImageParquet::open(&path).unwrap()
        })
        .collect();
    let cache = GroupCache::default();
    for row in (0..70).chain((0..70).rev()) {
        for (k, file) in files.iter().enumerate() {
            assert_eq!(file.read(row, &cache).unwrap(), image(row + 70 * k));
        }
        assert!(cache.groups.lock().unwrap().len() <= CACHED_GROUPS);
    }
}

/// Breaks when a refusal of the system is called damage, or is kept after it has passed.
#[test]
fn what_the_system_refuses_is_not_damage_and_may_pass() {
    let dir = tempfile::tempdir().unwrap();
    let (path, away) = (dir.path().join("images.parquet"), dir.path().join("away"));
    write(&path, &hub_batch());
    let (file, cache) = (ImageParquet::open(&path).unwrap(), GroupCache::default());
    fs::rename(&path, &away).unwrap();
    let error = file.read(0, &cache).unwrap_err();
    assert!(matches!(error, ForeignError::Io { .. }), "{error}");
    assert_eq!(error.reason(), "cannot read");
    fs::rename(&away, &path).unwrap();
    assert_eq!(file.read(0, &cache).unwrap(), image(0));
    assert_eq!(file.read(5, &cache).unwrap_err().reason(), "no embedded image");

    // Damage is told, and by its own name.
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..good.len() / 4]).unwrap();
    let cache = GroupCache::default();
    assert_eq!(file.read(19, &cache).unwrap_err().reason(), "corrupt parquet");
    assert!(matches!(ImageParquet::open(&dir.path().join("none")), Err(ForeignError::Io { .. })));
}

/// Breaks when a footer is believed: two thousand million rows would ask for 34 GB of labels.
#[test]
fn rows_beyond_the_bytes_of_the_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.parquet");
    // One image again and again: a dictionary of one entry, and a run of indices that is a few bytes long.
    let rows = 100_000;
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..rows).map(|_| b"x")));
    let batch = RecordBatch::try_from_iter([("image", column)]).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert!(fs::metadata(&path).unwrap().len() < rows as u64);
    let Err(error) = ImageParquet::open(&path) else { panic!("it opened") };
    assert!(matches!(error, ForeignError::Malformed { .. }) && error.to_string().contains("100000 rows"), "{error}");
}

/// Breaks when a width of integers is not read, or a value that no label can have becomes one.
#[test]
fn labels_of_every_width_are_read() {
    let all: [ArrayRef; 4] = [
        Arc::new(arrow_array::Int8Array::from(vec![Some(3), None, Some(-1)])),
        Arc::new(arrow_array::UInt16Array::from(vec![Some(3), None, None])),
        Arc::new(arrow_array::Int32Array::from(vec![Some(3), None, Some(-7)])),
        Arc::new(arrow_array::UInt64Array::from(vec![Some(3), None, Some(u64::MAX)])),
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images.parquet");
    for labels in all {
        let images: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..3).map(image)));
        write(&path, &RecordBatch::try_from_iter([("image", images), ("label", labels)]).unwrap());
        assert_eq!(ImageParquet::open(&path).unwrap().labels(), [Some(3), None, None]);
    }
}

/// Opens and reads everything; only a panic or an abort is a failure.
fn exhaust(path: &Path) {
    let cache = GroupCache::default();
    if let Ok(file) = ImageParquet::open(path) {
        for row in 0..file.len().min(50) {
            let _ = file.read(row, &cache);
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
