//! A study: what to measure, of which models, on which data. One TOML format, unknown keys refused.

pub mod build;
pub mod change;
pub mod check;
pub mod dataset;
pub mod dense;
pub mod discover;
pub mod embedded;
pub mod file;
pub mod linear_eval;
pub mod mistake;
pub mod model;
pub mod params;
pub mod portrait;
pub mod preprocess;
pub mod probes;
pub mod truth;
pub mod weights;
pub mod zero_shot;

pub use build::{Access, Built, build};
