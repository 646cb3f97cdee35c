//! The stage `linear_eval`: whole-image vectors of a training and a test run → `scores`, `heads`, `losses`.

use engine::stage::{TableSize, fingerprint};
use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::{Heads, Images, Losses, Pooled, PooledViews, Scores};
use schemas::{Canonical, Table};

use super::classes::{Classes, Sides, held_out};
use super::error::LinearEvalError;
use super::heads::heads;
use super::outcome::{Outcome, Right, losses};
use super::params::{LinearEvalParams, Training};
use super::sampler::Sampler;
use super::state;
use super::stored::Stored;
use super::trainer::Trainer;

/// So often the state is kept, and at most after so many steps each.
const KEPT: u64 = 50;
const KEPT_STEPS: u64 = 100;
/// Bytes of a group of rows while it is read, and of its copy.
const GROUP_BYTES: u64 = 100 << 20;
/// More neighbours of one class than this, and a table counts as sorted.
const SORTED_FRAC: f64 = 0.5;

/// The linear evaluation of a model on a dataset. History of versions: 1, the first.
#[derive(Debug, Clone)]
pub struct LinearEval {
    params: LinearEvalParams,
    train: Vec<TableRef>,
    test: Vec<TableRef>,
    partition: Partition,
    /// Channels of a vector, classes and threads, for the estimate alone.
    size: (usize, usize, usize),
    /// Training images with a label, and vectors of each that teach, where the plan knows them.
    taught: Option<(u64, u64)>,
}

impl LinearEval {
    /// `train` and `test` are outputs of extractions, of which the needed tables are taken: `images` and `pooled` of the
    /// test run; `images` and `pooled_views` or `pooled`, or both, of the training run. Where both are, heads learn from
    /// the views and are chosen on the whole images.
    pub fn new(
        params: LinearEvalParams,
        train: &[TableRef],
        test: &[TableRef],
        partition: Partition,
    ) -> Result<Self, LinearEvalError> {
        params.check()?;
        let has = |tables: &[TableRef], name: &str| tables.iter().any(|t| t.table == name);
        let lacks = |run, table| Err(LinearEvalError::Table { run, table });
        if !has(train, Images::NAME) {
            return lacks("training", Images::NAME);
        }
        if !has(train, Pooled::NAME) && !has(train, PooledViews::NAME) {
            return lacks("training", Pooled::NAME);
        }
        if let Some(table) = [Images::NAME, Pooled::NAME].into_iter().find(|name| !has(test, name)) {
            return lacks("test", table);
        }
        let of = |tables: &[TableRef], names: &[&str]| -> Vec<TableRef> {
            tables.iter().filter(|t| names.contains(&t.table)).cloned().collect()
        };
        Ok(Self {
            train: of(train, &[Images::NAME, Pooled::NAME, PooledViews::NAME]),
            test: of(test, &[Images::NAME, Pooled::NAME]),
            params,
            partition,
            size: (768, 1000, 1),
            taught: None,
        })
    }

    /// The same with a better estimate: channels of a vector, classes, and threads.
    #[must_use]
    pub fn sized(self, width: usize, classes: usize, threads: usize) -> Self {
        Self { size: (width, classes, threads.max(1)), ..self }
    }

    /// The same with as many steps in the plan as will be done: training images with a label, and vectors of each that
    /// teach.
    #[must_use]
    pub fn taught(self, images: u64, vectors_each: u64) -> Self {
        Self { taught: Some((images, vectors_each.max(1))), ..self }
    }

    /// Steps of all trainings on so many images with so many vectors each.
    fn steps(&self, (images, each): (u64, u64)) -> u64 {
        let rest = images - held_out(images as usize, self.params.hold_out_frac) as u64;
        let of = |images: u64| self.params.steps((images * each) as usize);
        if self.params.training == Training::Twice && rest < images { of(images) + of(rest) } else { of(rest) }
    }

    fn images(io: &ShardIo<'_>, tables: &[TableRef]) -> Result<Images, StageError> {
        let mut all = Images::default();
        for input in tables.iter().filter(|t| t.table == Images::NAME) {
            all.append(&mut io.read_of(input)?);
        }
        Ok(all)
    }

