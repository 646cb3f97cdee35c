//! What a report is made of. The binary builds it from its plan; nothing here knows stages or configs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A report to be written.
#[derive(Debug, Clone, Default)]
pub struct Study {
    /// Title of the report.
    pub title: String,
    /// What was measured, in the order in which a reader should meet it.
    pub subjects: Vec<Subject>,
    /// Names of tables and figures (`table1`, `fig7`, `norms`, …); empty asks for all that have something to show.
    pub wanted: Vec<String>,
    /// Sentences printed under the title.
    pub notes: Vec<String>,
    /// Shards that are not finished, of how many; none where nothing is missing.
    pub missing: Option<(u64, u64)>,
    /// What a health card says, in place of the sentences under the title.
    pub card: Option<Card>,
    /// Names of figures that are left out unless `wanted` names them.
    pub omitted: Vec<String>,
}

/// One model at a glance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    /// The finding in a sentence.
    pub verdict: String,
    /// Whether it is a good one; none: it cannot be told.
    pub good: Option<bool>,
    /// What it rests on.
    pub facts: Vec<Fact>,
}

/// One line of a card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub label: String,
    /// What to see first.
    pub headline: String,
    /// The rest, or empty.
    pub detail: String,
}

impl Study {
    /// What a reader must know first of a report that is not finished.
    pub fn unfinished(&self) -> Option<String> {
        let (missing, total) = self.missing.filter(|(missing, _)| *missing > 0)?;
        let are = if missing == 1 { "is" } else { "are" };
        Some(format!("Unfinished: {missing} of {total} shards {are} missing; `vitals run` goes on."))
    }
}

/// One model on one dataset under one protocol: the unit that owns numbers.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Model name, such as `dinov2_vits14` or `dinov2_vits14_reg4`.
    pub model: String,
    /// Where its weights come from.
    pub weights: Provenance,
    /// One sentence on the weights: file, publisher, how they differ from the paper's.
    pub weights_note: String,
    /// Digest of the weights.
    pub weights_digest: String,
    /// Tensors of the checkpoint that the model has no place for (a head, a mask token).
    pub leftover: Vec<String>,
    /// Dataset name.
    pub dataset: String,
    /// Preprocessing, in words that tell two of them apart.
    pub preprocessing: String,
    /// The same of its portraits, which may be of another size; empty: there are none.
    pub portrayed: String,
    /// `f32`, `bf16`, …
    pub precision: String,
    /// Whether cosines to neighbours go on in the next row at a border, as the study's DeiT-III code takes them.
    pub wrapped_neighbours: bool,
    /// Of the registers, those that the model was given while it ran; they come last.
    pub appended_registers: usize,
    /// What was changed while the model ran, in words that tell two changes apart, or empty.
    pub change: String,
    /// How an outlier is told from a normal token.
    pub outlier_policy: String,
    /// Whether that rule calls some patches outliers in any model: a share or a rank does.
    pub always_finds: bool,
    /// Site at which norms are read and outliers told: any that holds all tokens, by default the last block's output.
    pub site: String,
    /// Table name → folders of finished parts that belong to this subject.
    pub tables: BTreeMap<String, Vec<PathBuf>>,
    /// What the numbers must be, where that is known in closed form.
    pub truth: Vec<Truth>,
    /// Register tokens of the model, R.
    pub registers: usize,
    /// The published protocols that this subject was measured under. Only numbers of these can agree or differ.
    pub follows: BTreeSet<Source>,
    /// Folders of `scores` of probes that differ in their seeds alone: each inner list is one probe, whose numbers are
    /// averaged.
    pub repeats: Vec<Vec<PathBuf>>,
    /// Folder of `scores` → how its numbers were fitted, in words that tell two protocols of one name apart.
    pub settings: BTreeMap<PathBuf, String>,
    /// What departs from the published protocols, in words (`1,500 of 50,000 images`). Not empty: not comparable.
    pub departures: Vec<String>,
}

impl Subject {
    /// How the images of its portraits were made.
    pub fn seen_as(&self) -> &str {
        if self.portrayed.is_empty() { &self.preprocessing } else { &self.portrayed }
    }
}

/// Where weights come from; only the same weights can agree or differ with a published number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provenance {
    /// The file that the published number was measured on.
    SameWeights,
    /// Nobody said.
    #[default]
    Unstated,
    /// Another file of the same or a similar model.
    ProxyWeights,
    /// Trained by us.
    OwnTraining,
    /// Written by construction.
    Planted,
}

impl Provenance {
    /// As printed.
    pub fn label(self) -> &'static str {
        match self {
            Self::SameWeights => "same weights",
            Self::Unstated => "weights of unstated origin",
            Self::ProxyWeights => "proxy weights",
            Self::OwnTraining => "own training",
            Self::Planted => "planted",
        }
    }
}

/// Who published a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Darcet et al., "Vision Transformers Need Registers".
    Paper,
    /// The reproducibility study of that paper.
    Study,
}

impl Source {
    /// As printed.
    pub fn label(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Study => "study",
        }
    }
}

/// A number known in closed form, printed beside the measured one.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// `experiment` of the score.
    pub experiment: String,
    /// `subject` of the score.
    pub subject: String,
    /// `metric` of the score.
    pub metric: String,
    /// What it must be.
    pub expected: Expect,
    /// Why it must be so.
    pub source: String,
}

/// What a number must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expect {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// This, within the tolerance (second field, inclusive).
    Near(f64, f64),
}

impl Expect {
    /// Whether `value` is what was expected; NaN never is.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(low) => value >= low,
            Self::AtMost(high) => value <= high,
            Self::Near(center, tolerance) => (value - center).abs() <= tolerance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Expect, Study};

    #[test]
    fn only_what_is_missing_is_unfinished() {
        let of = |missing| Study { missing, ..Study::default() }.unfinished();
        assert_eq!(of(None), None);
        assert_eq!(of(Some((0, 9))), None);
        assert_eq!(
            of(Some((5, 9))).unwrap_or_default(),
            "Unfinished: 5 of 9 shards are missing; `vitals run` goes on."
        );
    }

    #[test]
    fn bounds_are_inclusive_and_nan_never_holds() {
        assert!(Expect::AtLeast(0.95).holds(0.95) && !Expect::AtLeast(0.95).holds(0.9499));
        assert!(Expect::AtMost(0.1).holds(0.1) && !Expect::AtMost(0.1).holds(0.1001));
        assert!(Expect::Near(3.0, 0.0).holds(3.0) && !Expect::Near(3.0, 0.5).holds(3.6));
        for expect in [Expect::AtLeast(0.0), Expect::AtMost(0.0), Expect::Near(0.0, 9.0)] {
            assert!(!expect.holds(f64::NAN));
        }
    }
}
