//! The stage `train_head`: features and truths of a training and of a test run → `heads`, `losses`, `predictions`,
//! `scores`, `replicates`.

use engine::stage::TableSize;
use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::{Dense, Heads, Losses, Predictions, Replicates, Scores, Skipped, TruthMaps};
use schemas::{Canonical, Meaning, Table};
use serde::{Deserialize, Serialize};

use super::cost::Cost;
use super::error::DenseError;
use super::evaluate::judge;
use super::fit::{Course, Training};
use super::groups::FOOTER_BYTES;
use super::net::Net;
use super::recipe::{Length, Recipe};
use super::samples::{Part, Samples};
use super::state;

mod rows;

/// Bytes of training features that are kept in memory; truths may be a quarter as many, test features a sixteenth.
const KEPT_BYTES: usize = 1 << 30;
/// A group of rows of `dense` has so many bytes, or one row.
const GROUP_BYTES: u64 = 4 << 20;

/// Everything that can change a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadParams {
    /// Name of the head in every table.
    pub name: String,
    /// Sites of the features, side by side in this order.
    pub sites: Vec<String>,
    /// What is trained, how, and how it is judged.
    pub recipe: Recipe,
    /// One head is trained for each; scores are their means.
    pub seeds: Vec<u64>,
    /// A control: the truths of the training views are handed round among them.
    pub permute_labels: bool,
    /// One run is both: images whose number leaves n − 1 when divided by this n are judged, the others trained on.
    pub every_nth: Option<u32>,
    /// Of the first so many test maps the answers are kept, by the first head.
    pub pictures: u32,
    /// Names of the classes, by number; a class beyond them goes by its number.
    pub class_names: Vec<String>,
}

impl Meaning for HeadParams {}

impl HeadParams {
    /// Whether the numbers can be used.
    pub fn check(&self) -> Result<(), DenseError> {
        if self.sites.is_empty() {
            return Err(DenseError::Nothing("sites"));
        }
        if self.seeds.is_empty() {
            return Err(DenseError::Nothing("seeds"));
        }
        let again = |(i, seed): (usize, &u64)| self.seeds[..i].contains(seed).then_some(*seed);
        if let Some(seed) = self.seeds.iter().enumerate().find_map(again) {
            return Err(DenseError::Twice(seed));
        }
        if let Some(nth) = self.every_nth
            && nth < 2
        {
            return Err(DenseError::Range { name: "every_nth", value: f64::from(nth) });
        }
        self.recipe.check()
    }

    /// Name of the head of a seed.
    fn head(&self, seed: usize) -> String {
        if self.seeds.len() == 1 { self.name.clone() } else { format!("{}-seed{}", self.name, self.seeds[seed]) }
    }

    fn class_name(&self, class: usize) -> String {
        self.class_names.get(class).cloned().unwrap_or_else(|| class.to_string())
    }
}

/// What the plan knows of the inputs, for the estimate, and how often the state is kept. It changes no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadSizes {
    /// Views to train on.
    pub train_views: u64,
    /// Views to judge.
    pub test_views: u64,
    /// Patches of a view.
    pub patches: u64,
    /// Channels of a site.
    pub width: u64,
    /// Pixels of a truth.
    pub truth_pixels: u64,
    /// Threads.
    pub threads: u64,
    /// Steps between two states that are kept.
    pub keep_every: u64,
}

impl Default for HeadSizes {
    fn default() -> Self {
        Self {
            train_views: 1000,
            test_views: 1000,
            patches: 1369,
            width: 384,
            truth_pixels: 512 * 512,
            threads: 2,
            keep_every: 500,
        }
    }
}

/// A dense head on stored features. Version 1: the first. Version 2: numbers that are equal have no error, not rounding's.
#[derive(Debug, Clone)]
pub struct TrainHead {
    params: HeadParams,
    train: Vec<TableRef>,
    test: Vec<TableRef>,
    /// Of both runs, what tells why there is nothing to learn or to judge; no number comes of it, so it is no input.
    skipped: [Vec<TableRef>; 2],
    partition: Partition,
    sizes: HeadSizes,
}

