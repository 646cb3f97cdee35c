//! The numbers beside every table and figure: Parquet says what CSV says, and both say what the store says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use polars::prelude::{AnyValue, DataFrame, ParquetReader, SerReader};
use reports::write;

fn parquet(path: &Path) -> DataFrame {
    ParquetReader::new(fs::File::open(path).unwrap()).finish().unwrap()
}

fn made(dir: &Path) -> reports::ReportWritten {
    write(&crate::made_up::study(&dir.join("store")), &dir.join("out")).unwrap()
}

/// Breaks when a column, a row or a digit is lost on one of the two ways.
#[test]
fn parquet_and_csv_hold_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let written = made(dir.path());
    let mut compared = 0;
    for csv in written.files.iter().filter(|f| f.extension().is_some_and(|e| e == "csv")) {
        let frame = parquet(&csv.with_extension("parquet"));
        let records = crate::report::records(&fs::read_to_string(csv).unwrap());
        let name = csv.display();
        let names: Vec<&str> = frame.columns().iter().map(|c| c.name().as_str()).collect();
        assert_eq!(names, records[0], "{name}");
        assert_eq!(frame.height(), records.len() - 1, "{name}");
        for (i, record) in records[1..].iter().enumerate() {
            for (field, column) in record.iter().zip(frame.columns()) {
                let number = |x: f64| assert_eq!(field.parse(), Ok(x), "{name}: {}", column.name());
                match column.get(i).unwrap() {
                    AnyValue::Null => assert_eq!(field, "", "{name}: {}", column.name()),
                    AnyValue::Float64(x) => number(x),
                    AnyValue::UInt64(n) => number(n as f64),
                    AnyValue::String(text) => assert_eq!(field.trim_start_matches('\''), text, "{name}"),
                    AnyValue::List(values) => {
                        let found: Vec<f32> = field.split(' ').map(|v| v.parse().unwrap()).collect();
                        assert_eq!(found, values.f32().unwrap().into_no_null_iter().collect::<Vec<_>>(), "{name}");
                    }
                    other => panic!("{name}: {other:?}"),
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 10_000, "{compared}");
}

/// The rows of a figure's CSV by column name.
fn rows(dir: &Path, id: &str) -> Vec<BTreeMap<String, String>> {
    let records = crate::report::records(&fs::read_to_string(dir.join(format!("out/figures/{id}.csv"))).unwrap());
    let row = |record: &Vec<String>| records[0].iter().cloned().zip(record.iter().cloned()).collect();
    records[1..].iter().map(row).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap()
}

/// What the made-up store says, in closed form. Breaks when shards do not add, a place moves, or a map is another's.
#[test]
fn figures_show_the_numbers_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());

    // Two shards of 40 images, 12 outliers each in the first column of the grid.
    let places = rows(dir.path(), "fig10");
    assert_eq!(places.len(), 2 * 16);
    for row in &places {
        let wanted = if row["model"] == "planted" && row["col"] == "0" { 0.3 } else { 0.0 };
        assert!((number(row, "outlier_frac") - wanted).abs() < 1e-12 && row["images"] == "80", "{row:?}");
    }
    for row in rows(dir.path(), "fig16") {
        let place = 4.0 * number(&row, "row") + number(&row, "col");
        assert!((number(&row, "mean_attention") - (1.0 + place) / 200.0).abs() < 1e-12, "{row:?}");
    }

    // Five registers' worth of tokens at most, the last block only.
    let maps = rows(dir.path(), "fig9");
    assert_eq!(maps.len(), 2 * 3 + 2 * 6);
    assert!(maps.iter().all(|row| row["site"] == "attention_3" && row["part"] == "mean"));
    let outlier = maps.iter().find(|row| row["model"] == "planted" && row["of"] == "cls").unwrap();
    assert_eq!(outlier["cells"].split(' ').nth(5), Some("0.2"));
    assert_eq!(rows(dir.path(), "fig18").len(), 2 * 2 * 4, "two heads, their mean and l2");
    assert_eq!(rows(dir.path(), "attention_layers").len(), 2 * 3 + 2 * 6, "two blocks of one picture");

    // Every histogram's tokens are counted once.
    let sum = |id: &str, model: &str, site: &str| -> f64 {
        let all = rows(dir.path(), id);
        let of =
            |row: &&BTreeMap<String, String>| row["model"] == model && row["site"] == site && row["kind"] == "patch";
        all.iter().filter(of).map(|row| number(row, "tokens")).sum()
    };
    for id in ["fig7", "fig15", "fig4c", "pre_post_norm"] {
        assert_eq!(sum(id, "planted", "block_3"), 9840.0, "{id}");
        assert_eq!(sum(id, "planted_reg4", "block_3"), 9500.0, "{id}");
    }
    assert_eq!(sum("pre_post_norm", "planted", "final"), 9840.0);

    // Densities are those of all values: each integrates to 1.
    let densities = rows(dir.path(), "fig5a");
    for (at, kind) in [("patch_embed", "normal"), ("with_position", "outlier")] {
        let curve: Vec<(f64, f64)> = densities
            .iter()
            .filter(|row| row["model"] == "planted" && row["at"] == at && row["kind"] == kind)
            .map(|row| (number(row, "cosine"), number(row, "density")))
            .collect();
        let area: f64 = curve.windows(2).map(|w| (w[1].0 - w[0].0) * (w[0].1 + w[1].1) / 2.0).sum();
        assert!((area - 1.0).abs() < 0.01, "{at} {kind}: {area}");
    }
    assert_eq!(rows(dir.path(), "threshold").len(), 6 * 9);
    assert_eq!(rows(dir.path(), "fig11").len(), 3 * 256);
    assert_eq!(rows(dir.path(), "fig12").len(), 4 * 4 * 6);
}

/// What captions say of the numbers.
#[test]
fn captions_say_what_the_numbers_say() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let page = fs::read_to_string(dir.path().join("out/report.md")).unwrap();
    for said in [
        "planted on synthetic: at 4 of 16 places more than 20 % of the images have an outlier, at most 30.0 %",
        "planted on synthetic: 100 % coincide, 6 % by chance",
        "planted\\_reg4 on synthetic: 0 % coincide",
        "planted on synthetic: 3.48 % (95 % interval 3.40 to 3.56)",
        "Dotted: onset. planted on synthetic: block 3.",
        "Patches of 16 px at 224 px: 4 registers add 2.07 to 2.17 %, 16 add",
    ] {
        let plain = page.replace("planted_reg4", "planted\\_reg4");
        assert!(plain.contains(said), "{said}");
    }
}
