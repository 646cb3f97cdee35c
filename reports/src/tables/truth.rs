//! Measured against what must be so: the planted study, where every number has a closed form or a proven bound.
//!
//! A truth that does not hold is a fault of the tool, not a finding about a model.

use super::{Beside, Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit};
use crate::study::{Expect, Truth};
use crate::verdict::Verdict;

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let groups = context.measured.iter().filter(|m| !m.subject.truth.is_empty());
    Table {
        id: "truth",
        title: "Planted truth".to_owned(),
        caption: "The weights of these models were written so that the right answers are known before anything is \
                  measured. Fractions are of 1."
            .to_owned(),
        protocol: "docs/protocols/norms.md",
        stub: "number",
        columns: vec![Column::new("measured"), Column::text("because")],
        groups: groups
            .map(|m| Group {
                label: format!("{} on {}", m.subject.model, m.subject.dataset),
                about: vec![],
                provenance: Some(m.subject.weights),
                measured: true,
                rows: m.subject.truth.iter().map(|truth| row(m, truth)).collect(),
            })
            .collect(),
        spread: Spread::StdErr,
    }
}

fn row(measured: &Measured, truth: &Truth) -> Row {
    let find =
        |experiment: &str| measured.scores.near(experiment, &truth.subject, &truth.metric, &measured.subject.site);
    // A subject of controls alone has its truths on them.
    let score = find(&truth.experiment).or_else(|| find(&format!("control_{}", truth.experiment)));
    let mut cell = Cell::scored(measured.subject, score, Unit::Number);
    let verdict = match cell.ours {
        Some(ours) if truth.expected.holds(ours.value) => Verdict::Holds,
        Some(_) => Verdict::Fails,
        None => Verdict::NotMeasured,
    };
    let (text, value) = expected(truth.expected);
    cell.beside.push(Beside { who: "truth", text, value: Some(value), std: None, verdict });
    Row {
        label: format!("{}, {}, {}", truth.experiment, truth.subject, truth.metric),
        cells: vec![cell, Cell::text(truth.source.clone())],
    }
}

fn expected(expect: Expect) -> (String, f64) {
    let n = |x: f64| x.to_string();
    match expect {
        Expect::AtLeast(x) => (format!("≥ {}", n(x)), x),
        Expect::AtMost(x) => (format!("≤ {}", n(x)), x),
        Expect::Near(x, 0.0) => (format!("= {}", n(x)), x),
        Expect::Near(x, tolerance) => (format!("{} ± {}", n(x), n(tolerance)), x),
    }
}
