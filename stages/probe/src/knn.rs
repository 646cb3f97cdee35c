//! Classifies images by their nearest training images: the k-NN evaluation of DINO and `DINOv2`.
//!
//! ```text
//! s_i = q·t_i of vectors divided by their lengths;  the 200 most similar are kept
//! p_i = softmax over those 200 of s_i / 0.07;  vote of a class = Σ p_i of its images among the first k
//! ```
//!
//! for k = 10, 20, 100, 200 in one pass. `accuracy_frac` is that of the best k on the test images themselves, which is
//! what `DINOv2`'s README prints; `accuracy_frac_k10` and so on say what each k gave. An image counts among the first
//! five when its own class has votes and at most four classes come before it; equal votes go to the lower class number.
//! Few-shot banks have the head of torch's `randperm` of each class, seed 0 for the first try, as `DINOv2` draws them.
//!
//! Training vectors are read in groups of rows and forgotten; queries are taken 65,536 at a time. So memory grows
//! with either set by the label and place of each image alone. Source: facebookresearch/dinov2 `eval/knn.py`.

mod task;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use engine::{ShardIo, StageError};
use rayon::prelude::*;
use schemas::tables::Pooled;
use schemas::{PartGroups, Table};
use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::neighbours::{BLOCK, Bank, Neighbour, Search};
use crate::samples::{Encoded, Runs, found};
use crate::score::{Score, mean, sample_std};
use crate::split::{ImageKey, Labelled, Split};
use task::{Outcome, Task, TaskBank, Vectors};

/// Queries that are held at once.
const QUERIES: usize = 1 << 16;
/// Bytes of a group of rows while it is read, and of its copy.
const GROUP_BYTES: u64 = 100 << 20;

/// Parameters of a classification by neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knn {
    /// Site of the vectors.
    pub site: String,
    /// Pools; empty: all there are.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// Numbers of neighbours that vote.
    #[serde(default = "published_k")]
    pub k: Vec<u32>,
    /// Similarities are divided by it.
    #[serde(default = "published_temperature")]
    pub temperature: f64,
    /// What is tested.
    pub split: Split,
    /// Beside the whole training set, banks of so many images of each class.
    #[serde(default)]
    pub n_per_class: Vec<u32>,
    /// How many such banks are drawn.
    #[serde(default = "one")]
    pub tries: u32,
    /// Control: labels of the training images permuted with this seed. The accuracy must fall to chance.
    #[serde(default)]
    pub permute_labels: Option<u32>,
}

fn published_k() -> Vec<u32> {
    vec![10, 20, 100, 200]
}

fn published_temperature() -> f64 {
    0.07
}

fn one() -> u32 {
    1
}

impl Knn {
    /// `DINOv2`'s: CLS, k of 10, 20, 100 and 200, temperature 0.07.
    pub fn dinov2(site: &str, split: Split) -> Self {
        Self {
            site: site.to_owned(),
            subjects: vec!["cls".to_owned()],
            k: published_k(),
            temperature: published_temperature(),
            split,
            n_per_class: Vec::new(),
            tries: one(),
            permute_labels: None,
        }
    }

    /// Checks the ranges.
    pub fn check(&self) -> Result<(), ProbeError> {
        self.split.check()?;
        let bad = |name, value| Err(ProbeError::Range { name, value });
        // Similarities of so many neighbours of 65,536 queries fit a few gigabytes.
        match (self.k.iter().find(|k| !(1..=10_000).contains(*k)), self.n_per_class.iter().find(|n| **n == 0)) {
            (Some(k), _) => bad("k", f64::from(*k)),
            (None, Some(_)) => bad("n_per_class", 0.0),
            (None, None) if self.k.is_empty() => bad("k", 0.0),
            (None, None) if self.tries == 0 => bad("tries", 0.0),
            (None, None) if !(self.temperature.is_finite() && self.temperature > 0.0) => {
                bad("temperature", self.temperature)
            }
            (None, None) => Ok(()),
        }
    }