impl TrainHead {
    /// `train` and `test` are the outputs of one `densify` each, of which the needed tables are taken; `test` is not looked
    /// at where the parameters take every n-th image of the training run.
    pub fn new(
        params: HeadParams,
        train: &[TableRef],
        test: &[TableRef],
        partition: Partition,
    ) -> Result<Self, DenseError> {
        params.check()?;
        let needed = |run: &'static str, tables: &[TableRef]| -> Result<Vec<TableRef>, DenseError> {
            for table in [Dense::NAME, TruthMaps::NAME] {
                if !tables.iter().any(|t| t.table == table) {
                    return Err(DenseError::Table { run, table });
                }
            }
            Ok(tables.iter().filter(|t| [Dense::NAME, TruthMaps::NAME].contains(&t.table)).cloned().collect())
        };
        let skipped = |tables: &[TableRef]| tables.iter().filter(|t| t.table == Skipped::NAME).cloned().collect();
        let skipped = [skipped(train), skipped(if params.every_nth.is_some() { train } else { test })];
        let train = needed("training", train)?;
        let test = if params.every_nth.is_some() { Vec::new() } else { needed("test", test)? };
        Ok(Self { params, train, test, skipped, partition, sizes: HeadSizes::default() })
    }

    /// The same with a better estimate.
    #[must_use]
    pub fn sized(self, sizes: HeadSizes) -> Self {
        Self { sizes, ..self }
    }

    fn samples(&self, io: &ShardIo<'_>, test: bool) -> Result<Samples, StageError> {
        let params = &self.params;
        let tables = if test && params.every_nth.is_none() { &self.test } else { &self.train };
        let parts = |tables: &[TableRef], table: &str| -> Result<Vec<_>, StageError> {
            let mut all = Vec::new();
            for input in tables.iter().filter(|t| t.table == table) {
                all.extend(io.parts_of(input)?);
            }
            Ok(all)
        };
        let skipped = parts(&self.skipped[usize::from(test)], Skipped::NAME)?;
        let parts = [parts(tables, Dense::NAME)?, parts(tables, TruthMaps::NAME)?, skipped];
        let part = params.every_nth.map_or(Part::All, |nth| Part::Every(nth, test));
        let (run, bound) = if test { ("test", KEPT_BYTES / 16) } else { ("training", KEPT_BYTES) };
        Samples::open(io, run, &parts, &params.sites, &params.recipe, (part, bound))
    }

    /// Trains the heads, from what an earlier attempt kept where there is something.
    fn train(&self, samples: &Samples, io: &ShardIo<'_>) -> Result<Vec<Training>, StageError> {
        let params = &self.params;
        let recipe = &params.recipe;
        let exchanged = params.permute_labels.then(|| params.seeds[0]);
        let pairs = samples.to_train(exchanged)?;
        let course = |seed: u64| Course::new(recipe, pairs.len(), seed);
        let fresh = |i: usize| {
            let seed = *params.seeds.get(i)?;
            Some((Training::new(recipe, samples.width, params.sites.len(), seed), course(seed).steps()))
        };
        let scaling = if recipe.standardise { Some(samples.scaling(&pairs, io)?) } else { None };
        let read = |view: u32| {
            let (mut features, truth) = samples.pair(pairs[view as usize])?;
            if let Some(scaling) = &scaling {
                scaling.apply(&mut features);
            }
            Ok((features, truth))
        };
        let mut heads = io.kept().and_then(|bytes| state::read(&bytes, fresh)).unwrap_or_default();
        io.items_in_all(params.seeds.iter().map(|&seed| course(seed).steps()).sum());
        let before: u64 = heads.iter().map(|h| h.step).sum();
        if before > 0 {
            io.resumed(before);
        }
        for (i, &seed) in params.seeds.iter().enumerate() {
            if i >= heads.len() {
                let Some((head, _)) = fresh(i) else { continue };
                heads.push(head);
            }
            let course = course(seed);
            let (done, unfinished) = heads.split_at_mut(i);
            let Some(head) = unfinished.first_mut() else { continue };
            let before: u64 = done.iter().map(|h| h.step).sum();
            let keep = |head: &Training| {
                let so_far: Vec<Training> = done.iter().chain([head]).cloned().collect();
                io.keep(&state::write(&so_far))
            };
            head.run((&params.head(i), recipe), &course, read, |head| {
                io.items_done(before + head.step);
                if io.cancelled() {
                    keep(head)?;
                    return Err(StageError::interrupted());
                }
                let due = head.step.is_multiple_of(self.sizes.keep_every.max(1)) || head.step == course.steps();
                if due { keep(head) } else { Ok(()) }
            })?;
        }
        if let Some(scaling) = &scaling {
            for head in &mut heads {
                head.net.absorb(scaling);
            }
        }
        Ok(heads)
    }

    fn steps(&self) -> u64 {
        let each = match self.params.recipe.length {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) => {
                let views = self.sizes.train_views;
                let views = views - self.params.every_nth.map_or(0, |nth| views / u64::from(nth));
                epochs * views.max(1).div_ceil(self.params.recipe.views_per_step.max(1) as u64)
            }
        };
        each * self.params.seeds.len() as u64
    }
}

