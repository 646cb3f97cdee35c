//! Table 2b of the paper: classes of `ImageNet` without training, from what a text encoder makes of their names.
//!
//! Protocol and what the paper leaves open: `docs/protocols/table2b.md`; how classes get their vectors:
//! `docs/protocols/zero_shot.md`.

use super::heads::{self, Groups, each, follows};
use super::local::registers;
use super::token_class::dataset_name;
use super::{Cell, Column, Context, Group, Row, Spread, Table, Unit};
use crate::models::{base, table2_dataset, trained_row};
use crate::study::{Source, Subject};

const EXPERIMENT: &str = "zero_shot";
const TOP1: (&str, Unit) = ("accuracy_frac", Unit::Percent);
const TOP5: (&str, Unit) = ("top5_accuracy_frac", Unit::Percent);
const PUBLISHED: &str = "ImageNet_zeroshot_top1";

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let mut groups = filled(context);
    groups.extend(unmeasured(context));
    Table {
        id: "table2b",
        title: "Zero-shot classification (after Table 2b of Darcet et al.)".to_owned(),
        caption: "Share of images whose class has the name that is nearest (top-1), or among the five nearest (top-5), to the \
                  image in the space that text and images share. ± is the standard error over images. The published \
                  models are the authors' own, trained on Shutterstock images and not released."
            .to_owned(),
        protocol: "docs/protocols/table2b.md",
        stub: "model, dataset, templates",
        columns: vec![Column::with_sub("top-1", "%"), Column::with_sub("top-5", "%")],
        groups,
        spread: Spread::StdErr,
    }
}

fn filled(context: &Context) -> Vec<Group> {
    let mut groups = Groups::default();
    for experiment in [EXPERIMENT, "control_zero_shot"] {
        for (measured, fit) in each(context, experiment, TOP1.0) {
            let subject = measured.subject;
            let mut label = format!(
                "{}, {}, {}",
                base(&subject.model),
                registers(subject.registers),
                dataset_name(&subject.dataset)
            );
            if !["all", "cls", "image"].contains(&fit.head) {
                label += &format!(", {}", fit.head);
            }
            if experiment != EXPERIMENT {
                label += ", control";
            }
            let published =
                row(subject).and_then(|row| context.published.get(Source::Paper, "table2b", row, PUBLISHED));
            let published = published.filter(|_| experiment == EXPERIMENT);
            let top1 = heads::cell(measured, fit, experiment, TOP1).with(subject, published, false, None);
            let cells = vec![top1, heads::cell(measured, fit, experiment, TOP5)];
            let about = heads::about(subject, fit);
            groups.of(subject, subject.weights.label(), about).rows.push(Row { label, cells });
        }
    }
    groups.finish()
}

/// The published row of a subject.
fn row(subject: &Subject) -> Option<&'static str> {
    let of_paper = follows(subject, Source::Paper) && table2_dataset(&subject.dataset) == Some("ImageNet");
    trained_row(&subject.model, subject.registers).filter(|_| of_paper)
}

/// The published numbers that stand beside none of ours.
fn unmeasured(context: &Context) -> Option<Group> {
    let ours = each(context, EXPERIMENT, TOP1.0);
    let rows = context.published.rows(Source::Paper, "table2b").into_iter();
    let rows = rows.filter(|name| !ours.iter().any(|(m, _)| row(m.subject) == Some(*name)));
    let rows = rows.map(|name| Row {
        label: format!("{}, ImageNet-1k", name.replace("+reg", " with registers")),
        cells: vec![
            Cell::unmeasured(context.published.get(Source::Paper, "table2b", name, PUBLISHED), TOP1.1),
            Cell::default(),
        ],
    });
    let rows: Vec<Row> = rows.collect();
    (!rows.is_empty()).then(|| Group {
        label: "models of the authors, as published".to_owned(),
        about: vec!["not measured here; OpenCLIP ViT-B/16".to_owned()],
        provenance: None,
        measured: false,
        rows,
    })
}
