//! A study: what to measure, of which models, on which data. One TOML format, unknown keys refused.

pub mod build;
pub mod dataset;
pub mod embedded;
pub mod file;
pub mod model;
pub mod preprocess;
pub mod probes;
pub mod truth;

pub use build::{Built, build};
