//! Tables to statistics: norms, shares, onset, neighbour cosine, attention, detection against known truth, and the
//! same against the cut-off.
//!
//! Discovered boxes against drawn ones: [`corloc`].
//!
//! No machine learning: everything here is a count, a sum, a rank or a quantile of `token_stats` and
//! `norm_histograms`, read batch by batch in bounded memory. Standard errors take images as independent, not tokens.

pub mod clusters;
pub mod corloc;
pub mod curves;
pub mod distribution;
pub mod onset;
pub mod ranks;
pub mod resample;
mod scores;
pub mod stage;
pub mod sweep;
pub mod tally;

pub use corloc::{CorLoc, CorLocParams};
pub use stage::{Measure, MeasureParams};
