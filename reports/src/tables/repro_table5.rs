//! Table 5 of the reproducibility study: does the `[CLS]` token lose anything to registers?
//!
//! A row is a model without its registers, a column a number of registers. Protocol: `docs/protocols/repro_table5.md`.

use std::collections::BTreeSet;

use super::token_class::{accuracy, dataset_name, fits, plain};
use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, meaning};
use crate::models::{Average, base, paper_dataset, study_column};
use crate::scores::Score;
use crate::study::Source;

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let mut counts: BTreeSet<usize> = [0, 4].into();
    counts.extend(context.measured.iter().filter(|m| !cls_fits(m).is_empty()).map(|m| m.subject.registers));
    let counts: Vec<usize> = counts.into_iter().collect();
    let mut groups = filled(context, &counts);
    let rest = unmeasured(context, &counts, &groups);
    groups.extend(rest);
    Table {
        id: "repro_table5",
        title: "The [CLS] token without and with registers (after Table 5 of the reproducibility study)".to_owned(),
        caption: "Accuracy (%) of logistic regression on the [CLS] token. ± is the standard error of the test \
                  accuracy. The study's numbers are on CIFAR-10."
            .to_owned(),
        protocol: "docs/protocols/repro_table5.md",
        stub: "model, dataset",
        columns: counts
            .iter()
            .map(|count| match count {
                0 => Column::new("no registers"),
                1 => Column::new("1 register"),
                n => Column::new(format!("{n} registers")),
            })
            .collect(),
        groups,
        spread: Spread::StdErr,
    }
}

fn filled(context: &Context, counts: &[usize]) -> Vec<Group> {
    let mut groups: Vec<(Vec<String>, Group)> = Vec::new();
    for measured in &context.measured {
        let subject = measured.subject;
        for fit in cls_fits(measured) {
            let (site, settings) = fit;
            // Two models of a row never share a digest; everything else that changes the meaning splits the group.
            let [weights, _, preprocessing, precision, _, _, change] = meaning(subject);
            let key: Vec<String> =
                [weights, preprocessing, precision, site, settings, change].map(str::to_owned).into();
            let at = groups.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
                let mut about = vec![
                    format!("preprocessing: {preprocessing}"),
                    format!("precision: {precision}"),
                    format!("vectors at: {site}"),
                ];
                if !settings.is_empty() {
                    about.push(format!("fit: {settings}"));
                }
                let label = subject.weights.label().to_owned();
                let group = Group { label, about, provenance: Some(subject.weights), measured: true, rows: vec![] };
                groups.push((key, group));
                groups.len() - 1
            });
            let label = format!("{}, {}", base(&subject.model), dataset_name(&subject.dataset));
            let Some(column) = counts.iter().position(|c| *c == subject.registers) else { continue };
            let cell = cell(context, measured, cls(measured, fit));
            let rows = &mut groups[at].1.rows;
            // A second subject for the same cell (another digest of the same model) gets a row of its own.
            let free = rows.iter_mut().find(|r| r.label == label && r.cells[column] == Cell::default());
            if let Some(row) = free {
                row.cells[column] = cell;
            } else {
                let mut cells = vec![Cell::default(); counts.len()];
                cells[column] = cell;
                rows.push(Row { label, cells });
            }
        }
    }
    let mut groups: Vec<Group> = groups.into_iter().map(|(_, group)| group).collect();
    for row in groups.iter_mut().flat_map(|g| &mut g.rows) {
        complete(context, row, counts);
    }
    groups
}

/// Puts the study's numbers into the cells of a row that were not measured.
fn complete(context: &Context, row: &mut Row, counts: &[usize]) {
    let Some(model) = row.label.strip_suffix(", CIFAR-10").and_then(study_column) else { return };
    for (cell, registers) in row.cells.iter_mut().zip(counts) {
        if *cell == Cell::default() {
            *cell = Cell::unmeasured(published(context, model, *registers), Unit::Percent);
        }
    }
}

fn cell(context: &Context, measured: &Measured, score: Option<&Score>) -> Cell {
    let subject = measured.subject;
    let published = study_column(&subject.model)
        .filter(|_| is_cifar10(&subject.dataset))
        .and_then(|model| published(context, model, subject.registers));
    plain(measured, score).with(subject, published, true, None)
}

fn published(context: &Context, model: &str, registers: usize) -> Option<crate::published::Published> {
    let row = match registers {
        0 => "without_registers",
        4 => "with_registers",
        _ => return None,
    };
    context.published.get(Source::Study, "table5", row, model)
}

fn cls<'a>(measured: &'a Measured, fit: (&str, &str)) -> Option<&'a Score> {
    accuracy(measured, "cls", fit, Average::Images)
}

fn cls_fits<'a>(measured: &'a Measured) -> Vec<(&'a str, &'a str)> {
    fits(measured).into_iter().filter(|fit| cls(measured, *fit).is_some()).collect()
}

fn is_cifar10(dataset: &str) -> bool {
    paper_dataset(dataset).is_some_and(|d| d.column == "CF10")
}

fn unmeasured(context: &Context, counts: &[usize], measured: &[Group]) -> Option<Group> {
    let of = |label: &str| label.strip_suffix(", CIFAR-10").and_then(study_column);
    let measured_here = |model: &str| {
        let shows = |g: &Group| g.rows.iter().any(|r| of(&r.label) == Some(model) && g.shows(&r.label, Source::Study));
        measured.iter().any(shows)
    };
    let rows: Vec<Row> = context
        .published
        .columns(Source::Study, "table5")
        .into_iter()
        .filter(|model| !measured_here(model))
        .map(|model| Row {
            label: format!("{model}, CIFAR-10"),
            cells: counts.iter().map(|r| Cell::unmeasured(published(context, model, *r), Unit::Percent)).collect(),
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
