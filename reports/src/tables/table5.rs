//! Table 5 of the paper: do normal patches keep their place and pixels when a model has registers?
//!
//! Protocol and what the paper leaves open: `docs/protocols/table5.md`.

use super::local::{families, registers};
use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, meaning};
use crate::models::base;
use crate::published::Published;
use crate::study::Source;

/// (experiment, metric, published column, unit, heading, second line)
type Quantity = (&'static str, &'static str, &'static str, Unit, &'static str, &'static str);

const QUANTITIES: [Quantity; 3] = [
    ("position", "top1_frac", "position_top1_pct", Unit::Percent, "position", "top-1, %"),
    ("position", "mean_distance_cells", "", Unit::Number, "position", "mean distance, cells"),
    ("pixels", "l2_mean", "reconstruction_l2", Unit::Number, "pixels", "mean L2 error"),
];

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let wanted = |s: &crate::scores::Score| {
        &*s.subject == "normal" && QUANTITIES.iter().any(|(e, m, ..)| *s.experiment == **e && *s.metric == **m)
    };
    let found = families(context, wanted);
    let mut groups = filled(context, &found);
    groups.extend(unmeasured(context, &found));
    Table {
        id: "table5",
        title: "Place and pixels of normal patches, without and with registers (after Table 5 of Darcet et al.)"
            .to_owned(),
        caption:
            "Linear probes on single normal patch tokens: the cell of the grid that it came from, and the pixels of \
                  its patch. ± is the standard error, images taken as independent. The published models are a \
                  DINOv2 of the authors, not released."
                .to_owned(),
        protocol: "docs/protocols/table5.md",
        stub: "model, dataset",
        columns: QUANTITIES.iter().map(|(_, _, _, _, label, sub)| Column::with_sub(*label, *sub)).collect(),
        groups,
        spread: Spread::StdErr,
    }
}

fn filled(context: &Context, found: &[&Measured]) -> Vec<Group> {
    let mut groups: Vec<(Vec<String>, Group)> = Vec::new();
    for measured in found {
        let subject = measured.subject;
        let first = |experiment: &str| measured.scores.iter().find(|s| &*s.experiment == experiment);
        let site = first("position").or_else(|| first("pixels")).map_or("", |s| &*s.site);
        let cells = QUANTITIES.iter().map(|(experiment, metric, column, unit, _, _)| {
            let score = measured.scores.near(experiment, "normal", metric, site);
            // The authors' models of this table were not released, and its images are not stated.
            let cell = Cell::scored(subject, score, *unit);
            cell.with(subject, published(context, subject.registers, column), false, None)
        });
        let settings = |experiment| first(experiment).map_or("", |s| s.settings.as_str());
        let [weights, _, preprocessing, precision, policy, _, change] = meaning(subject);
        let words = [
            ("preprocessing", preprocessing),
            ("precision", precision),
            ("changed while it ran", change),
            ("outliers", policy),
            ("vectors at", site),
            ("position", settings("position")),
            ("pixels", settings("pixels")),
        ];
        let key: Vec<String> = words.iter().map(|(_, w)| (*w).to_owned()).chain([weights.to_owned()]).collect();
        let row = Row {
            label: format!("{}, {}, {}", base(&subject.model), registers(subject.registers), subject.dataset),
            cells: cells.collect(),
        };
        if let Some((_, group)) = groups.iter_mut().find(|(k, _)| *k == key) {
            group.rows.push(row);
            continue;
        }
        let about = words.iter().filter(|(_, w)| !w.is_empty()).map(|(what, w)| format!("{what}: {w}"));
        let (label, about) = (subject.weights.label().to_owned(), about.collect());
        groups.push((key, Group { label, about, provenance: Some(subject.weights), measured: true, rows: vec![row] }));
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The published row of a number of registers.
fn published(context: &Context, registers: usize, column: &str) -> Option<Published> {
    let row = match registers {
        0 => "0_registers_non_outliers",
        4 => "4_registers_all_patches",
        _ => return None,
    };
    context.published.get(Source::Paper, "table5", row, column)
}

/// The published rows that stand beside no number of ours.
fn unmeasured(context: &Context, found: &[&Measured]) -> Option<Group> {
    let rows = [(0, "no registers, patches that are no outliers"), (4, "4 registers, all patches")];
    let rows = rows.into_iter().filter(|(count, _)| !found.iter().any(|m| m.subject.registers == *count));
    let rows = rows.map(|(count, label)| {
        let cells = QUANTITIES
            .iter()
            .map(|(_, _, column, unit, _, _)| Cell::unmeasured(published(context, count, column), *unit));
        Row { label: label.to_owned(), cells: cells.collect() }
    });
    let rows: Vec<Row> = rows.collect();
    (!rows.is_empty()).then(|| Group {
        label: "DINOv2 of the authors, as published".to_owned(),
        about: vec!["not measured here".to_owned()],
        provenance: None,
        measured: false,
        rows,
    })
}
