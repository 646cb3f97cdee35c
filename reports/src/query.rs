//! SQL over a store: every table is a view of its name, with the columns `model`, `dataset` and `run` of its folders.
//!
//! Only finished parts count. Vectors have another length in every model, so that no one column type of fixed width
//! could hold them: a view shows them as lists. Columns that an older version of a table did not have are null.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use polars::prelude::*;
use polars::sql::SQLContext;

use crate::error::{ReportError, nearest};
use crate::parts::{fenced, finished};
use crate::render::legible;

/// Folder levels between a table and its parts, also columns of its view.
const PARTITION: [&str; 3] = ["model", "dataset", "run"];

/// How a query's result is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QueryFormat {
    /// Aligned text, every row.
    #[default]
    Table,
    /// CSV with a header; lists as `[1, 2]`.
    Csv,
    /// One JSON array of objects.
    Json,
    /// A Parquet file.
    Parquet,
}

/// A query's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryOutput {
    /// In the format that was asked for.
    pub bytes: Vec<u8>,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
}

/// Runs one SQL statement over a store.
pub fn query(store: &Path, sql: &str, format: QueryFormat) -> Result<QueryOutput, ReportError> {
    let tables = tables(store)?;
    if tables.is_empty() {
        return Err(ReportError::EmptyStore { path: store.to_owned() });
    }
    let described = described(sql)?;
    let rows_of = described.map(|table| format!("SELECT * FROM {table} LIMIT 0"));
    let sql = rows_of.as_deref().unwrap_or(sql);
    let mut context = SQLContext::new();
    // Tables that the text does not name stay closed: they cost nothing, and if one is damaged this query still runs.
    let text = sql.to_ascii_lowercase();
    let named = |name: &str| text.contains(&name.to_ascii_lowercase());
    let none_named = !tables.keys().any(|name| named(name));
    for (name, runs) in &tables {
        if none_named || named(name) {
            context.register(name, fenced(store, || view(runs))??);
        }
    }
    let frame = fenced(store, || context.execute(sql).and_then(LazyFrame::collect))?;
    let mut frame = frame.map_err(|e| failed(&e, &tables))?;
    if described.is_some() {
        let types: Vec<String> = frame.columns().iter().map(|c| c.dtype().to_string()).collect();
        let names: Vec<&str> = frame.columns().iter().map(|c| c.name().as_str()).collect();
        frame = df!("column" => names, "type" => types)?;
    }
    let (rows, columns) = frame.shape();
    let bytes = match format {
        QueryFormat::Table => text_table(&frame).into_bytes(),
        QueryFormat::Csv => csv(&frame)?,
        QueryFormat::Json => json(&mut frame)?,
        QueryFormat::Parquet => {
            let mut bytes = Vec::new();
            ParquetWriter::new(&mut bytes).finish(&mut frame)?;
            bytes
        }
    };
    Ok(QueryOutput { bytes, rows, columns })
}

/// The table of `DESCRIBE table`; nothing of another statement that reads. What writes is refused: it would touch
/// only names in memory, but nobody who types DROP should have to know that.
fn described(sql: &str) -> Result<Option<&str>, ReportError> {
    let mut rest = sql.trim_start();
    while let Some(comment) = rest.strip_prefix("--") {
        rest = comment.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
    }
    let mut words = rest.trim_end().trim_end_matches(';').split_whitespace();
    let first = words.next().unwrap_or_default().trim_start_matches('(');
    let first = first.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_uppercase();
    match first.as_str() {
        "SELECT" | "WITH" | "EXPLAIN" => Ok(None),
        "SHOW" | "DESCRIBE" | "DESC" => {
            let plain = |word: &&str| ["table", "columns", "from"].iter().all(|skip| !word.eq_ignore_ascii_case(skip));
            match words.filter(plain).collect::<Vec<_>>()[..] {
                [tables] if first == "SHOW" && tables.eq_ignore_ascii_case("tables") => Ok(None),
                [table] => Ok(Some(table)),
                _ => {
                    let words = "write SHOW TABLES, DESCRIBE and one table, or SELECT * FROM one LIMIT 1";
                    Err(ReportError::Query(words.to_owned()))
                }
            }
        }
        _ => Err(ReportError::Query(format!(
            "vitals query only reads; a query begins with SELECT, WITH, SHOW, DESCRIBE or EXPLAIN, not with `{first}`"
        ))),
    }
}

