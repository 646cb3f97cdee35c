//! The threshold as a measured object: what the outlier tables would say with the paper's, the study's, the valley's or
//! any other cut-off.
//!
//! The figure of this name draws all of them; here are the places that mean something. Protocol:
//! `docs/protocols/threshold.md`.

use schemas::tables::Curves;

use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, Value, about};
use crate::models::PAPER_MODEL;
use crate::render::number;
use crate::study::Source;

/// (experiment, metric, unit, heading, second line)
type Quantity = (&'static str, &'static str, Unit, &'static str, &'static str);

const QUANTITIES: [Quantity; 8] = [
    ("detection", "cutoff_norm", Unit::Number, "cut-off", "norm"),
    ("detection", "share_frac", Unit::Share, "patches above", "%"),
    ("detection", "images_with_frac", Unit::Percent, "images with any", "%"),
    ("detection", "precision_frac", Unit::Percent, "precision", "against flat pixels, %"),
    ("detection", "recall_frac", Unit::Percent, "recall", "of flat pixels, %"),
    ("neighbour_cosine", "gap", Unit::Number, "cosine to neighbours", "above minus others"),
    ("neighbour_cosine", "mean", Unit::Number, "cosine to neighbours", "mean of those above"),
    ("attention", "mass_frac", Unit::Percent, "attention received", "%"),
];

/// Shares of the largest norms that have a row, beside the marked ones.
const SHARES: [f64; 3] = [0.01, 0.02, 0.1];

/// Makes the table.
pub fn build(context: &Context) -> Table {
    Table {
        id: "threshold",
        title: "What another cut-off would say".to_owned(),
        caption:
            "The same patches called outliers by other rules: the run's own, fixed norms of the papers, the valley \
                  between the modes of all its norms, and shares of the largest norms over all images. ± is the \
                  standard error, images taken as independent."
                .to_owned(),
        protocol: "docs/protocols/threshold.md",
        stub: "rule",
        columns: QUANTITIES.iter().map(|(_, _, _, label, sub)| Column::with_sub(*label, *sub)).collect(),
        groups: context.measured.iter().filter_map(|m| group(context, m)).collect(),
        spread: Spread::StdErr,
    }
}

fn group(context: &Context, measured: &Measured) -> Option<Group> {
    let (c, subject) = (&measured.curves, measured.subject);
    let mut places: Vec<(&str, f64, &str)> = Vec::new();
    for i in 0..c.at.len() {
        let place = (&*c.knob[i], c.at[i], &*c.mark[i]);
        // Probes have places of their own, in the figure.
        let ours = QUANTITIES.iter().any(|(experiment, ..)| *experiment == &*c.experiment[i]);
        let shown = ours && (!place.2.is_empty() || (place.0 == "top_frac" && SHARES.contains(&place.1)));
        if shown && !places.contains(&place) {
            places.push(place);
        }
    }
    let rows: Vec<Row> = places
        .iter()
        .map(|&place| Row {
            label: label(place),
            cells: QUANTITIES.iter().map(|quantity| cell(context, measured, place, quantity)).collect(),
        })
        .collect();
    (!rows.is_empty()).then(|| Group {
        label: format!("{} on {}", subject.model, subject.dataset),
        about: about(subject, None),
        provenance: Some(subject.weights),
        measured: true,
        rows,
    })
}

/// `norm above 150 (paper)`, `largest 5 % (study)`.
fn label((knob, at, mark): (&str, f64, &str)) -> String {
    let plain = |text: String| {
        // 150.0 is printed by a rule and not by a measurement.
        if text.contains('.') && !text.contains('e') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    };
    let rule = match knob {
        "top_frac" => format!("largest {} %", plain(number(100.0 * at, Unit::Share))),
        _ => format!("norm above {}", plain(number(at, Unit::Number))),
    };
    let marks = mark.split(' ').filter(|m| !m.is_empty()).map(|m| if m == "run" { "this run" } else { m });
    let marks: Vec<&str> = marks.collect();
    if marks.is_empty() { rule } else { format!("{rule} ({})", marks.join(", ")) }
}

fn cell(
    context: &Context,
    measured: &Measured,
    (knob, at, mark): (&str, f64, &str),
    (experiment, metric, unit, _, _): &Quantity,
) -> Cell {
    let (c, subject) = (&measured.curves, measured.subject);
    if *metric == "cutoff_norm" && knob == "cutoff" {
        let n = (0..c.at.len()).find(|&i| &*c.metric[i] == "share_frac").map_or(0, |i| c.n[i]);
        let value = Value { value: at, std: None, stderr: None, n, draws: 1, images_without: 0, unit: *unit };
        return Cell { ours: Some(value), provenance: Some(subject.weights), ..Cell::default() };
    }
    let here = |i: &usize| {
        (&*c.knob[*i], c.at[*i], &*c.experiment[*i], &*c.subject[*i], &*c.metric[*i])
            == (knob, at, *experiment, "outlier", *metric)
    };
    let Some(ours) = (0..c.at.len()).find(here).and_then(|i| value(c, i, *unit)) else { return Cell::default() };
    let cell = Cell { ours: Some(ours), provenance: Some(subject.weights), ..Cell::default() };
    let papers = *metric == "share_frac"
        && mark.split(' ').any(|m| m == "paper")
        && subject.model == PAPER_MODEL
        && subject.registers == 0;
    let row = "DINOv2-g official, small image set";
    let published = context.published.get(Source::Paper, "inline", row, "share_tokens_norm_gt_150_pct");
    cell.with(subject, published.filter(|_| papers), true, None)
}

fn value(c: &Curves, i: usize, unit: Unit) -> Option<Value> {
    let scale = if matches!(unit, Unit::Percent | Unit::Share) { 100.0 } else { 1.0 };
    let value = c.value[i].filter(|v| v.is_finite())? * scale;
    let stderr = c.stderr[i].filter(|v| v.is_finite()).map(|v| v * scale);
    Some(Value { value, std: None, stderr, n: c.n[i], draws: 1, images_without: 0, unit })
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn rules_are_named_as_a_reader_would() {
        assert_eq!(label(("cutoff", 150.0, "paper")), "norm above 150 (paper)");
        assert_eq!(label(("cutoff", 33.7012, "run valley")), "norm above 33.7 (this run, valley)");
        assert_eq!(label(("cutoff", 2000.0, "")), "norm above 2000");
        assert_eq!(label(("top_frac", 0.1, "")), "largest 10 %");
        assert_eq!(label(("top_frac", 0.05, "study")), "largest 5 % (study)");
        assert_eq!(label(("top_frac", 0.01, "")), "largest 1 %");
        assert_eq!(label(("cutoff", 100.0, "study")), "norm above 100 (study)");
    }
}
