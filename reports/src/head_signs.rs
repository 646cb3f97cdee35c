//! What trained heads, neighbours and discovered boxes amount to: one sentence for each model and dataset, and one for
//! each two models that were judged on the same images.
//!
//! Controls have none: they are there to be at chance.

use crate::bounds;
use crate::pairs::{Better, Pair, lower_is_better};
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
    let mut signs = dense(m, ("segmentation", "miou_frac"), "mIoU", ["majority", "layout"]);
    signs.extend(dense(m, ("depth", "rmse_m"), "RMSE", ["constant", "layout"]));
    // The honest choice of a head, where there is one.
    let fits = heads(m, "linear_eval", "accuracy_frac");
    let choices = [(CHOSEN, "chosen on held-out training images"), (BEST, "the best on these very images")];
    let chosen = choices.iter().find_map(|(head, how)| Some((fits.iter().find(|fit| fit.head == *head)?, how)));
    if let Some((fit, how)) = chosen {
        let found = fit.score(m, "linear_eval", "accuracy_frac").and_then(share);
        signs.extend(found.map(|found| format!("linear head, {how}, {found} right")));
    }
    for (experiment, what, how) in
        [("knn", "nearest neighbours", ", the best k on these very images,"), ("zero_shot", "zero-shot", "")]
    {
        for fit in heads(m, experiment, "accuracy_frac").into_iter().take(1) {
            let found = fit.score(m, experiment, "accuracy_frac").and_then(share);
            signs.extend(found.map(|found| format!("{what} ({}){how} {found} right", fit.head.replace('_', " "))));
        }
    }
    signs.extend(boxes(m));
    signs
}

/// Each trained head on every patch, beside the best that is reached without looking.
fn dense(m: &Measured, (experiment, metric): (&str, &str), name: &str, blind: [&str; 2]) -> Vec<String> {
    let fits = heads(m, experiment, metric);
    let lower = lower_is_better(metric);
    let told = |score: &Score| match metric {
        "rmse_m" => {
            // Depths of generated scenes are in their own unit.
            let unit = if m.subject.weights == Provenance::Planted { "" } else { " m" };
            with_error(score, 1.0, Unit::Number).map(|text| format!("{text}{unit}"))
        }
        _ => share(score),
    };
    let sentence = |fit: &Fit| {
        let own = fit.score(m, experiment, metric)?;
        let value = own.value?;
        let guesses = blind.iter().filter_map(|of| Some((*of, fit.named(of).score(m, experiment, metric)?)));
        let guesses = guesses.filter_map(|(of, score)| Some((of, score, score.value?)));
        let best = guesses.reduce(|a, b| if (b.2 < a.2) == lower && b.2 != a.2 { b } else { a });
        let beside = best.and_then(|(of, score, guess)| {
            let worse = if lower { value >= guess } else { value <= guess };
            let no_better = if worse { "no better than " } else { "" };
            Some(format!(", {no_better}{} by {}", told(score)?, guessed(of, metric)))
        });
        // Several heads of one name are told apart by how they were trained.
        let several = fits.iter().filter(|other| other.head == fit.head).count() > 1;
        let head = if several { format!("{}; {}", fit.head, fit.settings) } else { fit.head.to_owned() };
        Some(format!("{experiment} ({head}) {name} {}{}", told(own)?, beside.unwrap_or_default()))
    };
    fits.iter().filter_map(sentence).collect()
}

/// What a prediction is that does not look at the image.
fn guessed(of: &str, metric: &str) -> &'static str {
    match (of, metric) {
        ("majority", _) => "the commonest class",
        ("constant", _) => "one depth for all",
        (_, "rmse_m") => "the mean at each place",
        _ => "what is commonest at each place",
    }
}

/// Objects found, under a bias that was not chosen on the images it is scored on, where there is such a number.
fn boxes(m: &Measured) -> Option<String> {
    let choices = [
        ("heldout_corloc_frac", "under the bias of other images"),
        ("best_corloc_frac", "under the bias that is best on these very images"),
        ("corloc_frac", "without a bias"),
    ];
    choices.iter().find_map(|(metric, how)| {
        let is = |s: &&Score| &*s.experiment == "corloc" && &*s.metric == *metric && !is_tokencut(&s.site);
        let all: Vec<&Score> = m.scores.iter().filter(is).filter(|s| s.value.is_some()).collect();
        let best = all.iter().copied().reduce(|best, s| if s.value > best.value { s } else { best })?;
        let kinds =
            if all.len() > 1 { format!(", with the best of {} kinds of features", all.len()) } else { String::new() };
        Some(format!("an object found in {} of the images, {how}{kinds}", share(best)?))
    })
}

