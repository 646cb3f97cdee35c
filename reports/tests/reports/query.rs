//! SQL over a store: what is finished is seen, what is not is not, whatever the models' widths.

use std::fs;
use std::path::Path;

use reports::{QueryFormat, ReportError, query};

fn csv(store: &Path, sql: &str) -> String {
    String::from_utf8(query(store, sql, QueryFormat::Csv).unwrap().bytes).unwrap()
}

fn store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    crate::made_up::put(dir.path(), "small", "cats", "01", 0, crate::made_up::vectors(3, 2));
    crate::made_up::put(dir.path(), "small", "cats", "01", 1, crate::made_up::vectors(3, 1));
    crate::made_up::put(dir.path(), "large", "dogs", "02", 0, crate::made_up::vectors(5, 4));
    crate::made_up::put(dir.path(), "small", "cats", "03", 0, crate::made_up::token_stats("block_3", true));
    crate::made_up::put(dir.path(), "small", "cats", "04", 0, crate::made_up::pictures(["a", "b"]));
    dir
}

#[test]
fn the_folders_are_columns_of_text() {
    let dir = store();
    // `01` is not the number 1.
    let found = csv(
        dir.path(),
        "SELECT model, dataset, run, COUNT(*) AS n FROM token_vectors GROUP BY model, dataset, run ORDER BY n",
    );
    assert_eq!(found, "model,dataset,run,n\nsmall,cats,01,3\nlarge,dogs,02,4\n");
}

#[test]
fn vectors_of_different_length_share_a_view() {
    let dir = store();
    let sql = "SELECT model, image, vector FROM token_vectors ORDER BY model, image LIMIT 5";
    assert_eq!(
        csv(dir.path(), sql).lines().skip(4).collect::<Vec<_>>(),
        ["large,3,\"[0.5, 1.5, 2.5, 3.5, 4.5]\"", "small,0,\"[0.5, 1.5, 2.5]\""]
    );
    let json = query(dir.path(), "SELECT vector FROM token_vectors WHERE model = 'small'", QueryFormat::Json).unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&json.bytes).unwrap();
    assert_eq!(rows[2]["vector"], serde_json::json!([0.5, 1.5, 2.5]));
    assert_eq!((json.rows, json.columns), (3, 1));
}

#[test]
fn tables_can_be_listed() {
    let dir = store();
    assert_eq!(csv(dir.path(), "SHOW TABLES"), "name\npictures\ntoken_stats\ntoken_vectors\n");
}

/// Breaks when a statement that writes is run, however harmless it would be.
#[test]
fn a_query_only_reads() {
    let dir = store();
    for sql in [
        "DROP TABLE pictures",
        "delete from pictures",
        "CREATE TABLE a AS SELECT * FROM pictures",
        "-- SELECT\nTRUNCATE TABLE pictures",
        "",
    ] {
        let error = query(dir.path(), sql, QueryFormat::Table).unwrap_err();
        assert!(matches!(&error, ReportError::Query(text) if text.contains("only reads")), "{sql}: {error}");
    }
    for sql in [
        "-- all\n(SELECT image FROM pictures)",
        "SELECT*FROM pictures",
        "with p as (select image from pictures) select * from p;",
    ] {
        assert_eq!(query(dir.path(), sql, QueryFormat::Table).unwrap().rows, 2, "{sql}");
    }
    assert!(query(dir.path(), "EXPLAIN SELECT image FROM pictures", QueryFormat::Table).is_ok());
}

#[test]
fn a_table_is_described_by_its_columns() {
    let dir = store();
    for sql in ["DESCRIBE pictures", "desc table pictures;", "SHOW COLUMNS FROM pictures"] {
        let text = csv(dir.path(), sql);
        assert!(text.starts_with("column,type\nimage,u32\n") && text.contains("\nmodel,str\n"), "{text}");
    }
    let error = query(dir.path(), "DESCRIBE picture", QueryFormat::Table).unwrap_err();
    assert!(matches!(error, ReportError::UnknownTable { .. }), "{error}");
    let error = query(dir.path(), "DESCRIBE", QueryFormat::Table).unwrap_err();
    assert!(error.to_string().contains("LIMIT 1"), "{error}");
}

#[test]
fn windows_and_subqueries() {
    let dir = store();
    let found = csv(
        dir.path(),
        "SELECT image, MAX(norm) AS top FROM token_stats WHERE image IN (SELECT image FROM pictures) GROUP BY image ORDER BY image",
    );
    assert_eq!(found, "image,top\n0,120.0\n1,120.0\n");
}

#[test]
fn quantiles_joins_and_filters() {
    let dir = store();
    let found = csv(
        dir.path(),
        "SELECT s.kind, MAX(s.norm) AS max, COUNT(*) AS n FROM token_stats s JOIN pictures p ON s.image = p.image \
         WHERE s.outlier GROUP BY s.kind",
    );
    assert_eq!(found, "kind,max,n\npatch,120.0,2\n");
}

