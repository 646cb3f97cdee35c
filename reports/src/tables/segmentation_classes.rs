//! Intersection by union of each class: a row for each class, a column for each model.
//!
//! Protocol: `docs/protocols/segmentation.md`.

use super::heads::{self, Fit, Groups, class_name};
use super::{Cell, Column, Context, Row, Spread, Table, Unit};

const IOU: (&str, Unit) = ("iou_frac", Unit::Percent);

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let is = |experiment: &str, metric: &str| experiment == "segmentation" && metric == IOU.0;
    let mut models: Vec<&str> = Vec::new();
    for measured in &context.measured {
        let classes = measured.scores.iter().any(|s| is(&s.experiment, &s.metric) && class_name(&s.subject).is_some());
        if classes && !models.contains(&measured.subject.model.as_str()) {
            models.push(&measured.subject.model);
        }
    }
    let mut groups = Groups::default();
    for measured in &context.measured {
        let subject = measured.subject;
        let Some(column) = models.iter().position(|model| *model == subject.model) else { continue };
        for score in measured.scores.iter().filter(|s| is(&s.experiment, &s.metric)) {
            let Some(class) = class_name(&score.subject) else { continue };
            let fit = Fit::of(score);
            let mut cell = heads::cell(measured, fit, "segmentation", IOU);
            if cell.ours.is_none() && score.note.is_empty() {
                cell.notes = vec!["no test image shows it, and no prediction names it".to_owned()];
            }
            let group = groups.of(subject, &subject.dataset, heads::about_dense(subject, fit));
            // Several heads of one training have a row each.
            let free = |row: &&mut Row| row.label == class && row.cells[column] == Cell::default();
            if let Some(row) = group.rows.iter_mut().find(free) {
                row.cells[column] = cell;
            } else {
                let mut cells = vec![Cell::default(); models.len()];
                cells[column] = cell;
                group.rows.push(Row { label: class.to_owned(), cells });
            }
        }
    }
    Table {
        id: "segmentation_classes",
        title: "Segmentation, class by class".to_owned(),
        caption:
            "Intersection by union of each class over all test images, %. A class that no test image shows and no \
                  prediction names has none."
                .to_owned(),
        protocol: "docs/protocols/segmentation.md",
        stub: "class",
        columns: models.iter().map(|model| Column::new(*model)).collect(),
        groups: groups.finish(),
        spread: Spread::StdErr,
    }
}
