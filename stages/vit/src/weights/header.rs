//! What a weight file says without its values: enough to plan with. [`super::load`] is this, the values and the digest.

use std::path::PathBuf;

use super::checkpoint::{self, Checkpoint};
use super::params::Params;
use super::source::WeightSource;
use super::{Weights, assemble};
use crate::config::VitConfig;
use crate::error::VitError;
use crate::zoo::ModelSpec;

/// A weight file whose names and shapes fit a model; no value was read.
pub struct Header {
    /// The description that the file fits: that of the model, with the file's position grid.
    pub config: VitConfig,
    /// What the file holds besides the model, grouped.
    pub leftover: Vec<String>,
    /// Which naming the file has.
    pub naming: &'static str,
    checkpoint: Checkpoint,
    plan: assemble::Plan,
}

impl Header {
    /// Reads the tables of contents of `source`, after a download where one is needed.
    pub fn read(spec: &ModelSpec, source: &WeightSource, progress: &dyn Fn(u64, u64)) -> Result<Self, VitError> {
        let checkpoint = Checkpoint::open(&source.files(progress)?)?;
        let plan = assemble::plan(spec, &checkpoint)?;
        let (config, leftover, naming) = (plan.config.clone(), plan.leftover.clone(), plan.naming);
        Ok(Self { config, leftover, naming, checkpoint, plan })
    }

    /// The local files.
    pub fn files(&self) -> &[PathBuf] {
        &self.checkpoint.files
    }

    /// SHA-256 of the file's bytes, hex; of the files' digests in order where there are several. Reads them whole.
    pub fn digest(&self) -> Result<String, VitError> {
        checkpoint::digest(&self.checkpoint.files)
    }

    /// The values, all finite.
    pub fn params(&self) -> Result<Params, VitError> {
        assemble::read(&self.plan, &self.checkpoint)
    }

    pub(super) fn weights(self) -> Result<Weights, VitError> {
        let (params, digest) = (self.params()?, self.digest()?);
        let Self { config, leftover, naming, .. } = self;
        Ok(Weights { params, config, digest, leftover, naming })
    }
}