    fn stored(&self, io: &ShardIo<'_>, tables: &[TableRef], views: bool) -> Result<Stored, StageError> {
        let name = if views { PooledViews::NAME } else { Pooled::NAME };
        let mut parts = Vec::new();
        for input in tables.iter().filter(|t| t.table == name) {
            parts.extend(io.parts_of(input)?);
        }
        Ok(Stored::open(parts, views, self.params.slots())?)
    }

    fn has(&self, table: &str) -> bool {
        self.train.iter().any(|t| t.table == table)
    }

    /// Trains on each set of images to the end, from where an earlier attempt came to.
    fn train(
        &self,
        io: &ShardIo<'_>,
        stored: &Stored,
        sets: &[&Classes],
        classes: usize,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Trainer>, StageError> {
        let id = fingerprint(self).to_string();
        let (seed, buffer) = (self.params.seed, self.params.shuffle_samples as usize);
        let sampler = |set| Sampler::new(stored, set, seed, buffer, io.cancel_flag());
        let mut samplers = sets.iter().map(|set| sampler(set)).collect::<Result<Vec<_>, _>>()?;
        let new = |s: &Sampler<'_>| Trainer::new(&self.params, s.width, classes, s.samples);
        let begin = || samplers.iter().map(new).collect::<Vec<_>>();
        let kept = io.kept().and_then(|bytes| state::read(&bytes, &id, begin()));
        let mut trainers = kept.unwrap_or_else(begin);
        io.items_in_all(trainers.iter().map(|t| t.steps).sum());
        let before: u64 = trainers.iter().map(|t| t.step).sum();
        if before > 0 {
            io.resumed(before);
        }
        for (i, sampler) in samplers.iter_mut().enumerate() {
            if sampler.streams() && sampler.sorted_frac > SORTED_FRAC {
                let held = 100.0 * buffer as f64 / sampler.samples as f64;
                notes.push(format!(
                    "the training images lie in the order of their classes and only {held:.0} % of them are shuffled at a time: encode them in shuffled order"
                ));
            }
            let (before, rest) = trainers.split_at_mut(i);
            let Some((trainer, later)) = rest.split_first_mut() else { break };
            let every = trainer.steps.div_ceil(KEPT).max(KEPT_STEPS);
            let done: u64 = before.iter().map(|t| t.steps).sum();
            trainer.run(sampler, |now| {
                io.items_done(done + now.step);
                if io.cancelled() || now.step.is_multiple_of(every) || now.step == now.steps {
                    let all: Vec<&Trainer> = before.iter().chain([now]).chain(later.iter()).collect();
                    io.keep(&state::write(&id, &all))?;
                }
                if io.cancelled() { Err(StageError::interrupted()) } else { Ok(()) }
            })?;
        }
        Ok(trainers)
    }
}

impl Stage for LinearEval {
    fn name(&self) -> &'static str {
        "linear_eval"
    }

    fn version(&self) -> u32 {
        1
    }

    fn detail(&self) -> String {
        let dataset = |p: &Partition| p.iter().find(|(key, _)| *key == "dataset").map(|(_, value)| value.clone());
        let train = self.train.first().and_then(|t| dataset(&t.partition));
        let train = train.filter(|train| dataset(&self.partition).as_ref() != Some(train));
        let mut words = vec![format!("{} heads", heads(&self.params, 1).len())];
        words.extend(train.map(|train| format!("from {train}")));
        words.join(" ")
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.train.iter().chain(&self.test).cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        [Scores::NAME, Heads::NAME, Losses::NAME]
            .map(|table| TableSpec { table, partition: self.partition.clone() })
            .into()
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, inputs: &Sizes) -> Estimate {
        let of = |table: &str| inputs.get(table).copied().unwrap_or(0);
        let (width, classes, threads) = (self.size.0 as u64, self.size.1 as u64, self.size.2 as u64);
        let (images, trainings) = (of(Images::NAME), 1 + u64::from(self.params.training == Training::Twice));
        let slots = self.params.slots().len() as u64;
        let batch = u64::from(self.params.batch);
        // Without a word of the training run, its share of the images of both is not known.
        let guessed = if self.has(PooledViews::NAME) { of(PooledViews::NAME) / slots } else { images };
        let steps = self.steps(self.taught.unwrap_or((guessed, 1)));
        let weights: u64 = heads(&self.params, width as usize).iter().map(|h| h.features.len() as u64 * classes).sum();
        let samples = u64::from(self.params.shuffle_samples).min(images.max(of(PooledViews::NAME) / slots));
        let count = heads(&self.params, 1).len() as u64;
        let widest = (2 * slots * width * classes).max(1 << 18);
        let kept = TableSize { rows: 4, bytes: 8 * widest };
        let rows = |rows: u64| TableSize { rows, bytes: rows * 24 };
        Estimate {
            items: steps,
            tables: [
                (Scores::NAME, rows(3 * count)),
                (Heads::NAME, kept),
                (Losses::NAME, rows(101 * count * trainings)),
            ]
            .into(),
            // Weights and momentum, and their bytes while they are kept; samples; logits of each thread.
            host_bytes: GROUP_BYTES
                + 4 * (4 * weights * trainings + trainings * samples * slots * width)
                + 4 * threads * batch * classes.max(512)
                + 64 * images,
            // Forward and backward at 50 Gflop/s a thread.
            secs: 0.3 + (steps * batch * weights * 4) as f64 / (5e10 * threads as f64),
            ..Estimate::default()
        }
    }

    fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let cancel = io.cancel_flag();
        let sides = Sides::new(&self.params, &Self::images(io, &self.train)?, &Self::images(io, &self.test)?);
        let views = self.has(PooledViews::NAME);
        let teaching = self.stored(io, &self.train, views)?;
        let choosing = self.stored(io, &self.train, !self.has(Pooled::NAME))?;
        let tested = self.stored(io, &self.test, false)?;
        let mut notes = Vec::new();
        if views && !self.has(Pooled::NAME) {
            notes.push("heads were chosen on augmented views of the held-out images".to_owned());
        }
        if sides.strangers > 0 {
            notes.push(format!("{} test images are of classes that no training image has", sides.strangers));
        }
        let all = sides.all();
        let sets: &[&Classes] = match self.params.training {
            Training::Once => &[&sides.rest],
            Training::Twice if sides.held_out.is_empty() => &[&all],
            Training::Twice => &[&all, &sides.rest],
        };
        let trainers = self.train(io, &teaching, sets, sides.labels.len(), &mut notes)?;
        // The first training is the one that is reported, the last the one that has not seen the held-out images.
        let (Some(first), Some(last)) = (trainers.first(), trainers.last()) else {
            return Err(LinearEvalError::Nothing.into());
        };
        let test = Right::count(&first.heads, &tested, &sides.test, cancel)?;
        let held_out = if sides.held_out.is_empty() {
            Right::default()
        } else {
            Right::count(&last.heads, &choosing, &sides.held_out, cancel)?
        };
        let without = (sides.test.len() as u64).saturating_sub(test.n) as u32;
        let outcome = Outcome { params: &self.params, trainer: first, test, held_out, without, notes };
        io.write(outcome.scores())?;
        io.write(kept_heads(first, &outcome, &sides.labels))?;
        let mut table = Losses::default();
        for (trainer, prefix) in trainers.iter().zip(["", "rest/"]) {
            losses(trainer, prefix, &mut table);
        }
        io.write(table)?;
        Ok(ShardReport { items: trainers.iter().map(|t| t.steps).sum(), skipped: 0 })
    }
}

/// The heads that are reported: weight [classes, dim], bias, and the label of each class.
fn kept_heads(trainer: &Trainer, outcome: &Outcome<'_>, labels: &[i32]) -> Heads {
    let mut kept: Vec<usize> = outcome.chosen().into_iter().filter_map(|c| c.1).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut table = Heads::default();
    for head in kept {
        let (weight, bias) = trainer.heads.tensors(head);
        let dim = weight.len() / labels.len().max(1);
        let classes = labels.len();
        for (tensor, shape, values) in [
            ("weight", format!("{classes}x{dim}"), weight),
            ("bias", classes.to_string(), bias),
            ("labels", classes.to_string(), labels.iter().map(|l| *l as f32).collect()),
        ] {
            table.head.push(trainer.heads.all[head].name.as_str().into());
            table.tensor.push(tensor.into());
            table.shape.push(shape.into());
            table.values.push(values);
        }
    }
    table
}
