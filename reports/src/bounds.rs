//! What none, or all, of n images say of others like them.
//!
//! √(p(1 − p)/n) is 0 at p = 0 and at p = 1, as if five images told everything. The exact bound does not: if a share p of
//! all images is a hit, none of n is with probability (1 − p)ⁿ, which is 0.05 at p = 1 − 0.05^(1/n), about 3/n ("the rule of
//! three"; Clopper and Pearson, Biometrika 26, 1934). Of n hits in n it is 1 less that.

use crate::render::number;
use crate::scores::Score;
use crate::tables::Unit;

/// The largest share of images like these that is in keeping with none of `images`, with 95 % confidence.
pub fn at_most(images: f64) -> f64 {
    1.0 - 0.05_f64.powf(1.0 / images)
}

/// What stands in place of an error where none or all of the images are hits; none of other scores.
pub fn words(score: &Score) -> Option<String> {
    let value = score.value.filter(|_| counts_images(score) && score.n > 0)?;
    let (n, bound) = (score.n, at_most(score.n as f64));
    let percent = |share: f64| number(100.0 * share, Unit::Share);
    if value == 0.0 {
        Some(format!("none of {n}: below {} % with 95 % confidence", percent(bound)))
    } else {
        (value == 1.0).then(|| format!("all of {n}: above {} % with 95 % confidence", percent(1.0 - bound)))
    }
}

/// Whether a score is the share of its `n` images that are a hit: not one of tokens, pixels or classes, nor a mean over draws.
fn counts_images(score: &Score) -> bool {
    let experiment = score.experiment.strip_prefix("control_").unwrap_or(&score.experiment);
    let by_image =
        experiment.ends_with("_class") || ["corloc", "linear_eval", "knn", "zero_shot"].contains(&experiment);
    let share = score.metric.strip_prefix("top5_").unwrap_or(&score.metric);
    by_image && score.draws == 1 && (share.starts_with("accuracy_frac") || share.ends_with("corloc_frac"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(experiment: &str, metric: &str, value: f64) -> Score {
        Score {
            experiment: experiment.into(),
            subject: "l2".into(),
            site: "key_3".into(),
            metric: metric.into(),
            value: Some(value),
            std: None,
            stderr: Some(0.0),
            n: 5,
            draws: 1,
            images_without: 0,
            note: String::new(),
            settings: String::new(),
        }
    }

    /// 1 − 0.05^(1/5) = 0.4507. Breaks when five images without a hit are told as a sure nothing, or when pixels, classes or
    /// draws are taken for images.
    #[test]
    fn none_and_all_have_a_bound() {
        assert!(((1.0 - at_most(60.0)).powi(60) - 0.05).abs() < 1e-12);
        let of = |experiment: &str, metric: &str, value: f64| words(&score(experiment, metric, value));
        assert_eq!(of("corloc", "corloc_frac", 0.0).as_deref(), Some("none of 5: below 45.1 % with 95 % confidence"));
        assert_eq!(of("knn", "accuracy_frac_k20", 1.0).as_deref(), Some("all of 5: above 54.9 % with 95 % confidence"));
        assert_eq!(of("control_linear_eval", "top5_accuracy_frac", 1.0).map(|w| w.len()), Some(43));
        assert_eq!(of("corloc", "best_bias", 0.0), None);
        assert_eq!(of("segmentation", "accuracy_frac", 1.0), None);
        assert_eq!(of("token_class", "macro_accuracy_frac", 1.0), None);
        assert_eq!(of("knn", "accuracy_frac", 0.4), None);
        assert_eq!(words(&Score { draws: 3, ..score("knn", "accuracy_frac", 1.0) }), None);
    }
}
