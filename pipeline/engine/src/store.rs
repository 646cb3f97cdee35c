//! Where results live: `<root>/<table>/<key>=<value>/…/run=<fingerprint>/part-00017.parquet` and `.done` beside it.
//!
//! The marker is the truth: a part without one does not exist for any reader. It holds the part's size, so that a
//! file that was cut short behind our back is made again instead of read.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::StageError;
use crate::stage::{ShardReport, TableRef};

/// A folder of tables.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// Content of a `.done` marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Rows of the part.
    pub rows: u64,
    /// Size of the part, bytes.
    pub bytes: u64,
    /// Items that the shard saw.
    pub items: u64,
    /// Items that it skipped.
    pub skipped: u64,
}

impl Marker {
    /// The report of the shard that wrote the part.
    pub fn report(&self) -> ShardReport {
        ShardReport { items: self.items, skipped: self.skipped }
    }
}

impl Store {
    /// Opens or creates a store.
    pub fn open(root: &Path) -> Result<Self, StageError> {
        fs::create_dir_all(root).map_err(|e| StageError::disk(root, &e))?;
        Ok(Self { root: root.to_owned() })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Folder of one run of a table.
    pub fn dir(&self, table: &TableRef) -> PathBuf {
        self.root.join(relative_dir(table))
    }

    /// Path of a part, finished or not.
    pub fn part(&self, table: &TableRef, shard: u32) -> PathBuf {
        self.dir(table).join(format!("part-{shard:05}.parquet"))
    }

    /// The marker of a part, if the part is finished and whole.
    pub fn marker(&self, table: &TableRef, shard: u32) -> Option<Marker> {
        let part = self.part(table, shard);
        let marker: Marker = serde_json::from_slice(&fs::read(part.with_extension("done")).ok()?).ok()?;
        (fs::metadata(&part).ok()?.len() == marker.bytes).then_some(marker)
    }

    /// The parts `0..shards` of a finished table, or the first that is missing.
    pub fn finished_parts(&self, table: &TableRef, shards: u32) -> Result<Vec<PathBuf>, u32> {
        (0..shards).map(|i| self.marker(table, i).map(|_| self.part(table, i)).ok_or(i)).collect()
    }

    /// Every finished part of a table, in shard order, however many there are.
    pub fn parts(&self, table: &TableRef) -> Result<Vec<PathBuf>, StageError> {
        let dir = self.dir(table);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(StageError::disk(&dir, &e)),
        };
        let mut parts: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "done"))
            .map(|p| p.with_extension("parquet"))
            .collect();
        parts.sort();
        Ok(parts)
    }
}

/// Folder of one run of a table, relative to the store.
pub fn relative_dir(table: &TableRef) -> PathBuf {
    let mut dir = PathBuf::from(table.table);
    for (key, value) in &table.partition {
        dir.push(format!("{key}={}", folder_name(value)));
    }
    dir.push(format!("run={}", table.fingerprint));
    dir
}

/// Writes a small file so that it is there whole or not at all.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StageError> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&temporary);
        StageError::disk(path, &e)
    })?;
    // The parent of a bare file name is the empty path, which is the current folder.
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Makes renames in a folder survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StageError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| StageError::disk(dir, &e))
}

/// A value as a folder name: hive readers split at `=` and `/`, and a name must not climb out of the store.
fn folder_name(value: &str) -> String {
    let name: String = value
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | ' ') { c } else { '_' })
        .collect();
    let name = name.trim_matches([' ', '.']);
    if name.is_empty() { "_".to_owned() } else { name.chars().take(100).collect() }
}

#[cfg(test)]
mod tests {
    use super::folder_name;

    #[test]
    fn no_value_climbs_out_of_the_store() {
        for hostile in ["..", ".", "", "/etc", "a/../b", "a=b", "\0", "../../x"] {
            let name = folder_name(hostile);
            assert!(!name.is_empty() && !name.contains(['/', '=', '\0']) && name != ".." && name != ".", "{hostile:?}");
        }
        assert_eq!(folder_name("dinov2_vits14"), "dinov2_vits14");
    }
}
