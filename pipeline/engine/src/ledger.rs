//! The ledger: one JSON line per thing that happened in a store, appended, never rewritten.
//!
//! Times, hosts and versions go here, so that tables hold none and stay byte-identical. A line is written with one
//! `write` call on a file opened for appending, so that processes that share a store do not mix their lines. The
//! markers, not the ledger, say what is finished: a lost line loses a story and no result.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::error::StageError;
use crate::store::Store;

/// One line.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// Seconds since 1970.
    pub at_secs: u64,
    /// `shard_done`, `shard_failed`, `shard_resumed`: an attempt goes on from a kept state; or `shard_raced`: another
    /// process finished it first.
    pub event: &'a str,
    /// Stage name.
    pub stage: &'a str,
    /// Run of the stage.
    pub fingerprint: &'a str,
    /// Shard, if the event is of one.
    pub shard: Option<u32>,
    /// Seconds that it took.
    pub secs: Option<f64>,
    /// Rows, items, skipped.
    pub counts: Option<[u64; 3]>,
    /// Error text or other words.
    pub note: &'a str,
    /// Version of the binary.
    pub vitals: &'static str,
}

impl<'a> Line<'a> {
    /// A line about now.
    pub fn now(event: &'a str, stage: &'a str, fingerprint: &'a str) -> Self {
        Self {
            at_secs: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            event,
            stage,
            fingerprint,
            shard: None,
            secs: None,
            counts: None,
            note: "",
            vitals: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Appends a line.
pub fn append(store: &Store, line: &Line<'_>) -> Result<(), StageError> {
    let path = store.root().join("ledger.jsonl");
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut f| f.write_all(&bytes))
        .map_err(|e| StageError::disk(&path, &e))
}
