//! Table 3 of the reproducibility study: one high-norm token against one normal token, on CIFAR-10.
//!
//! Protocol and where the study's text and code differ: `docs/protocols/repro_table3.md`.

use super::token_class::{groups, plain};
use super::{Cell, Column, Context, Group, Row, Spread, Table, Unit};
use crate::models::study_column;
use crate::study::Source;

const KINDS: [(&str, &str, &str); 2] = [("outlier", "high_norm", "high-norm"), ("normal", "normal", "normal")];

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let kinds: Vec<(String, Column)> =
        KINDS.iter().map(|(kind, _, label)| ((*kind).to_owned(), Column::new(*label))).collect();
    let mut groups = groups(context, &kinds, &|measured, kind, score, dataset| {
        let cell = plain(measured, score);
        if measured.subject.registers > 0 || dataset.is_none_or(|d| d.column != "CF10") {
            return cell;
        }
        let published = study_column(&measured.subject.model).and_then(|model| published(context, kind, model));
        cell.with(measured.subject, published, true, None)
    });
    let rest = unmeasured(context, &groups);
    groups.extend(rest);
    Table {
        id: "repro_table3",
        title: "Class from one high-norm or one normal token (after Table 3 of the reproducibility study)".to_owned(),
        caption: "Accuracy (%) of logistic regression on one token per image. ± is the standard deviation over \
                  draws. The study's numbers are on CIFAR-10, models without registers, seeds 42, 123, 999."
            .to_owned(),
        protocol: "docs/protocols/repro_table3.md",
        stub: "dataset",
        columns: kinds.into_iter().map(|(_, c)| c).collect(),
        groups,
        spread: Spread::Draws,
    }
}

fn published(context: &Context, kind: &str, model: &str) -> Option<crate::published::Published> {
    let (_, row, _) = KINDS.iter().find(|(k, _, _)| *k == kind)?;
    context.published.get(Source::Study, "table3", row, model)
}

fn unmeasured(context: &Context, measured: &[Group]) -> Option<Group> {
    let measured_here = |model: &str| {
        measured.iter().any(|g| study_column(&g.label) == Some(model) && g.shows("CIFAR-10", Source::Study))
    };
    let models = context.published.columns(Source::Study, "table3");
    let rows: Vec<Row> = models
        .into_iter()
        .filter(|model| !measured_here(model))
        .map(|model| Row {
            label: format!("{model}, CIFAR-10"),
            cells: KINDS
                .iter()
                .map(|(kind, _, _)| Cell::unmeasured(published(context, kind, model), Unit::Percent))
                .collect(),
        })
        .collect();
    (!rows.is_empty()).then(|| Group {
        label: "As published".to_owned(),
        about: vec!["not measured here".to_owned()],
        provenance: None,
        measured: false,
        rows,
    })
}
