//! Writes a report: every file whole or not at all, and the same bytes for the same study and tables.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use engine::StageError;
use engine::store::write_atomic;
use schemas::Frame;

use crate::error::{ReportError, nearest};
use crate::figures::{FIGURES, Figure};
use crate::head_signs;
use crate::render::{Report, csv, html, latex, markdown};
use crate::study::Study;
use crate::tables::{Context, TABLES, Table, heads, subjects, truth};
use crate::verdict::Verdict;
use crate::vital_signs;

/// Figures that say nothing of a model.
const NOT_OF_A_MODEL: [&str; 2] = ["fig11", "fig12"];

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportWritten {
    /// The page to open.
    pub html: PathBuf,
    /// Every file, in the order written.
    pub files: Vec<PathBuf>,
    /// Names of the tables that were written.
    pub tables: Vec<&'static str>,
    /// Names of the figures that were written.
    pub figures: Vec<&'static str>,
    /// What was asked for by name but has nothing to show.
    pub empty: Vec<String>,
    /// That the report is not finished, if so.
    pub unfinished: Option<String>,
    /// One sentence per model and dataset.
    pub sentences: Vec<String>,
    /// The numbers behind them: a heading, and a row per model and dataset.
    pub overview: Vec<Vec<String>>,
    /// Numbers that agree with a published one.
    pub agree: usize,
    /// Numbers that differ from a published one.
    pub differ: usize,
    /// Truths that hold.
    pub hold: usize,
    /// Truths that fail, as `model on dataset: experiment, subject, metric`. Not empty: the tool is wrong.
    pub fail: Vec<String>,
    /// Truths whose number was not measured, named likewise.
    pub untested: Vec<String>,
}

/// Writes `report.html`, `report.md`, `tables/<id>.{md,csv,tex,parquet}` and `figures/<id>.{svg,png,csv,parquet}` into
/// `out`. The CSV and Parquet of a figure are the numbers that it shows.
///
/// Files of an earlier report that this one does not have are left alone.
pub fn write(study: &Study, out: &Path) -> Result<ReportWritten, ReportError> {
    check_wanted(&study.wanted)?;
    let context = Context::read(study)?;
    let mut written = ReportWritten { html: out.join("report.html"), ..ReportWritten::default() };
    let mut tables = Vec::new();
    for entry in TABLES {
        let asked = study.wanted.iter().any(|w| w == entry.id);
        if !asked && !study.wanted.is_empty() {
            continue;
        }
        let table = (entry.build)(&context);
        if asked || table.has_ours() {
            tables.push(table);
        }
    }
    let mut figures: Vec<Figure> = Vec::new();
    // Calculations about the backbone do not belong to a study of heads.
    let heads_alone = !context.measured.is_empty() && context.measured.iter().all(heads::are_all);
    for entry in FIGURES {
        let asked = study.wanted.iter().any(|w| entry.asked_by.contains(&w.as_str()));
        let omitted = study.omitted.iter().any(|o| o == entry.id) || heads_alone && NOT_OF_A_MODEL.contains(&entry.id);
        if !asked && (omitted || !study.wanted.is_empty()) {
            continue;
        }
        match (entry.build)(&context)? {
            Some(figure) => figures.push(figure),
            // A table may answer to the same name.
            None if study.wanted.iter().any(|w| w == entry.id) && !TABLES.iter().any(|t| t.id == entry.id) => {
                written.empty.push(entry.id.to_owned());
            }
            None => {}
        }
    }
    count(&tables, &mut written);
    // Whether the tool is right does not depend on which tables a reader asked for.
    judge_truths(&truth::build(&context), &mut written);
    written.tables = tables.iter().map(|t| t.id).collect();
    written.figures = figures.iter().map(|f| f.id).collect();
    written.unfinished = study.unfinished();
    written.sentences = [vital_signs::sentences(&context), head_signs::sentences(&context)].concat();
    written.overview = vital_signs::overview(&context);
    let sentences = written.sentences.clone();
    let totals = totals(&written);
    let report = Report { study, sentences, totals, subjects: subjects::build(&context), tables, figures };
    put_all(&report, out, &mut written.files)?;
    Ok(written)
}

