//! Where weights are asked for: a file or folder, or `hf:owner/repo[/file]`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::checkpoint::read_at;
use super::hub::{self, HubAccess};
use crate::error::VitError;

/// A place that weights come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightSource {
    /// A weight file, or a folder laid out like a Hugging Face repository.
    Path(PathBuf),
    /// A repository of the Hugging Face hub.
    Hub {
        /// `owner/name`
        repo: String,
        /// Path within the repository; the first of the usual names where absent.
        file: Option<String>,
        /// Cache, endpoint and token.
        access: HubAccess,
    },
}

/// Names under which repositories keep a whole model, best first.
pub(super) const USUAL_NAMES: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// Suffix of the file that lists the shards of a model.
pub(super) const INDEX_SUFFIX: &str = ".index.json";

/// Longest index that is read.
const MAX_INDEX_BYTES: u64 = 64 << 20;

impl WeightSource {
    /// Reads `path` or `hf:owner/repo[/file]`; `access` says where the hub's files are kept.
    pub fn parse(text: &str, access: &HubAccess) -> Result<Self, VitError> {
        let Some(rest) = text.strip_prefix("hf:") else {
            return Ok(WeightSource::Path(PathBuf::from(text)));
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let plain = |part: &&str| !part.is_empty() && !part.starts_with('.') && !part.contains('\\');
        if parts.len() < 2 || !parts.iter().all(plain) {
            let problem = "not of the form hf:owner/repo or hf:owner/repo/file".to_owned();
            return Err(VitError::Hub { repo: rest.to_owned(), problem });
        }
        let file = (parts.len() > 2).then(|| parts[2..].join("/"));
        Ok(WeightSource::Hub { repo: parts[..2].join("/"), file, access: access.clone() })
    }

    /// The local files, after a download where one is needed.
    pub(super) fn files(&self, progress: &dyn Fn(u64, u64)) -> Result<Vec<PathBuf>, VitError> {
        match self {
            WeightSource::Path(path) => local(path),
            WeightSource::Hub { repo, file, access } => hub::fetch(repo, file.as_deref(), access, progress),
        }
    }
}

impl fmt::Display for WeightSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WeightSource::Path(path) => write!(f, "{}", path.display()),
            WeightSource::Hub { repo, file: None, .. } => write!(f, "hf:{repo}"),
            WeightSource::Hub { repo, file: Some(file), .. } => write!(f, "hf:{repo}/{file}"),
        }
    }
}

fn local(path: &Path) -> Result<Vec<PathBuf>, VitError> {
    let metadata = std::fs::metadata(path).map_err(|error| VitError::read(path, error))?;
    let file = if metadata.is_dir() {
        let found = USUAL_NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file());
        found.ok_or_else(|| VitError::weights(path, format!("the folder has none of {}", USUAL_NAMES.join(", "))))?
    } else {
        path.to_owned()
    };
    if !file.to_string_lossy().ends_with(INDEX_SUFFIX) {
        return Ok(vec![file]);
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    Ok(shards(&file)?.into_iter().map(|name| folder.join(name)).collect())
}

/// The shards that an index names, in order.
pub(super) fn shards(index: &Path) -> Result<Vec<String>, VitError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let bytes = std::fs::metadata(index).map_err(|error| VitError::read(index, error))?.len();
    if bytes > MAX_INDEX_BYTES {
        return Err(VitError::weights(index, format!("an index of {bytes} bytes; the file is corrupt")));
    }
    let parsed: Index = serde_json::from_slice(&read_at(index, 0, bytes)?)
        .map_err(|error| VitError::weights(index, format!("corrupt index: {error}")))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if let Some(bad) = names.iter().find(|name| name.starts_with('.') || name.contains(['/', '\\'])) {
        return Err(VitError::weights(index, format!("names the shard `{bad}`, which is not beside it")));
    }
    Ok(names.into_iter().collect())
}
