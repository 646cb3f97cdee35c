//! The table `replicates`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// Scores without one group of test images each: of two models that were judged on the same images, the differences of these tell whether one is better.
    Replicates = "replicates" v 1 {
        /// What was measured, as in `scores`.
        experiment: Vec<Name>,
        /// On what, as in `scores`.
        subject: Vec<Name>,
        /// Site, as in `scores`.
        site: Vec<Name>,
        /// Name of the number with its unit, as in `scores`.
        metric: Vec<Name>,
        /// The group that is left out, from 0.
        group: Vec<u32>,
        /// How many groups there are.
        groups: Vec<u32>,
        /// The number without it.
        value: Vec<f64>,
        /// Test images of all groups.
        n: Vec<u64>,
    }
}
