//! Figure 5b of the paper, a table in a figure: what a token still knows of its own place and pixels.
//!
//! Protocol and what the paper leaves open: `docs/protocols/fig5b.md`.

use super::{Cell, Column, Context, Group, Row, Spread, Table, Unit, about};
use crate::models::PAPER_MODEL;
use crate::study::Source;

/// (experiment, our metric, published column, unit, heading, second line).
type Quantity = (&'static str, &'static str, &'static str, Unit, &'static str, &'static str);

/// The last of each experiment is its control, which knows nothing of the token; nobody published it.
const QUANTITIES: [Quantity; 5] = [
    ("position", "top1_frac", "position_top1_pct", Unit::Percent, "position", "top-1, %"),
    ("position", "mean_distance_cells", "position_avg_distance", Unit::Number, "position", "mean distance, cells"),
    ("position", "blind_distance_cells", "", Unit::Number, "best constant cell", "mean distance, cells"),
    ("pixels", "l2_mean", "reconstruction_l2", Unit::Number, "pixels", "mean L2 error"),
    ("pixels", "blind_l2_mean", "", Unit::Number, "mean patch", "mean L2 error"),
];

const KINDS: [&str; 2] = ["normal", "outlier"];

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let mut groups: Vec<Group> = Vec::new();
    for m in &context.measured {
        let mut probed = m.scores.iter().filter(|s| matches!(&*s.experiment, "position" | "pixels"));
        let Some(first) = probed.next() else { continue };
        let site = first.site.to_string();
        let rows = KINDS.iter().map(|kind| Row {
            label: (*kind).to_owned(),
            cells: QUANTITIES
                .iter()
                .map(|(experiment, metric, column, unit, _, _)| {
                    let score = m.scores.near(experiment, kind, metric, &site);
                    let published = context.published.get(Source::Paper, "fig5b", kind, column);
                    // The paper does not say which images its probes saw.
                    let why = "not comparable: the paper does not state images and optimiser";
                    Cell::scored(m.subject, score, *unit).with(
                        m.subject,
                        published,
                        m.subject.model == PAPER_MODEL,
                        Some(why),
                    )
                })
                .collect(),
        });
        groups.push(Group {
            label: format!("{} on {}", m.subject.model, m.subject.dataset),
            about: [about(m.subject, Some(&site)), settings(m)].concat(),
            provenance: Some(m.subject.weights),
            measured: true,
            rows: rows.collect(),
        });
    }
    // Every measured group has the published numbers beside it.
    if groups.is_empty() {
        groups.push(unmeasured(context));
    }
    Table {
        id: "fig5b",
        title: "What a token knows of its own patch (after Figure 5b of Darcet et al.)".to_owned(),
        caption: "Linear probes on single patch tokens: the cell of the grid that it came from, and the pixels of its \
                  patch (Euclidean norm of the residual over normalised pixels). Beside each stands what is \
                  reached without looking at the token. ± is the standard error, images taken as independent."
            .to_owned(),
        protocol: "docs/protocols/fig5b.md",
        stub: "token",
        columns: QUANTITIES.iter().map(|(_, _, _, _, label, sub)| Column::with_sub(*label, *sub)).collect(),
        groups,
        spread: Spread::StdErr,
    }
}

/// How places and pixels were fitted.
fn settings(measured: &super::Measured) -> Vec<String> {
    let first = |experiment: &&str| measured.scores.iter().find(|s| &*s.experiment == *experiment);
    ["position", "pixels"]
        .iter()
        .filter_map(|e| first(e).filter(|s| !s.settings.is_empty()).map(|s| format!("{e}: {}", s.settings)))
        .collect()
}

fn unmeasured(context: &Context) -> Group {
    let rows = KINDS.iter().map(|kind| Row {
        label: (*kind).to_owned(),
        cells: QUANTITIES
            .iter()
            .map(|(_, _, column, unit, _, _)| {
                Cell::unmeasured(context.published.get(Source::Paper, "fig5b", kind, column), *unit)
            })
            .collect(),
    });
    Group {
        label: "DINOv2 ViT-g/14, as published".to_owned(),
        about: vec!["not measured here".to_owned()],
        provenance: None,
        measured: false,
        rows: rows.collect(),
    }
}
