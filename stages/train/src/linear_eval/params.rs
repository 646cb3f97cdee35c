//! What a linear evaluation trains, on what, and how long.

use schemas::Meaning;
use serde::{Deserialize, Serialize};

use super::error::LinearEvalError;

/// The thirteen rates of `DINOv2`, for a batch of 256.
const RATES: [f64; 13] = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1];

/// How long heads are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Batches.
    Steps(u64),
    /// Passes over all vectors that teach, rounded up to whole batches.
    Epochs(u32),
}

/// Who teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Training {
    /// One training without the held-out images. They choose a head for `chosen_on_train`; `chosen_on_test` is of the
    /// same heads, which learned from a tenth fewer images than `DINOv2`'s.
    Once,
    /// Two trainings. The first is of all training images, and both numbers are of its heads; the second, without the
    /// held-out images, only says which of them is `chosen_on_train`.
    Twice,
}

/// Parameters of a linear evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearEvalParams {
    /// Sites of CLS, oldest first. The mean of the patches is taken at the last.
    pub sites: Vec<String>,
    /// From how many of the last sites a head takes CLS.
    pub last_blocks: Vec<u16>,
    /// Whether a head reads the mean of the patches too.
    pub avgpool: Vec<bool>,
    /// Learning rates for a batch of 256.
    pub learning_rates: Vec<f64>,
    /// Vectors of a step.
    pub batch: u32,
    /// How long.
    pub length: Length,
    /// Momentum of the gradients.
    pub momentum: f64,
    /// Standard deviation of the first weights.
    pub init_std: f64,
    /// So many samples are held and shuffled. A set that fits is held whole and permuted anew in every pass; a larger one
    /// is read in shuffled groups of rows through a buffer of this size.
    pub shuffle_samples: u32,
    /// Seed of first weights and orders.
    pub seed: u64,
    /// Who teaches.
    pub training: Training,
    /// Share of the training images, rounded down, that choose a head.
    pub hold_out_frac: f64,
    /// Control: labels of the training images permuted with this seed. The accuracy must fall to chance.
    pub permute_labels: Option<u64>,
}

impl Meaning for LinearEvalParams {}

impl LinearEvalParams {
    /// `DINOv2`'s 52 heads and 12,500 steps of 1,024 images, on the CLS tokens of these sites, oldest first.
    pub fn dinov2(sites: Vec<String>) -> Self {
        Self {
            sites,
            last_blocks: vec![1, 4],
            avgpool: vec![false, true],
            learning_rates: RATES.to_vec(),
            batch: 1024,
            length: Length::Steps(12_500),
            momentum: 0.9,
            init_std: 0.01,
            shuffle_samples: 1 << 16,
            seed: 0,
            training: Training::Once,
            hold_out_frac: 0.1,
            permute_labels: None,
        }
    }

    /// Checks the ranges.
    pub fn check(&self) -> Result<(), LinearEvalError> {
        let bad = |name, value| Err(LinearEvalError::Range { name, value });
        let blocks = self.last_blocks.iter().copied().max().unwrap_or(0);
        let first = |values: &[f64]| values.first().copied().unwrap_or(0.0);
        if let Some(rate) = self.learning_rates.iter().find(|r| !(r.is_finite() && **r > 0.0)) {
            return bad("learning_rates", *rate);
        }
        if self.learning_rates.is_empty() || self.learning_rates.len() > 1000 {
            return bad("learning_rates", first(&self.learning_rates));
        }
        if self.last_blocks.is_empty() || self.last_blocks.contains(&0) {
            return bad("last_blocks", 0.0);
        }
        if self.avgpool.is_empty() {
            return bad("avgpool", 0.0);
        }
        if usize::from(blocks) > self.sites.len() {
            return Err(LinearEvalError::Sites { wanted: blocks.into(), found: self.sites.len() });
        }
        // Which of its vectors a sample has is kept in 64 bits.
        if self.sites.len() > 60 {
            return bad("sites", self.sites.len() as f64);
        }
        match self.length {
            Length::Steps(0) => return bad("steps", 0.0),
            Length::Epochs(0) => return bad("epochs", 0.0),
            _ => {}
        }
        if self.batch == 0 || self.batch > 1 << 20 {
            return bad("batch", f64::from(self.batch));
        }
        if self.shuffle_samples == 0 {
            return bad("shuffle_samples", 0.0);
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return bad("momentum", self.momentum);
        }
        if !(self.init_std >= 0.0 && self.init_std.is_finite()) {
            return bad("init_std", self.init_std);
        }
        if !(0.0..1.0).contains(&self.hold_out_frac) {
            return bad("hold_out_frac", self.hold_out_frac);
        }
        Ok(())
    }

