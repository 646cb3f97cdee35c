//! One file per command.

pub mod datasets;
pub mod models;
pub mod plan;
pub mod query;
pub mod report;
pub mod run;
pub mod status;
pub mod trace;

use std::io::Write as _;

/// Writes to stdout; a closed pipe (`| head`) is no error.
pub fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Pads columns to their widest cell, two blanks apart; the last column is left ragged.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width: Vec<usize> = (0..count)
        .map(|c| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let line: String = row
            .iter()
            .enumerate()
            .map(|(c, cell)| if c + 1 == row.len() { cell.clone() } else { format!("{cell:<w$}  ", w = width[c]) })
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
