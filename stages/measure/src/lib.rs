//! Tables to statistics: norms, shares, onset, neighbour cosine, attention, detection against known truth.
//!
//! No machine learning, no random numbers: everything here is a count, a sum or a quantile of `token_stats` and
//! `norm_histograms`, read batch by batch in bounded memory.

pub mod distribution;
pub mod onset;
pub mod stage;
pub mod tally;

pub use stage::{Measure, MeasureParams};
