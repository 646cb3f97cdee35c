//! The answer before the tables: one sentence per model and dataset, made from measured scores alone, and the few
//! numbers behind it as rows of text.
//!
//! A rule that calls a share or a rank of the patches outliers finds some in any model, so that it gives no verdict.

use crate::render::{grouped, legible, number};
use crate::tables::norms::has_signs;
use crate::tables::{Context, Measured, Unit};

/// A sentence for each subject that has vital signs.
pub fn sentences(context: &Context) -> Vec<String> {
    context.measured.iter().filter(|m| has_signs(m)).map(|m| legible(&sentence(m))).collect()
}

fn sentence(measured: &Measured) -> String {
    let subject = measured.subject;
    let of = format!("{} on {}", subject.model, subject.dataset);
    let signs = Signs::of(measured);
    let Some(share) = signs.share else { return format!("{of}: not measured.") };
    let rule = &subject.outlier_policy;
    // A calibrated cut-off is the model's own; any other is worth naming.
    let by = if measured.calibration().is_some() || rule.is_empty() { String::new() } else { format!(" ({rule})") };
    let modes = signs.one_mode.map(|one| if one { "norms have one mode" } else { "norms have two modes" });
    let mut norms = match signs.one_mode {
        _ if subject.always_finds => modes.unwrap_or_default().to_owned(),
        // Two modes are what outliers are; only what does not fit the finding is worth a word.
        Some(one) if one == (share > 0.0) => format!("yet {}", modes.unwrap_or_default()),
        Some(true) => modes.unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    if let Some(largest) = signs.largest.filter(|_| share == 0.0 || subject.always_finds) {
        norms += if norms.is_empty() { "" } else { ", " };
        norms += &format!("the largest is {} × the median", three(largest));
    }
    let mut text = if subject.always_finds {
        format!("{of}: no verdict, since the rule ({rule}) calls some patches outliers in any model")
    } else if share == 0.0 {
        format!("{of}: no outliers found{by}")
    } else {
        let mut text = format!("{of}: {} % of patches are outliers{by}", number(100.0 * share, Unit::Share));
        if let Some(ratio) = signs.ratio {
            text += &format!(", {} × the norm of the others", three(ratio));
        }
        if let Some(block) = signs.onset {
            text += &format!(", from block {block} on");
        }
        text
    };
    if !norms.is_empty() {
        text += &format!("; {norms}");
    }
    if let Some((low, high)) = signs.registers {
        let (low, high) = (three(low), three(high));
        let times = if low == high { low } else { format!("{low} to {high}") };
        text += &format!("; its registers have {times} × the norm of a patch");
    }
    text + "."
}

fn three(x: f64) -> String {
    number(x, Unit::Share)
}

/// What the sentence is made of; ratios are of the median patch norm but for `ratio`.
struct Signs {
    share: Option<f64>,
    ratio: Option<f64>,
    onset: Option<f64>,
    median: Option<f64>,
    largest: Option<f64>,
    one_mode: Option<bool>,
    registers: Option<(f64, f64)>,
}

impl Signs {
    fn of(measured: &Measured) -> Self {
        let site = &measured.subject.site;
        let at = |experiment, kind: &str, metric| measured.scores.at(experiment, kind, metric, site);
        let value = |experiment, kind: &str, metric| at(experiment, kind, metric).and_then(|s| s.value);
        let median = value("norms", "patch", "median").filter(|m| *m > 0.0);
        let by_median = |x: Option<f64>| x.zip(median).map(|(x, median)| x / median);
        let registers = (0..measured.subject.registers)
            .map(|r| by_median(value("norms", &format!("register_{r}"), "median")))
            .collect::<Option<Vec<f64>>>()
            .filter(|all| !all.is_empty())
            .map(|all| (all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(0.0, f64::max)));
        let share = value("detection", "outlier", "share_frac");
        // A long-tailed early block is no onset where no patch is an outlier in the end.
        let onset = measured.scores.at("detection", "outlier", "onset_block", "all blocks").and_then(|s| s.value);
        let onset = onset.filter(|_| share.is_some_and(|share| share > 0.0));
        Self {
            share,
            ratio: value("detection", "outlier", "norm_ratio"),
            onset,
            median,
            largest: by_median(value("norms", "patch", "max")),
            one_mode: at("norms", "patch", "valley_depth").map(|s| s.note.contains("one mode")),
            registers,
        }
    }
}

/// A heading and a row for each subject that has vital signs.
pub fn overview(context: &Context) -> Vec<Vec<String>> {
    let heads = ["model", "dataset", "images", "skipped", "median norm", "largest", "outliers", "ratio", "from block"];
    let rows = context.measured.iter().filter(|m| has_signs(m)).map(|m| {
        let signs = Signs::of(m);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let plain = |x: Option<f64>| or_dash(x.map(|x| number(x, Unit::Number)));
        vec![
            legible(&m.subject.model),
            legible(&m.subject.dataset),
            or_dash(m.images.map(grouped)),
            grouped(m.skipped.values().sum()),
            plain(signs.median),
            or_dash(signs.largest.map(|x| format!("{} ×", three(x)))),
            or_dash(signs.share.map(|x| format!("{} %", number(100.0 * x, Unit::Share)))),
            or_dash(signs.ratio.map(|x| format!("{} ×", three(x)))),
            or_dash(signs.onset.map(|x| x.to_string())),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() { rows } else { [vec![heads.map(str::to_owned).to_vec()], rows].concat() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::scores::Score;
    use crate::study::Subject;
    use crate::tables::Calibration;

    fn score(experiment: &str, kind: &str, metric: &str, value: f64, note: &str) -> Score {
        Score {
            experiment: experiment.into(),
            subject: kind.into(),
            site: if metric == "onset_block" { "all blocks" } else { "block_7" }.into(),
            metric: metric.into(),
            value: value.is_finite().then_some(value),
            std: None,
            stderr: None,
            n: 1,
            draws: 1,
            images_without: 0,
            note: note.to_owned(),
            settings: String::new(),
        }
    }

    fn norms(max: f64, modes: &str) -> Vec<Score> {
        vec![
            score("norms", "patch", "median", 10.0, ""),
            score("norms", "patch", "max", max, ""),
            score("norms", "patch", "valley_depth", 0.5, modes),
        ]
    }

    fn said(subject: &Subject, calibrated: bool, scores: Vec<Score>) -> String {
        let calibration =
            Calibration { site: "block_7".to_owned(), cutoff: None, valley_depth: 0.0, median: 10.0, images: 9 };
        let calibrations = if calibrated { vec![calibration] } else { vec![] };
        sentence(&measured(subject, calibrations, scores))
    }

    fn measured(subject: &Subject, calibrations: Vec<Calibration>, scores: Vec<Score>) -> Measured<'_> {
        let scores = scores.into_iter().collect();
        let curves = schemas::tables::Curves::default();
        Measured { subject, scores, images: Some(60), skipped: BTreeMap::new(), calibrations, curves }
    }

    /// Breaks when the table says from where on there are outliers in a model that has none.
    #[test]
    fn no_outliers_begin_nowhere() {
        let onset = |share| {
            let scores = [("share_frac", share), ("onset_block", 0.0)];
            let scores = scores.map(|(metric, value)| score("detection", "outlier", metric, value, ""));
            Signs::of(&measured(&subject(), vec![], scores.to_vec())).onset
        };
        assert_eq!((onset(0.0), onset(0.01)), (None, Some(0.0)));
    }

    fn subject() -> Subject {
        Subject { model: "m".into(), dataset: "d".into(), site: "block_7".into(), ..Subject::default() }
    }

    #[test]
    fn an_artifact_is_told_with_size_and_place() {
        let mut scores = norms(120.0, "two modes");
        scores.push(score("detection", "outlier", "share_frac", 0.0349, ""));
        scores.push(score("detection", "outlier", "norm_ratio", 10.43, ""));
        scores.push(score("detection", "outlier", "onset_block", 3.0, ""));
        let found = said(&subject(), true, scores);
        assert_eq!(found, "m on d: 3.49 % of patches are outliers, 10.4 × the norm of the others, from block 3 on.");
    }

    #[test]
    fn a_clean_model_is_told_with_its_largest_norm_and_its_registers() {
        let mut scores = norms(14.0, "one mode");
        scores.push(score("detection", "outlier", "share_frac", 0.0, ""));
        scores.push(score("detection", "outlier", "onset_block", f64::NAN, "no block"));
        let clean = said(&subject(), true, scores.clone());
        assert_eq!(clean, "m on d: no outliers found; norms have one mode, the largest is 1.40 × the median.");
        scores.push(score("norms", "register_0", "median", 90.0, ""));
        let registers = said(&Subject { registers: 1, ..subject() }, true, scores);
        assert!(registers.ends_with("; its registers have 9.00 × the norm of a patch."), "{registers}");
    }

    #[test]
    fn a_rule_that_always_finds_some_gives_no_verdict_and_a_fixed_one_is_named() {
        let mut scores = norms(14.0, "one mode");
        scores.push(score("detection", "outlier", "share_frac", 0.05, ""));
        let rule = |rule: &str, always_finds| Subject { outlier_policy: rule.into(), always_finds, ..subject() };
        let share = said(&rule("top 5 % of each image", true), false, scores.clone());
        assert!(share.contains("no verdict, since the rule (top 5 % of each image)"), "{share}");
        assert!(!share.contains("are outliers"), "{share}");
        assert!(share.ends_with("any model; norms have one mode, the largest is 1.40 × the median."), "{share}");
        let fixed = said(&rule("norm above 12", false), false, scores);
        assert_eq!(fixed, "m on d: 5.00 % of patches are outliers (norm above 12); yet norms have one mode.");
    }

    #[test]
    fn nothing_is_said_of_what_was_not_measured() {
        assert_eq!(said(&subject(), true, norms(14.0, "one mode")), "m on d: not measured.");
    }
}
