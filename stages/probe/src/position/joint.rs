//! One model for every kind of patch, and what it says of each tested patch by itself.

use std::sync::atomic::AtomicBool;

use engine::StageError;

use super::{Position, Side};
use crate::curve::Tested;
use crate::samples::{Grid, Samples};
use crate::split::Labelled;

impl Position {
    /// Fits one model to all patches; `None` where there is nothing to fit or to test. The split is that of `run`.
    pub(crate) fn predict_all(
        &self,
        kinds: &[Samples; 2],
        images: &[Labelled],
        grids: &[Grid],
        cancel: &AtomicBool,
    ) -> Result<Option<Tested>, StageError> {
        let grid = Self::one_grid(images, grids)?;
        let kinds = kinds.each_ref();
        let sides = Self { separate: false, ..self.clone() }.sides(images, &kinds);
        let (train, test): (Vec<_>, Vec<_>) =
            kinds.into_iter().zip(sides).map(|(kind, (train, test))| ((kind, train), (kind, test))).unzip();
        let norms = test.iter().flat_map(|(kind, rows)| rows.iter().map(|&i| kind.norms[i])).collect();
        let found = self.predict(grid, &Side::of(&train), &[Side::of(&test)], cancel)?.pop().flatten();
        Ok(found.map(|found| Tested {
            hits: found.hits,
            distances: found.distances,
            norms,
            images: found.images,
            converged: found.converged,
        }))
    }
}
