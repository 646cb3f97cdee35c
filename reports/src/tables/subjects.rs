//! What was measured: one row per subject, with everything that a number of it depends on. Opens every report.

use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, Value, heads};
use crate::render::grouped;
use crate::study::Source;
use crate::verdict::obstacle;

/// Name of the table.
pub const ID: &str = "subjects";

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let columns = [
        "dataset",
        "weights",
        "digest",
        "preprocessing",
        "precision",
        "outliers",
        "norms at",
        "images",
        "skipped",
        "compared with",
    ];
    let rows = context.measured.iter().map(|m| Row { label: m.subject.model.clone(), cells: cells(m) });
    Table {
        id: ID,
        title: "What was measured".to_owned(),
        caption: "Only numbers on the same weights, under the published protocol, agree or differ with a published \
                  one. All others are printed beside it without a verdict. Heads on every patch see views of their own, \
                  which the heading of their table tells, and no head depends on how outliers are told."
            .to_owned(),
        protocol: "docs/protocols/norms.md",
        stub: "model",
        columns: columns.map(|c| if c == "images" { Column::new(c) } else { Column::text(c) }).into(),
        groups: vec![Group { measured: true, rows: rows.collect(), ..Group::default() }],
        spread: Spread::StdErr,
    }
}

/// What the numbers of a subject depend on; empty where they do not.
fn of_model(text: &str, is: bool) -> Cell {
    Cell::text(if is { text } else { "" })
}

fn cells(m: &Measured) -> Vec<Cell> {
    let s = m.subject;
    let mut weights = Cell::text(s.weights.label());
    if !s.weights_note.is_empty() {
        weights.notes.push(s.weights_note.clone());
    }
    if !s.leftover.is_empty() {
        weights.notes.push(format!("tensors of the checkpoint without a place: {}", s.leftover.join(", ")));
    }
    let total: u64 = m.skipped.values().sum();
    let mut skipped = Cell::text(grouped(total));
    skipped.notes = m.skipped.iter().map(|(why, n)| format!("{n} × {why}")).collect();
    let mut compared = Cell::default();
    let reasons: Vec<_> = [Source::Paper, Source::Study].map(|source| (source, obstacle(s, source, true))).into();
    let open: Vec<&str> = reasons.iter().filter(|(_, why)| why.is_none()).map(|(s, _)| s.label()).collect();
    if open.is_empty() {
        "nothing".clone_into(&mut compared.text);
        compared.notes = reasons.into_iter().filter_map(|(_, why)| why).take(1).collect();
    } else {
        compared.text = open.join(", ");
    }
    // Twelve hexadecimal digits tell weights apart at a glance; the whole digest is a footnote.
    let digest: String = s.weights_digest.chars().take(12).collect();
    let mut digest = Cell::text(digest);
    if s.weights_digest.chars().count() > 12 {
        digest.notes.push(format!("whole digest: {}", s.weights_digest));
    }
    vec![
        Cell::text(s.dataset.clone()),
        weights,
        digest,
        of_model(&s.preprocessing, !heads::are_all_dense(m)),
        Cell::text(s.precision.clone()),
        of_model(&s.outlier_policy, !heads::are_all(m)),
        of_model(&s.site, !heads::are_all(m)),
        m.images.map_or_else(Cell::default, |images| Cell {
            ours: Some(Value {
                value: images as f64,
                std: None,
                stderr: None,
                n: images + total,
                draws: 1,
                images_without: 0,
                unit: Unit::Count,
            }),
            provenance: Some(s.weights),
            ..Cell::default()
        }),
        skipped,
        compared,
    ]
}
