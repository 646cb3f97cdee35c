//! The vital signs of each model: norms, outliers, onset, locality, attention, and what was skipped on the way.
//!
//! A column is a subject, a row is a sign. Rows are whatever the stages scored, so a new sign needs no change here;
//! the dictionaries below only make their names readable. Protocol: `docs/protocols/norms.md`.

use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, Value};
use crate::bounds;
use crate::models::{base, study_column};
use crate::pairs::DIFFERENCE;
use crate::render::{grouped, number};
use crate::scores::Score;
use crate::study::Source;

/// Experiments with tables of their own, and their controls.
const ELSEWHERE: [&str; 12] = [
    "token_class",
    "pooled_class",
    "multi_label",
    "position",
    "pixels",
    "correspondence",
    "corloc",
    "linear_eval",
    "knn",
    "zero_shot",
    "segmentation",
    "depth",
];

/// Whether an experiment has a table of its own.
fn is_elsewhere(experiment: &str) -> bool {
    experiment.starts_with(DIFFERENCE) || ELSEWHERE.contains(&experiment.strip_prefix("control_").unwrap_or(experiment))
}

/// Experiments in the order of the table, with their headings; others follow under their own names.
const EXPERIMENTS: [(&str, &str); 4] = [
    ("norms", "Norms"),
    ("detection", "Outliers"),
    ("neighbour_cosine", "Locality: cosine to the neighbouring patches"),
    ("attention", "Attention of [CLS]"),
];

const METRICS: [(&str, &str); 21] = [
    ("median", "median"),
    ("mean", "mean"),
    ("p95", "95th percentile"),
    ("p99", "99th percentile"),
    ("max", "largest"),
    ("share_frac", "share of patches (%)"),
    ("share_above_150_frac", "norm above 150 (%)"),
    ("share_above_100_frac", "norm above 100 (%)"),
    ("share_above_2x_median_frac", "norm above twice the median (%)"),
    ("valley_depth", "depth of the valley between the modes"),
    ("norm_ratio", "median norm, ratio to normal patches"),
    ("onset_block", "first block with a patch above 4 × the median (from 0)"),
    ("onset_p5_block", "that block, 5th percentile of resampled images"),
    ("onset_p95_block", "that block, 95th percentile of resampled images"),
    ("onset_none_frac", "resamples of the images without such a block (%)"),
    ("precision_frac", "precision against flat pixels (%)"),
    ("recall_frac", "recall of flat pixels (%)"),
    ("mass_frac", "attention received (%)"),
    ("images_without", "images without"),
    ("auc_frac", "above normal patches, area under ROC (%)"),
    ("argmax_frac", "the most attended patch is one (%)"),
];

/// Statistics of a distribution, of which a reader needs few here; all are in the `scores` table.
const DISTRIBUTION: [&str; 8] = ["mean", "p5", "median", "p95", "p99", "max", "min", "std"];

fn shown(experiment: &str, kind: &str, metric: &str) -> bool {
    if !DISTRIBUTION.contains(&metric) {
        // Table fig5a has the size of the gap.
        return !matches!(metric, "gap" | "effect_size");
    }
    match (experiment, kind) {
        ("norms", "patch") => matches!(metric, "median" | "p95" | "p99" | "max"),
        ("norms", _) => metric == "median",
        ("neighbour_cosine", kind) => metric == "median" && kind != "patch",
        _ => true,
    }
}

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let subjects: Vec<&Measured> = context.measured.iter().filter(|m| has_signs(m)).collect();
    let mut groups = vec![calibration(&subjects)];
    let mut experiments: Vec<(String, String)> =
        EXPERIMENTS.iter().map(|(id, label)| ((*id).to_owned(), (*label).to_owned())).collect();
    for score in subjects.iter().flat_map(|m| m.scores.iter()) {
        let known = is_elsewhere(&score.experiment) || experiments.iter().any(|(id, _)| **id == *score.experiment);
        if !known {
            experiments.push((score.experiment.to_string(), score.experiment.replace('_', " ")));
        }
    }
    groups.extend(experiments.iter().map(|(id, label)| signs(context, &subjects, id, label)));
    groups.push(images(&subjects));
    groups.retain(|g| g.rows.iter().any(|r| r.cells.iter().any(|c| *c != Cell::default())));
    Table {
        id: "norms",
        title: "Vital signs".to_owned(),
        caption: "Norms are L2 norms of tokens at the site named in the heading of a column; attention \
                  is that of the last block of the model. ± is the standard error, images taken as independent. Outliers are told by each \
                  column's own policy. The table scores of the store has more statistics."
            .to_owned(),
        protocol: "docs/protocols/norms.md",
        stub: "sign",
        columns: subjects.iter().map(|m| column(m)).collect(),
        groups,
        spread: Spread::StdErr,
    }
}

