//! Figures 5 and 20 of the study, as a number: are the patches of the largest norm those that `[CLS]` attends to most?
//!
//! Protocol: `docs/protocols/correspondence.md`.

use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, about};

/// (subject of the scores, label)
const TOPS: [(&str, &str); 4] = [
    ("outlier", "as many as the image has outliers"),
    ("top_10", "the 10 largest"),
    ("top_5_percent", "the largest 5 %"),
    ("patch", "all patches"),
];

/// (metric, unit, heading, second line)
const QUANTITIES: [(&str, Unit, &str, &str); 3] = [
    ("overlap_frac", Unit::Percent, "overlap", "% of the patches"),
    ("chance_frac", Unit::Percent, "by chance", "% of the patches"),
    ("rank_correlation", Unit::Number, "rank correlation", "Spearman, norm and attention"),
];

/// Makes the table.
pub fn build(context: &Context) -> Table {
    Table {
        id: "correspondence",
        title: "Largest norms and largest attention (after Figures 5 and 20 of the reproducibility study)".to_owned(),
        caption:
            "Of the patches of the largest norm in an image, how many are among as many that [CLS] attends to most \
                  in the last block of the model, beside what a blind choice would give. Mean over images, ± its standard error."
                .to_owned(),
        protocol: "docs/protocols/correspondence.md",
        stub: "patches",
        columns: QUANTITIES.iter().map(|(_, _, label, sub)| Column::with_sub(*label, *sub)).collect(),
        groups: context.measured.iter().filter_map(group).collect(),
        spread: Spread::StdErr,
    }
}

fn group(measured: &Measured) -> Option<Group> {
    let subject = measured.subject;
    let rows = TOPS.iter().map(|(top, label)| {
        let cells = QUANTITIES.iter().map(|(metric, unit, _, _)| {
            Cell::scored(subject, measured.scores.at("correspondence", top, metric, &subject.site), *unit)
        });
        Row { label: (*label).to_owned(), cells: cells.collect() }
    });
    let rows: Vec<Row> = rows.filter(|r| r.cells.iter().any(|c| c.ours.is_some())).collect();
    (!rows.is_empty()).then(|| Group {
        label: format!("{} on {}", subject.model, subject.dataset),
        about: about(subject, None),
        provenance: Some(subject.weights),
        measured: true,
        rows,
    })
}
