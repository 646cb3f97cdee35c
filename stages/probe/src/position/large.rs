//! The softmax over cells on more tokens than fit into memory in f64: read in blocks where they lie (`streamed.rs`).

use std::sync::atomic::AtomicBool;

use engine::StageError;

use super::{Side, code};
use crate::error::ProbeError;
use crate::logistic::LogisticParams;
use crate::samples::Grid;
use crate::streamed::{Chosen, Joined, Reading, judge};

impl Side<'_> {
    /// Whether a fit to these tokens is streamed.
    pub(super) fn is_large(&self, grid: Grid) -> bool {
        let dim = self.parts.iter().map(|(samples, _)| samples.dim).max().unwrap_or(0);
        Reading::default().is_large(self.cells.len(), dim, usize::from(grid.0) * usize::from(grid.1))
    }

    /// The tokens of each part behind those of the one before it.
    fn joined(&self) -> (Joined<'_>, Vec<usize>) {
        let (mut rows, mut start) = (Vec::with_capacity(self.cells.len()), 0);
        for (samples, own) in &self.parts {
            rows.extend(own.iter().map(|&i| start + i));
            start += samples.rows();
        }
        (Joined(self.parts.iter().map(|(samples, _)| *samples).collect()), rows)
    }

    /// Cells, as codes, that a model of these tokens predicts for others; and whether its fit reached the optimum.
    pub(super) fn streamed_cells(
        &self,
        tests: &[Side<'_>],
        c: f64,
        logistic: LogisticParams,
        cancel: &AtomicBool,
    ) -> Result<(Vec<Vec<u32>>, bool), StageError> {
        let (source, rows) = self.joined();
        let train = Chosen::new(&source, rows, self.cells.iter().copied().map(code).collect());
        let (mut cells, mut converged) = (Vec::new(), false);
        logistic.check().map_err(ProbeError::from)?.fit_streamed(&train, &[c], cancel, |fit| {
            converged = fit.converged;
            for test in tests {
                let (source, rows) = test.joined();
                let chosen = Chosen::new(&source, rows, test.cells.iter().copied().map(code).collect());
                cells.push(judge(&fit.model, &chosen)?.predicted);
            }
            Ok(())
        })?;
        Ok((cells, converged))
    }
}
