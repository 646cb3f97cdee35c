//! The contract of a stage: seven methods, frozen, and a title for people. Everything that cuts across stages lives outside the trait.

use std::collections::BTreeMap;
use std::ops::Range;

use schemas::{Canonical, Fingerprint};
use serde::Serialize;

use crate::error::StageError;
use crate::io::ShardIo;

/// Folders between a table and its runs, such as `model=…/dataset=…`: hive-style, so that Polars, `DuckDB` and pandas
/// read them as columns. Part of an address, not of a meaning.
pub type Partition = Vec<(&'static str, String)>;

/// A table that a stage writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// Table name.
    pub table: &'static str,
    /// Hive-style folders above the run.
    pub partition: Partition,
}

/// A table of one particular run of one particular stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRef {
    /// Table name.
    pub table: &'static str,
    /// Hive-style folders above the run.
    pub partition: Partition,
    /// Which run.
    pub fingerprint: Fingerprint,
}

/// A slice of a stage's work: items `items.start..items.end` of its input order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shard {
    /// Zero-based number.
    pub index: u32,
    /// How many shards the stage has.
    pub count: u32,
    /// Items, in input order.
    pub items: Range<u64>,
}

/// Known or estimated rows of a stage's inputs, by table.
pub type Sizes = BTreeMap<&'static str, u64>;

/// What a stage will cost. Numbers are for planning: right within a factor of two.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Items in all (images for an extraction).
    pub items: u64,
    /// Items per shard; the last shard may have fewer. Zero: one shard takes all.
    pub items_per_shard: u64,
    /// Rows and bytes on disk by table.
    pub tables: BTreeMap<&'static str, TableSize>,
    /// Peak memory of the process, bytes.
    pub host_bytes: u64,
    /// Peak memory of the device, bytes; 0 on a CPU.
    pub device_bytes: u64,
    /// Wall time on this machine, seconds.
    pub secs: f64,
}

/// Estimated size of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TableSize {
    /// Rows.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Estimate {
    /// The shards: cut by input order, never by the number of workers.
    pub fn shards(&self) -> Vec<Shard> {
        let per = if self.items_per_shard == 0 { self.items.max(1) } else { self.items_per_shard };
        let count = self.items.div_ceil(per).max(1) as u32;
        (0..count)
            .map(|index| {
                let start = u64::from(index) * per;
                Shard { index, count, items: start..(start + per).min(self.items) }
            })
            .collect()
    }
}

/// What a finished shard tells beside its tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ShardReport {
    /// Items seen.
    pub items: u64,
    /// Items that could not be used; each is a row in `skipped`.
    pub skipped: u64,
}

/// One node of the plan. Reads tables, writes tables, does nothing else: no clock, no environment, no global RNG.
pub trait Stage: Send + Sync {
    /// A verb; stable on disk.
    fn name(&self) -> &'static str;
    /// Bumped when a number can change; history in the doc comment of the implementation.
    fn version(&self) -> u32;
    /// Tables that must be finished before this stage runs.
    fn inputs(&self) -> Vec<TableRef>;
    /// Tables that every shard writes one part of.
    fn outputs(&self) -> Vec<TableSpec>;
    /// The parameters that can change a number.
    fn meaning(&self) -> Canonical;
    /// What tells it from another of the same name and partition, in a few words for people.
    fn detail(&self) -> String {
        String::new()
    }
    /// What it will cost, given the rows of its inputs.
    fn estimate(&self, inputs: &Sizes) -> Estimate;
    /// Does one shard. Must give the same rows whenever and wherever it runs.
    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError>;
}

/// Fingerprint of a stage with its inputs.
pub fn fingerprint(stage: &dyn Stage) -> Fingerprint {
    let inputs: Vec<Fingerprint> = stage.inputs().into_iter().map(|t| t.fingerprint).collect();
    Fingerprint::of(stage.name(), stage.version(), &stage.meaning(), &inputs)
}

/// The tables of a stage, as later stages name them.
pub fn outputs_of(stage: &dyn Stage) -> Vec<TableRef> {
    let fingerprint = fingerprint(stage);
    stage
        .outputs()
        .into_iter()
        .map(|s| TableRef { table: s.table, partition: s.partition, fingerprint: fingerprint.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_every_item_once() {
        for (items, per) in [(0, 0), (0, 5), (1, 5), (5, 5), (6, 5), (1000, 64), (7, 0)] {
            let shards = Estimate { items, items_per_shard: per, ..Estimate::default() }.shards();
            let seen: Vec<u64> = shards.iter().flat_map(|s| s.items.clone()).collect();
            assert_eq!(seen, (0..items).collect::<Vec<_>>(), "{items} items by {per}");
            assert!(shards.iter().enumerate().all(|(i, s)| s.index as usize == i && s.count as usize == shards.len()));
        }
    }
}
