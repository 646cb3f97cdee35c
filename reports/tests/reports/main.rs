//! A made-up store through every table, figure, renderer and query.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hostile;
mod made_up;
mod query;
mod report;