/// What the verdicts of a report add up to.
fn totals(written: &ReportWritten) -> Vec<String> {
    let (hold, fail, untested) = (written.hold, written.fail.len(), written.untested.len());
    let known = hold + fail + untested;
    let verb = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let mut totals = Vec::new();
    if known > 0 {
        let untested = if untested > 0 { format!(", {untested} not measured") } else { String::new() };
        let (hold, fail) = (verb(hold, "holds", "hold"), verb(fail, "fails", "fail"));
        totals.push(format!("Numbers with a known truth: {hold}, {fail}{untested}."));
    }
    if written.agree + written.differ > 0 {
        let (agree, differ) = (verb(written.agree, "agrees", "agree"), verb(written.differ, "differs", "differ"));
        totals.push(format!(
            "Numbers that may be compared with published ones: {agree} within the stated errors, {differ}."
        ));
    }
    totals
}

/// Whether every name is that of a table or figure; a study can ask before it is run.
pub fn check_wanted(wanted: &[String]) -> Result<(), ReportError> {
    let mut known: Vec<&str> = TABLES.iter().map(|t| t.id).collect();
    known.extend(FIGURES.iter().flat_map(|f| f.asked_by));
    match wanted.iter().find(|w| !known.contains(&w.as_str())) {
        None => Ok(()),
        Some(name) => Err(ReportError::UnknownReport { name: name.clone(), nearest: nearest(name, known) }),
    }
}

fn count(tables: &[Table], written: &mut ReportWritten) {
    // One pair of numbers may stand in several tables (Table 6 repeats Table 1); it is counted once.
    let mut seen = BTreeSet::new();
    for table in tables {
        if table.groups.is_empty() && !written.empty.iter().any(|e| e == table.id) {
            written.empty.push(table.id.to_owned());
        }
        for (_, _, _, cell) in table.cells() {
            for beside in &cell.beside {
                let bits = |x: Option<f64>| x.map(f64::to_bits);
                let pair = (bits(cell.ours.map(|v| v.value)), beside.who, bits(beside.value));
                match beside.verdict {
                    Verdict::Agree => written.agree += usize::from(seen.insert(pair)),
                    Verdict::Differ => written.differ += usize::from(seen.insert(pair)),
                    Verdict::Holds | Verdict::Fails | Verdict::NotMeasured | Verdict::NotComparable(_) => {}
                }
            }
        }
    }
}

fn judge_truths(table: &Table, written: &mut ReportWritten) {
    for (group, row, _, cell) in table.cells() {
        let name = || format!("{}: {}", group.label, row.label);
        for beside in &cell.beside {
            match beside.verdict {
                Verdict::Holds => written.hold += 1,
                Verdict::Fails => written.fail.push(name()),
                Verdict::NotMeasured => written.untested.push(name()),
                Verdict::Agree | Verdict::Differ | Verdict::NotComparable(_) => {}
            }
        }
    }
}

fn put_all(report: &Report, out: &Path, files: &mut Vec<PathBuf>) -> Result<(), ReportError> {
    let mut put = |path: PathBuf, bytes: &[u8]| -> Result<(), ReportError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| StageError::disk(folder, &e))?;
        }
        write_atomic(&path, bytes)?;
        files.push(path);
        Ok(())
    };
    for table in std::iter::once(&report.subjects).chain(&report.tables) {
        let path = |extension: &str| out.join("tables").join(format!("{}.{extension}", table.id));
        put(path("md"), markdown::table(table).as_bytes())?;
        let cells = csv::cells(table);
        put(path("csv"), csv::frame(&cells).as_bytes())?;
        put(path("parquet"), &parquet(table.id, &cells)?)?;
        put(path("tex"), latex::table(table).as_bytes())?;
    }
    for figure in &report.figures {
        let path = |extension: &str| out.join("figures").join(format!("{}.{extension}", figure.id));
        put(path("svg"), figure.svg.as_bytes())?;
        if let Some(png) = &figure.png {
            put(path("png"), png)?;
        }
        put(path("csv"), csv::frame(&figure.data).as_bytes())?;
        put(path("parquet"), &parquet(figure.id, &figure.data)?)?;
    }
    put(out.join("report.md"), markdown::report(report).as_bytes())?;
    // The page is last: who sees it sees everything that it speaks of.
    put(out.join("report.html"), html::page(report).as_bytes())
}

fn parquet(id: &str, numbers: &Frame) -> Result<Vec<u8>, ReportError> {
    numbers.parquet().map_err(|source| ReportError::Numbers { id: id.to_owned(), source: Box::new(source) })
}
