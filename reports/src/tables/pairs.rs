//! Two models judged on the same images: a row for each score of a model and its twin with registers, or of a model as
//! it is and changed.
//!
//! Protocol: `docs/protocols/pairs.md`.

use super::heads::{Fit, Groups};
use super::{Cell, Column, Context, Row, Spread, Table, Unit, Value};
use crate::pairs::{Better, Pair, lower_is_better};
use crate::scores::Score;
use crate::study::Subject;

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let mut groups = Groups::default();
    for pair in &context.pairs {
        let subject = context.measured[pair.first].subject;
        let about = about(subject, Fit::of(&pair.scores[0]));
        groups.of(subject, &subject.dataset, about).rows.push(row(context, pair));
    }
    Table {
        id: "pairs",
        title: "Two models on the same images".to_owned(),
        caption: "A model and its twin with registers, or a model as it is and changed while it runs, each with a head trained in \
                  the same way and judged on the same test images. ± of a score is its own standard error; ± of a difference is \
                  that of the difference, with groups of images left out of both models at once. What is hard in an image is \
                  hard for both and cancels, so that the intervals of two scores may overlap and yet one is better. A model is \
                  called better where the difference is more than twice its ±. Differences of shares are in percentage points; \
                  depths are in metres (generated scenes: in their own unit)."
            .to_owned(),
        protocol: "docs/protocols/pairs.md",
        stub: "models, head, score",
        columns: vec![
            Column::new("first model"),
            Column::new("second model"),
            Column::with_sub("difference", "second − first"),
            Column::text("better"),
        ],
        groups: groups.finish(),
        spread: Spread::StdErr,
    }
}

/// How the scores of both models were made.
fn about(subject: &Subject, fit: Fit) -> Vec<String> {
    let lines = [("how", fit.settings), ("precision", &subject.precision), ("features at", fit.site)];
    let lines = lines.into_iter().filter(|(_, text)| !text.is_empty());
    lines.map(|(what, text)| format!("{what}: {text}")).collect()
}

fn row(context: &Context, pair: &Pair) -> Row {
    let subjects = [pair.first, pair.second].map(|i| context.measured[i].subject);
    let [first, second] = subjects.map(|s| s.model.as_str());
    let (name, unit) = quantity(&pair.scores[0]);
    let way = if lower_is_better(&pair.scores[0].metric) { ", lower is better" } else { "" };
    let own = |i: usize| Cell::scored(subjects[i], Some(&pair.scores[i]), unit);
    let difference = Score {
        value: Some(pair.difference),
        std: None,
        stderr: pair.stderr,
        draws: 1,
        note: String::new(),
        ..pair.scores[1].clone()
    };
    let better = match pair.better() {
        Better::First => first.to_owned(),
        Better::Second => second.to_owned(),
        Better::Unseen => "no difference seen".to_owned(),
        Better::Unknown => "cannot be told: a group of images alone has no number".to_owned(),
    };
    Row {
        label: format!("{first} → {second}, {}, {name}{way}", pair.scores[0].subject),
        cells: vec![own(0), own(1), Cell { ours: Value::of(&difference, unit), ..Cell::default() }, Cell::text(better)],
    }
}

/// What a score is called, with its unit.
fn quantity(score: &Score) -> (String, Unit) {
    match &*score.metric {
        "miou_frac" => ("mIoU, %".to_owned(), Unit::Hundredths),
        "accuracy_frac" if &*score.experiment == "segmentation" => ("pixels right, %".to_owned(), Unit::Hundredths),
        "accuracy_frac" => ("right, %".to_owned(), Unit::Hundredths),
        "rmse_m" => ("RMSE, m".to_owned(), Unit::Number),
        "abs_rel_frac" => ("relative error, %".to_owned(), Unit::Hundredths),
        other => match other.strip_suffix("_frac") {
            Some(name) => (format!("{}, %", name.replace('_', " ")), Unit::Hundredths),
            None => (other.replace('_', " "), Unit::Number),
        },
    }
}