    /// `k = 10, 20, 100, 200, temperature 0.07`.
    pub(crate) fn settings(&self) -> String {
        format!("k = {}, temperature {}", list(&self.k), self.temperature)
    }

    /// Memory of the process for so many images of `width` channels.
    pub(crate) fn host_bytes(&self, images: u64, width: u64) -> u64 {
        let kept: u64 = self.banks_k().iter().filter_map(|(_, k)| k.iter().max()).map(|k| u64::from(*k)).sum();
        let pools = if self.subjects.is_empty() { 2 } else { self.subjects.len() as u64 };
        let neighbour = size_of::<Neighbour>() as u64;
        GROUP_BYTES + images * 64 + pools * images.min(QUERIES as u64) * (8 * width + 2 * neighbour * kept)
    }

    /// Time for so many images: two readings of all vectors, and half of the images tested on the other half.
    pub(crate) fn secs(&self, images: u64, vectors: u64, width: u64, threads: u64) -> f64 {
        let pairs = (images as f64 / 2.0).powi(2) * self.subjects.len().max(1) as f64;
        2.0 * (vectors * width) as f64 / 2e8 + pairs * (2.0 * width as f64 / 5e10 + 2e-9) / threads as f64
    }

    /// Values of k of each kind of bank, and how many images of a class that has: `DINOv2` adds the number itself, and
    /// leaves out those beyond it.
    fn banks_k(&self) -> Vec<(Option<u32>, Vec<u32>)> {
        let sorted = |k: &mut dyn Iterator<Item = u32>| k.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
        let mut banks = vec![(None, sorted(&mut self.k.iter().copied()))];
        for &n in &self.n_per_class {
            let k = sorted(&mut self.k.iter().copied().chain([n]).filter(|k| *k <= n));
            banks.extend((0..self.tries).map(|_| (Some(n), k.clone())));
        }
        banks
    }

    /// Scores of every pool.
    pub(crate) fn run(
        &self,
        experiment: &str,
        runs: &Runs<'_>,
        images: &Encoded,
        io: &ShardIo<'_>,
    ) -> Result<Vec<Score>, StageError> {
        let labelled: Vec<Labelled> =
            images.labelled.iter().filter(|(_, label)| label.is_some_and(|l| l >= 0)).copied().collect();
        if labelled.is_empty() && !images.labelled.is_empty() {
            return Err(ProbeError::Unlabelled.into());
        }
        let task = Task::new(self, &labelled);
        let mut outcomes: BTreeMap<String, Outcome> =
            self.subjects.iter().map(|name| (name.clone(), Outcome::new(&task))).collect();
        for block in task.test.chunks(QUERIES) {
            let queries = self.queries(runs, io, block, &mut outcomes, &task)?;
            self.search(runs, io, &task, queries, &mut outcomes)?;
        }
        Ok(outcomes.iter().flat_map(|(name, outcome)| self.scores(experiment, name, outcome, &task)).collect())
    }

    /// Vectors of some test images, by pool.
    fn queries(
        &self,
        runs: &Runs<'_>,
        io: &ShardIo<'_>,
        block: &[(ImageKey, u32)],
        outcomes: &mut BTreeMap<String, Outcome>,
        task: &Task,
    ) -> Result<BTreeMap<String, Vectors>, StageError> {
        let wanted: HashMap<ImageKey, u32> = block.iter().copied().collect();
        let mut queries: BTreeMap<String, Vectors> = BTreeMap::new();
        self.rows(runs, io, |key, pool, vector| {
            if let Some(label) = wanted.get(&key) {
                outcomes.entry(pool.to_owned()).or_insert_with(|| Outcome::new(task));
                queries.entry(pool.to_owned()).or_default().push(*label, vector)?;
            }
            Ok(())
        })?;
        Ok(queries)
    }