/// `41.0 ± 1.0 %`; of none or all of the images what that says of others.
fn share(score: &Score) -> Option<String> {
    let text = with_error(score, 100.0, Unit::Percent)?;
    Some(bounds::words(score).map_or_else(|| format!("{text} %"), |bound| format!("{text} % ({bound})")))
}

/// A mean over tries has their deviation, everything else its standard error.
fn with_error(score: &Score, factor: f64, unit: Unit) -> Option<String> {
    let value = number(factor * score.value?, unit);
    let tries = score.std.filter(|_| score.draws > 1 && &*score.experiment == "knn");
    Some(match tries.or(score.stderr).filter(|e| *e > 0.0) {
        Some(error) if unit == Unit::Percent => format!("{value} ± {}", number(factor * error, unit)),
        Some(error) => format!("{value} ± {}", plainly(error, 2)),
        None => value,
    })
}

/// Every two models with how they differ.
fn compared(context: &Context) -> Vec<String> {
    let mut found: Vec<((usize, usize), Vec<String>)> = Vec::new();
    for pair in &context.pairs {
        let Some(mut words) = words(pair) else { continue };
        // Of several heads each is named.
        let alike =
            |p: &&Pair| (p.first, p.second, &p.scores[0].metric) == (pair.first, pair.second, &pair.scores[0].metric);
        if context.pairs.iter().filter(alike).count() > 1 {
            words += &format!(" ({})", pair.scores[0].subject);
        }
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

    fn said(scores: Vec<Score>) -> String {
        let subject = crate::study::Subject::default();
        let measured = Measured {
            subject: &subject,
            scores: scores.into_iter().collect(),
            images: None,
            skipped: std::collections::BTreeMap::new(),
            calibrations: vec![],
            curves: schemas::tables::Curves::default(),
        };
        signs(&measured).join("; ")
    }

    fn of(experiment: &str, subject: &str, metric: &str, value: f64) -> Score {
        Score { experiment: experiment.into(), subject: subject.into(), ..score(metric, value, Some(0.01)) }
    }

    /// Breaks when a head that is no better than a guess is told as a result, or a lower error as the worse one.
    #[test]
    fn a_head_that_only_guesses_is_told_so() {
        let segmentation = |own: f64| {
            let guess = |name, value| of("segmentation", name, "miou_frac", value);
            said(vec![guess("linear", own), guess("majority", 0.1), guess("layout", 0.2)])
        };
        let places = "20.0 ± 1.0 % by what is commonest at each place";
        assert_eq!(segmentation(0.4), format!("segmentation (linear) mIoU 40.0 ± 1.0 %, {places}"));
        assert_eq!(segmentation(0.15), format!("segmentation (linear) mIoU 15.0 ± 1.0 %, no better than {places}"));
        let depth = |own: f64| {
            let guess = |name, value| of("depth", name, "rmse_m", value);
            said(vec![guess("lin1", own), guess("layout", 0.9), guess("constant", 0.8)])
        };
        let all = "0.8000 ± 0.010 m by one depth for all";
        assert_eq!(depth(0.5), format!("depth (lin1) RMSE 0.5000 ± 0.010 m, {all}"));
        assert_eq!(depth(0.85), format!("depth (lin1) RMSE 0.8500 ± 0.010 m, no better than {all}"));
    }

    /// Breaks when the bias or the k that is best on the test images is told without saying so, where a number to trust exists,
    /// or when a mean over tries has the error over images.
    #[test]
    fn what_was_chosen_on_the_test_images_is_told_so() {
        let corloc = |metric, value| of("corloc", "l2", metric, value);
        let all = vec![corloc("corloc_frac", 0.2), corloc("best_corloc_frac", 0.6), corloc("heldout_corloc_frac", 0.5)];
        assert_eq!(said(all.clone()), "an object found in 50.0 ± 1.0 % of the images, under the bias of other images");
        let best = "an object found in 60.0 ± 1.0 % of the images, under the bias that is best on these very images";
        assert_eq!(said(all[..2].to_vec()), best);
        let none = Score { stderr: Some(0.0), ..corloc("corloc_frac", 0.0) };
        let wanted =
            "an object found in 0.0 % (none of 10: below 25.9 % with 95 % confidence) of the images, without a bias";
        assert_eq!(said(vec![none]), wanted);
        let knn = Score { std: Some(0.03), draws: 5, ..of("knn", "cls_5_per_class", "accuracy_frac", 0.5) };
        let wanted = "nearest neighbours (cls 5 per class), the best k on these very images, 50.0 ± 3.0 % right";
        assert_eq!(said(vec![knn]), wanted);
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
