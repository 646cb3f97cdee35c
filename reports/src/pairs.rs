//! Two models judged on the same images: by how much their scores differ, and how sure that is.
//!
//! d = b − a. With group i of the images left out the scores are aᵢ and bᵢ, and dᵢ = bᵢ − aᵢ; the jackknife standard
//! error of d is √((g − 1)/g · Σ(dᵢ − d̄)²) over the g groups (Efron and Tibshirani, An Introduction to the Bootstrap,
//! §11.2). Both models err on the same hard images, which cancels in the difference: two scores whose own intervals
//! overlap may well differ.
//!
//! A pair is a model and its twin with registers, or a set of weights as it is and changed while it runs. A score is that
//! of the very run that wrote the replicates; where a model has two runs of equal settings, nobody knows which of them
//! belongs to which of the other model, so that there is no pair.

use schemas::tables::Replicates;
use schemas::{Name, Table as _};

use crate::error::ReportError;
use crate::models::base;
use crate::parts;
use crate::scores::{self, Score};
use crate::study::Subject;
use crate::tables::Measured;

/// What the experiment of a difference is called: `difference_<experiment>`, on the second model of the pair.
pub const DIFFERENCE: &str = "difference_";

/// Standard errors beyond which a difference is one.
pub const SURE: f64 = 2.0;

/// A score of two models.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The model as it is, or without registers: its place among the subjects.
    pub first: usize,
    /// The other.
    pub second: usize,
    /// Their scores.
    pub scores: [Score; 2],
    /// Second less first.
    pub difference: f64,
    /// Its standard error; none where it cannot be told.
    pub stderr: Option<f64>,
    /// Groups of images that were left out in turn.
    pub groups: usize,
}

/// Which of two models a score prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The first.
    First,
    /// The second.
    Second,
    /// The difference is within [`SURE`] standard errors.
    Unseen,
    /// There is no standard error.
    Unknown,
}

impl Pair {
    /// Which model is better.
    pub fn better(&self) -> Better {
        let Some(stderr) = self.stderr else { return Better::Unknown };
        if self.difference.abs() <= SURE * stderr {
            Better::Unseen
        } else if (self.difference > 0.0) == lower_is_better(&self.scores[0].metric) {
            Better::First
        } else {
            Better::Second
        }
    }

    /// The difference as a score of the second model, which a truth can name.
    fn score(&self, names: [&str; 2]) -> Score {
        let [first, second] = names;
        Score {
            experiment: format!("{DIFFERENCE}{}", self.scores[1].experiment).into(),
            value: Some(self.difference),
            std: None,
            stderr: self.stderr,
            draws: 1,
            note: format!("{second} less {first}, on the same images"),
            ..self.scores[1].clone()
        }
    }
}

/// Whether a smaller number is a better one.
pub fn lower_is_better(metric: &str) -> bool {
    ["rmse_m", "abs_rel_frac"].contains(&metric)
}

/// Every pair, in the order of the study; the differences are added to the scores of the second models.
pub fn find(measured: &mut [Measured]) -> Result<Vec<Pair>, ReportError> {
    let judged = measured.iter().map(judged).collect::<Result<Vec<_>, _>>()?;
    let mut pairs = Vec::new();
    for (first, ours) in judged.iter().enumerate() {
        for (second, theirs) in judged.iter().enumerate() {
            if !are_a_pair(measured[first].subject, measured[second].subject) {
                continue;
            }
            pairs.extend(ours.iter().filter_map(|a| pair((first, a), (second, partner(a, ours, theirs)?))));
        }
    }
    for pair in &pairs {
        let names = [pair.first, pair.second].map(|i| measured[i].subject.model.as_str());
        let score = pair.score(names);
        measured[pair.second].scores.add(score);
    }
    Ok(pairs)
}

