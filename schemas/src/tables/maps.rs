//! The table `maps`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// Maps of the pictured images, one value per patch: norms, attention, principal components, steps of LOST.
    Maps = "maps" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// `norm`, `attention`, `component`, `lost_degree` (patches that a patch resembles) or `lost_expansion` (how much it resembles those that the box grows from).
        quantity: Vec<Name>,
        /// Site, such as `block_11`, `attention_11`, `key_11` or `final`.
        site: Vec<Name>,
        /// Attention: whose, `cls`, `register_0` …, `patch` (the middle one) or `outlier` (the patch of the largest norm). Components: basis, `image` or `joint`. Norms: `patch`. LOST: `raw`, or `l2` where features were divided by their length.
        of: Vec<Name>,
        /// Attention: `head_0` …, `mean` over heads, or `l2` (root of the sum of squares over heads). Components: `0`, `1` or `2`. Norms: empty. LOST: the bias.
        part: Vec<Name>,
        /// The patch whose attention this is, or the seed of LOST, row-major; null for other maps.
        patch: Vec<Option<u32>>,
        /// Patch rows.
        grid_h: Vec<u16>,
        /// Patch columns.
        grid_w: Vec<u16>,
        /// Attention: what goes to patches, not to CLS and registers (null for `l2`). Components: share of the variance. Norms and LOST: null.
        share_frac: Vec<Option<f32>>,
        /// Row-major, `[grid_h · grid_w]`. Components are divided by their standard deviation.
        cells: Vec<Vec<f32>>,
    }
}
