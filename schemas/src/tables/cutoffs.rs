//! The table `cutoffs`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// The norm cut-off that a calibration pass found; one row.
    Cutoffs = "cutoffs" v 1 {
        /// Site of the norms.
        site: Vec<Name>,
        /// Cut-off: a patch above it is an outlier. Null: the norms have one mode and no patch is an outlier.
        cutoff: Vec<Option<f32>>,
        /// Depth of the valley: 1 − density at the valley / density of the lower of the two peaks. 0 without a valley.
        valley_depth: Vec<f32>,
        /// Median patch norm.
        median: Vec<f32>,
        /// Images of the calibration pass.
        images: Vec<u32>,
        /// Patch tokens of the calibration pass.
        tokens: Vec<u64>,
    }
}
