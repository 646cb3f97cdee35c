//! Which scores are those of trained heads, and groups of rows whose numbers mean the same.
//!
//! Of `segmentation` and `depth` a subject is the name of a head; `class_<name>` is one class of it, and `majority`,
//! `constant` and `layout` are what is reached without looking. Of `linear_eval` every head has a score, and `chosen_on_test` and
//! `chosen_on_train` are two ways of taking one of them.

use super::norms::has_signs;
use super::{Cell, Context, Group, Measured, Unit};
use crate::pairs::DIFFERENCE;
use crate::scores::{self, Score};
use crate::study::{Source, Subject};

/// How the subject of one class begins.
const CLASS: &str = "class_";
/// Predictions that do not look at the image: one for all pixels, or one for each place of the picture.
const BLIND: [&str; 3] = ["majority", "constant", "layout"];
/// The head that is best on the test images.
pub const BEST: &str = "chosen_on_test";
/// The head that was chosen on images held out of the training.
pub const CHOSEN: &str = "chosen_on_train";

/// One way in which heads were trained on features of one site, with one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit<'a> {
    /// Name of the head.
    pub head: &'a str,
    /// Site of the features.
    pub site: &'a str,
    /// How it was trained, in words.
    pub settings: &'a str,
}

impl<'a> Fit<'a> {
    /// Of a score.
    pub fn of(score: &'a Score) -> Self {
        Self { head: &score.subject, site: &score.site, settings: &score.settings }
    }

    /// Another number of the same fit.
    pub fn score<'m>(self, measured: &'m Measured, experiment: &str, metric: &str) -> Option<&'m Score> {
        measured.scores.fitted(experiment, self.head, metric, (self.site, self.settings))
    }

    /// The same fit of another subject: `majority`, a class.
    #[must_use]
    pub fn named(self, head: &'a str) -> Self {
        Self { head, ..self }
    }
}

/// Every head with this number, in the order written.
pub fn heads<'a>(measured: &'a Measured, experiment: &str, metric: &str) -> Vec<Fit<'a>> {
    let mut fits: Vec<Fit> = Vec::new();
    for score in measured.scores.iter().filter(|s| &*s.experiment == experiment && &*s.metric == metric) {
        let fit = Fit::of(score);
        if is_head(fit.head) && !fits.contains(&fit) {
            fits.push(fit);
        }
    }
    fits
}

/// Whether a subject is a trained head, not one class of it or a guess.
pub fn is_head(subject: &str) -> bool {
    class_name(subject).is_none() && !BLIND.contains(&subject)
}

/// Whether heads, neighbours or templates are all that was asked of a subject.
pub fn are_all(measured: &Measured) -> bool {
    only(measured, &scores::OF_HEADS)
}

/// The same of heads on every patch, whose views are not the images of the subject's other numbers.
pub fn are_all_dense(measured: &Measured) -> bool {
    only(measured, &["segmentation", "depth"])
}

fn only(measured: &Measured, experiments: &[&str]) -> bool {
    let is = |s: &Score| {
        let name = s.experiment.strip_prefix(DIFFERENCE).or_else(|| s.experiment.strip_prefix("control_"));
        experiments.contains(&name.unwrap_or(&s.experiment))
    };
    !has_signs(measured) && measured.scores.iter().next().is_some() && measured.scores.iter().all(is)
}

/// The class of a subject `class_<name>`.
pub fn class_name(subject: &str) -> Option<&str> {
    subject.strip_prefix(CLASS)
}

/// Whether a subject may stand in a table of this source: it follows that, or nobody's protocol.
pub fn follows(subject: &Subject, source: Source) -> bool {
    subject.follows.is_empty() || subject.follows.contains(&source)
}

/// Whose protocol a recipe is, by its name in a study file; none of those that are nobody's.
pub fn recipe_of(head: &str) -> Option<Source> {
    match head {
        "dinov2_segmentation" | "nyu_lin1" | "nyu_lin4" => Some(Source::Paper),
        "study_segmentation" | "deit3_segmentation" => Some(Source::Study),
        _ => None,
    }
}

/// The cell of a head's number.
pub fn cell(measured: &Measured, fit: Fit, experiment: &str, (metric, unit): (&str, Unit)) -> Cell {
    Cell::scored(measured.subject, fit.score(measured, experiment, metric), unit)
}

/// How the numbers of a group were made, line by line.
pub fn about(subject: &Subject, fit: Fit) -> Vec<String> {
    lines(subject, fit, &subject.preprocessing)
}

/// The same of heads on every patch: these see views of their own, which the words on their training tell, and not the
/// images of the subject's other numbers.
pub fn about_dense(subject: &Subject, fit: Fit) -> Vec<String> {
    lines(subject, fit, "")
}

fn lines(subject: &Subject, fit: Fit, preprocessing: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if !subject.weights_note.is_empty() {
        lines.push(subject.weights_note.clone());
    }
    for (what, text) in [
        ("how", fit.settings),
        ("preprocessing", preprocessing),
        ("precision", &subject.precision),
        ("changed while it ran", &subject.change),
        ("features at", fit.site),
    ] {
        if !text.is_empty() {
            lines.push(format!("{what}: {text}"));
        }
    }
    lines
}

/// Groups that are found again by what their numbers mean.
#[derive(Debug, Default)]
pub struct Groups(Vec<Group>);

impl Groups {
    /// The group of a dataset with numbers of this meaning.
    pub fn of(&mut self, subject: &Subject, label: &str, about: Vec<String>) -> &mut Group {
        let provenance = Some(subject.weights);
        let is = |g: &Group| g.label == label && g.about == about && g.provenance == provenance;
        let at = self.0.iter().position(is).unwrap_or_else(|| {
            self.0.push(Group { label: label.to_owned(), about, provenance, measured: true, rows: vec![] });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// All of them, in the order in which they were first met.
    pub fn finish(self) -> Vec<Group> {
        self.0
    }
}

/// Every subject with each of its heads that has this number.
pub fn each<'a, 'c>(context: &'c Context<'a>, experiment: &str, metric: &str) -> Vec<(&'c Measured<'a>, Fit<'c>)> {
    let of = |m: &'c Measured<'a>| heads(m, experiment, metric).into_iter().map(move |fit| (m, fit));
    context.measured.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a class or a guess is taken for a trained head.
    #[test]
    fn classes_and_guesses_are_no_heads() {
        let score = |subject: &str| Score {
            experiment: "segmentation".into(),
            subject: subject.into(),
            site: "final".into(),
            metric: "miou_frac".into(),
            value: Some(0.5),
            std: None,
            stderr: None,
            n: 1,
            draws: 1,
            images_without: 0,
            note: String::new(),
            settings: String::new(),
        };
        let subject = Subject::default();
        let measured = Measured {
            subject: &subject,
            scores: ["linear", "class_sky", "majority", "constant", "layout", "lin4"].map(score).into_iter().collect(),
            images: None,
            skipped: std::collections::BTreeMap::new(),
            calibrations: vec![],
            curves: schemas::tables::Curves::default(),
        };
        let found: Vec<&str> = heads(&measured, "segmentation", "miou_frac").iter().map(|fit| fit.head).collect();
        assert_eq!(found, ["linear", "lin4"]);
        assert!(are_all_dense(&measured) && are_all(&measured));
        let norms = Score { experiment: "norms".into(), ..score("patch") };
        let mixed = Measured { scores: [score("linear"), norms].into_iter().collect(), ..measured };
        assert!(!are_all(&mixed), "norms are of the model");
        assert_eq!([class_name("class_sky"), class_name("linear")], [Some("sky"), None]);
    }
}
