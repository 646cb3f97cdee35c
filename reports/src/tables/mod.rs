//! The paper's tables, filled with our numbers: what a table is, and the list of those that exist.
//!
//! A table has columns of one meaning each. Numbers whose meaning differs (weights, preprocessing, precision, site,
//! outlier policy) are in different groups, and a group's heading says what its numbers mean. Published rows
//! that stand beside no number of ours are there too, in a group of their own, so that the published table is whole.

pub mod changes;
pub mod correspondence;
pub mod dense;
pub mod fig5a;
pub mod fig5b;
pub mod heads;
pub mod knn;
pub mod linear_eval;
mod local;
pub mod norms;
pub mod pairs;
pub mod pre_post_norm;
pub mod repro_fig7;
pub mod repro_table3;
pub mod repro_table4;
pub mod repro_table5;
pub mod repro_table6;
pub mod repro_table7;
pub mod segmentation_classes;
mod study_segmentation;
pub mod subjects;
pub mod table1;
pub mod table2a;
pub mod table2b;
pub mod table3;
pub mod table4;
pub mod table5;
pub mod table6;
pub mod threshold;
pub mod token_class;
pub mod truth;

use std::collections::BTreeMap;

use crate::bounds;
use crate::error::ReportError;
use crate::pairs::Pair;
use crate::parts;
use crate::published::{PaperTables, Published};
use crate::scores::{Score, Scores};
use crate::study::{Provenance, Source, Study, Subject};
use crate::verdict::{Verdict, judge, obstacle};

/// A table that a report can have.
pub struct Entry {
    /// Name in `wanted` and of its files.
    pub id: &'static str,
    /// Page that says how each number is made.
    pub protocol: &'static str,
    /// Makes it.
    pub build: fn(&Context) -> Table,
}

/// Every table, in the order of a report.
pub const TABLES: &[Entry] = &[
    Entry { id: "norms", protocol: "docs/protocols/norms.md", build: norms::build },
    Entry { id: "truth", protocol: "docs/protocols/norms.md", build: truth::build },
    Entry { id: "pre_post_norm", protocol: "docs/protocols/pre_post_norm.md", build: pre_post_norm::build },
    Entry { id: "threshold", protocol: "docs/protocols/threshold.md", build: threshold::build },
    Entry { id: "fig5a", protocol: "docs/protocols/fig5a.md", build: fig5a::build },
    Entry { id: "correspondence", protocol: "docs/protocols/correspondence.md", build: correspondence::build },
    Entry { id: "table1", protocol: "docs/protocols/table1.md", build: table1::build },
    Entry { id: "table2a", protocol: "docs/protocols/table2a.md", build: table2a::build },
    Entry { id: "table2b", protocol: "docs/protocols/table2b.md", build: table2b::build },
    Entry { id: "knn", protocol: "docs/protocols/knn.md", build: knn::build },
    Entry { id: "linear_eval", protocol: "docs/protocols/linear_eval.md", build: linear_eval::build },
    Entry { id: "segmentation", protocol: "docs/protocols/segmentation.md", build: dense::segmentation },
    Entry {
        id: "segmentation_classes",
        protocol: "docs/protocols/segmentation.md",
        build: segmentation_classes::build,
    },
    Entry { id: "depth", protocol: "docs/protocols/depth.md", build: dense::depth },
    Entry { id: "pairs", protocol: "docs/protocols/pairs.md", build: pairs::build },
    Entry { id: "table3", protocol: "docs/protocols/table3.md", build: table3::build },
    Entry { id: "table4", protocol: "docs/protocols/table4.md", build: table4::build },
    Entry { id: "table6", protocol: "docs/protocols/table6.md", build: table6::build },
    Entry { id: "fig5b", protocol: "docs/protocols/fig5b.md", build: fig5b::build },
    Entry { id: "table5", protocol: "docs/protocols/table5.md", build: table5::build },
    Entry { id: "changes", protocol: "docs/protocols/changes.md", build: changes::build },
    Entry { id: "repro_table3", protocol: "docs/protocols/repro_table3.md", build: repro_table3::build },
    Entry { id: "repro_table4", protocol: "docs/protocols/repro_table4.md", build: repro_table4::build },
    Entry { id: "repro_table5", protocol: "docs/protocols/repro_table5.md", build: repro_table5::build },
    Entry { id: "repro_table6", protocol: "docs/protocols/repro_table6.md", build: repro_table6::build },
    Entry { id: "repro_table7", protocol: "docs/protocols/repro_table7.md", build: repro_table7::build },
    Entry { id: "repro_fig7", protocol: "docs/protocols/repro_fig7.md", build: repro_fig7::build },
];