#[test]
fn unfinished_and_cut_parts_are_not_rows() {
    let dir = store();
    let count = || csv(dir.path(), "SELECT COUNT(*) AS n FROM token_vectors");
    let part = dir.path().join("token_vectors/model=small/dataset=cats/run=01/part-00001");
    fs::remove_file(part.with_extension("done")).unwrap();
    assert_eq!(count(), "n\n6\n");
    let bytes = fs::read(part.with_extension("parquet")).unwrap();
    fs::write(
        part.with_extension("done"),
        format!("{{\"rows\":1,\"bytes\":{},\"items\":1,\"skipped\":0}}", bytes.len() + 1),
    )
    .unwrap();
    assert_eq!(count(), "n\n6\n");
    fs::write(
        part.with_extension("done"),
        format!("{{\"rows\":1,\"bytes\":{},\"items\":1,\"skipped\":0}}", bytes.len()),
    )
    .unwrap();
    assert_eq!(count(), "n\n7\n");
}

#[test]
fn a_damaged_table_does_not_stop_queries_of_others() {
    let dir = store();
    let part = dir.path().join("pictures/model=small/dataset=cats/run=04/part-00000.parquet");
    let len = fs::read(&part).unwrap().len();
    fs::write(&part, vec![0; len]).unwrap();
    assert_eq!(csv(dir.path(), "SELECT COUNT(*) AS n FROM token_stats"), "n\n12\n");
    assert!(matches!(query(dir.path(), "SELECT * FROM pictures", QueryFormat::Csv), Err(ReportError::Query(_))));
}

#[test]
fn errors_say_what_is_there() {
    let dir = store();
    let error = query(dir.path(), "SELECT * FROM token_stat", QueryFormat::Table).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ReportError::UnknownTable { .. }), "{text}");
    assert!(text.contains("`pictures`, `token_stats`, `token_vectors` (nearest: `token_stats`)"), "{text}");
    let error = query(dir.path(), "SELEC", QueryFormat::Table).unwrap_err();
    assert!(matches!(&error, ReportError::Query(text) if text.contains("SELEC")), "{error}");
    let error = query(dir.path(), "SELECT nose FROM token_stats", QueryFormat::Table).unwrap_err();
    assert!(matches!(&error, ReportError::Query(text) if text.contains("nose")), "{error}");
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(query(empty.path(), "SELECT 1", QueryFormat::Table), Err(ReportError::EmptyStore { .. })));
    assert!(matches!(query(&empty.path().join("no"), "SELECT 1", QueryFormat::Table), Err(ReportError::Io { .. })));
}

#[test]
fn text_tables_show_every_row_and_no_terminal_escape() {
    let dir = store();
    crate::made_up::put(
        dir.path(),
        "m",
        "d",
        "05",
        0,
        crate::made_up::skipped(&[("\u{1b}[31mred", "not an image"), ("b", "x")]),
    );
    let out = query(dir.path(), "SELECT image, name, reason FROM skipped ORDER BY image", QueryFormat::Table).unwrap();
    assert_eq!(
        String::from_utf8(out.bytes).unwrap(),
        "image  name      reason\n─────  ────────  ────────────\n 1000  \u{fffd}[31mred  not an image\n 1001  b         x\n"
    );
    let out =
        query(dir.path(), "SELECT t.index FROM token_vectors v JOIN token_stats t ON v.index >= 0", QueryFormat::Table);
    assert!(out.is_ok() || matches!(out, Err(ReportError::Query(_))));
    let long = query(dir.path(), "SELECT image, index FROM token_stats", QueryFormat::Table).unwrap();
    assert_eq!(String::from_utf8(long.bytes).unwrap().lines().count(), 14);
}

#[test]
fn parquet_comes_back_and_bytes_do_not_become_text() {
    let dir = store();
    let out = query(dir.path(), "SELECT * FROM pictures", QueryFormat::Parquet).unwrap();
    assert!(out.bytes.starts_with(b"PAR1") && out.bytes.ends_with(b"PAR1"));
    assert_eq!(out.rows, 2);
    for format in [QueryFormat::Csv, QueryFormat::Json] {
        let error = query(dir.path(), "SELECT * FROM pictures", format).unwrap_err();
        assert!(matches!(&error, ReportError::Format { column, .. } if column == "rgb"), "{error}");
    }
    let text = query(dir.path(), "SELECT rgb FROM pictures LIMIT 1", QueryFormat::Table).unwrap();
    assert!(String::from_utf8(text.bytes).unwrap().contains("<192 bytes>"));
}

#[test]
fn a_store_may_lie_in_a_folder_of_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("a=b [x] *");
    crate::made_up::put(&store, "m", "d", "01", 0, crate::made_up::images(3));
    assert_eq!(csv(&store, "SELECT COUNT(*) AS n FROM images"), "n\n3\n");
}
