//! Table 2a of the paper: frozen features to `ImageNet` classes, `ADE20k` segments and `NYUd` depths.
//!
//! A row is a model. Protocol and what the paper leaves open: `docs/protocols/table2a.md`.

use super::heads::{self, BEST, CHOSEN, Fit, Groups, follows, heads};
use super::local::registers;
use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit};
use crate::models::{base, table2_dataset, trained_row};
use crate::study::Source;

/// (dataset, experiment, head, metric, unit, published column, heading, second line)
type Quantity =
    (&'static str, &'static str, &'static str, &'static str, Unit, &'static str, &'static str, &'static str);

const QUANTITIES: [Quantity; 4] = [
    (
        "ImageNet",
        "linear_eval",
        BEST,
        "accuracy_frac",
        Unit::Percent,
        "ImageNet_top1",
        "ImageNet",
        "top-1, best head on the test images, %",
    ),
    (
        "ImageNet",
        "linear_eval",
        CHOSEN,
        "accuracy_frac",
        Unit::Percent,
        "",
        "ImageNet",
        "top-1, head chosen on training images, %",
    ),
    ("ADE20k", "segmentation", "", "miou_frac", Unit::Percent, "ADE20k_mIoU", "ADE20k", "mIoU, %"),
    ("NYUd", "depth", "", "rmse_m", Unit::Number, "NYUd_rmse", "NYUd", "RMSE, m"),
];

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let mut groups = filled(context);
    groups.extend(unmeasured(context));
    Table {
        id: "table2a",
        title: "Linear evaluation of frozen features (after Table 2a of Darcet et al.)".to_owned(),
        caption: "ImageNet: of many linear heads trained at once, the first column has the one with the best top-1 on the \
                  test images themselves, as DINOv2 reports it; the second, to trust, the one chosen on held-out training \
                  images. ADE20k: mean IoU of a linear head on patch features. NYUd: mean over images of the root mean \
                  square error of a linear head. Footnotes say how each was trained. ± is the standard error over images. \
                  The published models are the authors' own, not released."
            .to_owned(),
        protocol: "docs/protocols/table2a.md",
        stub: "model",
        columns: QUANTITIES.iter().map(|q| Column::with_sub(q.6, q.7)).collect(),
        groups,
        spread: Spread::StdErr,
    }
}

fn filled(context: &Context) -> Vec<Group> {
    let mut groups = Groups::default();
    for measured in context.measured.iter().filter(|m| follows(m.subject, Source::Paper)) {
        let subject = measured.subject;
        let Some(dataset) = table2_dataset(&subject.dataset) else { continue };
        for (head, cells) in cells(context, measured, dataset) {
            let mut about = vec![];
            for (what, text) in [("precision", &subject.precision), ("changed while it ran", &subject.change)] {
                if !text.is_empty() {
                    about.push(format!("{what}: {text}"));
                }
            }
            let group = groups.of(subject, subject.weights.label(), about);
            put(group, &format!("{}, {}", base(&subject.model), registers(subject.registers)), head, cells);
        }
    }
    groups.finish()
}

/// A row of cells for each way in which heads were trained on a dataset, with the head's name; other columns are empty.
fn cells<'m>(context: &Context, measured: &'m Measured, dataset: &str) -> Vec<(&'m str, Vec<Cell>)> {
    let mut fits: Vec<Fit<'m>> = Vec::new();
    for (_, experiment, head, metric, ..) in QUANTITIES.iter().filter(|q| q.0 == dataset) {
        let found = heads(measured, experiment, metric).into_iter();
        // Heads of an experiment that names two of them are one row.
        for fit in found.filter(|fit| is_head(head, fit)).map(|fit| match *head {
            "" => fit,
            _ => fit.named(""),
        }) {
            if !fits.contains(&fit) {
                fits.push(fit);
            }
        }
    }
    let row = |fit: Fit<'m>| {
        let cell = |(of, experiment, head, metric, unit, column, ..): &Quantity| {
            if *of != dataset {
                return Cell::default();
            }
            let fit = if head.is_empty() { fit } else { fit.named(head) };
            let mut cell = heads::cell(measured, fit, experiment, (metric, *unit));
            if cell == Cell::default() {
                return cell;
            }
            let dense = ["segmentation", "depth"].contains(experiment);
            let about = if dense { heads::about_dense } else { heads::about };
            let how = about(measured.subject, fit)
                .into_iter()
                .filter(|line| !line.starts_with("precision:") && !line.starts_with("changed"));
            let name = if head.is_empty() { fit.head } else { "linear" };
            cell.notes.push(format!("{name}; {}", how.collect::<Vec<_>>().join("; ")));
            let published = trained_row(&measured.subject.model, measured.subject.registers)
                .and_then(|row| context.published.get(Source::Paper, "table2a", row, column));
            cell.with(measured.subject, published, false, None)
        };
        (fit.head, QUANTITIES.iter().map(cell).collect())
    };
    fits.into_iter().map(row).collect()
}

/// Puts cells into the first row of this label where their columns are free; each further fit has a row of its own.
fn put(group: &mut Group, label: &str, head: &str, cells: Vec<Cell>) {
    let further = format!("{label}, {head}");
    let free = |row: &Row| {
        let mut pairs = row.cells.iter().zip(&cells);
        (row.label == label || row.label == further)
            && pairs.all(|(old, new)| *old == Cell::default() || *new == Cell::default())
    };
    if let Some(row) = group.rows.iter_mut().find(|row| free(row)) {
        for (old, new) in row.cells.iter_mut().zip(cells) {
            if new != Cell::default() {
                *old = new;
            }
        }
    } else {
        let taken = group.rows.iter().any(|row| row.label == label);
        let label = if taken { further } else { label.to_owned() };
        group.rows.push(Row { label, cells });
    }
}

/// Whether a head is the one that a column names, or any that is not of the study's recipe.
fn is_head(head: &str, fit: &Fit) -> bool {
    if head.is_empty() { heads::recipe_of(fit.head) != Some(Source::Study) } else { fit.head == head }
}

/// Whether one of ours stands in a published row and column.
fn shown(context: &Context, name: &str, (dataset, experiment, head, metric, ..): &Quantity) -> bool {
    context.measured.iter().any(|m| {
        let s = m.subject;
        follows(s, Source::Paper)
            && trained_row(&s.model, s.registers) == Some(name)
            && table2_dataset(&s.dataset) == Some(*dataset)
            && heads(m, experiment, metric).iter().any(|fit| is_head(head, fit))
    })
}

/// The published numbers that stand beside none of ours.
fn unmeasured(context: &Context) -> Option<Group> {
    let mut rows = Vec::new();
    for name in context.published.rows(Source::Paper, "table2a") {
        let cell = |q: &Quantity| match context.published.get(Source::Paper, "table2a", name, q.5) {
            Some(published) if !shown(context, name, q) => Cell::unmeasured(Some(published), q.4),
            _ => Cell::default(),
        };
        let cells: Vec<Cell> = QUANTITIES.iter().map(cell).collect();
        if cells.iter().any(|cell| *cell != Cell::default()) {
            rows.push(Row { label: name.replace("+reg", " with registers"), cells });
        }
    }
    (!rows.is_empty()).then(|| Group {
        label: "models of the authors, as published".to_owned(),
        about: vec!["not measured here; DeiT-III and OpenCLIP ViT-B/16, DINOv2 ViT-L/14".to_owned()],
        provenance: None,
        measured: false,
        rows,
    })
}