impl Stage for TrainHead {
    fn name(&self) -> &'static str {
        "train_head"
    }

    fn version(&self) -> u32 {
        2
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.train.iter().chain(&self.test).cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        [Heads::NAME, Losses::NAME, Predictions::NAME, Scores::NAME, Replicates::NAME]
            .map(|table| TableSpec { table, partition: self.partition.clone() })
            .into()
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn detail(&self) -> String {
        let control = if self.params.permute_labels { " control" } else { "" };
        format!("{} {} {}{control}", self.params.name, self.params.recipe.kind(), self.params.sites.join("+"))
    }

    fn estimate(&self, _: &Sizes) -> Estimate {
        let (s, params) = (&self.sizes, &self.params);
        let channels = s.width * params.sites.len() as u64;
        let seeds = params.seeds.len() as u64;
        let size = |rows: u64, bytes: u64| TableSize { rows, bytes: rows * bytes };
        let example = Net::new(&params.recipe, s.width.max(1) as usize, params.sites.len().max(1), 0);
        let parameters: u64 = example.tensors.iter().map(|t| t.values.len() as u64).sum();
        let tables = [
            (Heads::NAME, size(seeds * 6, 4 * parameters / 6)),
            (Losses::NAME, size(seeds * 500, 20)),
            (
                Predictions::NAME,
                size(2 * u64::from(params.pictures).min(s.test_views), s.truth_pixels.min(512 * 512) / 8),
            ),
            (Scores::NAME, size(600, 60)),
            (Replicates::NAME, size(40, 40)),
        ];
        let views = params.recipe.views_per_step as u64;
        let kept = (2 * s.train_views * s.patches * channels).min(KEPT_BYTES as u64)
            + (s.train_views * s.truth_pixels).min(KEPT_BYTES as u64 / 4);
        let rows_of_a_group = (GROUP_BYTES / (2 * s.patches * s.width).max(1)).max(1);
        let index = (s.train_views * params.sites.len() as u64).div_ceil(rows_of_a_group) * FOOTER_BYTES;
        // Two steps' features, truths and answers, a view's derivative, and the optimiser's memory.
        let answers = s.patches * example.outputs as u64 * 3 + s.truth_pixels * 2;
        let step = 2 * views * 4 * (s.patches * channels + answers) + 4 * parameters * (views + 4 + seeds);
        let steps = self.steps();
        let secs = Cost { recipe: &params.recipe, sites: params.sites.len() as u64, sizes: s }.secs(steps, seeds);
        Estimate { items: steps, tables: tables.into(), host_bytes: kept + index + step, secs, ..Estimate::default() }
    }

    fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let samples = self.samples(io, false)?;
        let heads = self.train(&samples, io)?;
        let prior = samples.prior.clone();
        let width = samples.width;
        drop(samples);
        let test = self.samples(io, true)?;
        if test.width != width {
            return Err(DenseError::Width { image: 0, found: test.width, wanted: width }.into());
        }
        let nets: Vec<Net> = heads.iter().map(|h| h.net.clone()).collect();
        let recipe = &self.params.recipe;
        let (name, pictures) = (self.params.name.as_str(), self.params.pictures as usize);
        let verdict = judge(&test, (&nets, recipe, &prior), (name, pictures), |_| {
            if io.cancelled() { Err(StageError::interrupted()) } else { Ok(()) }
        })?;
        let images = test.to_judge().len() as u64;
        let (tensors, losses) = self.params.tables(&heads);
        let (scores, replicates) = self.params.scores(&verdict, images);
        io.write(tensors)?;
        io.write(losses)?;
        io.write(verdict.predictions)?;
        io.write(scores)?;
        io.write(replicates)?;
        Ok(ShardReport { items: heads.iter().map(|h| h.step).sum(), skipped: 0 })
    }
}

#[cfg(test)]
mod tests;
