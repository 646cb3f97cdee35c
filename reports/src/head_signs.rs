//! What trained heads, neighbours and discovered boxes amount to: one sentence for each model and dataset, and one for
//! each two models that were judged on the same images.
//!
//! Controls have none: they are there to be at chance.

use crate::pairs::{Better, Pair};
use crate::render::{legible, number, plainly};
use crate::scores::Score;
use crate::study::Provenance;
use crate::tables::heads::{BEST, CHOSEN, Fit, heads};
use crate::tables::table3::is_tokencut;
use crate::tables::{Context, Measured, Unit};

/// Sentences of models, then of pairs, in the order of the study.
pub fn sentences(context: &Context) -> Vec<String> {
    let models = context.measured.iter().filter_map(|m| {
        let signs = signs(m);
        (!signs.is_empty()).then(|| format!("{} on {}: {}.", m.subject.model, m.subject.dataset, signs.join("; ")))
    });
    models.chain(compared(context)).map(|text| legible(&text)).collect()
}

fn signs(m: &Measured) -> Vec<String> {
    let mut signs = Vec::new();
    for fit in heads(m, "segmentation", "miou_frac") {
        let blind = share(m, fit.named("layout"), "segmentation", "miou_frac");
        let blind = blind.map_or_else(String::new, |blind| format!(", {blind} by what is commonest at each place"));
        let found = share(m, fit, "segmentation", "miou_frac");
        signs.extend(found.map(|found| format!("segmentation ({}) mIoU {found}{blind}", fit.head)));
    }
    // Depths of generated scenes are in their own unit.
    let unit = if m.subject.weights == Provenance::Planted { "" } else { " m" };
    for fit in heads(m, "depth", "rmse_m") {
        let of = |fit: Fit| fit.score(m, "depth", "rmse_m").and_then(|s| with_error(s, 1.0, Unit::Number));
        let blind = of(fit.named("layout"));
        let blind = blind.map_or_else(String::new, |blind| format!(", {blind}{unit} by the mean at each place"));
        signs.extend(of(fit).map(|found| format!("depth ({}) RMSE {found}{unit}{blind}", fit.head)));
    }
    // The honest choice of a head, where there is one.
    let fits = heads(m, "linear_eval", "accuracy_frac");
    let choices = [(CHOSEN, "chosen on held-out training images"), (BEST, "the best on these very images")];
    let chosen = choices.iter().find_map(|(head, how)| Some((fits.iter().find(|fit| fit.head == *head)?, how)));
    if let Some((fit, how)) = chosen {
        let found = share(m, *fit, "linear_eval", "accuracy_frac");
        signs.extend(found.map(|found| format!("linear head, {how}, {found} right")));
    }
    for (experiment, what) in [("knn", "nearest neighbours"), ("zero_shot", "zero-shot")] {
        for fit in heads(m, experiment, "accuracy_frac").into_iter().take(1) {
            let found = share(m, fit, experiment, "accuracy_frac");
            signs.extend(found.map(|found| format!("{what} ({}) {found} right", fit.head.replace('_', " "))));
        }
    }
    let boxes = |s: &&Score| &*s.experiment == "corloc" && &*s.metric == "best_corloc_frac" && !is_tokencut(&s.site);
    let best = m.scores.iter().filter(boxes).filter(|s| s.value.is_some());
    if let Some(best) = best.reduce(|best, s| if s.value > best.value { s } else { best }) {
        let found = with_error(best, 100.0, Unit::Percent);
        signs.extend(found.map(|found| format!("an object found in {found} % of the images, under the best bias")));
    }
    signs
}

/// `41.0 ± 1.0 %`.
fn share(m: &Measured, fit: Fit, experiment: &str, metric: &str) -> Option<String> {
    with_error(fit.score(m, experiment, metric)?, 100.0, Unit::Percent).map(|text| format!("{text} %"))
}

fn with_error(score: &Score, factor: f64, unit: Unit) -> Option<String> {
    let value = number(factor * score.value?, unit);
    Some(match score.stderr.filter(|e| *e > 0.0) {
        Some(error) if unit == Unit::Percent => format!("{value} ± {}", number(factor * error, unit)),
        Some(error) => format!("{value} ± {}", plainly(error, 2)),
        None => value,
    })
}

/// Every two models with how they differ.
fn compared(context: &Context) -> Vec<String> {
    let mut found: Vec<((usize, usize), Vec<String>)> = Vec::new();
    for pair in &context.pairs {
        let Some(words) = words(pair) else { continue };
        match found.iter_mut().find(|(of, _)| *of == (pair.first, pair.second)) {
            Some((_, all)) => all.push(words),
            None => found.push(((pair.first, pair.second), vec![words])),
        }
    }
    let sentence = |((first, second), words): ((usize, usize), Vec<String>)| {
        let [first, second] = [first, second].map(|i| context.measured[i].subject);
        let words = words.join(", ");
        format!("{} against {} on {}, the same images: {words}.", second.model, first.model, second.dataset)
    };
    found.into_iter().map(sentence).collect()
}

/// What is said of one score of two models; nothing of those that stand beside the main one in the table.
fn words(pair: &Pair) -> Option<String> {
    let (name, factor, unit) = match &*pair.scores[0].metric {
        "miou_frac" => ("mIoU", 100.0, " points"),
        "rmse_m" => ("RMSE", 1.0, ""),
        _ => return None,
    };
    let way = match pair.better() {
        Better::First => "worse",
        Better::Second => "better",
        Better::Unseen => return Some(format!("no difference of {name} seen")),
        Better::Unknown => return None,
    };
    let size = plainly(factor * pair.difference.abs(), 3);
    let error = plainly(factor * pair.stderr?, 2);
    Some(format!("{name} {way} by {size} ± {error}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(metric: &str, value: f64, stderr: Option<f64>) -> Score {
        Score {
            experiment: "segmentation".into(),
            subject: "linear".into(),
            site: "final".into(),
            metric: metric.into(),
            value: Some(value),
            std: None,
            stderr,
            n: 10,
            draws: 1,
            images_without: 0,
            note: String::new(),
            settings: String::new(),
        }
    }

    /// Breaks when a better depth is called worse, or a difference within its error is told as one.
    #[test]
    fn a_pair_is_told_with_its_error() {
        let of = |metric: &str, difference: f64, stderr: f64| {
            let scores = [score(metric, 0.5, None), score(metric, 0.5 + difference, None)];
            words(&Pair { first: 0, second: 1, scores, difference, stderr: Some(stderr), groups: 20 })
        };
        assert_eq!(of("miou_frac", 0.0121, 0.0026).as_deref(), Some("mIoU better by 1.21 ± 0.26 points"));
        assert_eq!(of("rmse_m", 0.0121, 0.0026).as_deref(), Some("RMSE worse by 0.0121 ± 0.0026"));
        assert_eq!(of("rmse_m", -0.00451, 0.000_35).as_deref(), Some("RMSE better by 0.00451 ± 0.00035"));
        assert_eq!(of("rmse_m", -0.004, 0.0026).as_deref(), Some("no difference of RMSE seen"));
        assert_eq!(of("accuracy_frac", 0.5, 0.1), None);
    }
}
