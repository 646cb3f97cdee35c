//! Reads the vectors of a classification from tables: all at once, or where they lie when they are too many.
//!
//! A table holds every kind of token and every draw, a fit takes one vector per image. So a table that exceeds the memory
//! it may take is gone through once for the places of its vectors, and each fit then reads its own: into memory, or, if
//! even these are too many, again in every pass (`streamed.rs`). The numbers are the same either way.

use engine::{ShardIo, StageError};
use schemas::tables::{Pooled, TokenVectors};

use crate::samples::{Encoded, Runs};
use crate::score::Score;
use crate::streamed::Reading;
use crate::token_class::VectorClass;

impl VectorClass {
    /// Scores from sampled tokens of `width` channels.
    pub(crate) fn of_tokens(
        &self,
        (runs, io): (&Runs<'_>, &ShardIo<'_>),
        images: &Encoded,
        width: usize,
        reading: Reading<'_>,
    ) -> Result<Vec<Score>, StageError> {
        let (name, images, cancel) = ("token_class", &images.labelled, io.cancel_flag());
        if reading.fits(runs.rows::<TokenVectors>(io)? as usize, width) {
            let tokens = runs.tokens(io, &self.site, &self.subjects)?;
            return self.run(name, &tokens, images, reading, cancel);
        }
        let (tokens, parts) = runs.places_of_tokens(io, &self.site, &self.subjects)?;
        self.run(name, &tokens, images, Reading { parts: Some(&parts), ..reading }, cancel)
    }

    /// Scores from whole-image vectors of `width` channels.
    pub(crate) fn of_pooled(
        &self,
        (runs, io): (&Runs<'_>, &ShardIo<'_>),
        images: &Encoded,
        width: usize,
        reading: Reading<'_>,
    ) -> Result<Vec<Score>, StageError> {
        let (name, images, cancel) = ("pooled_class", &images.labelled, io.cancel_flag());
        if reading.fits(runs.rows::<Pooled>(io)? as usize, width) {
            let pooled = runs.pooled(io, &self.site, &self.subjects)?;
            return self.run(name, &pooled, images, reading, cancel);
        }
        let (pooled, parts) = runs.places_of_pooled(io, &self.site, &self.subjects)?;
        self.run(name, &pooled, images, Reading { parts: Some(&parts), ..reading }, cancel)
    }
}