/// Whether two subjects are a pair in this order: all is alike but registers, or but what is changed while they run.
fn are_a_pair(a: &Subject, b: &Subject) -> bool {
    let alike = |s: &Subject| [&s.dataset, &s.preprocessing, &s.precision].map(String::clone);
    let twins = a.model != b.model && a.model == base(&b.model) && a.change == b.change;
    let changed = a.change.is_empty()
        && !b.change.is_empty()
        && a.weights_digest == b.weights_digest
        && !a.weights_digest.is_empty();
    alike(a) == alike(b) && (twins || changed)
}

/// The one score of the other model that was made as `a` was; none where either model has several.
fn partner<'j>(a: &Judged, ours: &[Judged], theirs: &'j [Judged]) -> Option<&'j Judged> {
    let same = |b: &&Judged| a.score.is_alike(&b.score) && a.without.len() == b.without.len();
    let mut found = theirs.iter().filter(same);
    found.next().filter(|_| found.next().is_none() && ours.iter().filter(same).count() == 1)
}

fn pair((first, a): (usize, &Judged), (second, b): (usize, &Judged)) -> Option<Pair> {
    let difference = b.score.value? - a.score.value?;
    let without: Vec<f64> = a.without.iter().zip(&b.without).map(|(a, b)| b - a).collect();
    let scores = [a.score.clone(), b.score.clone()];
    Some(Pair { first, second, scores, difference, stderr: jackknife(&without), groups: without.len() })
}

/// √((g − 1)/g · Σ(dᵢ − d̄)²); none of fewer than two groups, or where one of them has no number.
fn jackknife(without: &[f64]) -> Option<f64> {
    let g = without.len() as f64;
    let mean = without.iter().sum::<f64>() / g;
    let squares: f64 = without.iter().map(|d| (d - mean).powi(2)).sum();
    Some(((g - 1.0) / g * squares).sqrt()).filter(|e| without.len() > 1 && e.is_finite())
}

/// A score with what it is without each group of images.
#[derive(Debug)]
struct Judged {
    score: Score,
    without: Vec<f64>,
}

