//! The engine: stages in, finished tables out, resumable at any instant.
//!
//! A [`Stage`] declares what it reads, what it writes and what its numbers depend on; a [`Plan`] orders stages and
//! cuts them into shards; [`run()`] does what is missing. Results live in a [`Store`], one folder per fingerprint.
//!
//! The engine names no stage, model, dataset or metric.

pub mod budget;
pub mod error;
pub mod io;
pub mod ledger;
pub mod plan;
pub mod progress;
pub mod record;
pub mod run;
pub mod stage;
pub mod store;

pub use budget::Budget;
pub use error::{ErrorKind, StageError};
pub use io::ShardIo;
pub use plan::{Plan, Step};
pub use progress::{Event, Progress, Silent};
pub use record::Record;
pub use run::{RunOptions, RunSummary, run};
pub use stage::{Estimate, Partition, Shard, ShardReport, Sizes, Stage, TableRef, TableSpec, outputs_of};
pub use store::Store;
