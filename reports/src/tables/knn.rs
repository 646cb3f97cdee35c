//! Classes from the nearest training images: a row for each kind of vector, a column for each number of neighbours.
//!
//! Protocol: `docs/protocols/knn.md`.

use super::heads::{self, Groups, each};
use super::local::registers;
use super::{Column, Context, Row, Spread, Table, Unit};
use crate::models::base;

/// The best number of neighbours; with `_k20` behind it, that of 20.
const TOP1: &str = "accuracy_frac";

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let scores = context.measured.iter().flat_map(|m| m.scores.iter());
    let mut counts: Vec<u64> =
        scores.filter(|s| &*s.experiment == "knn").filter_map(|s| neighbours(&s.metric)).collect();
    counts.sort_unstable();
    counts.dedup();
    let mut groups = Groups::default();
    for (experiment, words) in [("knn", ""), ("control_knn", ", control")] {
        for (measured, fit) in each(context, experiment, TOP1) {
            let subject = measured.subject;
            let metrics = counts.iter().map(|k| format!("{TOP1}_k{k}"));
            let cells = std::iter::once(TOP1.to_owned())
                .chain(metrics)
                .map(|metric| heads::cell(measured, fit, experiment, (&metric, Unit::Percent)))
                .collect();
            let vector = fit.head.replace('_', " ");
            let label = format!("{}, {}, {vector}{words}", base(&subject.model), registers(subject.registers));
            let group = groups.of(subject, &subject.dataset, heads::about(subject, fit));
            group.rows.push(Row { label, cells });
        }
    }
    let mut columns = vec![Column::with_sub("best k", "chosen on the test images, %")];
    columns.extend(counts.iter().map(|k| Column::with_sub(format!("k = {k}"), "%")));
    Table {
        id: "knn",
        title: "Nearest neighbours".to_owned(),
        caption: "Top-1 accuracy of the vote of the k training images whose vectors are nearest. The first column has the best k, \
                  chosen on the test images, as DINOv2 reports it. ± is the standard error over images; of training images that \
                  were drawn several times, the standard deviation over the draws."
            .to_owned(),
        protocol: "docs/protocols/knn.md",
        stub: "model, vector",
        columns,
        groups: groups.finish(),
        spread: Spread::DrawsOrStdErr,
    }
}

/// `accuracy_frac_k20` → 20.
fn neighbours(metric: &str) -> Option<u64> {
    metric.strip_prefix(TOP1)?.strip_prefix("_k")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::neighbours;

    #[test]
    fn only_a_number_of_neighbours_is_a_column() {
        let found = ["accuracy_frac_k20", "accuracy_frac", "top5_accuracy_frac_k20", "accuracy_frac_k"].map(neighbours);
        assert_eq!(found, [Some(20), None, None, None]);
    }
}
