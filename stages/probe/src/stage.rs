//! The stage `probe`: one experiment on one run (or a training and a test run) of an extraction → `scores`.

use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::Scores;
use schemas::{Canonical, Meaning, Table};
use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::pixels::Pixels;
use crate::position::Position;
use crate::samples::Runs;
use crate::split::Split;
use crate::token_class::VectorClass;

/// A probe with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Experiment {
    /// Classes from one token.
    TokenClass(VectorClass),
    /// Classes from one whole-image vector.
    PooledClass(VectorClass),
    /// The place of a patch.
    Position(Position),
    /// The pixels of a patch.
    Pixels(Pixels),
}

impl Meaning for Experiment {}

impl Experiment {
    /// Name in the `experiment` column.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TokenClass(_) => "token_class",
            Self::PooledClass(_) => "pooled_class",
            Self::Position(_) => "position",
            Self::Pixels(_) => "pixels",
        }
    }

    /// Tables that it reads.
    pub fn tables(&self) -> &'static [&'static str] {
        match self {
            Self::TokenClass(_) | Self::Position(_) => &["images", "token_vectors"],
            Self::PooledClass(_) => &["images", "pooled"],
            Self::Pixels(_) => &["images", "token_vectors", "token_pixels"],
        }
    }

    fn split(&self) -> Split {
        match self {
            Self::TokenClass(e) | Self::PooledClass(e) => e.protocol.split,
            Self::Position(e) => e.split,
            Self::Pixels(e) => e.split,
        }
    }

    fn check(&self) -> Result<(), ProbeError> {
        match self {
            Self::TokenClass(e) => {
                e.protocol.check()?;
                let known = |s: &str| matches!(s, "cls" | "normal" | "outlier") || s.starts_with("register_");
                match e.subjects.iter().find(|s| !known(s)) {
                    Some(found) => Err(ProbeError::Kind { found: found.clone() }),
                    None => Ok(()),
                }
            }
            Self::PooledClass(e) => e.protocol.check(),
            Self::Position(e) => e.check(),
            Self::Pixels(e) => e.check(),
        }
    }
}

/// One experiment on finished tables. History of versions: 1, the first.
#[derive(Debug, Clone)]
pub struct ProbeStage {
    experiment: Experiment,
    train: Vec<TableRef>,
    test: Vec<TableRef>,
    partition: Partition,
}

impl ProbeStage {
    /// `train` and `test` are the outputs of one extraction each, of which the needed tables are taken; `test` is given
    /// exactly when the split is [`Split::Datasets`].
    pub fn new(
        experiment: Experiment,
        train: &[TableRef],
        test: Option<&[TableRef]>,
        partition: Partition,
    ) -> Result<Self, ProbeError> {
        experiment.check()?;
        if (experiment.split() == Split::Datasets) != test.is_some() {
            let runs = 1 + u32::from(test.is_some());
            return Err(ProbeError::Runs { split: format!("{:?}", experiment.split()), runs });
        }
        let needed = |tables: &[TableRef]| -> Result<Vec<TableRef>, ProbeError> {
            for &table in experiment.tables() {
                if !tables.iter().any(|t| t.table == table) {
                    return Err(ProbeError::Table { experiment: experiment.name(), table });
                }
            }
            Ok(tables.iter().filter(|t| experiment.tables().contains(&t.table)).cloned().collect())
        };
        let (train, test) = (needed(train)?, test.map(needed).transpose()?.unwrap_or_default());
        Ok(Self { experiment, train, test, partition })
    }
}

impl Stage for ProbeStage {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.train.iter().chain(&self.test).cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        vec![TableSpec { table: Scores::NAME, partition: self.partition.clone() }]
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.experiment)
    }

    fn estimate(&self, inputs: &Sizes) -> Estimate {
        // Guesses for vectors of 768 channels: 4 bytes as read, 8 as fitted, and a second or so per ten thousand.
        let vectors = ["token_vectors", "pooled"].iter().filter_map(|t| inputs.get(t)).sum::<u64>();
        let scores = engine::stage::TableSize { rows: 64, bytes: 16 << 10 };
        Estimate {
            items: 1,
            tables: [(Scores::NAME, scores)].into(),
            host_bytes: vectors * 768 * 12,
            secs: 0.1 + vectors as f64 / 1e4,
            ..Estimate::default()
        }
    }

    fn run(&self, _shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let runs = Runs { train: &self.train, test: &self.test };
        let cancel = io.cancel_flag();
        let (images, grids) = runs.images(io)?;
        let found = match &self.experiment {
            Experiment::TokenClass(e) => {
                let tokens = runs.tokens(io, &e.site, &e.subjects)?;
                e.run(self.experiment.name(), &tokens, &images, cancel)?
            }
            Experiment::PooledClass(e) => {
                let pooled = runs.pooled(io, &e.site, &e.subjects)?;
                e.run(self.experiment.name(), &pooled, &images, cancel)?
            }
            Experiment::Position(e) => e.run(&runs.tokens(io, &e.site, &e.kinds())?, &images, &grids, cancel)?,
            Experiment::Pixels(e) => {
                e.run(&runs.tokens(io, &e.site, &e.kinds())?, &runs.pixels(io)?, &images, cancel)?
            }
        };
        let mut scores = Scores::default();
        for score in found {
            score.push(&mut scores);
        }
        io.write(scores)?;
        Ok(ShardReport { items: 1, skipped: 0 })
    }
}

#[cfg(test)]
mod tests;
