//! From numbers to one sentence.
//!
//! | finding | when |
//! |---|---|
//! | `artifacts` | some patches are outliers |
//! | `registers` | none are, and every register has at least twice the norm of a patch |
//! | `clean` | none are, and the largest norm is below 4 × the median |
//! | `unclear` | none are, yet the largest norm is 4 × the median or more; or nothing was measured |
//!
//! What outliers do is said where it is beyond doubt: a gap of more than 3 combined standard errors for place and pixels,
//! a probability of 0.6 or more, and of more than 0.5 by 3 standard errors, that an outlier resembles its neighbours
//! better, attention of more than twice the share of the patches in the images that have outliers (`chance_frac`). Where
//! an error is unknown, nothing is said.

use reports::render::number;
use reports::tables::Unit;
use serde::Serialize;

use super::card::Card;

/// What the numbers amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// High-norm patches.
    Artifacts,
    /// Clean patches, and registers that carry the norm.
    Registers,
    /// No patch stands out.
    Clean,
    /// Not to be told.
    Unclear,
}

impl Finding {
    /// Whether it is a good one; none: it cannot be told.
    pub fn is_good(self) -> Option<bool> {
        match self {
            Self::Artifacts => Some(false),
            Self::Registers | Self::Clean => Some(true),
            Self::Unclear => None,
        }
    }
}

/// Standard errors beyond which a gap is told.
const GAP_Z: f64 = 3.0;
/// Probability from which on outliers are called redundant.
const REDUNDANT_AUC: f64 = 0.6;
/// Multiple of their share of the same images from which on outliers draw attention.
const DRAWN: f64 = 2.0;
/// Multiple of a patch's norm from which on a register carries it.
const CARRIES: f64 = 2.0;
/// Multiple of the median at which a norm stands out, as for the onset.
const STANDS_OUT: f64 = measure::onset::FACTOR;

/// The finding, and the sentence.
pub fn of(card: &Card) -> (Finding, String) {
    let Some(share) = card.outliers.share_frac else {
        return (Finding::Unclear, "Nothing was measured.".to_owned());
    };
    if share > 0.0 {
        return (Finding::Artifacts, artifacts(card, share));
    }
    let largest = card.norms.largest_by_median;
    let size = largest.map_or_else(String::new, |x| format!(", and the largest norm is {} × the median", three(x)));
    if largest.is_some_and(|x| x >= STANDS_OUT) {
        let few = "so few tokens that they are no mode of their own; look at more images";
        return (Finding::Unclear, format!("Unclear: patch norms have one mode{size}: {few}."));
    }
    let norms: Option<Vec<f64>> = card.registers.iter().map(|r| r.norm_by_patch).collect();
    let least = norms.and_then(|norms| norms.into_iter().reduce(f64::min));
    if let Some(least) = least.filter(|x| *x >= CARRIES) {
        let carry = if card.registers.len() == 1 { "its register carries" } else { "each of its registers carries" };
        let text =
            format!("Clean: no patch is an outlier{size}; {carry} at least {} × the norm of a patch.", three(least));
        return (Finding::Registers, text);
    }
    let text = format!(
        "Clean: no patch is an outlier; patch norms have one mode{size}. The model shows no artifacts on these images."
    );
    (Finding::Clean, text)
}

fn artifacts(card: &Card, share: f64) -> String {
    let mut text = format!("Artifacts: {} % of patches", three(100.0 * share));
    text += &card.outliers.norm_ratio.map_or_else(
        || " have outlying norms".to_owned(),
        |ratio| format!(" have {} × the norm of the others", three(ratio)),
    );
    if let Some(block) = card.outliers.onset_block {
        text += &format!(", from block {block} on");
    }
    let mut marks = Vec::new();
    let auc = card.neighbour_cosine_auc_frac.zip(card.neighbour_cosine_auc_stderr);
    if auc.is_some_and(|(auc, stderr)| auc >= REDUNDANT_AUC && auc - GAP_Z * stderr > 0.5) {
        marks.push("lie where neighbours look alike".to_owned());
    }
    let lost = |z: Option<f64>, sign: f64| z.is_some_and(|z| sign * z > GAP_Z);
    let known =
        [(lost(card.position_top1_frac.z(), -1.0), "their place"), (lost(card.pixels_l2.z(), 1.0), "their pixels")];
    let known: Vec<&str> = known.iter().filter(|(lost, _)| *lost).map(|(_, what)| *what).collect();
    if !known.is_empty() {
        marks.push(format!("know less of {} than other patches do", known.join(" and ")));
    }
    // The mass is a mean over images with outliers, so their share of all images says nothing of it.
    let drawn = card.attention.outlier_mass_frac.zip(card.attention.overlap_chance_frac);
    if let Some((mass, _)) = drawn.filter(|(mass, chance)| *mass > DRAWN * chance) {
        marks.push(format!("draw {} % of [CLS]'s attention", three(100.0 * mass)));
    }
    match marks.split_last() {
        None => text += "; nothing else tells them from the others on these images",
        Some((last, [])) => text += &format!("; they {last}"),
        Some((last, others)) => text += &format!("; they {} and {last}", others.join(", ")),
    }
    text + "."
}