    /// Finds the neighbours of some queries and counts who is classified well.
    fn search(
        &self,
        runs: &Runs<'_>,
        io: &ShardIo<'_>,
        task: &Task,
        queries: BTreeMap<String, Vectors>,
        outcomes: &mut BTreeMap<String, Outcome>,
    ) -> Result<(), StageError> {
        let banks: Vec<Bank> = task.banks.iter().map(|b| b.bank.clone()).collect();
        let mut pools: BTreeMap<String, (Vec<u32>, usize, Search<'_>, Vectors)> = BTreeMap::new();
        for (pool, of) in queries {
            let width = of.width;
            let (labels, x) = of.into_matrix()?;
            pools.insert(pool, (labels, width, Search::new(x, &banks), Vectors::default()));
        }
        let mut met: BTreeMap<String, u32> = BTreeMap::new();
        self.rows(runs, io, |key, pool, vector| {
            let (Some(&place), Some((_, width, search, block))) = (task.places.get(&key), pools.get_mut(pool)) else {
                return Ok(());
            };
            if *width != vector.len() {
                return Err(ProbeError::Width { first: *width, second: vector.len() });
            }
            *met.entry(pool.to_owned()).or_default() += 1;
            block.push(place, vector)?;
            if block.labels.len() == BLOCK {
                block.offer_to(search)?;
            }
            Ok(())
        })?;
        for (pool, (labels, _, mut search, mut block)) in pools {
            block.offer_to(&mut search)?;
            let Some(outcome) = outcomes.get_mut(&pool) else { continue };
            outcome.trained = met.get(&pool).copied().unwrap_or(0);
            outcome.tested += labels.len() as u64;
            let neighbours = search.finish();
            for (bank, right) in task.banks.iter().enumerate().zip(&mut outcome.right) {
                let (bank, of) = bank;
                let ranks: Vec<Vec<Option<usize>>> = (neighbours.par_iter().zip(&labels))
                    .map(|(found, label)| self.ranks(&found[bank], &of.k, &task.labels, *label))
                    .collect();
                for rank in ranks {
                    for (right, rank) in right.iter_mut().zip(rank) {
                        right.0 += u64::from(rank == Some(0));
                        right.1 += u64::from(rank.is_some_and(|r| r < 5));
                    }
                }
            }
        }
        Ok(())
    }

    /// How many classes come before the true one, for each k ascending; none: it has no vote.
    fn ranks(&self, found: &[Neighbour], k: &[u32], labels: &[u32], truth: u32) -> Vec<Option<usize>> {
        let nearest = found.first().map_or(0.0, |n| f64::from(n.0));
        let weights: Vec<f64> = found.iter().map(|n| ((f64::from(n.0) - nearest) / self.temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut votes: Vec<(u32, f64)> = Vec::new();
        let mut from = 0;
        k.iter()
            .map(|&k| {
                for i in from..found.len().min(k as usize) {
                    let (class, vote) = (labels[found[i].1 as usize], weights[i] / total);
                    match votes.iter_mut().find(|v| v.0 == class) {
                        Some(of) => of.1 += vote,
                        None => votes.push((class, vote)),
                    }
                }
                from = found.len().min(k as usize);
                let own = votes.iter().find(|v| v.0 == truth)?.1;
                Some(votes.iter().filter(|v| v.1 > own || (v.1 == own && v.0 < truth)).count())
            })
            .collect()
    }

    /// Calls `each` with every vector at the site.
    fn rows(
        &self,
        runs: &Runs<'_>,
        io: &ShardIo<'_>,
        mut each: impl FnMut(ImageKey, &str, &[f32]) -> Result<(), ProbeError>,
    ) -> Result<(), StageError> {
        let mut sites = BTreeSet::new();
        for (run, tables) in [(0, runs.train), (1, runs.test)] {
            for input in tables.iter().filter(|t| t.table == Pooled::NAME) {
                for part in io.parts_of(input)? {
                    let groups = PartGroups::<Pooled>::open(&part)?;
                    for group in 0..groups.rows().len() {
                        if io.cancelled() {
                            return Err(StageError::interrupted());
                        }
                        let rows = groups.read(group)?;
                        for i in 0..rows.rows() {
                            let (site, pool) = (&*rows.site[i], &*rows.pool[i]);
                            if !sites.contains(site) {
                                sites.insert(site.to_owned());
                            }
                            let wanted = self.subjects.is_empty() || self.subjects.iter().any(|w| w == pool);
                            if site == self.site && wanted {
                                each((run, rows.image[i]), pool, rows.vector.row(i))?;
                            }
                        }
                    }
                }
            }
        }
        Ok(found(Pooled::NAME, &self.site, &sites)?)
    }

    fn scores(&self, experiment: &str, pool: &str, outcome: &Outcome, task: &Task) -> Vec<Score> {
        let mut scores = Vec::new();
        let mut at = 0;
        for group in task.banks.chunk_by(|a, b| a.per_class == b.per_class) {
            let right = &outcome.right[at..at + group.len()];
            at += group.len();
            let subject = match group[0].per_class {
                None => pool.to_owned(),
                Some(n) => format!("{pool}_{n}_per_class"),
            };
            let without = (task.test.len() as u64 + task.places.len() as u64)
                .saturating_sub(outcome.tested + u64::from(outcome.trained));
            let base = Score {
                experiment: experiment.to_owned(),
                subject,
                site: self.site.clone(),
                n: outcome.tested,
                draws: group.len() as u32,
                images_without: without as u32,
                converged: true,
                ..Score::default()
            };
            scores.extend(self.of_banks(&base, group, right));
        }
        scores
    }

    /// Scores of banks that were drawn alike.
    fn of_banks(&self, base: &Score, banks: &[TaskBank], right: &[Vec<(u64, u64)>]) -> Vec<Score> {
        let n = base.n as f64;
        let control = self.permute_labels.map_or_else(String::new, |seed| {
            format!("control: labels of the training images permuted with seed {seed}; ")
        });
        let note = |what: &str| format!("{control}{what}").trim_end_matches("; ").to_owned();
        let size = banks.iter().map(|bank| bank.size).min().unwrap_or(0);
        let score = |metric, k: usize, of: fn(&(u64, u64)) -> u64| {
            let shares: Vec<f64> = right.iter().map(|right| of(&right[k]) as f64 / n).collect();
            let errors: Vec<f64> = shares.iter().map(|p| (p * (1.0 - p) / n).sqrt()).collect();
            let known = base.n > 0 && banks[0].k[k] as usize <= size;
            let small = format!("the bank has {size} images, fewer than k");
            Score {
                metric,
                value: mean(&shares).filter(|_| known),
                std: sample_std(&shares).filter(|_| known),
                stderr: mean(&errors).filter(|_| known),
                note: note(if known { "" } else { &small }),
                ..base.clone()
            }
        };
        let of_k = |k: usize| [score("accuracy_frac", k, |r| r.0), score("top5_accuracy_frac", k, |r| r.1)];
        let k = &banks[0].k;
        let mut best: Option<(usize, f64)> = None;
        for i in 0..k.len() {
            if let Some(value) = of_k(i)[0].value.filter(|v| best.is_none_or(|b| *v > b.1)) {
                best = Some((i, value));
            }
        }
        let said = match best {
            None => note("too few images to train and test on"),
            Some((i, _)) if k.len() == 1 => note(&format!("k = {}", k[i])),
            Some((i, _)) => {
                note(&format!("k = {}, the best of {} on the test images, as DINOv2 reports", k[i], list(k)))
            }
        };
        let chosen = of_k(best.map_or(0, |b| b.0)).map(|s| Score { note: said.clone(), ..s });
        let each = (0..k.len()).flat_map(|i| of_k(i).map(|s| Score { k: Some(k[i]), ..s }));
        chosen.into_iter().chain(each).collect()
    }
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