/// A subject that is only probed has no signs of its own: its images are those of the subjects it was trained on.
pub(crate) fn has_signs(measured: &Measured) -> bool {
    let scored = |s: &Score| !is_elsewhere(&s.experiment);
    measured.images.is_some() || !measured.calibrations.is_empty() || measured.scores.iter().any(scored)
}

fn column(measured: &Measured) -> Column {
    let s = measured.subject;
    let sub = [s.dataset.as_str(), &s.site, s.weights.label()];
    Column::with_sub(s.model.clone(), sub.iter().filter(|t| !t.is_empty()).copied().collect::<Vec<_>>().join(" · "))
}

fn group(label: &str, rows: Vec<Row>) -> Group {
    Group { label: label.to_owned(), about: vec![], provenance: None, measured: true, rows }
}

fn calibration(subjects: &[&Measured]) -> Group {
    let cell = |m: &Measured, value: Option<f64>, unit, images: u64| {
        let value =
            value.map(|value| Value { value, std: None, stderr: None, n: images, draws: 1, images_without: 0, unit });
        Cell { ours: value, provenance: value.map(|_| m.subject.weights), ..Cell::default() }
    };
    let row = |label: &str, make: &dyn Fn(&Measured) -> Cell| Row {
        label: label.to_owned(),
        cells: subjects.iter().map(|m| make(m)).collect(),
    };
    let rows = vec![
        row("policy", &|m| Cell::text(m.subject.outlier_policy.clone())),
        row("cut-off of the norm", &|m| match m.calibration() {
            Some(c) if c.cutoff.is_some() => cell(m, c.cutoff, Unit::Number, c.images),
            Some(_) => Cell::text("none: one mode"),
            None => Cell::default(),
        }),
        row("depth of the valley between the modes", &|m| {
            m.calibration().map_or_else(Cell::default, |c| cell(m, Some(c.valley_depth), Unit::Number, c.images))
        }),
        row("median norm of a patch", &|m| {
            m.calibration().map_or_else(Cell::default, |c| cell(m, Some(c.median), Unit::Number, c.images))
        }),
    ];
    let filled = rows.into_iter().filter(|r| r.cells.iter().any(|c| c.ours.is_some() || !c.text.is_empty()));
    group("Outlier policy, and the calibration pass where it has one", filled.collect())
}

