//! The table `heads`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// Parameters of heads that were trained, and of maps that come with a model: one row per tensor.
    Heads = "heads" v 1 {
        /// Name of the head, such as `linear`, `blocks4-avgpool-lr0.001` or `image_projection`.
        head: Vec<Name>,
        /// Name of the tensor, such as `weight`, `bias`, `batch_norm.running_mean`.
        tensor: Vec<Name>,
        /// Its shape, such as `150x384`.
        shape: Vec<Name>,
        /// Its values, row-major.
        values: Vec<Vec<f32>>,
    }
}
