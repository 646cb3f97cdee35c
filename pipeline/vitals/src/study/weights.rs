//! Where weights lie, and their digests: a digest is a whole file read, so the store remembers it by path, size and
//! time of change.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use engine::store::write_atomic;
use serde::{Deserialize, Serialize};
use vit::weights::HubAccess;
use vit::{VitError, WeightSource};

use crate::failure::{Code, Failure};

/// What tells that a file is still the one that was digested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    path: PathBuf,
    bytes: u64,
    changed_ns: u64,
}

impl Stamp {
    /// Of files that are there now.
    pub fn of(files: &[PathBuf]) -> std::io::Result<Vec<Self>> {
        let one = |file: &PathBuf| {
            let path = file.canonicalize()?;
            let metadata = path.metadata()?;
            let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(Self { path, bytes: metadata.len(), changed_ns: changed.as_nanos() as u64 })
        };
        files.iter().map(one).collect()
    }
}

/// Name of the file in the store.
const FILE: &str = "weights.json";

/// Digests that are known.
pub struct Digests {
    file: PathBuf,
    known: Vec<Known>,
}

#[derive(Serialize, Deserialize)]
struct Known {
    files: Vec<Stamp>,
    digest: String,
}

impl Digests {
    /// Those that a store knows; a store that does not exist, or a damaged file, knows none.
    pub fn of(store: &Path) -> Self {
        let file = store.join(FILE);
        let known = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file, known }
    }

    /// The digest of these files. One that had to be computed is kept where there is a store to keep it.
    pub fn get<E>(&mut self, files: &[Stamp], compute: impl FnOnce() -> Result<String, E>) -> Result<String, E> {
        if let Some(known) = self.known.iter().find(|k| k.files == files) {
            return Ok(known.digest.clone());
        }
        let digest = compute()?;
        let paths = |files: &[Stamp]| files.iter().map(|f| f.path.clone()).collect::<Vec<_>>();
        self.known.retain(|k| paths(&k.files) != paths(files));
        self.known.push(Known { files: files.to_vec(), digest: digest.clone() });
        let store = self.file.parent().is_some_and(Path::is_dir);
        if let Some(bytes) = serde_json::to_vec(&self.known).ok().filter(|_| store) {
            // What cannot be remembered is computed again.
            let _ = write_atomic(&self.file, &bytes);
        }
        Ok(digest)
    }
}

/// Where the hub keeps its files: `$HF_HOME/hub`, else `~/.cache/huggingface/hub`.
fn hub_access() -> HubAccess {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache_dir = home("HF_HOME")
        .map(|h| h.join("hub"))
        .or_else(|| home("HOME").map(|h| h.join(".cache/huggingface/hub")))
        .unwrap_or_else(|| PathBuf::from(".hf-hub"));
    HubAccess { cache_dir, endpoint: std::env::var("HF_ENDPOINT").ok(), token: std::env::var("HF_TOKEN").ok() }
}

/// A path or `hf:` address, as written on a command line.
pub fn weight_source(text: &str) -> Result<WeightSource, Failure> {
    WeightSource::parse(text, &hub_access()).map_err(|e| weights_failure(&e, text))
}

/// The same as written in a study file, relative to its folder.
pub fn located(text: &str, folder: &Path) -> Result<WeightSource, Failure> {
    match weight_source(text)? {
        WeightSource::Path(path) => Ok(WeightSource::Path(folder.join(path))),
        hub @ WeightSource::Hub { .. } => Ok(hub),
    }
}

/// Weights that are those of another model, where `say` tells how to ask for that one; or that cannot be used.
pub fn unfit(e: &VitError, weights: &str, say: impl Fn(&str) -> String) -> Failure {
    match e {
        VitError::Mismatch(m) if !m.fits.is_empty() => {
            let fix = m.fits.iter().map(|model| say(model)).collect::<Vec<_>>().join(", or ");
            Failure::new(Code::Missing, e, format!("weights {weights}"), fix)
        }
        _ => weights_failure(e, weights),
    }
}

/// Weights that cannot be used.
pub fn weights_failure(e: &VitError, weights: &str) -> Failure {
    let fix = match e {
        VitError::Mismatch(_) => "choose the model that the file fits, or the file of this model",
        VitError::Hub { .. } => "check the address and the network, or fetch the file yourself and give its path",
        VitError::NonFinite { .. } => "fetch the file again, or choose a checkpoint from before the training diverged",
        VitError::Read { .. } => "correct the path, or fetch the weights; `vitals models ls` names public ones",
        _ => "give a .safetensors, .pth, .pt or .bin file of weights, or fetch it again",
    };
    Failure::new(Code::Missing, e, format!("weights {weights}"), fix)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// Breaks when a file is hashed at every command, or when a changed file keeps its old digest.
    #[test]
    fn a_digest_is_computed_once_for_one_file_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (file, store) = (folder.path().join("weights.pth"), folder.path().join("store"));
        let ask = |text: &str, expect: &str| {
            let stamps = Stamp::of(std::slice::from_ref(&file)).unwrap();
            let digest = Digests::of(&store).get(&stamps, || Ok::<_, ()>(text.to_owned())).unwrap();
            assert_eq!(digest, expect);
        };
        std::fs::write(&file, b"one").unwrap();
        // A plan without a store remembers nothing and creates nothing.
        ask("a", "a");
        assert!(!store.exists());
        std::fs::create_dir(&store).unwrap();
        ask("b", "b");
        ask("never computed", "b");
        std::fs::write(&file, b"other").unwrap();
        ask("c", "c");
        ask("never computed", "c");
        std::fs::write(store.join(FILE), b"[{").unwrap();
        ask("d", "d");
        let failed = Digests::of(&store).get(&[], || Err::<String, _>("unreadable"));
        assert_eq!(failed, Err("unreadable"));
    }
}
