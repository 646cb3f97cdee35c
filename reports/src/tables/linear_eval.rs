//! Linear classifiers on frozen whole-image features, on any dataset with classes: the best head as `DINOv2` reports it,
//! and the one that was chosen honestly.
//!
//! Protocol: `docs/protocols/linear_eval.md`.

use super::heads::{self, BEST, CHOSEN, Fit, Groups, heads};
use super::local::registers;
use super::{Cell, Column, Context, Measured, Row, Spread, Table, Unit, Value};
use crate::models::base;

const TOP1: (&str, Unit) = ("accuracy_frac", Unit::Percent);

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let mut groups = Groups::default();
    for measured in &context.measured {
        let subject = measured.subject;
        for experiment in ["linear_eval", "control_linear_eval"] {
            for fit in fits(measured, experiment) {
                let mut label = format!("{}, {}", base(&subject.model), registers(subject.registers));
                if experiment.starts_with("control") {
                    label += ", control";
                }
                let cells = vec![
                    heads::cell(measured, fit.named(BEST), experiment, TOP1),
                    heads::cell(measured, fit.named(CHOSEN), experiment, TOP1),
                    counted(measured, experiment, fit),
                ];
                let group = groups.of(subject, &subject.dataset, heads::about(subject, fit));
                group.rows.push(Row { label, cells });
            }
        }
    }
    Table {
        id: "linear_eval",
        title: "Linear classifiers on frozen features".to_owned(),
        caption: "Top-1 accuracy. Many heads (learning rates, blocks, with and without the mean patch) are trained at once. \
                  The first column has the best of them on the test images themselves, as DINOv2 reports it; the second, to \
                  trust, the one that was chosen on images held out of the training. ± is the standard error over images."
            .to_owned(),
        protocol: "docs/protocols/linear_eval.md",
        stub: "model",
        columns: vec![
            Column::with_sub("best head", "chosen on the test images, %"),
            Column::with_sub("chosen head", "on training images, %"),
            Column::with_sub("heads", "trained at once"),
        ],
        groups: groups.finish(),
        spread: Spread::StdErr,
    }
}

/// Each way of training, with its heads as one.
fn fits<'a>(measured: &'a Measured, experiment: &str) -> Vec<Fit<'a>> {
    let mut fits: Vec<Fit> = Vec::new();
    for fit in heads(measured, experiment, TOP1.0) {
        let fit = fit.named("");
        if !fits.contains(&fit) {
            fits.push(fit);
        }
    }
    fits
}

/// How many heads were trained.
fn counted(measured: &Measured, experiment: &str, fit: Fit) -> Cell {
    let all = heads(measured, experiment, TOP1.0).into_iter();
    let own = all.filter(|one| one.named("") == fit && ![BEST, CHOSEN].contains(&one.head)).count();
    if own == 0 {
        return Cell::default();
    }
    let value = Value {
        value: own as f64,
        std: None,
        stderr: None,
        n: own as u64,
        draws: 1,
        images_without: 0,
        unit: Unit::Count,
    };
    Cell { ours: Some(value), provenance: Some(measured.subject.weights), ..Cell::default() }
}
