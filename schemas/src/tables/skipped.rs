//! The table `skipped`: its columns and their meanings.

use crate::column::Name;
use crate::table::table;

table! {
    /// Images that could not be read, decoded or encoded. Counted in every report.
    Skipped = "skipped" v 1 {
        /// Image index.
        image: Vec<u32>,
        /// Name of the image.
        name: Vec<Name>,
        /// A short stable reason, such as `truncated jpeg`.
        reason: Vec<Name>,
        /// The whole story.
        detail: Vec<Name>,
    }
}
