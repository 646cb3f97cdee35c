//! A plan: stages in an order in which every input is made before it is read, cut into shards, with their cost.

use std::collections::HashMap;

use schemas::Fingerprint;
use serde::Serialize;
use thiserror::Error;

use crate::stage::{Estimate, Shard, Sizes, Stage, TableRef, fingerprint, outputs_of};
use crate::store::Store;

/// One stage of a plan.
pub struct Step {
    /// The stage.
    pub stage: Box<dyn Stage>,
    /// Its run.
    pub fingerprint: Fingerprint,
    /// What it will cost if nothing is there yet.
    pub estimate: Estimate,
    /// Its shards.
    pub shards: Vec<Shard>,
    /// Its tables.
    pub outputs: Vec<TableRef>,
}

/// Stages in a runnable order.
#[derive(Default)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

/// A plan that cannot be.
#[derive(Debug, Error)]
pub enum PlanError {
    /// A stage reads a table that no earlier stage writes.
    #[error("stage `{stage}` reads table `{table}` of run {fingerprint}, which no earlier stage of the plan writes")]
    MissingInput {
        /// Reading stage.
        stage: &'static str,
        /// Table.
        table: &'static str,
        /// Run that was named.
        fingerprint: Fingerprint,
    },
    /// Two steps mean the same under different names.
    #[error("`{first}` and `{second}` mean exactly the same; their results would be the same rows under two names")]
    Twice {
        /// Title of the step that came first.
        first: String,
        /// Title of the other.
        second: String,
    },
}

impl Plan {
    /// Orders nothing: stages come in order. An exact repetition is dropped; the same
    /// meaning under another name is refused, since one of the names would stay empty.
    pub fn new(stages: Vec<Box<dyn Stage>>) -> Result<Self, PlanError> {
        let mut rows: HashMap<(Fingerprint, &'static str), u64> = HashMap::new();
        let mut plan = Self::default();
        for stage in stages {
            let fingerprint = fingerprint(stage.as_ref());
            let outputs = outputs_of(stage.as_ref());
            if let Some(same) = plan.steps.iter().find(|s| s.fingerprint == fingerprint) {
                if same.outputs == outputs {
                    continue;
                }
                let second = title(stage.as_ref(), &outputs);
                return Err(PlanError::Twice { first: same.title(), second });
            }
            let mut sizes = Sizes::new();
            for input in stage.inputs() {
                let key = (input.fingerprint.clone(), input.table);
                let known = rows.get(&key).ok_or(PlanError::MissingInput {
                    stage: stage.name(),
                    table: input.table,
                    fingerprint: input.fingerprint,
                })?;
                *sizes.entry(input.table).or_default() += known;
            }
            let estimate = stage.estimate(&sizes);
            for output in &outputs {
                let n = estimate.tables.get(output.table).map_or(0, |t| t.rows);
                rows.insert((fingerprint.clone(), output.table), n);
            }
            let shards = estimate.shards();
            plan.steps.push(Step { stage, fingerprint, estimate, shards, outputs });
        }
        Ok(plan)
    }

    /// The step whose id is given: a stage name that only one step has, a fingerprint, or `name-fingerprint`.
    pub fn step(&self, id: &str) -> Option<&Step> {
        let mut hits =
            self.steps.iter().filter(|s| s.id() == id || s.fingerprint.as_str() == id || s.stage.name() == id);
        let hit = hits.next()?;
        hits.next().is_none().then_some(hit)
    }
}

impl Step {
    /// `name-fingerprint`.
    pub fn id(&self) -> String {
        format!("{}-{}", self.stage.name(), self.fingerprint)
    }

    /// Stage, partition and detail in words: `extract dinov2_vits14 cifar10`, `probe planted scenes position final`.
    pub fn title(&self) -> String {
        title(self.stage.as_ref(), &self.outputs)
    }

    /// Whether all parts of a shard are finished.
    pub fn is_done(&self, store: &Store, shard: u32) -> bool {
        self.outputs.iter().all(|t| store.marker(t, shard).is_some())
    }

    /// The shards that are not finished.
    pub fn missing<'a>(&'a self, store: &'a Store) -> impl Iterator<Item = &'a Shard> {
        self.shards.iter().filter(|s| !self.is_done(store, s.index))
    }

    /// The shards that are not finished and go on from a state that an earlier attempt kept.
    pub fn begun<'a>(&'a self, store: &'a Store) -> impl Iterator<Item = &'a Shard> {
        let kept = |shard: u32| self.outputs.first().is_some_and(|table| store.kept(table, shard).is_file());
        self.missing(store).filter(move |s| kept(s.index))
    }

    /// What a cluster engine needs to know of this step (`plan --json`).
    pub fn describe(&self, store: &Store) -> StepDescription {
        let todo: Vec<u32> = self.missing(store).map(|s| s.index).collect();
        StepDescription {
            id: self.id(),
            stage: self.stage.name(),
            title: self.title(),
            inputs: self.stage.inputs().iter().map(|t| store.dir(t).display().to_string()).collect(),
            outputs: self.outputs.iter().map(|t| store.dir(t).display().to_string()).collect(),
            done: self.shards.iter().map(|s| s.index).filter(|i| !todo.contains(i)).collect(),
            todo,
            shards: self.shards.clone(),
            estimate: self.estimate.clone(),
        }
    }
}

fn title(stage: &dyn Stage, outputs: &[TableRef]) -> String {
    let names = outputs.iter().take(1).flat_map(|t| t.partition.iter().map(|(_, value)| value.clone()));
    let words = std::iter::once(stage.name().to_owned()).chain(names).chain([stage.detail()]);
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A step as `plan --json` prints it.
#[derive(Debug, Serialize)]
pub struct StepDescription {
    /// `name-fingerprint`; `run --stage` takes it.
    pub id: String,
    /// Stage name.
    pub stage: &'static str,
    /// Stage, partition and detail in words.
    pub title: String,
    /// Folders that it reads.
    pub inputs: Vec<String>,
    /// Folders that it writes.
    pub outputs: Vec<String>,
    /// Shards to be done.
    pub todo: Vec<u32>,
    /// Shards that are finished.
    pub done: Vec<u32>,
    /// All shards.
    pub shards: Vec<Shard>,
    /// Cost of the whole step.
    pub estimate: Estimate,
}