/// Everything a table is made from.
pub struct Context<'a> {
    /// The study.
    pub study: &'a Study,
    /// The published numbers.
    pub published: PaperTables,
    /// The subjects with their scores, in the study's order.
    pub measured: Vec<Measured<'a>>,
    /// Scores of two models on the same images.
    pub pairs: Vec<Pair>,
}

/// A subject and what was measured on it.
pub struct Measured<'a> {
    /// The subject.
    pub subject: &'a Subject,
    /// Its scores.
    pub scores: Scores,
    /// Images that were encoded; none where the subject has no table of them.
    pub images: Option<u64>,
    /// Images that were not, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// What the calibration pass found, one per site.
    pub calibrations: Vec<Calibration>,
    /// Its numbers against the cut-off.
    pub curves: schemas::tables::Curves,
}

/// What a calibration pass found at one site.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Site.
    pub site: String,
    /// Cut-off; none: the norms have one mode.
    pub cutoff: Option<f64>,
    /// Depth of the valley between the modes.
    pub valley_depth: f64,
    /// Median norm of a patch.
    pub median: f64,
    /// Images of the pass.
    pub images: u64,
}

impl Measured<'_> {
    /// The calibration at the subject's site.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibrations.iter().find(|c| c.site == self.subject.site)
    }
}

impl<'a> Context<'a> {
    /// Reads the scores of every subject.
    pub fn read(study: &'a Study) -> Result<Self, ReportError> {
        let measured = study.subjects.iter().map(|subject| {
            let mut skipped = BTreeMap::new();
            parts::each_batch::<schemas::tables::Skipped>(subject, |batch| {
                for reason in &batch.reason {
                    *skipped.entry(reason.to_string()).or_insert(0) += 1;
                }
                Ok(parts::Go::On)
            })?;
            let mut images = subject.tables.get("images").map(|_| 0);
            parts::each_batch::<schemas::tables::Images>(subject, |batch| {
                images = images.map(|n: u64| n + batch.image.len() as u64);
                Ok(parts::Go::On)
            })?;
            let found: schemas::tables::Cutoffs = parts::whole(subject)?;
            let calibrations = (0..found.site.len()).map(|i| Calibration {
                site: found.site[i].to_string(),
                cutoff: found.cutoff[i].map(f64::from),
                valley_depth: f64::from(found.valley_depth[i]),
                median: f64::from(found.median[i]),
                images: u64::from(found.images[i]),
            });
            let calibrations = calibrations.collect();
            let (scores, curves) = (Scores::read(subject)?, parts::whole(subject)?);
            Ok(Measured { subject, scores, images, skipped, calibrations, curves })
        });
        let mut measured: Vec<Measured> = measured.collect::<Result<_, ReportError>>()?;
        let pairs = crate::pairs::find(&mut measured)?;
        Ok(Self { study, published: PaperTables::read()?, measured, pairs })
    }
}

/// A table, ready for any renderer.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Name of its files.
    pub id: &'static str,
    /// Title.
    pub title: String,
    /// What the numbers are and how to read them.
    pub caption: String,
    /// Page that says how each number is made.
    pub protocol: &'static str,
    /// Heading of the column of row labels.
    pub stub: &'static str,
    /// The other columns.
    pub columns: Vec<Column>,
    /// Groups of rows.
    pub groups: Vec<Group>,
    /// What stands behind ±.
    pub spread: Spread,
}

