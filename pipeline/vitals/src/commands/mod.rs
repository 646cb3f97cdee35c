//! One file per command.

pub mod compare;
pub mod datasets;
pub mod doctor;
pub mod health;
pub mod models;
pub mod plan;
pub mod query;
pub mod report;
pub mod run;
pub mod status;
pub mod trace;
pub mod why;

use std::fmt::Display;
use std::io::{ErrorKind, Write as _, stdout};
use std::path::Path;

use reports::ReportError;

use crate::failure::{Code, Failure};

/// Writes to stdout.
pub fn say(text: &str) -> Result<(), Failure> {
    put(text.as_bytes())
}

/// Writes bytes to stdout. A reader that has seen enough (`| head`) is no error; a full disk is.
pub fn put(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            let what = format!("cannot print the result: {e}");
            Err(Failure::new(Code::Shards, what, "stdout", "send it where there is room; nothing is computed again"))
        }
        _ => Ok(()),
    }
}

/// What a report that cannot be made means for the user.
pub fn report_failure(e: &ReportError, at: impl Display) -> Failure {
    use ReportError as E;
    let (code, fix) = match e {
        E::UnknownReport { .. } => (Code::Config, "correct `tables` in the study"),
        E::UnknownTable { .. } | E::Query(_) | E::Format { .. } => {
            (Code::Usage, "`vitals query \"SHOW TABLES\"` lists the tables; docs/formats.md their columns")
        }
        E::Part { .. } | E::Damaged { .. } | E::PictureSize { .. } | E::MapSize { .. } => {
            (Code::Missing, "remove the damaged part with its `.done` and run again")
        }
        E::EmptyStore { .. } => (Code::Missing, "run a study first, or give its folder with --store"),
        E::Io { .. } => (Code::Missing, "make the store readable"),
        E::Write(_) => (Code::Shards, "make the folder writable or choose another `report`"),
        E::Published(_) | E::Picture { .. } | E::Numbers { .. } => (Code::Bug, "please report this"),
    };
    Failure::new(code, e, at, fix)
}

/// A folder of results that is not there.
pub fn no_store(path: &Path) -> Failure {
    let what = format!("there is no store at {}", path.display());
    Failure::new(Code::Missing, what, "--store", "run a study first, or give its folder with --store")
}

/// A number with its noun.
pub fn counted(n: usize, one: &str, several: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { several })
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_report_fails_by_what_is_wrong() {
        let path = PathBuf::from("store");
        let disk = engine::StageError::disk(&path, &ErrorKind::StorageFull.into());
        for (e, code) in [
            (ReportError::UnknownReport { name: "tabel1".into(), nearest: "table1".into() }, 3),
            (ReportError::UnknownTable { name: "score".into(), present: "scores".into() }, 2),
            (ReportError::Damaged { path: path.clone(), what: "cut".into() }, 4),
            (ReportError::EmptyStore { path }, 4),
            (ReportError::Write(disk), 5),
        ] {
            assert_eq!(report_failure(&e, "").code(), code, "{e}");
        }
    }
}
