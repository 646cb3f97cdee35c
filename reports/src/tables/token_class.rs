//! What Tables 1 and 6 of the paper and Table 3 of the study share: which score is the accuracy of a kind of token,
//! and groups of subjects whose accuracies mean the same.
//!
//! Accuracy is averaged as the published number of that dataset is (`docs/protocols/table6.md`): over classes for Aircraft,
//! Caltech-101, Flowers and Pets, over images elsewhere. VOC 2007, whose images have several classes, has the mean
//! average precision in eleven points of the transfer protocol, without a verdict.

use super::{Cell, Column, Context, Group, Measured, Row, Unit, about, meaning};
use crate::models::{Average, PaperDataset, paper_dataset};
use crate::scores::Score;
use crate::study::Subject;

/// Kinds of token that have a column, in order, with their headings; others that were measured follow.
const KINDS: [(&str, &str); 3] = [("cls", "[CLS]"), ("normal", "normal"), ("outlier", "outlier")];

/// What stands for accuracy where an image has several classes.
const PRECISION: &str = "map_11pt_frac";

/// Makes one cell from a subject, a kind of token, its score and the published dataset.
pub type MakeCell<'f> = dyn Fn(&Measured, &str, Option<&Score>, Option<&'static PaperDataset>) -> Cell + 'f;

/// Columns of the kinds that are always there, then those of other kinds that some subject was probed on.
pub fn columns(context: &Context) -> Vec<(String, Column)> {
    let mut kinds: Vec<(String, Column)> =
        KINDS.iter().map(|(kind, label)| ((*kind).to_owned(), Column::new(*label))).collect();
    let mut others: Vec<&str> = context
        .measured
        .iter()
        .flat_map(|m| m.scores.iter())
        .filter(|s| is_accuracy(s) && !KINDS.iter().any(|(kind, _)| *kind == &*s.subject))
        .map(|s| &*s.subject)
        .collect();
    others.sort_unstable();
    others.dedup();
    kinds.extend(others.into_iter().map(|kind| (kind.to_owned(), Column::new(kind.replace('_', " ")))));
    kinds
}