/// One row per (kind of token, metric, site) that was scored. A site is named only where it tells rows apart.
fn signs(context: &Context, subjects: &[&Measured], experiment: &str, label: &str) -> Group {
    let mut keys: Vec<(String, String, String)> = Vec::new();
    for measured in subjects {
        for score in measured.scores.iter().filter(|s| &*s.experiment == experiment) {
            let site = site_key(measured, &score.site);
            // The norms of every block are a figure, not thirty rows.
            let own = measured.scores.at(experiment, &score.subject, &score.metric, &measured.subject.site);
            let elsewhere = experiment == "norms" && !site.is_empty() && own.is_some();
            let key = (score.subject.to_string(), score.metric.to_string(), site.to_owned());
            if !elsewhere && shown(experiment, &score.subject, &score.metric) && !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys.sort_by_key(|(kind, _, _)| match kind.as_str() {
        "patch" => 0,
        "normal" => 1,
        "outlier" => 2,
        "cls" => 3,
        _ => 4,
    });
    let rows = keys.iter().map(|(kind, metric, site)| Row {
        label: sign_label(kind, metric, site),
        cells: subjects
            .iter()
            .map(|m| {
                let same = |s: &&Score| {
                    &*s.experiment == experiment
                        && *s.subject == **kind
                        && *s.metric == **metric
                        && site_key(m, &s.site) == site
                };
                sign(context, m, m.scores.iter().find(same))
            })
            .collect(),
    });
    group(label, rows.collect())
}

/// A site as it tells rows of the table apart: nothing where it is the subject's own, all blocks, or the last attention,
/// which has another number in models of another depth.
fn site_key<'a>(measured: &Measured, site: &'a str) -> &'a str {
    if site == measured.subject.site || site == "all blocks" || site.starts_with("attention_") { "" } else { site }
}

fn sign(context: &Context, measured: &Measured, score: Option<&Score>) -> Cell {
    let Some(score) = score else { return Cell::default() };
    let mut cell = Cell::scored(measured.subject, Some(score), unit(&score.metric));
    cell.notes.extend(none_of_images(measured, score));
    let (row, column, why) = match (measured.subject.registers, base(&measured.subject.model), &*score.metric) {
        (0, "dinov2_vitg14", "share_above_150_frac") => {
            ("DINOv2-g official, small image set", "share_tokens_norm_gt_150_pct", None)
        }
        (0, "dinov2_vitg14", "onset_block") => {
            ("DINOv2-g official", "layer_where_outliers_separate_approx", Some("not comparable: the paper says about"))
        }
        _ => return study_onset(context, measured, score, cell),
    };
    let published = context.published.get(Source::Paper, "inline", row, column);
    cell.with(measured.subject, published, true, why)
}

/// What is said in place of an error where no image has an outlier: tokens of one image are not independent, images are.
fn none_of_images(measured: &Measured, score: &Score) -> Option<String> {
    let none = &*score.experiment == "detection" && &*score.metric == "share_frac" && score.value == Some(0.0);
    let images = measured.scores.at("detection", &score.subject, "images_without", &score.site)?.n;
    let bound = number(100.0 * bounds::at_most(images as f64), Unit::Share);
    let words = format!(
        "in none of {} images: with 95 % confidence fewer than {bound} % of such images have one",
        grouped(images)
    );
    (none && images > 0).then_some(words)
}

fn study_onset(context: &Context, measured: &Measured, score: &Score, cell: Cell) -> Cell {
    if &*score.metric != "onset_block" || measured.subject.registers > 0 {
        return cell;
    }
    let (row, column) = match study_column(&measured.subject.model) {
        Some("DINOv2-L") => ("DINOv2-L", "artifact_layer_of_23"),
        Some("DeiT-III-S") => ("DeiT-III-S norms", "first_layer_with_high_norm"),
        _ => return cell,
    };
    let published = context.published.get(Source::Study, "inline", row, column);
    cell.with(measured.subject, published, true, Some("not comparable: read off a figure by eye"))
}

fn unit(metric: &str) -> Unit {
    if metric.ends_with("_frac") {
        Unit::Share
    } else if ["_block", "_count", "_tokens", "_images"].iter().any(|s| metric.ends_with(s))
        || metric == "images_without"
    {
        Unit::Count
    } else {
        Unit::Number
    }
}

fn sign_label(kind: &str, metric: &str, site: &str) -> String {
    let metric = METRICS.iter().find(|(id, _)| *id == metric).map_or_else(
        || match metric.strip_suffix("_frac") {
            Some(name) => format!("{} (%)", name.replace('_', " ")),
            None => metric.replace('_', " "),
        },
        |(_, label)| (*label).to_owned(),
    );
    let mut label = match kind {
        "all" | "" => metric,
        "cls" => format!("[CLS]: {metric}"),
        "patch" => format!("patches: {metric}"),
        "normal" => format!("normal patches: {metric}"),
        "outlier" => format!("outliers: {metric}"),
        other => format!("{}: {metric}", other.replace('_', " ")),
    };
    if !site.is_empty() {
        label.push_str(", at ");
        label.push_str(site);
    }
    label
}

