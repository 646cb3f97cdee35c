//! What a change made while a model runs does to its maps and to its `[CLS]`: removal of artifacts (study §4.2.3,
//! Fig. 11 and 12) and test-time registers (Jiang et al.), beside the same weights left alone.
//!
//! A group is one set of weights on one dataset. Protocol: `docs/protocols/changes.md`.

use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, about};
use crate::models::Average;
use crate::study::Subject;
use crate::tables::token_class::{accuracy, dataset_name, fits, plain};

/// Name of the table.
const ID: &str = "changes";

/// Makes the table; it has no rows where nothing was changed, or where nothing that it shows was measured.
pub fn build(context: &Context) -> Table {
    let mut groups = Vec::new();
    let asked = context.study.wanted.iter().any(|wanted| wanted == ID);
    let mut done: Vec<&Measured> = Vec::new();
    for first in &context.measured {
        if done.iter().any(|m| same_weights(m, first)) {
            continue;
        }
        done.push(first);
        let mut rows: Vec<&Measured> = context.measured.iter().filter(|m| same_weights(m, first)).collect();
        if rows.iter().all(|m| m.subject.change.is_empty()) {
            continue;
        }
        // The model as it is comes first, whatever the order of the study.
        rows.sort_by_key(|m| !m.subject.change.is_empty());
        let rows: Vec<Row> = rows.into_iter().map(row).collect();
        // Heads may have been trained on a changed model of which nothing else was asked: words alone are no table.
        if !asked && rows.iter().flat_map(|row| &row.cells).all(|cell| cell.ours.is_none()) {
            continue;
        }
        groups.push(Group {
            label: dataset_name(&first.subject.dataset),
            about: about(first.subject, None),
            provenance: Some(first.subject.weights),
            measured: true,
            rows,
        });
    }
    let sub = |label: &str, sub: &str| Column::with_sub(label, sub);
    Table {
        id: ID,
        title: "Models changed while they run: artifacts removed, registers appended".to_owned(),
        caption: "The same weights, as they are and with tokens overwritten or registers appended during the pass. \
                  Accuracy: logistic regression on one vector an image, trained on vectors of the same kind. Register: \
                  the first of those appended, or of the model's own where none are. A word in place of a number says why \
                  there is none: the model has no registers or no outliers, or nothing in the study asks for it. ± is the \
                  standard error."
            .to_owned(),
        protocol: "docs/protocols/changes.md",
        stub: "model",
        columns: vec![
            Column::text("what is changed"),
            sub("outliers", "% of patches"),
            sub("largest norm", "of a patch"),
            sub("register", "median norm of the first"),
            sub("attention", "of [CLS] on outliers, %"),
            sub("attention", "of [CLS] on registers, %"),
            sub("[CLS]", "accuracy, %"),
            sub("mean patch", "accuracy, %"),
            sub("register", "accuracy of the first, %"),
        ],
        groups,
        spread: Spread::StdErr,
    }
}

/// Whether two subjects are one set of weights seen in one way, whatever was changed while it ran.
fn same_weights(a: &Measured, b: &Measured) -> bool {
    let of = |m: &Measured| {
        let s = m.subject;
        [&s.weights_digest, &s.dataset, &s.preprocessing, &s.precision].map(String::clone)
    };
    of(a) == of(b)
}

/// The register that is shown: the first of those appended, else the first.
fn first_register(s: &Subject) -> usize {
    if s.appended_registers > 0 { s.registers.saturating_sub(s.appended_registers) } else { 0 }
}

/// Why a number of a token is not there, in a word or two; none where all that can be said is that nobody asked.
fn missing(m: &Measured, kind: &str) -> Option<&'static str> {
    let s = m.subject;
    let share = m.scores.at("detection", "outlier", "share_frac", &s.site).and_then(|score| score.value);
    match kind {
        _ if kind.starts_with("register") && s.registers == 0 => Some("no registers"),
        "outlier" if share == Some(0.0) => Some("no outliers"),
        _ => None,
    }
}

/// An empty cell says why it is empty.
fn or_why(cell: Cell, why: &str) -> Cell {
    if cell == Cell::default() { Cell::text(why) } else { cell }
}

fn row(m: &Measured) -> Row {
    let s = m.subject;
    let near = |experiment: &str, kind: &str, metric: &str, unit| {
        let score = m.scores.iter().find(|x| {
            &*x.experiment == experiment
                && &*x.subject == kind
                && &*x.metric == metric
                && (experiment != "norms" || *x.site == *s.site)
        });
        or_why(Cell::scored(s, score, unit), missing(m, kind).unwrap_or("not measured"))
    };
    let class = |kind: &str| {
        let score = fits(m).into_iter().find_map(|fit| accuracy(m, kind, fit, Average::Images));
        or_why(plain(m, score), missing(m, kind).unwrap_or("not probed"))
    };
    // What is appended while the model runs comes last; its first is what the change is about.
    let register = format!("register_{}", first_register(s));
    let change = if s.change.is_empty() { "nothing" } else { &s.change };
    Row {
        label: s.model.clone(),
        cells: vec![
            Cell::text(change),
            near("detection", "outlier", "share_frac", Unit::Share),
            near("norms", "patch", "max", Unit::Number),
            near("norms", &register, "median", Unit::Number),
            near("attention", "outlier", "mass_frac", Unit::Percent),
            near("attention", "register", "mass_frac", Unit::Percent),
            class("cls"),
            class("mean_patch"),
            class(&register),
        ],
    }
}