/// Groups of measured rows: one row per dataset, one group per model, way of fitting and site of the vectors.
pub fn groups(context: &Context, kinds: &[(String, Column)], cell: &MakeCell) -> Vec<Group> {
    let mut groups: Vec<(Vec<String>, Group)> = Vec::new();
    for measured in &context.measured {
        let subject = measured.subject;
        for fit in fits(measured) {
            let probed = |row: &Row| row.cells.iter().any(|c| c.ours.is_some() || !c.notes.is_empty());
            let rows: Vec<Row> = [row(measured, fit, kinds, cell), control_row(measured, fit, kinds)]
                .into_iter()
                .filter(probed)
                .collect();
            let mut key = vec![subject.model.clone(), fit.0.to_owned(), fit.1.to_owned()];
            key.extend(meaning(subject).map(str::to_owned));
            match groups.iter_mut().find(|(k, _)| *k == key) {
                Some((_, group)) => group.rows.extend(rows),
                None if rows.is_empty() => {}
                None => groups.push((key, group(subject, fit, rows))),
            }
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The control: the same probes trained on permuted labels, which must fall to chance.
fn control_row(measured: &Measured, fit: (&str, &str), kinds: &[(String, Column)]) -> Row {
    let score = |kind: &str| {
        let of = |experiment, metric| measured.scores.fitted(experiment, kind, metric, fit);
        ["control_token_class", "control_pooled_class"]
            .into_iter()
            .find_map(|experiment| of(experiment, "accuracy_frac"))
            .or_else(|| of("control_multi_label", PRECISION))
    };
    let cells = kinds.iter().map(|(kind, _)| plain(measured, score(kind))).collect();
    let mut label = dataset_name(&measured.subject.dataset);
    if !label.contains("permuted") {
        label.push_str(", labels permuted");
    }
    Row { label, cells }
}

/// The name of a dataset as the papers print it, or as it is.
pub fn dataset_name(dataset: &str) -> String {
    paper_dataset(dataset).map_or_else(|| dataset.to_owned(), |d| d.name.to_owned())
}

fn group(subject: &Subject, (site, settings): (&str, &str), rows: Vec<Row>) -> Group {
    let mut about = about(subject, Some(site));
    if !settings.is_empty() {
        about.push(format!("fit: {settings}"));
    }
    Group { label: subject.model.clone(), about, provenance: Some(subject.weights), measured: true, rows }
}

fn row(measured: &Measured, fit: (&str, &str), kinds: &[(String, Column)], cell: &MakeCell) -> Row {
    let dataset = paper_dataset(&measured.subject.dataset);
    let average = dataset.map_or(Average::Images, |d| d.average);
    let first = fits(measured).first() == Some(&fit);
    let cells = kinds.iter().map(|(kind, _)| {
        let score = accuracy(measured, kind, fit, average);
        let mut cell = cell(measured, kind, score, dataset);
        if score.is_some() && average == Average::Classes {
            let note = if score.is_some_and(is_macro) {
                "mean of the accuracies within each class, as published"
            } else {
                "averaged over images; the published number is the mean over classes"
            };
            cell.notes.push(note.to_owned());
        }
        if score.is_some_and(|s| &*s.metric == PRECISION) {
            cell.notes.push("mean average precision in eleven points: an image has several classes".to_owned());
        }
        // What was not fitted in this way stands beside the published number once, in the subject's first row.
        if score.is_none() && !first { Cell::default() } else { cell }
    });
    Row { label: dataset_name(&measured.subject.dataset), cells: cells.collect() }
}

/// Accuracy of a linear probe on one kind of token, averaged as the published number is where that was measured; `fit`
/// is the site of the vectors and how they were fitted.
pub fn accuracy<'a>(measured: &'a Measured, kind: &str, fit: (&str, &str), average: Average) -> Option<&'a Score> {
    let metrics: &[&str] = match average {
        Average::Classes => &["macro_accuracy_frac", "accuracy_frac"],
        Average::Images => &["accuracy_frac"],
        Average::Unknown => &[PRECISION, "accuracy_frac"],
    };
    let find = |experiment, metric| measured.scores.fitted(experiment, kind, metric, fit);
    // The CLS of every image is a pooled vector; a study that probes no tokens has it there.
    ["token_class", "pooled_class", "multi_label"]
        .into_iter()
        .find_map(|experiment| metrics.iter().find_map(|metric| find(experiment, metric)))
}

/// Why a score may not be compared with the published number of its dataset, beyond weights and protocol.
pub fn averaged_otherwise(score: Option<&Score>, dataset: &PaperDataset) -> Option<&'static str> {
    match dataset.average {
        Average::Unknown => Some("not comparable: the published metric is not stated"),
        Average::Classes if score.is_some_and(|s| !is_macro(s)) => {
            Some("not comparable: averaged over images, not over classes")
        }
        _ => None,
    }
}

/// The published row of a kind of token.
pub fn published_row(kind: &str) -> Option<&'static str> {
    KINDS.iter().find(|(k, _)| *k == kind).map(|(_, label)| *label)
}

/// The cell of a score, before anything is put beside it.
pub fn plain(measured: &Measured, score: Option<&Score>) -> Cell {
    Cell::scored(measured.subject, score, Unit::Percent)
}

/// Sites of the vectors that were classified, each with the ways in which they were fitted; tokens first.
pub fn fits<'a>(measured: &'a Measured) -> Vec<(&'a str, &'a str)> {
    let mut fits: Vec<(&str, &str)> = Vec::new();
    for pooled in [false, true] {
        for score in measured.scores.iter().filter(|s| is_accuracy(s) && s.experiment.contains("pooled") == pooled) {
            let fit = (&*score.site, score.settings.as_str());
            if !fits.contains(&fit) {
                fits.push(fit);
            }
        }
    }
    fits
}

fn is_accuracy(score: &Score) -> bool {
    let experiment = score.experiment.strip_prefix("control_").unwrap_or(&score.experiment);
    matches!(experiment, "token_class" | "pooled_class" | "multi_label")
        && matches!(&*score.metric, "accuracy_frac" | "macro_accuracy_frac" | PRECISION)
}

fn is_macro(score: &Score) -> bool {
    &*score.metric == "macro_accuracy_frac"
}
