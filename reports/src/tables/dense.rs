//! Segmentation and depth from frozen patch features, on any dataset that has masks or depths: a row for each trained
//! head, with what is reached without looking beside it.
//!
//! Protocols: `docs/protocols/segmentation.md`, `docs/protocols/depth.md`; what the heads see:
//! `docs/protocols/views.md`, `docs/protocols/dense_features.md`.

use super::heads::{self, Groups, each};
use super::local::registers;
use super::{Column, Context, Group, Row, Spread, Table, Unit};
use crate::models::base;

/// (subject that does not look, or empty: the head itself; metric; unit; heading; second line)
type Quantity = (&'static str, &'static str, Unit, &'static str, &'static str);

const SEGMENTATION: [Quantity; 6] = [
    ("", "miou_frac", Unit::Percent, "mIoU", "%"),
    ("", "accuracy_frac", Unit::Percent, "pixels", "right, %"),
    ("majority", "miou_frac", Unit::Percent, "commonest class", "mIoU, %"),
    ("majority", "accuracy_frac", Unit::Percent, "commonest class", "pixels right, %"),
    ("layout", "miou_frac", Unit::Percent, "commonest at each place", "mIoU, %"),
    ("layout", "accuracy_frac", Unit::Percent, "commonest at each place", "pixels right, %"),
];

const DEPTH: [Quantity; 5] = [
    ("", "rmse_m", Unit::Number, "RMSE", "m, mean over images"),
    ("", "abs_rel_frac", Unit::Percent, "abs. rel.", "%"),
    ("", "delta1_frac", Unit::Percent, "δ < 1.25", "% of pixels"),
    ("constant", "rmse_m", Unit::Number, "one depth for all", "RMSE, m"),
    ("layout", "rmse_m", Unit::Number, "mean at each place", "RMSE, m"),
];

/// Makes the table of segmentations.
pub fn segmentation(context: &Context) -> Table {
    Table {
        id: "segmentation",
        title: "Segmentation from frozen patch features".to_owned(),
        caption: "Mean over classes of intersection by union, and share of the scored pixels that are right, on test images. \
                  Beside: what is reached without looking, by the class that is commonest in the training images, and by the one that \
                  is commonest there at each place of the picture; controls, whose truths were exchanged, are to come out at \
                  the latter. Heads that were trained \
                  otherwise, or on images prepared otherwise, are in groups of their own. ± is the standard error over \
                  images."
            .to_owned(),
        protocol: "docs/protocols/segmentation.md",
        stub: "model, head",
        columns: columns(&SEGMENTATION),
        groups: groups(context, "segmentation", &SEGMENTATION),
        spread: Spread::StdErr,
    }
}

/// Makes the table of depths.
pub fn depth(context: &Context) -> Table {
    Table {
        id: "depth",
        title: "Depth from frozen patch features".to_owned(),
        caption: "Root mean square error of each test image, mean over images, in metres (generated scenes: in their own unit); \
                  mean relative error; share of pixels within a factor of 1.25. Beside: what is reached without looking, by \
                  the mean depth of the training images, and by their mean at each place of the picture, where controls are to \
                  come out. ± is the standard error over images."
            .to_owned(),
        protocol: "docs/protocols/depth.md",
        stub: "model, head",
        columns: columns(&DEPTH),
        groups: groups(context, "depth", &DEPTH),
        spread: Spread::StdErr,
    }
}

fn columns(quantities: &[Quantity]) -> Vec<Column> {
    quantities.iter().map(|(_, _, _, label, sub)| Column::with_sub(*label, *sub)).collect()
}

fn groups(context: &Context, experiment: &str, quantities: &[Quantity]) -> Vec<Group> {
    let mut groups = Groups::default();
    let control = format!("control_{experiment}");
    for (experiment, words) in [(experiment, ""), (&control, ", control")] {
        for (measured, fit) in each(context, experiment, quantities[0].1) {
            let subject = measured.subject;
            let label = format!("{}, {}, {}{words}", base(&subject.model), registers(subject.registers), fit.head);
            let cells = quantities.iter().map(|(of, metric, unit, ..)| {
                let fit = if of.is_empty() { fit } else { fit.named(of) };
                heads::cell(measured, fit, experiment, (metric, *unit))
            });
            let row = Row { label, cells: cells.collect() };
            groups.of(subject, &subject.dataset, heads::about_dense(subject, fit)).rows.push(row);
        }
    }
    groups.finish()
}