impl Table {
    /// Whether any number or text of ours stands in it.
    pub fn has_ours(&self) -> bool {
        self.cells().any(|(_, _, _, cell)| cell.ours.is_some() || !cell.text.is_empty())
    }

    /// Every cell with its group, row and column.
    pub fn cells(&self) -> impl Iterator<Item = (&Group, &Row, &Column, &Cell)> {
        self.groups.iter().flat_map(move |group| {
            group.rows.iter().flat_map(move |row| {
                let columns = self.columns.iter().zip(&row.cells);
                columns.map(move |(column, cell)| (group, row, column, cell))
            })
        })
    }
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    /// Heading.
    pub label: String,
    /// Second line of the heading, or empty.
    pub sub: String,
    /// Whether it holds text, not numbers.
    pub text: bool,
}

impl Column {
    /// A column with a heading of one line.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// A column of numbers with a heading of two lines.
    pub fn with_sub(label: impl Into<String>, sub: impl Into<String>) -> Self {
        Self { label: label.into(), sub: sub.into(), text: false }
    }

    /// A column of text.
    pub fn text(label: impl Into<String>) -> Self {
        Self { label: label.into(), sub: String::new(), text: true }
    }
}

/// Rows whose numbers mean the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// Heading, or empty.
    pub label: String,
    /// What the numbers of this group mean: weights, preprocessing, policy, site.
    pub about: Vec<String>,
    /// Weights of the whole group, where they are one.
    pub provenance: Option<Provenance>,
    /// False: published rows that were not measured here.
    pub measured: bool,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Group {
    /// Whether the row of this label has a number of this source beside it.
    pub(crate) fn shows(&self, row: &str, source: Source) -> bool {
        let beside = |cell: &Cell| cell.beside.iter().any(|b| b.who == source.label());
        self.rows.iter().any(|r| r.label == row && r.cells.iter().any(beside))
    }
}

/// A row: one cell per column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Label.
    pub label: String,
    /// Cells.
    pub cells: Vec<Cell>,
}

/// A cell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    /// Our number.
    pub ours: Option<Value>,
    /// Text, in cells that hold no number.
    pub text: String,
    /// What is printed beside it.
    pub beside: Vec<Beside>,
    /// Weights behind our number.
    pub provenance: Option<Provenance>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// A number of ours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// The number, in its unit.
    pub value: f64,
    /// Standard deviation over draws, where there were several.
    pub std: Option<f64>,
    /// Standard error.
    pub stderr: Option<f64>,
    /// Tokens or images.
    pub n: u64,
    /// Draws.
    pub draws: u32,
    /// Images without a token of this kind.
    pub images_without: u32,
    /// Its unit.
    pub unit: Unit,
}

impl Value {
    /// A score as a cell shows it: fractions in per cent when `unit` asks for it.
    pub fn of(score: &Score, unit: Unit) -> Option<Self> {
        let scale = if matches!(unit, Unit::Percent | Unit::Hundredths | Unit::Share) { 100.0 } else { 1.0 };
        Some(Self {
            value: score.value? * scale,
            std: score.std.filter(|_| score.draws > 1).map(|v| v * scale),
            stderr: score.stderr.map(|v| v * scale),
            n: score.n,
            draws: score.draws,
            images_without: score.images_without,
            unit,
        })
    }
}

/// How a number is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// Per cent, one decimal.
    Percent,
    /// Per cent, two decimals: of runs that agree to tenths.
    Hundredths,
    /// Per cent, three significant digits: shares that may be small.
    Share,
    /// Four significant digits.
    #[default]
    Number,
    /// A whole number.
    Count,
}

