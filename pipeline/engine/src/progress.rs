//! What a run tells while it runs. The binary decides how it looks.

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// A step begins. `missing` of `shards` shards are to be done; 0 means that all was there already.
    Step {
        /// Number of the step, from 1.
        number: usize,
        /// How many steps the plan has.
        steps: usize,
        /// Stage and partition, such as `extract dinov2_vits14 cifar10`.
        title: &'a str,
        /// Shards of the step.
        shards: u32,
        /// Shards to be done.
        missing: u32,
        /// Items to be done in those shards, as planned.
        items: u64,
    },
    /// A shard begins.
    Shard {
        /// Its number.
        index: u32,
        /// Items that the plan gave it.
        items: u64,
    },
    /// The current shard found its true number of items, which takes the place of the planned one.
    Total {
        /// Items.
        items: u64,
    },
    /// The current shard goes on from what an earlier attempt kept: so many of its items were done then, not now.
    Resumed {
        /// Items done before.
        done: u64,
    },
    /// So many items of the current shard are done.
    Items {
        /// Items done.
        done: u64,
    },
    /// The current shard is on the disk.
    ShardDone {
        /// Its number.
        index: u32,
        /// Items of the shard.
        items: u64,
        /// Items that were skipped.
        skipped: u64,
        /// Rows written.
        rows: u64,
    },
    /// The current step is finished.
    StepDone,
}

/// A listener.
pub trait Progress: Sync {
    /// Called from the thread that runs the shard.
    fn event(&self, event: &Event<'_>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: &Event<'_>) {}
}
