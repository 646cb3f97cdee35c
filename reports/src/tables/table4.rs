//! Table 4 of the paper: does a register hold what an outlier held?
//!
//! A row is a model with some number of registers, a column a kind of token. Protocol: `docs/protocols/table4.md`.

use super::local::{families, registers};
use super::token_class::{accuracy, averaged_otherwise, dataset_name, fits, plain};
use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, meaning};
use crate::models::{Average, base, paper_dataset};
use crate::published::Published;
use crate::study::Source;

/// Kinds that are always there: (kind, heading, published column)
const KINDS: [(&str, &str, &str); 3] = [
    ("cls", "[CLS]", "CLS_top1"),
    ("normal", "normal patch", "normal_patch_top1"),
    ("outlier", "outlier patch", "outlier_patch_top1"),
];

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let found = families(context, |s| matches!(&*s.experiment, "token_class" | "pooled_class"));
    let most = found.iter().map(|m| m.subject.registers).max().unwrap_or(0).max(1);
    let mut kinds: Vec<(String, String, &str)> =
        KINDS.iter().map(|(kind, label, column)| ((*kind).to_owned(), (*label).to_owned(), *column)).collect();
    // The paper's model has one register.
    kinds.extend(
        (0..most)
            .map(|r| (format!("register_{r}"), format!("register {r}"), if r == 0 { "register_top1" } else { "" })),
    );
    let mut groups = filled(context, &found, &kinds);
    if !groups.iter().flat_map(|g| &g.rows).flat_map(|r| &r.cells).any(|c| !c.beside.is_empty()) {
        groups.push(unmeasured(context, &kinds));
    }
    Table {
        id: "table4",
        title: "What registers hold (after Table 4 of Darcet et al.)".to_owned(),
        caption:
            "Accuracy (%) of logistic regression on a single vector per image, for models that were measured with \
                  and without registers. ± is the standard error of the test accuracy. The published rows are a \
                  DINOv2 of the authors, not released, on FGVC Aircraft."
                .to_owned(),
        protocol: "docs/protocols/table4.md",
        stub: "model, dataset",
        columns: kinds.into_iter().map(|(_, label, _)| Column::new(label)).collect(),
        groups,
        spread: Spread::StdErr,
    }
}

fn filled(context: &Context, found: &[&Measured], kinds: &[(String, String, &str)]) -> Vec<Group> {
    let mut groups: Vec<(Vec<String>, Group)> = Vec::new();
    for measured in found {
        let subject = measured.subject;
        let dataset = paper_dataset(&subject.dataset);
        let average = dataset.map_or(Average::Images, |d| d.average);
        for fit in fits(measured) {
            let cells = kinds.iter().map(|(kind, _, column)| {
                let score = accuracy(measured, kind, fit, average);
                let published = dataset.filter(|d| d.column == "Airc");
                let published = published.and_then(|_| published_cell(context, subject.registers, column));
                let otherwise = dataset.and_then(|d| averaged_otherwise(score, d));
                // The authors' model of this table was not released.
                plain(measured, score).with(subject, published, false, otherwise)
            });
            let cells: Vec<Cell> = cells.collect();
            if cells.iter().all(|c| c.ours.is_none()) {
                continue;
            }
            let [weights, _, preprocessing, precision, policy, _, change] = meaning(subject);
            let key: Vec<String> =
                [weights, preprocessing, precision, policy, fit.0, fit.1, change].map(str::to_owned).into();
            let at = groups.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
                let words = [
                    ("preprocessing", preprocessing),
                    ("precision", precision),
                    ("changed while it ran", change),
                    ("outliers", policy),
                    ("vectors at", fit.0),
                    ("fit", fit.1),
                ];
                let about = words.iter().filter(|(_, w)| !w.is_empty()).map(|(what, w)| format!("{what}: {w}"));
                let (label, about) = (subject.weights.label().to_owned(), about.collect());
                let group = Group { label, about, provenance: Some(subject.weights), measured: true, rows: vec![] };
                groups.push((key, group));
                groups.len() - 1
            });
            let model = base(&subject.model);
            let label = format!("{model}, {}, {}", registers(subject.registers), dataset_name(&subject.dataset));
            groups[at].1.rows.push(Row { label, cells });
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn published_cell(context: &Context, registers: usize, column: &str) -> Option<Published> {
    let row = match registers {
        0 => "0_registers",
        1 => "1_register",
        _ => return None,
    };
    context.published.get(Source::Paper, "table4", row, column)
}

fn unmeasured(context: &Context, kinds: &[(String, String, &str)]) -> Group {
    let rows = [0, 1].map(|count| Row {
        label: format!("{}, FGVC Aircraft", registers(count)),
        cells: kinds
            .iter()
            .map(|(_, _, column)| Cell::unmeasured(published_cell(context, count, column), Unit::Percent))
            .collect(),
    });
    Group {
        label: "DINOv2 of the authors, as published".to_owned(),
        about: vec!["not measured here".to_owned()],
        provenance: None,
        measured: false,
        rows: rows.into(),
    }
}