/// What stands behind ± in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Standard error of the value.
    StdErr,
    /// Standard deviation over draws.
    Draws,
    /// Standard deviation over draws where there were several, else standard error.
    DrawsOrStdErr,
}

/// Something printed beside our number, with what can be said of the two.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    /// `paper`, `study`, `truth`.
    pub who: &'static str,
    /// What it says, as printed.
    pub text: String,
    /// Its number, where it is one.
    pub value: Option<f64>,
    /// Its standard deviation.
    pub std: Option<f64>,
    /// What can be said.
    pub verdict: Verdict,
}

impl Cell {
    /// A cell of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A published number that nobody measured here.
    pub fn unmeasured(published: Option<Published>, unit: Unit) -> Self {
        let beside = published.map(|p| beside(&p, unit, Verdict::NotMeasured));
        Self { beside: beside.into_iter().collect(), ..Self::default() }
    }

    /// A score of `subject`, or the reason why there is none.
    pub fn scored(subject: &Subject, score: Option<&Score>, unit: Unit) -> Self {
        let Some(score) = score else { return Self::default() };
        let ours = Value::of(score, unit);
        let mut notes = Vec::new();
        if !score.note.is_empty() {
            notes.push(score.note.clone());
        } else if ours.is_none() {
            notes.push("not obtained".to_owned());
        }
        notes.extend(bounds::words(score));
        Self { ours, provenance: ours.map(|_| subject.weights), notes, ..Self::default() }
    }

    /// Puts a published number beside ours. `otherwise` is a reason not to compare beyond those of the subject.
    #[must_use]
    pub fn with(
        mut self,
        subject: &Subject,
        published: Option<Published>,
        same_model: bool,
        otherwise: Option<&str>,
    ) -> Self {
        let Some(published) = published else { return self };
        let unit = self.ours.map_or(Unit::Percent, |v| v.unit);
        let verdict = match (&self.ours, obstacle(subject, published.source, same_model), otherwise) {
            (None, _, _) => Verdict::NotMeasured,
            (Some(_), Some(why), _) => Verdict::NotComparable(why),
            (Some(_), None, Some(why)) => Verdict::NotComparable(why.to_owned()),
            (Some(ours), None, None) => judge(ours, &published),
        };
        self.beside.push(beside(&published, unit, verdict));
        self
    }
}

fn beside(published: &Published, unit: Unit, verdict: Verdict) -> Beside {
    let digits = |x: f64| if unit == Unit::Percent && x == x.trunc() { format!("{x:.1}") } else { x.to_string() };
    let text = match published.std {
        Some(std) => format!("{} ± {}", digits(published.value), digits(std)),
        None => digits(published.value),
    };
    Beside { who: published.source.label(), text, value: Some(published.value), std: published.std, verdict }
}

/// What tells the numbers of one subject from those of another, except the dataset: a group of rows shares it.
pub(crate) fn meaning(subject: &Subject) -> [&str; 7] {
    [
        subject.weights.label(),
        &subject.weights_digest,
        &subject.preprocessing,
        &subject.precision,
        &subject.outlier_policy,
        &subject.site,
        &subject.change,
    ]
}

/// The heading lines of a group: what its numbers mean.
pub(crate) fn about(subject: &Subject, vectors_at: Option<&str>) -> Vec<String> {
    let mut lines = vec![];
    if !subject.weights_note.is_empty() {
        lines.push(subject.weights_note.clone());
    }
    let wrapped = if subject.wrapped_neighbours { "in flattened order, rows going on in the next" } else { "" };
    for (what, text) in [
        ("preprocessing", subject.preprocessing.as_str()),
        ("precision", &subject.precision),
        ("changed while it ran", &subject.change),
        ("outliers", &subject.outlier_policy),
        ("norms at", &subject.site),
        ("neighbours", wrapped),
        ("vectors at", vectors_at.unwrap_or_default()),
    ] {
        if !text.is_empty() {
            lines.push(format!("{what}: {text}"));
        }
    }
    lines
}
