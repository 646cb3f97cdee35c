//! Files of the Hugging Face hub: fetched once, resumed when cut off, kept in the hub's own cache layout.
//!
//! Which file of a repository is its model is asked of the hub, and of the cache only when the hub cannot be reached:
//! the weights of a run must not depend on what was fetched before it.
//!
//! The cache folder, the endpoint and the token are given by the caller, so that this crate reads no environment.

use std::path::PathBuf;
use std::time::Duration;

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::api::{Progress, RepoInfo};
use hf_hub::{Cache, Repo};

use super::source::{INDEX_SUFFIX, USUAL_NAMES, shards};
use crate::error::VitError;

/// How the hub is reached and where its files are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct HubAccess {
    /// Cache folder (`$HF_HOME/hub`, `~/.cache/huggingface/hub`).
    pub cache_dir: PathBuf,
    /// Address of the hub; `https://huggingface.co` where absent.
    pub endpoint: Option<String>,
    /// Token for repositories that ask for one; the cache's own token file where absent.
    pub token: Option<String>,
}

impl std::fmt::Debug for HubAccess {
    /// Without the token: this ends in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubAccess")
            .field("cache_dir", &self.cache_dir)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Times a cut-off download is taken up again.
const RETRIES: usize = 5;

/// How long the hub may take to accept a connection before the cache is asked instead: nodes of a cluster often drop what
/// goes outside.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The local files of a repository's model: `file`, or the first of the usual names, with its shards.
pub(super) fn fetch(
    repo: &str,
    file: Option<&str>,
    access: &HubAccess,
    progress: &dyn Fn(u64, u64),
) -> Result<Vec<PathBuf>, VitError> {
    let cache = Cache::new(access.cache_dir.clone());
    let cached = cache.repo(Repo::model(repo.to_owned()));
    let failed = |error: &ApiError| VitError::Hub { repo: repo.to_owned(), problem: explain(error) };
    let mut builder = ApiBuilder::from_cache(cache).with_progress(false).with_retries(RETRIES);
    if let Some(endpoint) = &access.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    if access.token.is_some() {
        builder = builder.with_token(access.token.clone());
    }
    let api = builder.build().map_err(|error| failed(&error))?.repo(Repo::model(repo.to_owned()));
    let name = match file {
        Some(name) => name.to_owned(),
        None => match (info(&api), USUAL_NAMES.iter().find(|name| cached.get(name).is_some())) {
            (Ok(info), _) => usual(&info, repo)?,
            (Err(error), Some(name)) if status(&error).is_none() => (*name).to_owned(),
            (Err(error), _) => return Err(failed(&error)),
        },
    };
    let get = |name: &str| match cached.get(name) {
        Some(path) => Ok(path),
        None => api
            .download_with_progress(name, Bytes { done: 0, total: 0, report: progress })
            .map_err(|error| failed(&error)),
    };
    let first = get(&name)?;
    if !name.ends_with(INDEX_SUFFIX) {
        return Ok(vec![first]);
    }
    let folder = name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    shards(&first)?.into_iter().map(|shard| get(&format!("{folder}{shard}"))).collect()
}

/// What the repository holds.
fn info(api: &ApiRepo) -> Result<RepoInfo, ApiError> {
    let request = api.info_request().config().timeout_connect(Some(CONNECT_TIMEOUT)).build();
    let mut answer = request.call().map_err(Box::new)?;
    Ok(answer.body_mut().read_json().map_err(Box::new)?)
}

fn usual(info: &RepoInfo, repo: &str) -> Result<String, VitError> {
    let listed = |name: &&&str| info.siblings.iter().any(|file| file.rfilename == **name);
    USUAL_NAMES.iter().find(listed).map(|name| (*name).to_owned()).ok_or_else(|| VitError::Hub {
        repo: repo.to_owned(),
        problem: format!("the repository has none of {}; name the file as hf:{repo}/<file>", USUAL_NAMES.join(", ")),
    })
}

/// The HTTP status with which the hub refused; none if it was not reached. The HTTP client's type is not ours to name,
/// so this reads its words.
fn status(error: &ApiError) -> Option<u16> {
    let text = error.to_string();
    text.rsplit_once("http status: ")?.1.trim().parse().ok()
}

fn explain(error: &ApiError) -> String {
    match status(error) {
        Some(401 | 403 | 404) => format!("{error}; check the name, and whether the repository asks for a token"),
        Some(_) => format!("{error}; try again later, or give a local path"),
        None => format!("{error}; without a network, give a local path"),
    }
}

/// Byte counts of one download, passed on.
struct Bytes<'a> {
    done: u64,
    total: u64,
    report: &'a dyn Fn(u64, u64),
}

impl Progress for Bytes<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        self.total = size as u64;
        // Called again at every attempt, which then reports what it begins with.
        self.done = 0;
        (self.report)(self.done, self.total);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        (self.report)(self.done, self.total);
    }

    fn finish(&mut self) {
        (self.report)(self.total, self.total);
    }
}
