//! The stage `probe`: one experiment on one run (or a training and a test run) of an extraction → `scores`.

use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::Scores;
use schemas::{Canonical, Meaning, Table};
use serde::{Deserialize, Serialize};

use crate::class_cost::ClassTask;
use crate::classify::Regularisation;
use crate::error::ProbeError;
use crate::knn::Knn;
use crate::pixels::Pixels;
use crate::position::{Position, PositionModel};
use crate::samples::{Runs, patch_kinds};
use crate::split::Split;
use crate::streamed::{MEMORY_BYTES, Reading, SMALL};
use crate::token_class::VectorClass;

/// A probe with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Experiment {
    /// Classes from one token.
    TokenClass(VectorClass),
    /// Classes from one whole-image vector.
    PooledClass(VectorClass),
    /// Several classes from one token.
    MultiLabel(VectorClass),
    /// Classes from the nearest training images.
    Knn(Knn),
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
            Self::MultiLabel(_) => "multi_label",
            Self::Knn(_) => "knn",
            Self::Position(_) => "position",
            Self::Pixels(_) => "pixels",
        }
    }

    /// Tables that it reads.
    pub fn tables(&self) -> &'static [&'static str] {
        match self {
            Self::TokenClass(_) | Self::MultiLabel(_) | Self::Position(_) => &["images", "token_vectors"],
            Self::PooledClass(_) | Self::Knn(_) => &["images", "pooled"],
            Self::Pixels(_) => &["images", "token_vectors", "token_pixels"],
        }
    }

    pub(crate) fn split(&self) -> Split {
        match self {
            Self::TokenClass(e) | Self::PooledClass(e) | Self::MultiLabel(e) => e.protocol.split,
            Self::Knn(e) => e.split,
            Self::Position(e) => e.split,
            Self::Pixels(e) => e.split,
        }
    }

    /// Checks the ranges and the kinds of token.
    pub fn check(&self) -> Result<(), ProbeError> {
        match self {
            Self::TokenClass(e) | Self::MultiLabel(e) => {
                e.protocol.check()?;
                let known = |s: &str| matches!(s, "cls" | "normal" | "outlier") || s.starts_with("register_");
                match e.subjects.iter().find(|s| !known(s)) {
                    Some(found) => Err(ProbeError::Kind { found: found.clone() }),
                    None => Ok(()),
                }
            }
            Self::PooledClass(e) => e.protocol.check(),
            Self::Knn(e) => e.check(),
            Self::Position(e) => e.check(),
            Self::Pixels(e) => e.check(),
        }
    }
}

/// One experiment on finished tables. History of versions: 1, the first; 2, classes of two runs are matched by name,
/// and one position model for all kinds has one split for all kinds; 3, a doubtful choice of C is noted; 4, fits too large for
/// memory are streamed, and the share of images among the five likeliest classes is told; 5, under strong penalties the
/// certificate asks for a smaller gradient of the intercept, and threads that read one part no longer disturb each other.
#[derive(Debug, Clone)]
pub struct ProbeStage {
    experiment: Experiment,
    train: Vec<TableRef>,
    test: Vec<TableRef>,
    partition: Partition,
    /// Channels of a vector and threads that fit, for the estimate alone.
    size: (usize, usize),
    /// Classes, for the estimate alone.
    classes: Option<usize>,
    /// Bytes of vectors that may be held, and what counts as a small fit.
    limits: (u64, usize),
}

/// Copies of a task's vectors in f64 while it is fitted: as read, scaled or selected, and the solver's own.
const COPIES: u64 = 3;

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
        let limits = (MEMORY_BYTES, SMALL);
        Ok(Self { experiment, train, test, partition, size: (768, 1), classes: None, limits })
    }

    /// The same with a better estimate: channels of a vector, and threads that fit at once.
    #[must_use]
    pub fn sized(self, width: usize, threads: usize) -> Self {
        Self { size: (width, threads.max(1)), ..self }
    }

    /// The same with a better estimate of time: the number of classes.
    #[must_use]
    pub fn of_classes(self, classes: usize) -> Self {
        Self { classes: Some(classes), ..self }
    }

    /// The same holding at most so many bytes of vectors at once; what exceeds them is read again in every pass. The
    /// numbers stay the same.
    #[must_use]
    pub fn within(self, memory_bytes: u64) -> Self {
        Self { limits: (memory_bytes, self.limits.1), ..self }
    }

    fn reading(&self) -> Reading<'static> {
        Reading { parts: None, memory_bytes: self.limits.0, small: self.limits.1 }
    }
}

impl Stage for ProbeStage {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn version(&self) -> u32 {
        5
    }

