//! Where results live: `<root>/<table>/<key>=<value>/…/run=<fingerprint>/part-00017.parquet` and `.done` beside it.
//!
//! The marker is the truth: a part without one does not exist for any reader. It holds the part's size, so that a
//! file that was cut short behind our back is made again instead of read.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::StageError;
use crate::stage::TableRef;

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

impl Store {
    /// Opens or creates a store.
    pub fn open(root: &Path) -> Result<Self, StageError> {
        fs::create_dir_all(root).map_err(|e| StageError::disk(root, &e))?;
        Ok(Self { root: root.to_owned() })
    }

    /// A store to look at: nothing is created, and a folder that does not exist holds nothing.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
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

    /// Path of what an unfinished shard keeps, beside a part that is not there yet; readers look at finished parts alone.
    pub fn kept(&self, table: &TableRef, shard: u32) -> PathBuf {
        self.part(table, shard).with_extension("kept")
    }

    /// The marker of a part, if the part is finished and whole.
    pub fn marker(&self, table: &TableRef, shard: u32) -> Option<Marker> {
        marker_of(&self.part(table, shard))
    }

    /// Every finished part of a table, in shard order, however many there are.
    pub fn parts(&self, table: &TableRef) -> Result<Vec<PathBuf>, StageError> {
        let dir = self.dir(table);
        finished_parts(&dir).map_err(|e| StageError::disk(&dir, &e))
    }
}

/// The marker of a part, if there is one and the part has the size that it names.
fn marker_of(part: &Path) -> Option<Marker> {
    let marker: Marker = serde_json::from_slice(&fs::read(part.with_extension("done")).ok()?).ok()?;
    (fs::metadata(part).ok()?.len() == marker.bytes).then_some(marker)
}

/// The finished parts in the folder of one run of a table, in shard order. A folder that does not exist has none.
pub fn finished_parts(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "parquet") && marker_of(&path).is_some() {
            parts.push(path);
        }
    }
    // From shard 100 000 on, names grow longer.
    parts.sort_by(|a, b| (a.as_os_str().len(), a).cmp(&(b.as_os_str().len(), b)));
    Ok(parts)
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

/// Sixteen digits that no other process has, on whichever host: in containers process numbers coincide.
pub(crate) fn attempt() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Writes a small file so that it is there whole or not at all. Its temporary name is `.<stem>.<attempt>.<ext>.tmp`.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StageError> {
    let mut name = OsString::from(".");
    name.push(path.file_stem().unwrap_or_default());
    name.push(format!(".{}.", attempt()));
    if let Some(extension) = path.extension() {
        name.push(extension);
        name.push(".");
    }
    name.push("tmp");
    let temporary = path.with_file_name(name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
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
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn no_two_attempts_share_a_name() {
        // In threads, too: each seeds its hasher anew.
        let names = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| [attempt(), attempt()])).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<std::collections::BTreeSet<_>>()
        });
        assert_eq!(names.len(), 8);
        assert!(names.iter().all(|n| n.len() == 16));
    }

    #[test]
    fn parts_count_when_their_marker_names_their_size_and_come_in_shard_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| write_atomic(&folder.path().join(name), bytes).unwrap();
        for shard in ["part-100000", "part-99999", "part-00002"] {
            write(&format!("{shard}.parquet"), b"four");
            write(&format!("{shard}.done"), br#"{"rows":1,"bytes":4,"items":1,"skipped":0}"#);
        }
        // Cut short, without a marker, with a damaged one, and a marker without a part.
        write("part-00003.parquet", b"fo");
        write("part-00003.done", br#"{"rows":1,"bytes":4,"items":1,"skipped":0}"#);
        write("part-00004.parquet", b"four");
        write("part-00005.parquet", b"four");
        write("part-00005.done", b"{");
        write("part-00006.done", br#"{"rows":1,"bytes":4,"items":1,"skipped":0}"#);
        let names: Vec<_> = finished_parts(folder.path()).unwrap();
        let names: Vec<_> = names.iter().map(|p| p.file_stem().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["part-00002", "part-99999", "part-100000"]);
        assert!(finished_parts(&folder.path().join("nowhere")).unwrap().is_empty());
        // Nothing temporary stays behind.
        assert!(fs::read_dir(folder.path()).unwrap().all(|e| e.unwrap().path().extension().unwrap() != "tmp"));
    }

    #[test]
    fn no_value_climbs_out_of_the_store() {
        for hostile in ["..", ".", "", "/etc", "a/../b", "a=b", "\0", "../../x"] {
            let name = folder_name(hostile);
            assert!(!name.is_empty() && !name.contains(['/', '=', '\0']) && name != ".." && name != ".", "{hostile:?}");
        }
        assert_eq!(folder_name("dinov2_vits14"), "dinov2_vits14");
    }
}
