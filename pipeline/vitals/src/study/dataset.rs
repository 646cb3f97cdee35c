//! Opens the datasets of a study.

use std::path::Path;
use std::sync::Arc;

use datasets::{DatasetSpec, Source};

use super::file::{DatasetTable, expand};
use crate::failure::{Code, Failure};

/// An open dataset.
pub struct OpenDataset {
    /// Name in tables.
    pub name: String,
    /// Its images.
    pub source: Arc<dyn Source>,
    /// Digest of its manifest, with whatever else decides its pixels.
    pub digest: String,
    /// What departs from a published protocol, in words.
    pub departures: Vec<String>,
    /// As written.
    pub table: DatasetTable,
}

/// Opens one; `limit` lowers the study's own.
pub fn open(table: &DatasetTable, folder: &Path, limit: Option<usize>) -> Result<OpenDataset, Failure> {
    let name = table.name.clone().unwrap_or_else(|| table.dataset.clone());
    let at = format!("dataset `{name}`");
    let root = expand(&table.root, "root")?;
    let spec = DatasetSpec {
        name: table.dataset.clone(),
        root: if root.is_empty() { root.into() } else { folder.join(root) },
        split: table.split.parse().map_err(|e| Failure::new(Code::Config, e, &at, "correct `split` in the study"))?,
        classes: table.classes.clone(),
        shuffle_seed: table.shuffle_seed,
        limit: [table.limit, limit].into_iter().flatten().min(),
        seed: table.seed,
    };
    let source = datasets::open(&spec).map_err(|e| failure(&e, &at))?;
    let digest = source.manifest().digest();
    let mut departures = table.departures.clone();
    if let Some(limit) = spec.limit {
        departures.push(format!("at most {limit} images"));
    }
    Ok(OpenDataset { name, source: Arc::from(source), digest, departures, table: table.clone() })
}

/// What a dataset error means for the user.
pub fn failure(e: &datasets::DatasetError, at: &str) -> Failure {
    use datasets::DatasetError as E;
    let (code, fix) = match e {
        E::Unknown { .. } | E::NoSplit { .. } | E::UnknownClass { .. } | E::Unlabelled { .. } | E::BadSplit { .. } => {
            (Code::Config, "correct the dataset in the study; `vitals datasets ls` lists names and layouts")
        }
        E::Missing { .. } | E::Io { .. } => {
            (Code::Missing, "correct `root`; `vitals datasets ls` shows what is expected there")
        }
        E::Malformed { .. } | E::Parquet(_) => {
            (Code::Missing, "fetch the file again; `vitals datasets check` tests it")
        }
        E::Empty { .. } => (Code::Missing, "correct `root`, `split`, `classes` or `limit`"),
    };
    Failure::new(code, e, at, fix)
}