fn images(subjects: &[&Measured]) -> Group {
    let count = |m: &Measured, value: u64| Cell {
        ours: Some(Value {
            value: value as f64,
            std: None,
            stderr: None,
            n: m.images.unwrap_or(0) + m.skipped.values().sum::<u64>(),
            draws: 1,
            images_without: 0,
            unit: Unit::Count,
        }),
        provenance: Some(m.subject.weights),
        ..Cell::default()
    };
    let rows = vec![
        Row {
            label: "encoded".to_owned(),
            cells: subjects.iter().map(|m| m.images.map_or_else(Cell::default, |n| count(m, n))).collect(),
        },
        Row {
            label: "skipped".to_owned(),
            cells: subjects
                .iter()
                .map(|m| {
                    // Nothing skipped and nothing encoded is no statement.
                    if m.images.is_none() && m.skipped.is_empty() {
                        return Cell::default();
                    }
                    let mut cell = count(m, m.skipped.values().sum());
                    cell.notes = m.skipped.iter().map(|(why, n)| format!("{n} × {why}")).collect();
                    cell
                })
                .collect(),
        },
    ];
    group("Images", rows)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::published::PaperTables;

    #[test]
    fn every_published_number_that_is_named_here_exists() {
        let published = PaperTables::read().unwrap();
        for (source, row, column) in [
            (Source::Paper, "DINOv2-g official, small image set", "share_tokens_norm_gt_150_pct"),
            (Source::Paper, "DINOv2-g official", "layer_where_outliers_separate_approx"),
            (Source::Study, "DINOv2-L", "artifact_layer_of_23"),
            (Source::Study, "DeiT-III-S norms", "first_layer_with_high_norm"),
        ] {
            assert!(published.get(source, "inline", row, column).is_some(), "{row}, {column}");
        }
    }

    /// 1 − 0.05^(1/60) = 4.87 %. Breaks when a share of 0 among thousands of tokens is told as sure, or bounded by their number.
    #[test]
    fn a_share_of_nothing_is_bounded_by_its_images() {
        let score = |metric: &str, value: f64, n: u64| Score {
            experiment: "detection".into(),
            subject: "outlier".into(),
            site: "block_3".into(),
            metric: metric.into(),
            value: Some(value),
            std: None,
            stderr: Some(0.0),
            n,
            draws: 1,
            images_without: 0,
            note: String::new(),
            settings: String::new(),
        };
        let subject = crate::study::Subject::default();
        let measured = Measured {
            subject: &subject,
            scores: [score("images_without", 60.0, 60)].into_iter().collect(),
            images: None,
            skipped: std::collections::BTreeMap::new(),
            calibrations: vec![],
            curves: schemas::tables::Curves::default(),
        };
        let said = none_of_images(&measured, &score("share_frac", 0.0, 9600)).unwrap();
        assert_eq!(said, "in none of 60 images: with 95 % confidence fewer than 4.87 % of such images have one");
        assert_eq!(none_of_images(&measured, &score("share_frac", 0.1, 9600)), None);
    }

    #[test]
    fn labels_name_kind_unit_and_site() {
        assert_eq!(sign_label("patch", "p95", ""), "patches: 95th percentile");
        assert_eq!(sign_label("outlier", "some_new_frac", "block_3"), "outliers: some new (%), at block_3");
        assert_eq!(sign_label("register_2", "median", ""), "register 2: median");
        assert_eq!(unit("share_frac"), Unit::Share);
        assert_eq!(unit("onset_block"), Unit::Count);
        assert_eq!(unit("valley_depth"), Unit::Number);
    }
}
