//! The table `scores`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// Every number that a report can print: one row per experiment, subject and metric.
    Scores = "scores" v 1 {
        /// What was measured: `norms`, `detection`, `neighbour_cosine`, `attention`, `correspondence`, `token_class`, `pooled_class`, `multi_label`, `position`, `pixels`, `corloc`, `knn`, `linear_eval`, `zero_shot`, `segmentation`, `depth`.
        experiment: Vec<Name>,
        /// On what: a token kind (`cls`, `register_0`, `normal`, `outlier`, `patch`, `mean_patch`), `all`, the features of LOST (`raw`, `l2`), a head by its name (of `linear_eval` also `chosen_on_test` and `chosen_on_train`), a guess without a head (`majority`, `constant`, `layout`), a class (`class_<name>`), or templates by theirs.
        subject: Vec<Name>,
        /// Site of the vectors or norms.
        site: Vec<Name>,
        /// Name of the number with its unit, such as `accuracy_frac`, `share_frac`, `median`.
        metric: Vec<Name>,
        /// The number; null when it could not be honestly obtained (see `note`).
        value: Vec<Option<f64>>,
        /// Standard deviation over draws or seeds.
        std: Vec<Option<f64>>,
        /// Standard error of the value.
        stderr: Vec<Option<f64>>,
        /// Tokens or images that the value was computed on.
        n: Vec<u64>,
        /// Draws or seeds behind `std`.
        draws: Vec<u32>,
        /// Images that had no token of this kind.
        images_without: Vec<u32>,
        /// Inverse regularisation that the selection chose, for a fit.
        c: Vec<Option<f64>>,
        /// Whether every fit behind the value converged.
        converged: Vec<bool>,
        /// Anything a reader must know, or empty.
        note: Vec<Name>,
    }
}
