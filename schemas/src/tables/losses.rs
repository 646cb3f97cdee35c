//! The table `losses`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// How training went: one row per head and logged step.
    Losses = "losses" v 1 {
        /// Name of the head.
        head: Vec<Name>,
        /// Steps done, from 1.
        step: Vec<u64>,
        /// Mean loss over the steps since the last row.
        loss: Vec<f64>,
        /// Learning rate of the last of them.
        learning_rate: Vec<f64>,
    }
}
