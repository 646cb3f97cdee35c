//! The table `norm_histograms`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// Histograms of token norms at every site; one row per non-empty bin and shard. Counts of shards add.
    NormHistograms = "norm_histograms" v 1 {
        /// Site.
        site: Vec<Name>,
        /// `cls`, `register_0` …, or `patch`.
        kind: Vec<Name>,
        /// `log` (40 bins a decade) or `linear` (bins of width 1).
        scale: Vec<Name>,
        /// Bin number on that scale.
        bin: Vec<i32>,
        /// Lower edge of the bin, inclusive.
        low: Vec<f32>,
        /// Upper edge, exclusive.
        high: Vec<f32>,
        /// Tokens in the bin.
        tokens: Vec<u64>,
    }
}
