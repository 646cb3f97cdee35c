//! The table `register_neurons`: its columns and their meanings.

use crate::table::table;

table! {
    /// Hidden units that are most active where outliers stand, most active first.
    RegisterNeurons = "register_neurons" v 1 {
        /// 0 for the unit of the largest mean activation on outliers.
        rank: Vec<u32>,
        /// Block of its MLP.
        block: Vec<u16>,
        /// Hidden unit, after the activation.
        unit: Vec<u32>,
        /// Mean absolute activation on outlier patches.
        on_outliers: Vec<f32>,
        /// Mean absolute activation on the other patches.
        on_others: Vec<f32>,
        /// Outlier patches behind the mean.
        outliers: Vec<u64>,
        /// Images with an outlier.
        images: Vec<u32>,
    }
}
