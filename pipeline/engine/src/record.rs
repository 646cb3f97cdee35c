//! What a run means, kept beside its parts so that a later study can say how it differs: `meaning.json`.
//!
//! ```text
//! {"stage":"extract","version":2,"meaning":{…},"inputs":[{"table":"cutoffs","folder":"cutoffs/model=…/run=…"}]}
//! ```
//!
//! These are the parts of a fingerprint, in words. They are written when a step begins, whole or not at all, and are the
//! same bytes whoever writes them. Nothing depends on them: fingerprints and markers alone decide which run a study
//! means and whether it is finished. So a record that cannot be written, or is damaged, costs an explanation only.

use std::fs;
use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::Value;

use crate::plan::Step;
use crate::stage::TableRef;
use crate::store::{Store, relative_dir, write_atomic};

/// Name of the file.
pub const FILE: &str = "meaning.json";
/// What is larger was not written by an engine.
const LARGEST_BYTES: u64 = 1 << 20;

/// The parts of a fingerprint.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Record {
    /// Stage name.
    pub stage: String,
    /// Stage version.
    pub version: u32,
    /// Parameters that can change a number.
    pub meaning: Value,
    /// Tables that it reads, in the order of the fingerprint.
    pub inputs: Vec<Input>,
}

/// One run of one table that a stage reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Input {
    /// Table name.
    pub table: String,
    /// Its folder, relative to the store, with `/`.
    pub folder: String,
}

impl Input {
    fn of(table: &TableRef) -> Self {
        let folder = relative_dir(table);
        let levels = folder.components().map(|c| c.as_os_str().to_string_lossy());
        Self { table: table.table.to_owned(), folder: levels.collect::<Vec<_>>().join("/") }
    }

    /// The run: the last level of the folder.
    pub fn run(&self) -> &str {
        self.folder.rsplit_once("run=").map_or("", |(_, run)| run)
    }
}

impl Record {
    /// Of a step that is planned.
    pub fn of(step: &Step) -> Option<Self> {
        Self::parse(text(step).as_bytes())
    }

    /// Of a run that is in the store; none where nothing was kept, or what was kept is no record.
    pub fn read(dir: &Path) -> Option<Self> {
        let path = dir.join(FILE);
        if fs::metadata(&path).ok()?.len() > LARGEST_BYTES {
            return None;
        }
        Self::parse(&fs::read(&path).ok()?)
    }

    /// Reads the text of a record. The folders that it names lie in the store.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(bytes).ok()?;
        let inside = |folder: &str| Path::new(folder).components().all(|c| matches!(c, Component::Normal(_)));
        record.inputs.iter().all(|input| inside(&input.folder)).then_some(record)
    }
}

/// The meaning is put in as it was hashed: numbers that are parsed and printed again can lose their last digit.
fn text(step: &Step) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let input = |table: &TableRef| {
        let Input { table, folder } = Input::of(table);
        format!("{{\"table\":{},\"folder\":{}}}", quoted(&table), quoted(&folder))
    };
    let inputs: Vec<String> = step.stage.inputs().iter().map(input).collect();
    format!(
        "{{\"stage\":{},\"version\":{},\"meaning\":{},\"inputs\":[{}]}}\n",
        quoted(step.stage.name()),
        step.stage.version(),
        step.stage.meaning().as_str(),
        inputs.join(",")
    )
}

/// Puts a record into the folder of each of a step's tables, unless it is there.
pub(crate) fn keep(step: &Step, store: &Store) {
    let text = text(step);
    for output in &step.outputs {
        let dir = store.dir(output);
        let path = dir.join(FILE);
        if fs::read(&path).is_ok_and(|kept| kept == text.as_bytes()) || fs::create_dir_all(&dir).is_err() {
            continue;
        }
        sweep(&dir);
        // A disk that refuses will say so to the first part, which matters.
        let _ = write_atomic(&path, text.as_bytes());
    }
}

/// Removes what a killed attempt at this file left. Another process that is writing it loses it, and finds it written.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".meaning.") && name.ends_with(".json.tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_none() {
        let good = r#"{"stage":"s","version":1,"meaning":{"a":0.1},"inputs":[{"table":"t","folder":"t/run=ab"}]}"#;
        let record = Record::parse(good.as_bytes());
        assert_eq!(record.as_ref().map(|r| (r.version, r.inputs[0].run())), Some((1, "ab")));
        // Breaks when a record can send a reader out of the store.
        for folder in ["/etc", "../x", "t/../../x"] {
            assert_eq!(Record::parse(good.replace("t/run=ab", folder).as_bytes()), None, "{folder}");
        }
        // Cut short anywhere it is no record, and nothing worse.
        for end in 0..good.len() {
            assert_eq!(Record::parse(&good.as_bytes()[..end]), None);
        }
        assert_eq!(Record::read(Path::new("nowhere")), None);
        // With any byte changed it is a record or none, and still stays in the store.
        for at in 0..good.len() {
            for byte in (0..=255).step_by(5) {
                let mut bytes = good.as_bytes().to_vec();
                bytes[at] = byte;
                let inputs = Record::parse(&bytes).map(|r| r.inputs).unwrap_or_default();
                assert!(inputs.iter().all(|i| !i.folder.starts_with('/') && !i.folder.contains("..")), "{at} {byte}");
            }
        }
        let deep = "[".repeat(100_000);
        assert_eq!(Record::parse(good.replace("0.1", &deep).as_bytes()), None);
    }
}
