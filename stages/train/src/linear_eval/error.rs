//! What can go wrong in a linear evaluation.

use engine::{ErrorKind, StageError};
use thiserror::Error;

/// A linear evaluation that cannot be.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LinearEvalError {
    /// A parameter is out of range.
    #[error("linear evaluation: `{name}` = {value} is out of range")]
    Range {
        /// Parameter.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// More blocks are asked for than sites are named.
    #[error("linear evaluation: `last_blocks` asks for {wanted} blocks, `sites` names {found}")]
    Sites {
        /// Blocks asked for.
        wanted: usize,
        /// Sites named.
        found: usize,
    },
    /// An input lacks a table.
    #[error("linear evaluation: the {run} run has no table `{table}`")]
    Table {
        /// `training` or `test`.
        run: &'static str,
        /// Table.
        table: &'static str,
    },
    /// An image has not all vectors that a head reads.
    #[error("view {view} of image {image} has no `{pool}` at site `{site}`; the table has {found}")]
    Vector {
        /// Image.
        image: u32,
        /// View.
        view: u16,
        /// Site asked for.
        site: String,
        /// Pool asked for.
        pool: &'static str,
        /// Sites found.
        found: String,
    },
    /// A channel is no number.
    #[error("`{pool}` of image {image} at site `{site}` holds a value that is not finite")]
    NotFinite {
        /// Image.
        image: u32,
        /// Site.
        site: String,
        /// Pool.
        pool: &'static str,
    },
    /// Vectors of two lengths.
    #[error("vectors of {first} and of {second} channels; the runs are of different models")]
    Width {
        /// First length.
        first: usize,
        /// Other length.
        second: usize,
    },
    /// Nothing to learn from.
    #[error("no training image has a label and vectors, so nothing can be learned")]
    Nothing,
    /// A table changed while it was read.
    #[error("the training vectors are other ones than at the first reading: {second} where there were {first}")]
    Changed {
        /// Samples of the first reading.
        first: usize,
        /// Samples of this one.
        second: usize,
    },
}

impl From<LinearEvalError> for StageError {
    fn from(e: LinearEvalError) -> Self {
        use LinearEvalError as E;
        let (kind, fix) = match &e {
            E::Range { .. } | E::Sites { .. } => (ErrorKind::Config, "correct the study file"),
            E::Vector { .. } => (ErrorKind::Config, "add the site to `pooled` of the extraction"),
            E::Nothing => (ErrorKind::Config, "choose a labelled dataset or drop the linear evaluation"),
            E::Width { .. } => (ErrorKind::Config, "train and judge on vectors of one model"),
            E::Table { .. } => (ErrorKind::Bug, "please report this"),
            E::NotFinite { .. } => {
                (ErrorKind::Missing, "look at the model, or delete the run's folder to have it made again")
            }
            E::Changed { .. } => (ErrorKind::Missing, "let nothing write to the store while it is read, and run again"),
        };
        Self::new(kind, &e, "", fix)
    }
}
