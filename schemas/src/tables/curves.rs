//! The table `curves`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// Numbers against a knob: what a table would say with another cut-off, layer or bias.
    Curves = "curves" v 1 {
        /// What was measured, as in `scores`.
        experiment: Vec<Name>,
        /// On what: a token kind, `all`, or the features of LOST: `raw`, `l2`.
        subject: Vec<Name>,
        /// Site of the norms, vectors or features.
        site: Vec<Name>,
        /// What is turned: `cutoff` (a norm), `top_frac` (share of the largest norms) or `bias` (of the Gram matrix).
        knob: Vec<Name>,
        /// Where the knob stands.
        at: Vec<f64>,
        /// What this place is: `run` (the policy of the run), `paper`, `study`, `valley`, several with spaces between, or empty.
        mark: Vec<Name>,
        /// Name of the number with its unit.
        metric: Vec<Name>,
        /// The number; null where it is not defined.
        value: Vec<Option<f64>>,
        /// Standard error of the value.
        stderr: Vec<Option<f64>>,
        /// Tokens or images that the value was computed on.
        n: Vec<u64>,
    }
}