fn three(x: f64) -> String {
    number(x, Unit::Share)
}

#[cfg(test)]
mod tests {
    use super::super::card::tests::{card, healthy, sick};
    use super::super::card::{Measure, Register};
    use super::*;

    #[test]
    fn an_artifact_is_told_with_what_it_does() {
        let mut card = card(sick(), 0);
        let wanted = "Artifacts: 1.33 % of patches have 10.4 × the norm of the others, from block 3 on; they lie where \
                      neighbours look alike, know less of their place and their pixels than other patches do and draw \
                      55.0 % of [CLS]'s attention.";
        assert_eq!(of(&card), (Finding::Artifacts, wanted.to_owned()));
        // Breaks when a gap within its error, or attention in proportion, is told as a harm.
        card.neighbour_cosine_auc_frac = Some(0.55);
        card.position_top1_frac.outlier = Some(Measure { value: 0.93, stderr: Some(0.01) });
        card.pixels_l2.outlier = card.pixels_l2.normal;
        card.attention.outlier_mass_frac = Some(0.02);
        assert!(of(&card).1.ends_with("nothing else tells them from the others on these images."), "{}", of(&card).1);
        card.attention.outlier_mass_frac = Some(0.3);
        assert!(of(&card).1.ends_with("on; they draw 30.0 % of [CLS]'s attention."), "{}", of(&card).1);
    }

    /// One image in ten has outliers, 13 of its 100 patches, which draw attention in proportion. Breaks when the mean over
    /// those images is held against the share of all patches.
    #[test]
    fn attention_is_compared_with_the_same_images() {
        let mut card = card(sick(), 0);
        (card.outliers.share_frac, card.attention.overlap_chance_frac) = (Some(0.013), Some(0.13));
        card.attention.outlier_mass_frac = Some(0.14);
        assert!(!of(&card).1.contains("attention"), "{}", of(&card).1);
        card.attention.outlier_mass_frac = Some(0.27);
        assert!(of(&card).1.contains("draw 27.0 %"), "{}", of(&card).1);
        card.attention.overlap_chance_frac = None;
        assert!(!of(&card).1.contains("attention"), "{}", of(&card).1);
    }

    /// Breaks when a probability within its error, or without one, is told as beyond doubt.
    #[test]
    fn resemblance_is_told_beyond_its_error() {
        let mut card = card(sick(), 0);
        for (auc, stderr, told) in
            [(0.7, Some(0.06), true), (0.7, Some(0.07), false), (0.7, None, false), (0.59, Some(0.001), false)]
        {
            (card.neighbour_cosine_auc_frac, card.neighbour_cosine_auc_stderr) = (Some(auc), stderr);
            assert_eq!(of(&card).1.contains("look alike"), told, "{auc} {stderr:?}");
        }
    }

    /// Breaks when a model without outliers is told that it has some, or anything that sounds like it.
    #[test]
    fn a_clean_model_is_told_so_plainly() {
        let mut clean = card(healthy(3), 0);
        clean.norms.largest_by_median = Some(1.4);
        let (finding, text) = of(&clean);
        assert_eq!(finding, Finding::Clean);
        assert!(text.contains("no patch is an outlier") && text.contains("1.40 × the median"), "{text}");
        // Breaks when a verdict on some images is told of the model.
        assert!(text.ends_with("no artifacts on these images."), "{text}");
        assert_eq!(clean.outliers.onset_block, None);
        clean.registers = vec![Register { norm_by_patch: Some(9.0), attention_frac: None }; 2];
        assert!(of(&clean).1.ends_with("each of its registers carries at least 9.00 × the norm of a patch."));
        assert_eq!(of(&clean).0, Finding::Registers);
        // An idle register saves nothing.
        clean.registers[1].norm_by_patch = Some(1.0);
        assert_eq!(of(&clean).0, Finding::Clean);
        clean.norms.largest_by_median = Some(5.0);
        assert_eq!(of(&clean).0, Finding::Unclear);
        assert_eq!(of(&card(vec![], 0)).0, Finding::Unclear);
    }
}
