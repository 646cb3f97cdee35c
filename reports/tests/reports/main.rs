//! A made-up store through every table, figure, renderer and query.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod browser;
mod dense;
mod discovery;
mod hostile;
mod made_up;
mod numbers;
mod pairs;
mod query;
mod report;
mod sites;
mod token_level;