/// The scores of a subject that have replicates; controls are left out: nobody compares models by them.
fn judged(measured: &Measured) -> Result<Vec<Judged>, ReportError> {
    let subject = measured.subject;
    let mut found = Vec::new();
    for folder in subject.tables.get(Replicates::NAME).into_iter().flatten() {
        // Values and errors are of one run, whatever other runs call theirs. A control has another experiment here.
        let Some(beside) = scores::beside(subject, folder) else { continue };
        let scores = scores::rows(subject, beside)?;
        let t: Replicates = parts::of_folder(subject, folder)?;
        let mut names: Vec<[&Name; 4]> = Vec::new();
        for i in 0..t.group.len() {
            let name = [&t.experiment[i], &t.subject[i], &t.site[i], &t.metric[i]];
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            let of = |s: &&Score| [&s.experiment, &s.subject, &s.site, &s.metric] == name;
            let Some(score) = scores.iter().find(of) else { continue };
            let rows =
                (0..t.group.len()).filter(|&i| [&t.experiment[i], &t.subject[i], &t.site[i], &t.metric[i]] == name);
            let mut rows: Vec<(u32, f64)> = rows.map(|i| (t.group[i], t.value[i])).collect();
            rows.sort_unstable_by_key(|(group, _)| *group);
            let without = rows.into_iter().map(|(_, value)| value).collect();
            found.push(Judged { score: score.clone(), without });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(metric: &str, value: f64) -> Score {
        Score {
            experiment: "segmentation".into(),
            subject: "linear".into(),
            site: "final".into(),
            metric: metric.into(),
            value: Some(value),
            std: None,
            stderr: Some(9.0),
            n: 10,
            draws: 1,
            images_without: 0,
            note: String::new(),
            settings: String::new(),
        }
    }

    fn of(metric: &str, a: (f64, [f64; 3]), b: (f64, [f64; 3])) -> Option<Pair> {
        let judged =
            |(value, without): (f64, [f64; 3])| Judged { score: score(metric, value), without: without.into() };
        pair((0, &judged(a)), (1, &judged(b)))
    }

    /// A mean of ten values left out one by one: the jackknife is the standard error of the mean of the differences,
    /// s/√10, whatever the two share. Breaks with another factor, or when the two errors are added as if independent.
    #[test]
    fn the_error_of_a_difference_of_means_is_that_of_the_mean_difference() {
        let hard = [5.0, -3.0, 12.0, 0.5, 7.0, -9.0, 2.0, 4.0, 1.0, -20.0];
        let gain = [1.0, 2.0, 1.5, 0.5, 1.0, 3.0, 1.0, 0.0, 2.0, 1.0];
        let both: Vec<f64> = hard.iter().zip(gain).map(|(h, g)| h + g).collect();
        let without = |x: &[f64]| -> Vec<f64> {
            let sum: f64 = x.iter().sum();
            x.iter().map(|v| (sum - v) / 9.0).collect()
        };
        let d: Vec<f64> = without(&both).iter().zip(without(&hard)).map(|(b, a)| b - a).collect();
        let mean = gain.iter().sum::<f64>() / 10.0;
        let variance = gain.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / 9.0;
        let wanted = (variance / 10.0).sqrt();
        assert!(jackknife(&d).is_some_and(|e| (e - wanted).abs() < 1e-12), "{:?} {wanted}", jackknife(&d));
        assert_eq!([jackknife(&[1.0]), jackknife(&[]), jackknife(&[1.0, f64::NAN])], [None; 3]);
    }

    /// dᵢ = 0.1 ± 0.01: √(2/3 · 2e-4) = 0.01155. Breaks when a smaller error or a larger accuracy is taken for worse.
    #[test]
    fn the_better_model_is_named_only_beyond_two_errors() {
        let high = (0.6, [0.59, 0.6, 0.61]);
        let low = (0.5, [0.5, 0.5, 0.5]);
        let better = |metric: &str, a, b| of(metric, a, b).map(|p| p.better());
        assert_eq!(better("miou_frac", low, high), Some(Better::Second));
        assert_eq!(better("miou_frac", high, low), Some(Better::First));
        assert_eq!(better("rmse_m", low, high), Some(Better::First));
        assert_eq!(better("abs_rel_frac", high, low), Some(Better::Second));
        let Some(pair) = of("miou_frac", low, high) else { panic!("no pair") };
        assert!((pair.difference - 0.1).abs() < 1e-12 && pair.groups == 3);
        assert!(pair.stderr.is_some_and(|e| (e - (2.0_f64 / 3.0 * 2e-4).sqrt()).abs() < 1e-12));
        let nearly = (0.522, [0.512, 0.522, 0.532]);
        assert_eq!(better("miou_frac", low, nearly), Some(Better::Unseen));
        assert_eq!(better("miou_frac", low, low), Some(Better::Unseen));
        assert_eq!(better("miou_frac", low, (0.6, [0.6, f64::NAN, 0.6])), Some(Better::Unknown));
    }

    /// Breaks when models are paired whose images, weights or changes are not alike.
    #[test]
    fn pairs_are_twins_or_one_set_of_weights() {
        let of = |model: &str, change: &str, digest: &str| Subject {
            model: model.to_owned(),
            change: change.to_owned(),
            weights_digest: digest.to_owned(),
            dataset: "camvid".to_owned(),
            ..Subject::default()
        };
        let (plain, twin, edited) = (of("vit", "", "a"), of("vit_reg4", "", "b"), of("vit_cut", "edit", "a"));
        assert!(are_a_pair(&plain, &twin) && !are_a_pair(&twin, &plain));
        assert!(are_a_pair(&plain, &edited) && !are_a_pair(&edited, &plain) && !are_a_pair(&twin, &edited));
        assert!(!are_a_pair(&plain, &plain) && !are_a_pair(&twin, &of("vit_reg8", "", "c")));
        assert!(!are_a_pair(&plain, &Subject { dataset: "voc".to_owned(), ..twin.clone() }));
        assert!(!are_a_pair(&plain, &Subject { precision: "bf16".to_owned(), ..twin }));
        assert!(!are_a_pair(&of("vit", "", ""), &of("vit_cut", "edit", "")), "unknown weights are not the same");
    }
}
