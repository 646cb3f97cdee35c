//! Every number that the paper and its reproducibility study print, looked up by table, row and column.
//!
//! The numbers were transcribed by hand; `published/paper_tables.toml` is the only copy. Percentages are percentages
//! here, as printed.

use serde::Deserialize;

use crate::error::ReportError;
use crate::study::Source;

const TEXT: &str = include_str!("published/paper_tables.toml");

/// A published number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// Who published it.
    pub source: Source,
    /// As printed.
    pub value: f64,
    /// Standard deviation, where one is printed.
    pub std: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: u32,
    cells: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    paper: String,
    table: String,
    row: String,
    col: String,
    value: f64,
    std: Option<f64>,
}

/// All published numbers.
#[derive(Debug)]
pub struct PaperTables {
    cells: Vec<(Source, Entry)>,
}

impl PaperTables {
    /// Reads the transcription that is part of the binary.
    pub fn read() -> Result<Self, ReportError> {
        Self::parse(TEXT)
    }

    fn parse(text: &str) -> Result<Self, ReportError> {
        let file: File = toml::from_str(text).map_err(|e| ReportError::Published(e.to_string()))?;
        if file.schema_version != 1 {
            return Err(ReportError::Published(format!("schema version {} is not 1", file.schema_version)));
        }
        let cells = file.cells.into_iter().map(|cell| {
            let source = match cell.paper.as_str() {
                "darcet2024" => Source::Paper,
                "repro" => Source::Study,
                other => return Err(ReportError::Published(format!("unknown paper `{other}`"))),
            };
            Ok((source, cell))
        });
        Ok(Self { cells: cells.collect::<Result<_, _>>()? })
    }

    /// The number at (source, table, row, column).
    pub fn get(&self, source: Source, table: &str, row: &str, col: &str) -> Option<Published> {
        self.cells
            .iter()
            .find(|(s, c)| *s == source && c.table == table && c.row == row && c.col == col)
            .map(|(source, c)| Published { source: *source, value: c.value, std: c.std })
    }

    /// Rows of a table, in the order of the transcription.
    pub fn rows(&self, source: Source, table: &str) -> Vec<&str> {
        self.distinct(source, table, |c| &c.row)
    }

    /// Columns of a table, in the order of the transcription.
    pub fn columns(&self, source: Source, table: &str) -> Vec<&str> {
        self.distinct(source, table, |c| &c.col)
    }

    fn distinct<'a>(&'a self, source: Source, table: &str, key: impl Fn(&'a Entry) -> &'a str) -> Vec<&'a str> {
        let mut keys = Vec::new();
        for (_, cell) in self.cells.iter().filter(|(s, c)| *s == source && c.table == table) {
            if !keys.contains(&key(cell)) {
                keys.push(key(cell));
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_transcription_is_whole() {
        let tables = PaperTables::read().unwrap();
        let count = |source| tables.cells.iter().filter(|(s, _)| *s == source).count();
        assert_eq!((count(Source::Paper), count(Source::Study)), (152, 124));
        let mut keys: Vec<_> = tables.cells.iter().map(|(s, c)| (*s, &c.table, &c.row, &c.col)).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 276, "a cell is given twice");
    }

    #[test]
    fn spot_values() {
        let tables = PaperTables::read().unwrap();
        let get = |s, t, r, c| tables.get(s, t, r, c).map(|p| (p.value, p.std));
        assert_eq!(get(Source::Paper, "table1", "[CLS]", "IN1k"), Some((86.0, None)));
        assert_eq!(get(Source::Paper, "table6", "outlier", "CUB"), Some((84.9, Some(2.1))));
        assert_eq!(get(Source::Study, "table3", "high_norm", "DeiT-III-S"), Some((84.67, None)));
        assert_eq!(get(Source::Study, "table5", "with_registers", "DINOv2-L"), Some((99.5, None)));
        assert_eq!(get(Source::Study, "table1", "[CLS]", "IN1k"), None);
        assert_eq!(tables.columns(Source::Paper, "table1").len(), 14);
    }

    #[test]
    fn unknown_keys_and_papers_are_errors() {
        assert!(
            PaperTables::parse(
                "schema_version = 1\ncells = [{ paper = \"x\", table = \"t\", row = \"r\", col = \"c\", value = 1 }]"
            )
            .is_err()
        );
        assert!(PaperTables::parse("schema_version = 2\ncells = []").is_err());
        assert!(PaperTables::parse("schema_version = 1\ncells = []\nmore = 1").is_err());
    }
}
