//! Table 1 of the paper: accuracy of a linear classifier on one token per image, by kind of token.
//!
//! Protocol and what the paper leaves open: `docs/protocols/table1.md`.

use super::token_class::{averaged_otherwise, columns, groups, plain, published_row};
use super::{Cell, Context, Group, Row, Spread, Table, Unit};
use crate::models::{PAPER_DATASETS, PAPER_MODEL, study_column};
use crate::study::Source;

/// Makes the table.
pub fn build(context: &Context) -> Table {
    Table {
        id: "table1",
        title: "What one token knows of the whole image (after Table 1 of Darcet et al.)".to_owned(),
        caption: "Accuracy (%) of logistic regression on a single vector per image: [CLS], a random normal patch, a \
                  random outlier patch. ± is the standard error of the test accuracy. The published rows are those \
                  of DINOv2 ViT-g/14."
            .to_owned(),
        protocol: "docs/protocols/table1.md",
        stub: "dataset",
        columns: columns(context).into_iter().map(|(_, c)| c).collect(),
        groups: filled(context, "table1"),
        spread: Spread::StdErr,
    }
}

/// The groups of Tables 1 and 6, which differ in their published numbers only.
pub(super) fn filled(context: &Context, table: &str) -> Vec<Group> {
    let kinds = columns(context);
    let mut groups = groups(context, &kinds, &|measured, kind, score, dataset| {
        let cell = plain(measured, score);
        let (Some(dataset), Some(row)) = (dataset, published_row(kind)) else { return cell };
        let same = measured.subject.model == PAPER_MODEL;
        let paper = context.published.get(Source::Paper, table, row, dataset.column);
        let cell = cell.with(measured.subject, paper, same, averaged_otherwise(score, dataset));
        // The study measured CIFAR-10 only, on three models; on others its numbers say nothing.
        let study = study_column(&measured.subject.model)
            .filter(|_| dataset.column == "CF10" && measured.subject.registers == 0);
        let study = study.and_then(|model| {
            let row = if kind == "outlier" { "high_norm" } else { kind };
            context.published.get(Source::Study, "table3", row, model)
        });
        cell.with(measured.subject, study, true, None)
    });
    let rest = unmeasured(context, &kinds, table, &groups);
    groups.extend(rest);
    groups
}

/// The published rows that do not stand beside a number of ours.
fn unmeasured(context: &Context, kinds: &[(String, super::Column)], table: &str, measured: &[Group]) -> Option<Group> {
    let rows: Vec<Row> = PAPER_DATASETS
        .iter()
        .filter(|d| !measured.iter().any(|g| g.shows(d.name, Source::Paper)))
        .map(|d| Row {
            label: d.name.to_owned(),
            cells: kinds
                .iter()
                .map(|(kind, _)| {
                    let row = published_row(kind);
                    let published = row.and_then(|row| context.published.get(Source::Paper, table, row, d.column));
                    Cell::unmeasured(published, Unit::Percent)
                })
                .collect(),
        })
        .collect();
    (!rows.is_empty()).then(|| Group {
        label: "DINOv2 ViT-g/14, as published".to_owned(),
        about: vec!["not measured here".to_owned()],
        provenance: None,
        measured: false,
        rows,
    })
}
