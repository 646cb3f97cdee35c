//! Where the vectors of a large fit lie, and which of them it takes.

use engine::StageError;
use rayon::prelude::*;

use crate::samples::Samples;

/// Vectors that can be read again and again.
pub(crate) trait Source: Sync {
    /// Channels, D.
    fn dim(&self) -> usize;

    /// Copies some vectors, whose numbers ascend, into `out` [n, D].
    fn copy(&self, rows: &[usize], out: &mut [f32]) -> Result<(), StageError>;
}

/// Some of the vectors, with a label each.
pub(crate) struct Chosen<'a> {
    pub source: &'a dyn Source,
    /// Numbers of the vectors, ascending.
    pub rows: Vec<usize>,
    pub labels: Vec<u32>,
}

impl<'a> Chosen<'a> {
    /// Rows in any order, with their labels.
    pub(crate) fn new(source: &'a dyn Source, rows: Vec<usize>, labels: Vec<u32>) -> Self {
        let mut pairs: Vec<(usize, u32)> = rows.into_iter().zip(labels).collect();
        pairs.sort_unstable_by_key(|pair| pair.0);
        let (rows, labels) = pairs.into_iter().unzip();
        Self { source, rows, labels }
    }

    /// Some of them, by their place among the chosen.
    pub(crate) fn select(&self, places: &[usize]) -> Self {
        let of = |i: &usize| (self.rows[*i], self.labels[*i]);
        let (rows, labels) = places.iter().map(of).unzip();
        Self::new(self.source, rows, labels)
    }
}

fn copy_rows(values: &[f32], dim: usize, rows: &[usize], out: &mut [f32]) {
    let dim = dim.max(1);
    out.par_chunks_mut(dim * 256).zip(rows.par_chunks(256)).for_each(|(out, rows)| {
        for (out, &row) in out.chunks_mut(dim).zip(rows) {
            out.copy_from_slice(&values[row * dim..(row + 1) * dim]);
        }
    });
}

impl Source for Samples {
    fn dim(&self) -> usize {
        self.dim
    }

    fn copy(&self, rows: &[usize], out: &mut [f32]) -> Result<(), StageError> {
        copy_rows(&self.values, self.dim, rows, out);
        Ok(())
    }
}

/// Values [N, D] and their D.
impl Source for (&[f32], usize) {
    fn dim(&self) -> usize {
        self.1
    }

    fn copy(&self, rows: &[usize], out: &mut [f32]) -> Result<(), StageError> {
        copy_rows(self.0, self.1, rows, out);
        Ok(())
    }
}

/// Several samples one behind the other: row numbers go on from one to the next.
pub(crate) struct Joined<'a>(pub Vec<&'a Samples>);

impl Source for Joined<'_> {
    fn dim(&self) -> usize {
        self.0.iter().map(|s| s.dim).find(|&d| d > 0).unwrap_or(0)
    }

    fn copy(&self, rows: &[usize], mut out: &mut [f32]) -> Result<(), StageError> {
        let (mut rows, mut start, dim) = (rows, 0, self.dim());
        for samples in &self.0 {
            let (own, rest) = rows.split_at(rows.partition_point(|&row| row < start + samples.rows()));
            let (here, behind) = out.split_at_mut(own.len() * dim);
            let own: Vec<usize> = own.iter().map(|row| row - start).collect();
            copy_rows(&samples.values, dim, &own, here);
            (rows, out, start) = (rest, behind, start + samples.rows());
        }
        Ok(())
    }
}
