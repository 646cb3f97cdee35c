//! Rows of large tables in any order, in bounded memory.
//!
//! A row is found by its part, row group and place. Whole groups are read and kept until they are more than a fixed number
//! of bytes together; then the one that was not used for longest goes. So a small set is read once and stays, and a large
//! one costs one group per row, whatever its size. What grows with the number of rows is the index: of each group what the
//! footer says of its columns, [`FOOTER_BYTES`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use schemas::tables::{Dense, TruthMaps};
use schemas::{PartGroups, Table, TableError};

/// Of an open part in memory for each of its row groups: measured on `dense`.
pub(crate) const FOOTER_BYTES: u64 = 6200;

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    part: u32,
    group: u32,
    row: u32,
}

/// Bytes of a table in memory, by its large columns.
pub(crate) trait Weighed {
    fn bytes(&self) -> usize;
}

impl Weighed for Dense {
    fn bytes(&self) -> usize {
        self.patches.iter().chain(&self.cls).map(|h| h.0.len()).sum::<usize>() + 96 * self.image.len()
    }
}

impl Weighed for TruthMaps {
    fn bytes(&self) -> usize {
        self.cells.iter().map(Vec::len).sum::<usize>() + 96 * self.image.len()
    }
}

/// Parts of one table.
pub(crate) struct Groups<T: Table> {
    /// A part is read by one thread at a time, so that two threads after the same group read it once.
    parts: Vec<Mutex<PartGroups<T>>>,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    groups: BTreeMap<(u32, u32), (Arc<T>, u64)>,
    bytes: usize,
    bound: usize,
    clock: u64,
}

impl<T: Table + Weighed + Sync> Groups<T> {
    /// `bound`: bytes of groups that are kept.
    pub(crate) fn open(paths: &[PathBuf], bound: usize) -> Result<Self, TableError> {
        let parts = paths.iter().map(|path| Ok(Mutex::new(PartGroups::open(path)?)));
        let kept = Kept { groups: BTreeMap::new(), bytes: 0, bound, clock: 0 };
        Ok(Self { parts: parts.collect::<Result<_, TableError>>()?, kept: Mutex::new(kept) })
    }

    /// Goes once through the rows, in order, reading only what `keys` reads of each group: the keys of its rows.
    pub(crate) fn keys<K>(
        &self,
        keys: impl Fn(&PartGroups<T>, usize) -> Result<Vec<K>, TableError>,
    ) -> Result<Vec<(Spot, K)>, TableError> {
        let mut all = Vec::new();
        for (part, groups) in self.parts.iter().enumerate() {
            let groups = lock(groups);
            for group in 0..groups.rows().len() {
                let (part, number) = (part as u32, group as u32);
                let own = keys(&groups, group)?.into_iter().enumerate();
                all.extend(own.map(|(row, key)| (Spot { part, group: number, row: row as u32 }, key)));
            }
        }
        Ok(all)
    }

    /// The group that holds a row, and the row's place in it.
    pub(crate) fn row(&self, spot: Spot) -> Result<(Arc<T>, usize), TableError> {
        Ok((self.read(spot.part, spot.group)?, spot.row as usize))
    }

    fn read(&self, part: u32, group: u32) -> Result<Arc<T>, TableError> {
        let find = || lock(&self.kept).find((part, group));
        if let Some(found) = find() {
            return Ok(found);
        }
        let Some(groups) = self.parts.get(part as usize) else { return Ok(Arc::new(T::default())) };
        let groups = lock(groups);
        // Another thread may have read it while this one waited for the part.
        if let Some(found) = find() {
            return Ok(found);
        }
        let table = Arc::new(groups.read(group as usize)?);
        lock(&self.kept).keep((part, group), Arc::clone(&table));
        Ok(table)
    }
}

impl<T: Weighed> Kept<T> {
    fn find(&mut self, key: (u32, u32)) -> Option<Arc<T>> {
        self.clock += 1;
        let (table, used) = self.groups.get_mut(&key)?;
        *used = self.clock;
        Some(Arc::clone(table))
    }

    fn keep(&mut self, key: (u32, u32), table: Arc<T>) {
        self.clock += 1;
        self.bytes += table.bytes();
        if let Some((old, _)) = self.groups.insert(key, (table, self.clock)) {
            self.bytes -= old.bytes();
        }
        while self.bytes > self.bound {
            let oldest = self.groups.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let Some((old, _)) = oldest.and_then(|key| self.groups.remove(&key)) else { break };
            self.bytes -= old.bytes();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is behind it is whole between calls, so a thread that panicked elsewhere harms nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use schemas::PartWriter;

    use super::super::features::made;
    use super::*;

    /// Breaks when a row is read from another group, or the bound is not kept.
    #[test]
    fn any_row_is_found_and_no_more_than_the_bound_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..2).map(|i| folder.path().join(format!("{i}.parquet"))).collect();
        for (part, path) in paths.iter().enumerate() {
            let mut writer = PartWriter::create(path, &[]).unwrap();
            for image in 0..6 {
                let mut table = Dense::default();
                // 1.6 MB a row: two rows a group.
                let values = vec![image as f32; 800_000];
                made::push(&mut table, part as u32 * 6 + image, 0, (4000, 2), "final", (&values, &[0.0; 100]));
                writer.write(&mut table).unwrap();
            }
            writer.finish().unwrap();
        }
        let groups = Groups::<Dense>::open(&paths, 4 << 20).unwrap();
        let spots = groups.keys(|part, group| part.column::<Vec<u32>>(group, "image")).unwrap();
        assert_eq!(spots.iter().map(|s| s.1).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
        assert!(spots.iter().any(|(spot, _)| spot.row > 0) && spots.iter().any(|(spot, _)| spot.group > 0));
        for &(spot, image) in spots.iter().rev().step_by(5).chain(&spots) {
            let (table, row) = groups.row(spot).unwrap();
            assert_eq!(table.image[row], image);
            assert!(lock(&groups.kept).bytes <= 4 << 20);
        }
        assert!(!lock(&groups.kept).groups.is_empty());
    }
}
