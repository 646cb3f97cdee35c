//! A study: what to measure, of which models, on which data. One TOML format, unknown keys refused.

pub mod build;
pub mod change;
pub mod check;
pub mod dataset;
pub mod discover;
pub mod embedded;
pub mod file;
pub mod mistake;
pub mod model;
pub mod params;
pub mod portrait;
pub mod preprocess;
pub mod probes;
pub mod truth;
pub mod weights;

pub use build::{Access, Built, build};