    /// Batches of a training from `samples` vectors.
    pub(super) fn steps(&self, samples: usize) -> u64 {
        match self.length {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) => (u64::from(epochs) * samples as u64).div_ceil(u64::from(self.batch)).max(1),
        }
    }

    /// Sites that some head reads CLS of, oldest first.
    pub(super) fn read_sites(&self) -> &[String] {
        let blocks = usize::from(self.last_blocks.iter().copied().max().unwrap_or(0));
        &self.sites[self.sites.len() - blocks.min(self.sites.len())..]
    }

    /// What is stored of a sample, in the order of its features: (site, pool).
    pub(super) fn slots(&self) -> Vec<(String, &'static str)> {
        let mut slots: Vec<(String, &'static str)> =
            self.read_sites().iter().map(|site| (site.clone(), "cls")).collect();
        if self.avgpool.contains(&true) {
            slots.extend(self.sites.last().map(|site| (site.clone(), "mean_patch")));
        }
        slots
    }

    /// `1,024 images a step for 12,500 steps, of 52 heads`.
    pub fn settings(&self) -> String {
        let heads = self.last_blocks.len() * self.avgpool.len() * self.learning_rates.len();
        let length = match self.length {
            Length::Steps(steps) => format!("{steps} steps"),
            Length::Epochs(epochs) => format!("{epochs} epochs"),
        };
        let taught = match self.training {
            Training::Once => format!("{} % of the images held out to choose a head", percent(self.hold_out_frac)),
            Training::Twice => "all images, and once more to choose a head".to_owned(),
        };
        format!("{heads} heads, {length} of {} images, {taught}", self.batch)
    }
}

/// Without the noise of a binary fraction.
pub(super) fn percent(frac: f64) -> f64 {
    (frac * 1e4).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> LinearEvalParams {
        LinearEvalParams::dinov2(["block_8+norm", "block_9+norm", "block_10+norm", "final"].map(str::to_owned).into())
    }

    #[test]
    fn features_are_what_some_head_reads() {
        let slots =
            |p: &LinearEvalParams| -> Vec<String> { p.slots().iter().map(|s| format!("{} {}", s.0, s.1)).collect() };
        assert_eq!(
            slots(&params()),
            ["block_8+norm cls", "block_9+norm cls", "block_10+norm cls", "final cls", "final mean_patch"]
        );
        let last = LinearEvalParams { last_blocks: vec![1], avgpool: vec![false], ..params() };
        assert_eq!(slots(&last), ["final cls"]);
    }

    #[test]
    fn epochs_are_rounded_up_to_batches() {
        let of = |length, samples| LinearEvalParams { length, batch: 10, ..params() }.steps(samples);
        assert_eq!([of(Length::Epochs(3), 7), of(Length::Epochs(1), 10), of(Length::Steps(9), 7)], [3, 1, 9]);
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        assert_eq!(params().check(), Ok(()));
        assert_eq!(
            params().settings(),
            "52 heads, 12500 steps of 1024 images, 10 % of the images held out to choose a head"
        );
        let few = LinearEvalParams { sites: vec!["final".into()], ..params() };
        assert_eq!(few.check(), Err(LinearEvalError::Sites { wanted: 4, found: 1 }));
        for wrong in [
            LinearEvalParams { learning_rates: vec![], ..params() },
            LinearEvalParams { learning_rates: vec![0.1, f64::NAN], ..params() },
            LinearEvalParams { last_blocks: vec![0], ..params() },
            LinearEvalParams { avgpool: vec![], ..params() },
            LinearEvalParams { batch: 0, ..params() },
            LinearEvalParams { length: Length::Steps(0), ..params() },
            LinearEvalParams { momentum: 1.0, ..params() },
            LinearEvalParams { shuffle_samples: 0, ..params() },
            LinearEvalParams { hold_out_frac: 1.0, ..params() },
        ] {
            assert!(matches!(wrong.check(), Err(LinearEvalError::Range { .. })), "{wrong:?}");
        }
    }
}
