//! The vocabulary of the pipeline: identifiers, fingerprints, and one typed table per file of [`tables`].
//!
//! This crate owns arrow and parquet. Every table of a store is written by [`PartWriter`] and read by [`read_part`]:
//! Arrow inside, types at the door. Polars, in the reports, is the one other reader of finished tables.

pub mod column;
pub mod fence;
pub mod fingerprint;
pub mod foreign;
pub mod frame;
pub mod outlier;
pub mod part;
pub mod table;
pub mod tables;

pub use column::{Halves, Name, Vectors};
pub use fence::fenced;
pub use fingerprint::{Canonical, Fingerprint, Meaning};
pub use frame::Frame;
pub use part::{PartGroups, PartWriter, PartWritten, read_part, read_part_batches};
pub use table::{Table, TableError};
