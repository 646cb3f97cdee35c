//! Vectors that stay in the parts of a table and are read again in every pass.
//!
//! Of each token its place is kept: part, row group, row. A pass goes through places in ascending order; groups
//! are decoded side by side, each once: the last of a block is held, since the block may end within it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use engine::StageError;
use rayon::prelude::*;
use schemas::{PartGroups, Table, Vectors};

use super::source::Source;
use super::{MEMORY_BYTES, SMALL};
use crate::error::ProbeError;

/// Where a vector lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Number of the part, over all runs that are read.
    pub part: u32,
    /// Row group within the part.
    pub group: u32,
    /// Row within the group.
    pub row: u32,
}

/// Parts from which vectors can be read.
pub(crate) trait Readable: Sync {
    /// The vectors at some places, ascending, of `dim` channels.
    fn at<'a>(&'a self, places: &'a [Place], dim: usize) -> Box<dyn Source + 'a>;
}

impl<T: Table + Send + Sync> Readable for Parts<T> {
    fn at<'a>(&'a self, places: &'a [Place], dim: usize) -> Box<dyn Source + 'a> {
        Box::new(Stored { parts: self, places, dim, held: Mutex::new(None) })
    }
}

/// Where vectors come from, and what is large. Only [`Self::small`] can change a number, within the certificate's bound.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// The parts in which vectors were left; none: samples hold them.
    pub parts: Option<&'a dyn Readable>,
    /// Vectors of this many bytes may be held at once.
    pub memory_bytes: u64,
    /// Rows × (channels or classes, whichever are more) of the largest fit that is made in f64 in memory.
    pub small: usize,
}

impl Default for Reading<'_> {
    fn default() -> Self {
        Self { parts: None, memory_bytes: MEMORY_BYTES, small: SMALL }
    }
}

impl Reading<'_> {
    /// Whether a fit of this size is streamed.
    pub(crate) fn is_large(&self, rows: usize, dim: usize, classes: usize) -> bool {
        rows.saturating_mul(dim.max(classes)) > self.small
    }

    /// Whether so many vectors may be held.
    pub(crate) fn fits(&self, rows: usize, dim: usize) -> bool {
        (rows as u64).saturating_mul(4 * dim as u64) <= self.memory_bytes
    }
}

/// The parts of a table, opened.
pub(crate) struct Parts<T: Table> {
    parts: Vec<PartGroups<T>>,
    column: fn(&T) -> &Vectors,
}

impl<T: Table> Parts<T> {
    /// Reads the footers. `column` is the vectors of the table.
    pub(crate) fn open(paths: &[PathBuf], column: fn(&T) -> &Vectors) -> Result<Self, StageError> {
        let parts = paths.iter().map(|path| PartGroups::open(path)).collect::<Result<_, _>>()?;
        Ok(Self { parts, column })
    }

    /// Reads every group in order: part, group, rows.
    pub(crate) fn each(&self, mut rows: impl FnMut(u32, u32, &T) -> Result<(), StageError>) -> Result<(), StageError> {
        for (part, groups) in self.parts.iter().enumerate() {
            for group in 0..groups.rows().len() {
                rows(part as u32, group as u32, &groups.read(group)?)?;
            }
        }
        Ok(())
    }
}

/// Vectors at given places of a table.
struct Stored<'a, T: Table> {
    parts: &'a Parts<T>,
    places: &'a [Place],
    dim: usize,
    /// The group that was read last.
    held: Mutex<Option<(u32, u32, T)>>,
}

impl<T: Table + Send + Sync> Source for Stored<'_, T> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn copy(&self, rows: &[usize], mut out: &mut [f32]) -> Result<(), StageError> {
        let group = |row: &usize| (self.places[*row].part, self.places[*row].group);
        let mut jobs = Vec::new();
        for rows in rows.chunk_by(|a, b| group(a) == group(b)) {
            let (here, rest) = out.split_at_mut(rows.len() * self.dim);
            jobs.push((rows, here));
            out = rest;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let last = jobs.len().saturating_sub(1);
        let read = |(job, (rows, out)): (usize, (&[usize], &mut [f32]))| {
            let (part, number) = group(&rows[0]);
            let known = held.as_ref().filter(|held| (held.0, held.1) == (part, number));
            let new = match known {
                Some(_) => None,
                None => Some(self.parts.parts[part as usize].read(number as usize)?),
            };
            let Some(table) = new.as_ref().or(known.map(|held| &held.2)) else { return Ok(None) };
            let vectors = (self.parts.column)(table);
            if vectors.dim() != self.dim {
                return Err(ProbeError::Width { first: self.dim, second: vectors.dim() }.into());
            }
            for (row, out) in rows.iter().zip(out.chunks_mut(self.dim.max(1))) {
                out.copy_from_slice(vectors.row(self.places[*row].row as usize));
            }
            Ok::<_, StageError>(new.filter(|_| job == last).map(|table| (part, number, table)))
        };
        let ends: Vec<_> = jobs.into_par_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        if let Some(end) = ends.into_iter().flatten().next() {
            *held = Some(end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use schemas::PartWriter;
    use schemas::tables::Pooled;

    use super::*;

    /// Three parts of five rows, whose vectors are their numbers. Breaks when the group that is held is taken for another,
    /// or a row of one part for that of the next.
    #[test]
    fn blocks_may_end_within_groups() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..3u32)
            .map(|part| {
                let path = folder.path().join(format!("{part}.parquet"));
                let mut rows = Pooled::default();
                for row in 0..5u32 {
                    rows.image.push(5 * part + row);
                    rows.site.push("final".into());
                    rows.pool.push("cls".into());
                    rows.vector.push(&[(5 * part + row) as f32, -1.0]);
                }
                let mut writer = PartWriter::create(&path, &[]).unwrap();
                writer.write(&mut rows).unwrap();
                writer.finish().unwrap();
                path
            })
            .collect();
        let parts = Parts::<Pooled>::open(&paths, |t| &t.vector).unwrap();
        let mut places = Vec::new();
        let each = parts.each(|part, group, t| {
            places.extend((0..t.rows() as u32).map(|row| Place { part, group, row }));
            Ok(())
        });
        each.unwrap();
        let stored = parts.at(&places, 2);
        for rows in [vec![0, 1, 6], vec![7, 8], vec![9, 10, 14], vec![2], vec![0, 4, 5, 9, 10, 14]] {
            let mut out = vec![0.0; 2 * rows.len()];
            stored.copy(&rows, &mut out).unwrap();
            let wanted: Vec<f32> = rows.iter().flat_map(|&row| [row as f32, -1.0]).collect();
            assert_eq!(out, wanted);
        }
        assert!(parts.at(&places, 3).copy(&[0], &mut [0.0; 3]).is_err(), "vectors of another width");
    }
}
