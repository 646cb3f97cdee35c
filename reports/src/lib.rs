//! What a reader sees: the paper's tables and figures with our numbers beside the published ones, and SQL over
//! every table of a store.
//!
//! A [`Study`] names its [`Subject`]s (one model on one dataset, and where its finished tables lie). [`write()`] makes
//! the report: `tables/<id>.{md,csv,tex,parquet}`, `figures/<id>.{svg,csv,parquet}`, `report.md` and one self-contained `report.html`. The
//! bytes depend on the study and the tables alone, so equal runs give equal reports.
//!
//! Adding a table is a file in `tables/` and a line in [`tables::TABLES`]; a figure, likewise in [`figures::FIGURES`].

pub mod bounds;
pub mod error;
pub mod figures;
pub mod head_signs;
pub mod models;
pub mod pairs;
pub mod parts;
pub mod published;
pub mod query;
pub mod render;
pub mod scores;
pub mod study;
pub mod tables;
pub mod verdict;
pub mod vital_signs;
pub mod write;

pub use error::ReportError;
pub use query::{QueryFormat, QueryOutput, query};
pub use study::{Card, Expect, Fact, Provenance, Source, Study, Subject, Truth};
pub use write::{ReportWritten, check_wanted, write};
