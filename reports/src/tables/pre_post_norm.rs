//! Norms before and after the final LayerNorm: the study reads DINO's after it and finds no outliers there.
//!
//! Protocol and what each code base reads: `docs/protocols/pre_post_norm.md`.

use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, about};

/// Site after the final LayerNorm.
const AFTER: &str = "final";

/// (kind, metric, unit, label)
const SIGNS: [(&str, &str, Unit, &str); 10] = [
    ("patch", "median", Unit::Number, "patches: median"),
    ("patch", "p99", Unit::Number, "patches: 99th percentile"),
    ("patch", "max", Unit::Number, "patches: largest"),
    ("patch", "share_above_150_frac", Unit::Share, "patches above 150 (%)"),
    ("patch", "share_above_100_frac", Unit::Share, "patches above 100 (%)"),
    ("patch", "share_above_2x_median_frac", Unit::Share, "patches above twice their median (%)"),
    ("patch", "valley_depth", Unit::Number, "depth of the valley between the modes"),
    ("normal", "median", Unit::Number, "normal patches: median"),
    ("outlier", "median", Unit::Number, "outliers: median"),
    ("cls", "median", Unit::Number, "[CLS]: median"),
];

/// Makes the table.
pub fn build(context: &Context) -> Table {
    Table {
        id: "pre_post_norm",
        title: "Norms before and after the final LayerNorm".to_owned(),
        caption: "The same tokens read at two sites. Before: the site in the heading, where outliers are told for \
                  both columns. Cut-offs of 100 and 150 mean nothing after the LayerNorm: it brings every token to nearly one length."
            .to_owned(),
        protocol: "docs/protocols/pre_post_norm.md",
        stub: "sign",
        columns: vec![
            Column::with_sub("before", "at the site in the heading"),
            Column::with_sub("after", "output of the final LayerNorm"),
        ],
        groups: context.measured.iter().filter_map(group).collect(),
        spread: Spread::StdErr,
    }
}

fn group(measured: &Measured) -> Option<Group> {
    let subject = measured.subject;
    let before = subject.site.as_str();
    // One side alone compares nothing.
    measured.scores.at("norms", "patch", "median", AFTER)?;
    measured.scores.at("norms", "patch", "median", before).filter(|_| before != AFTER)?;
    let mut signs: Vec<(String, &str, Unit, String)> = SIGNS
        .iter()
        .map(|(kind, metric, unit, label)| ((*kind).to_owned(), *metric, *unit, (*label).to_owned()))
        .collect();
    let register = |r: usize| (format!("register_{r}"), "median", Unit::Number, format!("register {r}: median"));
    signs.extend((0..subject.registers).map(register));
    let rows = signs.into_iter().map(|(kind, metric, unit, label)| {
        let cell = |site| Cell::scored(subject, measured.scores.at("norms", &kind, metric, site), unit);
        Row { label, cells: vec![cell(before), cell(AFTER)] }
    });
    Some(Group {
        label: format!("{} on {}, {before} and {AFTER}", subject.model, subject.dataset),
        about: about(subject, None),
        provenance: Some(subject.weights),
        measured: true,
        rows: rows.filter(|r| r.cells.iter().any(|c| c.ours.is_some())).collect(),
    })
}
