//! Figure 5a of the paper and Figure 6 of the study, as numbers: are outliers patches that resemble their neighbours?
//!
//! Protocol and what the papers leave open: `docs/protocols/fig5a.md`.

use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, about};

/// (site of the vectors, label)
const PLACES: [(&str, &str); 2] =
    [("patch_embed", "patch embedding"), ("with_position", "patch embedding with position")];

/// (subject, metric, unit, heading, second line)
type Quantity = (&'static str, &'static str, Unit, &'static str, &'static str);

const QUANTITIES: [Quantity; 5] = [
    ("outlier", "mean", Unit::Number, "outliers", "mean cosine"),
    ("normal", "mean", Unit::Number, "normal", "mean cosine"),
    ("outlier", "gap", Unit::Number, "gap", "difference of means"),
    ("outlier", "effect_size", Unit::Number, "effect size", "by pooled deviation"),
    ("outlier", "auc_frac", Unit::Percent, "outlier above normal", "area under ROC, %"),
];

/// Makes the table.
pub fn build(context: &Context) -> Table {
    Table {
        id: "fig5a",
        title: "Outliers are patches like their neighbours (after Figure 5a of Darcet et al.)".to_owned(),
        caption: format!(
            "Cosine of a patch to its {} neighbours before the first block, outliers, told at the site in the heading, \
             against the other patches. ± is the standard error, images taken as independent; twice that is an interval \
             of 95 %. Neither paper prints these numbers: both draw their densities.{}",
            if context.measured.iter().any(|m| m.subject.wrapped_neighbours) { "direct" } else { "2 to 4" },
            wrapped(context)
        ),
        protocol: "docs/protocols/fig5a.md",
        stub: "vectors at",
        columns: QUANTITIES.iter().map(|(_, _, _, label, sub)| Column::with_sub(*label, *sub)).collect(),
        groups: context.measured.iter().filter_map(group).collect(),
        spread: Spread::StdErr,
    }
}

/// Which models have neighbours in flattened order, as a sentence after a caption; empty where none has.
pub(crate) fn wrapped(context: &Context) -> String {
    let mut models: Vec<&str> = Vec::new();
    for subject in context.measured.iter().map(|m| m.subject).filter(|s| s.wrapped_neighbours) {
        if !models.contains(&subject.model.as_str()) {
            models.push(&subject.model);
        }
    }
    if models.is_empty() {
        return String::new();
    }
    format!(
        " Neighbours are four in flattened order, so that the end of a row meets the start of the next and the last row \
         the first (the study's DeiT-III code), for {}.",
        models.join(", ")
    )
}

fn group(measured: &Measured) -> Option<Group> {
    let rows = PLACES.iter().map(|(site, label)| {
        let cells = QUANTITIES.iter().map(|(kind, metric, unit, _, _)| {
            Cell::scored(measured.subject, measured.scores.at("neighbour_cosine", kind, metric, site), *unit)
        });
        Row { label: (*label).to_owned(), cells: cells.collect() }
    });
    let rows: Vec<Row> = rows.filter(|r| r.cells.iter().any(|c| c.ours.is_some())).collect();
    let subject = measured.subject;
    (!rows.is_empty()).then(|| Group {
        label: format!("{} on {}, outliers at {}", subject.model, subject.dataset, subject.site),
        about: about(subject, None),
        provenance: Some(subject.weights),
        measured: true,
        rows,
    })
}