/// Finished parts of one run, with the values of its folders.
struct Run {
    partition: Vec<(&'static str, String)>,
    parts: Vec<PathBuf>,
}

fn tables(store: &Path) -> Result<BTreeMap<String, Vec<Run>>, ReportError> {
    let mut tables = BTreeMap::new();
    for (name, path) in folders(store)? {
        let mut runs = Vec::new();
        collect_runs(&path, &mut Vec::new(), &mut runs)?;
        if !runs.is_empty() {
            tables.insert(name, runs);
        }
    }
    Ok(tables)
}

fn collect_runs(
    folder: &Path,
    partition: &mut Vec<(&'static str, String)>,
    runs: &mut Vec<Run>,
) -> Result<(), ReportError> {
    let parts = finished(folder)?;
    if !parts.is_empty() {
        runs.push(Run { partition: partition.clone(), parts });
    }
    for (name, path) in folders(folder)? {
        // What is not a level of ours is not our table: another tool's folder may lie beside.
        let level = name.split_once('=').and_then(|(key, value)| {
            let key = PARTITION.iter().find(|p| **p == key && !partition.iter().any(|(seen, _)| seen == *p))?;
            Some((*key, value.to_owned()))
        });
        if let Some(level) = level {
            partition.push(level);
            collect_runs(&path, partition, runs)?;
            partition.pop();
        }
    }
    Ok(())
}

fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, ReportError> {
    let io = |source| ReportError::Io { path: folder.to_owned(), source };
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|n| !n.starts_with('.')) else { continue };
        if entry.path().is_dir() {
            folders.push((name.to_owned(), entry.path()));
        }
    }
    folders.sort();
    Ok(folders)
}

/// The rows of all runs under one schema.
fn view(runs: &[Run]) -> Result<LazyFrame, ReportError> {
    let mut frames = Vec::new();
    let mut columns: Vec<(PlSmallStr, DataType)> = Vec::new();
    for run in runs {
        let (frame, schema) = scan(run)?;
        for (name, dtype) in schema.iter() {
            if !columns.iter().any(|(n, _)| n == name) {
                columns.push((name.clone(), dtype.clone()));
            }
        }
        frames.push((frame, schema));
    }
    let aligned: Vec<LazyFrame> = frames
        .into_iter()
        .map(|(frame, schema)| {
            let column = |(name, dtype): &(PlSmallStr, DataType)| match schema.get(name) {
                Some(_) => col(name.clone()),
                None => lit(NULL).cast(dtype.clone()).alias(name.clone()),
            };
            frame.select(columns.iter().map(column).collect::<Vec<_>>())
        })
        .collect();
    Ok(concat(aligned, UnionArgs { to_supertypes: true, ..UnionArgs::default() })?)
}

/// Polars takes the place of a column in a file on trust and reads there without a check, which no fence can catch.
fn check_places(part: &Path) -> PolarsResult<()> {
    let mut file = File::open(part)?;
    let length = file.metadata()?.len();
    let mut reader = ParquetReader::new(&mut file);
    let groups = &reader.get_metadata()?.row_groups;
    let inside = |place: std::ops::Range<u64>| place.start <= place.end && place.end <= length;
    if groups.iter().all(|group| group.byte_ranges_iter().all(inside) && inside(group.full_byte_range())) {
        return Ok(());
    }
    let words = format!("{} is damaged: a column lies outside of the file; delete it and run again", part.display());
    Err(PolarsError::ComputeError(words.into()))
}

fn scan(run: &Run) -> PolarsResult<(LazyFrame, SchemaRef)> {
    run.parts.iter().try_for_each(|part| check_places(part))?;
    let paths = run.parts.iter().map(|p| PlRefPath::try_from_path(p)).collect::<PolarsResult<Vec<_>>>()?;
    let args = ScanArgsParquet {
        // A store's path may hold `*` and `=`; they mean nothing here.
        glob: false,
        hive_options: HiveOptions { enabled: Some(false), ..HiveOptions::default() },
        ..ScanArgsParquet::default()
    };
    let mut frame = LazyFrame::scan_parquet_files(paths.into_iter().collect(), args)?;
    let mut columns = Vec::new();
    for (name, dtype) in frame.collect_schema()?.iter() {
        if let DataType::Array(inner, _) = dtype {
            columns.push(col(name.clone()).cast(DataType::List(inner.clone())));
        }
    }
    let level = |key: &str| run.partition.iter().find(|(k, _)| *k == key).map(|(_, v)| v.clone());
    for key in PARTITION {
        let value = level(key).map_or_else(|| lit(NULL).cast(DataType::String), lit);
        columns.push(value.alias(key));
    }
    let mut frame = frame.with_columns(columns);
    let schema = frame.collect_schema()?;
    Ok((frame, schema))
}

