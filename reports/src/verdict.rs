//! Whether a number of ours agrees with a published one, and when that may be asked at all.
//!
//! Asked only for the same weights, the same model and a protocol without departures. Then, with σ² the sum of our
//! variance over draws, our squared standard error and the published variance, and u half of the last printed digit,
//!
//! ```text
//! agree  ⇔  |ours − published| ≤ 2σ + u
//! ```
//!
//! Both papers test on one fixed test set, so the standard error of sampling it is shared and the rule errs towards
//! agreement; what it reports as a difference is one.

use crate::published::Published;
use crate::study::{Provenance, Source, Subject};
use crate::tables::Value;

/// What can be said of a number beside another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Within the tolerance of the published number.
    Agree,
    /// Outside it.
    Differ,
    /// The two may not be compared, and why.
    NotComparable(String),
    /// Nothing of ours stands here.
    NotMeasured,
    /// What must be so, is.
    Holds,
    /// What must be so, is not.
    Fails,
}

impl Verdict {
    /// As printed.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Agree => "agrees",
            Self::Differ => "differs",
            Self::NotComparable(_) => "not comparable",
            Self::NotMeasured => "not measured",
            Self::Holds => "holds",
            Self::Fails => "fails",
        }
    }
}

/// Why numbers of `subject` may not be compared with those of `source` on the model `published_model`, if so.
pub fn obstacle(subject: &Subject, source: Source, same_model: bool) -> Option<String> {
    let who = source.label();
    if subject.weights != Provenance::SameWeights {
        Some(format!("not comparable with the {who}: {}", subject.weights.label()))
    } else if !same_model {
        Some(format!("not comparable with the {who}: another model"))
    } else if !subject.follows.contains(&source) {
        Some(format!("not comparable with the {who}: another protocol than the {who}'s"))
    } else if !subject.departures.is_empty() {
        Some(format!("not comparable with the {who}: {}", subject.departures.join("; ")))
    } else {
        None
    }
}

/// Agreement of two numbers that may be compared.
pub fn judge(ours: &Value, published: &Published) -> Verdict {
    let square = |x: Option<f64>| x.map_or(0.0, |x| x * x);
    let sigma = (square(ours.std) + square(ours.stderr) + square(published.std)).sqrt();
    let tolerance = 2.0 * sigma + half_last_digit(published.value);
    // The slack absorbs what decimal fractions lose in binary.
    if (ours.value - published.value).abs() <= tolerance + 1e-9 { Verdict::Agree } else { Verdict::Differ }
}

/// Half a unit of the last printed digit; both papers print at least one decimal.
fn half_last_digit(printed: f64) -> f64 {
    let text = printed.to_string();
    let decimals = text.split_once('.').map_or(1, |(_, digits)| digits.len());
    0.5 * 10f64.powi(-(decimals as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Unit;

    fn ours(value: f64, std: Option<f64>, stderr: Option<f64>) -> Value {
        Value { value, std, stderr, n: 1, draws: 1, images_without: 0, unit: Unit::Percent }
    }

    fn paper(value: f64, std: Option<f64>) -> Published {
        Published { source: Source::Paper, value, std }
    }

    #[test]
    fn tolerance_is_two_sigma_and_half_a_digit() {
        // σ = 5 from 3 and 4: the bound is 10.05.
        assert_eq!(judge(&ours(60.05, Some(3.0), None), &paper(50.0, Some(4.0))), Verdict::Agree);
        assert_eq!(judge(&ours(60.06, Some(3.0), None), &paper(50.0, Some(4.0))), Verdict::Differ);
        assert_eq!(judge(&ours(95.634, None, None), &paper(95.63, None)), Verdict::Agree);
        assert_eq!(judge(&ours(95.636, None, None), &paper(95.63, None)), Verdict::Differ);
        assert_eq!(judge(&ours(f64::NAN, None, None), &paper(1.0, None)), Verdict::Differ);
    }

    #[test]
    fn only_same_weights_same_model_same_protocol_may_be_compared() {
        let mut subject = Subject { weights: Provenance::SameWeights, ..Subject::default() };
        assert!(obstacle(&subject, Source::Paper, true).is_some_and(|o| o.contains("protocol")));
        subject.follows.insert(Source::Paper);
        assert_eq!(obstacle(&subject, Source::Paper, true), None);
        assert!(obstacle(&subject, Source::Study, true).is_some());
        assert!(obstacle(&subject, Source::Paper, false).is_some_and(|o| o.contains("another model")));
        subject.departures.push("100 of 50,000 images".to_owned());
        assert!(obstacle(&subject, Source::Paper, true).is_some_and(|o| o.ends_with("100 of 50,000 images")));
        for weights in [Provenance::Unstated, Provenance::ProxyWeights, Provenance::OwnTraining, Provenance::Planted] {
            subject.weights = weights;
            assert!(obstacle(&subject, Source::Paper, true).is_some_and(|o| o.ends_with(weights.label())));
        }
    }
}
