//! What can go wrong in a probe.

use engine::{ErrorKind, StageError};
use thiserror::Error;

use crate::logistic::LogisticError;

/// A probe that cannot give its numbers.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ProbeError {
    /// A parameter is out of range.
    #[error("probe: `{name}` = {value} is out of range")]
    Range {
        /// Parameter.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A kind of token that does not exist.
    #[error("probe: no token kind is called `{found}`; kinds are cls, register_0 …, normal, outlier")]
    Kind {
        /// Name found.
        found: String,
    },
    /// The experiment needs a table that no input has.
    #[error("probe: `{experiment}` needs the table `{table}`")]
    Table {
        /// Experiment.
        experiment: &'static str,
        /// Missing table.
        table: &'static str,
    },
    /// The split asks for two runs, or for one, and got the other.
    #[error("probe: the split `{split}` does not fit {runs} run(s); `datasets` needs a test run, the others none")]
    Runs {
        /// Split.
        split: String,
        /// Runs given.
        runs: u32,
    },
    /// Nothing at the site.
    #[error("probe: `{table}` has no vectors at site `{site}`; it has {found}")]
    Site {
        /// Table.
        table: &'static str,
        /// Site asked for.
        site: String,
        /// Sites found.
        found: String,
    },
    /// No labels.
    #[error("probe: the dataset has no labels, so nothing can be classified")]
    Unlabelled,
    /// Vectors of two lengths.
    #[error("probe: vectors of {first} and of {second} channels in one table; the runs are of different models")]
    Width {
        /// First length.
        first: usize,
        /// Other length.
        second: usize,
    },
    /// Tokens of grids of several sizes.
    #[error("probe: positions need one grid, but image {image} has {found:?} patches where others have {wanted:?}")]
    Grid {
        /// Image.
        image: u32,
        /// Its rows and columns.
        found: (u16, u16),
        /// Those of the first image.
        wanted: (u16, u16),
    },
    /// Draws, where every patch is needed.
    #[error("probe: a curve needs every patch, but of image {image} {kept} of {patches} patches were kept")]
    Drawn {
        /// Image.
        image: u32,
        /// Patches that were kept.
        kept: usize,
        /// Patches that it has.
        patches: usize,
    },
    /// An experiment that no cut-off enters.
    #[error("probe: `{experiment}` does not depend on the cut-off; token_class, position and pixels do")]
    NoCurve {
        /// Experiment.
        experiment: &'static str,
    },
    /// The regression refused.
    #[error(transparent)]
    Logistic(#[from] LogisticError),
}

impl From<ProbeError> for StageError {
    fn from(e: ProbeError) -> Self {
        let (kind, fix) = match &e {
            ProbeError::Range { .. }
            | ProbeError::Kind { .. }
            | ProbeError::Runs { .. }
            | ProbeError::NoCurve { .. } => (ErrorKind::Config, "correct the study file"),
            ProbeError::Site { .. } => (ErrorKind::Config, "ask for a site that the extraction writes"),
            ProbeError::Drawn { .. } => (ErrorKind::Config, "set `every_patch = true` under [extract]"),
            ProbeError::Unlabelled => (ErrorKind::Config, "choose a labelled dataset or drop this experiment"),
            ProbeError::Table { .. } | ProbeError::Width { .. } => (ErrorKind::Bug, "please report this"),
            ProbeError::Grid { .. } => (ErrorKind::Config, "use a preprocessing that gives every image the same size"),
            ProbeError::Logistic(_) => (ErrorKind::Missing, "look at the split and at the vectors with `vitals query`"),
        };
        Self::new(kind, &e, "", fix)
    }
}