    fn detail(&self) -> String {
        let (site, subjects) = match &self.experiment {
            Experiment::TokenClass(e) | Experiment::PooledClass(e) | Experiment::MultiLabel(e) => {
                (&e.site, &e.subjects)
            }
            Experiment::Knn(e) => (&e.site, &e.subjects),
            Experiment::Position(e) => (&e.site, &e.subjects),
            Experiment::Pixels(e) => (&e.site, &e.subjects),
        };
        let dataset = |p: &Partition| p.iter().find(|(key, _)| *key == "dataset").map(|(_, value)| value.clone());
        let train = self.train.first().and_then(|t| dataset(&t.partition));
        let train = train.filter(|train| dataset(&self.partition).as_ref() != Some(train));
        let mut words = vec![self.experiment.name().to_owned(), site.clone()];
        words.extend(subjects.iter().cloned());
        words.extend(train.map(|train| format!("from {train}")));
        words.join(" ")
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
        let of = |table: &str| inputs.get(table).copied().unwrap_or(0);
        let vectors = of("token_vectors") + of("pooled");
        let (width, threads) = (self.size.0 as u64, self.size.1 as u64);
        // Rows that are fitted at once: a task of a class is one vector per image; a place is read from all kinds.
        let fitted = match &self.experiment {
            Experiment::TokenClass(_) | Experiment::PooledClass(_) => vectors.min(threads * of("images")),
            Experiment::Knn(_) => 0,
            // Each class has a copy of its own.
            Experiment::MultiLabel(_) => 2 * vectors.min(threads * of("images")),
            Experiment::Position(e) if e.separate => vectors * threads.min(2) / 2,
            Experiment::Position(_) => vectors,
            Experiment::Pixels(_) => vectors * threads.min(2) / 2,
        };
        // A patch has about as many pixels as a small model has channels.
        let read = 4 * (vectors * width + of("token_pixels") * 588);
        let scores = engine::stage::TableSize { rows: 64, bytes: 16 << 10 };
        // A second or so per ten thousand vectors of 768 channels.
        let (mut host_bytes, mut secs) = (read + 8 * COPIES * fitted * width, (vectors * width) as f64 / 7.68e6);
        if let Experiment::Knn(e) = &self.experiment {
            (host_bytes, secs) = (e.host_bytes(of("images"), width), e.secs(of("images"), vectors, width, threads));
        }
        let images = of("images");
        let classes = self.classes.map_or_else(|| ClassTask::guessed_classes(images), |classes| classes as u64);
        let task = ClassTask { vectors, images, width, classes, threads };
        if let Experiment::TokenClass(e) | Experiment::PooledClass(e) = &self.experiment
            && task.is_large(self.reading())
        {
            (host_bytes, secs) = task.cost(&e.protocol.regularisation, self.reading());
        }
        // One fit to all tokens of a common grid of 16×16.
        let place = ClassTask { images: vectors, classes: 256, ..task };
        if let Experiment::Position(Position { model: PositionModel::Softmax { c, .. }, .. }) = &self.experiment
            && place.is_large(self.reading())
        {
            let reading = Reading { memory_bytes: u64::MAX, ..self.reading() };
            (host_bytes, secs) = place.cost(&Regularisation::Fixed { c: *c }, reading);
        }
        Estimate {
            items: 1,
            tables: [(Scores::NAME, scores)].into(),
            host_bytes,
            secs: 0.1 + secs,
            ..Estimate::default()
        }
    }

    fn run(&self, _shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let runs = Runs { train: &self.train, test: &self.test };
        let cancel = io.cancel_flag();
        let mut encoded = runs.images(io)?;
        let strangers = match &self.experiment {
            Experiment::TokenClass(_) | Experiment::PooledClass(_) | Experiment::Knn(_) => encoded.match_classes(),
            // Classes have names here, not numbers.
            Experiment::MultiLabel(_) | Experiment::Position(_) | Experiment::Pixels(_) => 0,
        };
        let (images, grids) = (&encoded.labelled, &encoded.grids);
        let found = match &self.experiment {
            Experiment::TokenClass(e) => e.of_tokens((&runs, io), &encoded, self.size.0, self.reading())?,
            Experiment::PooledClass(e) => e.of_pooled((&runs, io), &encoded, self.size.0, self.reading())?,
            Experiment::MultiLabel(e) => {
                let tokens = runs.tokens(io, &e.site, &e.subjects)?;
                e.run_multi(self.experiment.name(), &tokens, images, &encoded.classes, cancel)?
            }
            Experiment::Knn(e) => e.run(self.experiment.name(), &runs, &encoded, io)?,
            Experiment::Position(e) => {
                e.run(&runs.tokens(io, &e.site, &patch_kinds(&e.subjects))?, images, grids, cancel)?
            }
            Experiment::Pixels(e) => {
                e.run(&runs.tokens(io, &e.site, &patch_kinds(&e.subjects))?, &runs.pixels(io)?, images, cancel)?
            }
        };
        let mut scores = Scores::default();
        for mut score in found {
            if strangers > 0 {
                let note = format!("{strangers} test images are of classes that no training image has");
                score.note = if score.note.is_empty() { note } else { format!("{}; {note}", score.note) };
            }
            score.push(&mut scores);
        }
        io.write(scores)?;
        Ok(ShardReport { items: 1, skipped: 0 })
    }
}

#[cfg(test)]
mod tests;
