//! The table `class_vectors`: its columns and their meanings.

use crate::column::{Name, Vectors};
use crate::table::table;

table! {
    /// What a text encoder makes of class names: one row per class, the normalised mean over templates of normalised embeddings.
    ClassVectors = "class_vectors" v 1 {
        /// Class number, as in `images.label`.
        class: Vec<u32>,
        /// The name that the templates were filled with.
        name: Vec<Name>,
        /// Templates behind the mean.
        templates: Vec<u32>,
        /// The vector, `[E]`, of length 1.
        vector: Vectors,
    }
}
