//! Table 4 of the reproducibility study: the place of a patch by least squares, high-norm against normal tokens.
//!
//! Protocol and where the study's code differs from ours: `docs/protocols/repro_table4.md`.

use super::local::{LEAST_SQUARES, position_fits};
use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, about};
use crate::models::{paper_dataset, study_column};
use crate::study::Source;

/// (kind, published row)
const KINDS: [(&str, &str, &str); 2] = [("outlier", "high_norm", "high-norm"), ("normal", "normal", "normal")];

/// (metric, published column, unit, heading, second line)
const QUANTITIES: [(&str, &str, Unit, &str, &str); 3] = [
    ("top1_frac", "position_top1_pct", Unit::Percent, "position", "top-1, %"),
    ("mean_distance_cells", "position_avg_distance", Unit::Number, "position", "mean distance, cells"),
    ("blind_distance_cells", "", Unit::Number, "best constant cell", "mean distance, cells"),
];

/// Why no number of ours can agree or differ.
const SAMPLED: &str = "not comparable: fitted on sampled patches, the study on every patch of its images";

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let mut groups: Vec<Group> = Vec::new();
    for measured in &context.measured {
        let fits = position_fits(measured, LEAST_SQUARES);
        groups.extend(fits.into_iter().map(|fit| group(context, measured, fit)));
    }
    let shown = |kind: &str| groups.iter().any(|g| g.shows(kind, Source::Study));
    if !KINDS.iter().all(|(_, _, label)| shown(label)) {
        groups.push(unmeasured(context));
    }
    Table {
        id: "repro_table4",
        title: "The place of a patch by least squares (after Table 4 of the reproducibility study)".to_owned(),
        caption: "Linear regression from a token to its row and column. A hit is both rounded coordinates right; the \
                  distance is of the unrounded prediction. ± is the standard error, images taken as independent. \
                  The study's numbers are DINOv2-L on CIFAR-10 at 196 px, 14 × 14 patches, seeds 42, 123, 999."
            .to_owned(),
        protocol: "docs/protocols/repro_table4.md",
        stub: "token",
        columns: QUANTITIES.iter().map(|(_, _, _, label, sub)| Column::with_sub(*label, *sub)).collect(),
        groups,
        spread: Spread::StdErr,
    }
}

fn group(context: &Context, measured: &Measured, fit: (&str, &str)) -> Group {
    let subject = measured.subject;
    let cifar = paper_dataset(&subject.dataset).is_some_and(|d| d.column == "CF10");
    let theirs = cifar && study_column(&subject.model) == Some("DINOv2-L") && subject.registers == 0;
    let rows = KINDS.iter().map(|(kind, row, label)| Row {
        label: (*label).to_owned(),
        cells: QUANTITIES
            .iter()
            .map(|(metric, column, unit, _, _)| {
                let cell = Cell::scored(subject, measured.scores.fitted("position", kind, metric, fit), *unit);
                let published = context.published.get(Source::Study, "table4", row, column).filter(|_| theirs);
                cell.with(subject, published, true, Some(SAMPLED))
            })
            .collect(),
    });
    Group {
        label: format!("{} on {}", subject.model, subject.dataset),
        about: [about(subject, Some(fit.0)), vec![format!("fit: {}", fit.1)]].concat(),
        provenance: Some(subject.weights),
        measured: true,
        rows: rows.collect(),
    }
}

fn unmeasured(context: &Context) -> Group {
    let rows = KINDS.iter().map(|(_, row, label)| Row {
        label: (*label).to_owned(),
        cells: QUANTITIES
            .iter()
            .map(|(_, column, unit, _, _)| {
                Cell::unmeasured(context.published.get(Source::Study, "table4", row, column), *unit)
            })
            .collect(),
    });
    Group {
        label: "DINOv2-L on CIFAR-10, as published".to_owned(),
        about: vec!["not measured here".to_owned()],
        provenance: None,
        measured: false,
        rows: rows.collect(),
    }
}