impl From<PolarsError> for ReportError {
    fn from(error: PolarsError) -> Self {
        Self::Query(error.to_string())
    }
}

fn failed(error: &PolarsError, tables: &BTreeMap<String, Vec<Run>>) -> ReportError {
    let text = error.to_string();
    let relation = text.split_once("relation '").and_then(|(_, rest)| rest.split_once("' was not found"));
    match relation {
        Some((name, _)) => ReportError::UnknownTable { name: name.to_owned(), present: nearest_of_all(name, tables) },
        None => ReportError::Query(text),
    }
}

fn nearest_of_all(name: &str, tables: &BTreeMap<String, Vec<Run>>) -> String {
    let all: Vec<String> = tables.keys().map(|t| format!("`{t}`")).collect();
    let near = nearest(name, tables.keys().map(String::as_str));
    match near.split_once(',') {
        Some((first, _)) => format!("{} (nearest: {first})", all.join(", ")),
        None => all.join(", "),
    }
}

fn text_table(frame: &DataFrame) -> String {
    let columns: Vec<(String, bool, Vec<String>)> = frame
        .columns()
        .iter()
        .map(|c| {
            let cells = (0..c.len()).map(|i| c.get(i).map_or_else(|e| e.to_string(), |v| text(&v))).collect();
            (legible(c.name()), c.dtype().is_primitive_numeric(), cells)
        })
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .map(|(name, _, cells)| cells.iter().chain([name]).map(|t| t.chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = (&str, bool, usize)>| {
        let cells: Vec<String> = cells
            .map(|(text, right, width)| if right { format!("{text:>width$}") } else { format!("{text:<width$}") })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    };
    line(&mut columns.iter().zip(&widths).map(|((name, right, _), w)| (name.as_str(), *right, *w)));
    let rules: Vec<String> = widths.iter().map(|w| "─".repeat(*w)).collect();
    line(&mut rules.iter().zip(&widths).map(|(rule, w)| (rule.as_str(), false, *w)));
    for i in 0..frame.height() {
        line(&mut columns.iter().zip(&widths).map(|((_, right, cells), w)| (cells[i].as_str(), *right, *w)));
    }
    out
}

/// A value in full, on one line.
fn text(value: &AnyValue) -> String {
    match value {
        AnyValue::Null => "null".to_owned(),
        AnyValue::Float32(x) => x.to_string(),
        AnyValue::Float64(x) => x.to_string(),
        AnyValue::List(items) => {
            let items: Vec<String> = items.iter().map(|v| text(&v)).collect();
            format!("[{}]", items.join(", "))
        }
        AnyValue::Binary(bytes) => format!("<{} bytes>", bytes.len()),
        AnyValue::BinaryOwned(bytes) => format!("<{} bytes>", bytes.len()),
        other => other.get_str().map_or_else(|| other.to_string(), legible),
    }
}

/// CSV has no lists; they become text.
fn csv(frame: &DataFrame) -> Result<Vec<u8>, ReportError> {
    no_bytes(frame, "csv")?;
    let mut flat = Vec::new();
    for column in frame.columns() {
        if column.dtype().is_nested() {
            let cells = (0..column.len()).map(|i| {
                let value = column.get(i)?;
                Ok((!value.is_null()).then(|| text(&value)))
            });
            let cells = cells.collect::<Result<Vec<Option<String>>, ReportError>>()?;
            flat.push(Column::new(column.name().clone(), cells));
        } else {
            flat.push(column.clone());
        }
    }
    let mut frame = DataFrame::new(frame.height(), flat)?;
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).finish(&mut frame)?;
    Ok(bytes)
}

fn json(frame: &mut DataFrame) -> Result<Vec<u8>, ReportError> {
    no_bytes(frame, "json")?;
    let mut bytes = Vec::new();
    JsonWriter::new(&mut bytes).with_json_format(JsonFormat::Json).finish(frame)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn no_bytes(frame: &DataFrame, format: &'static str) -> Result<(), ReportError> {
    match frame.columns().iter().find(|c| matches!(c.dtype(), DataType::Binary | DataType::BinaryOffset)) {
        Some(column) => {
            Err(ReportError::Format { column: column.name().to_string(), found: "raw bytes".to_owned(), format })
        }
        None => Ok(()),
    }
}
