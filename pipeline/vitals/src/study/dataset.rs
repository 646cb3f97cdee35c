//! Opens the datasets of a study.

use std::path::Path;
use std::sync::Arc;

use datasets::{DatasetSpec, Source, Split};

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

/// Checks what needs no data: the name, the split and the shuffle.
pub fn check(table: &DatasetTable) -> Result<(), Failure> {
    let name = name(table);
    let at = format!("dataset `{name}`");
    let split = split(table, &at)?;
    datasets::catalog::find(&table.dataset).map_err(|e| failure(&e, &at, &IN_STUDY, Path::new(""), split))?;
    torch_seed(table, &at).map(|_| ())
}

/// Name in tables.
pub fn name(table: &DatasetTable) -> &str {
    table.name.as_deref().unwrap_or(&table.dataset)
}

/// Opens one; `limit`, from the command line, lowers the study's own.
pub fn open(table: &DatasetTable, folder: &Path, limit: Option<usize>) -> Result<OpenDataset, Failure> {
    let name = name(table).to_owned();
    let at = format!("dataset `{name}`");
    let root = expand(&table.root, "root")?;
    let torch = torch_seed(table, &at)?;
    let at_most = [table.limit, limit].into_iter().flatten().min();
    let spec = DatasetSpec {
        name: table.dataset.clone(),
        root: if root.is_empty() { root.into() } else { folder.join(root) },
        split: split(table, &at)?,
        classes: table.classes.clone(),
        shuffle_seed: table.shuffle_seed.filter(|_| torch.is_none()),
        limit: at_most.filter(|_| torch.is_none()),
        seed: table.seed,
    };
    let mut source = datasets::open(&spec).map_err(|e| failure(&e, &at, &IN_STUDY, &spec.root, spec.split))?;
    if let Some(seed) = torch {
        let mut order = probe::numpy_random::torch_randperm(seed, source.manifest().entries.len());
        order.truncate(at_most.unwrap_or(usize::MAX));
        source = datasets::select::pick(source, order);
    }
    let digest = source.manifest().digest();
    let mut departures = table.departures.clone();
    // The study's own limit is part of its protocol.
    if let Some(limit) = limit.filter(|&limit| table.limit.is_none_or(|own| limit < own)) {
        departures.push(format!("at most {limit} images"));
    }
    Ok(OpenDataset { name, source: Arc::from(source), digest, departures, table: table.clone() })
}

fn split(table: &DatasetTable, at: &str) -> Result<Split, Failure> {
    table.split.parse().map_err(|e| Failure::new(Code::Config, e, at, "correct `split` in the study"))
}

/// The seed of torch's shuffle, where that is asked for.
fn torch_seed(table: &DatasetTable, at: &str) -> Result<Option<u32>, Failure> {
    let bad = |what: String, fix| Err(Failure::new(Code::Config, what, at, fix));
    match (table.shuffle.as_str(), table.shuffle_seed.map(u32::try_from)) {
        ("own", _) => Ok(None),
        ("torch", Some(Ok(seed))) => Ok(Some(seed)),
        ("torch", _) => bad("torch shuffles with a seed below 2³²".to_owned(), "write shuffle_seed = …"),
        (other, _) => bad(format!("unknown shuffle `{other}`"), "write own or torch"),
    }
}

/// How whoever named a dataset writes its name, root and split.
pub struct Words {
    name: &'static str,
    root: &'static str,
    split: &'static str,
    wrong: Code,
}

/// Of a study file.
pub const IN_STUDY: Words = Words { name: "`dataset`", root: "`root`", split: "`split`", wrong: Code::Config };
/// Of `vitals datasets check NAME ROOT --split SPLIT`.
pub const ON_COMMAND_LINE: Words = Words { name: "NAME", root: "ROOT", split: "--split", wrong: Code::Usage };

/// What a dataset error means for who wrote these words; `root` and `split` are those of the dataset.
pub fn failure(e: &datasets::DatasetError, at: &str, words: &Words, root: &Path, split: Split) -> Failure {
    use datasets::DatasetError as E;
    let Words { name, root: root_word, split: split_word, wrong } = words;
    let (code, fix) = match e {
        E::Unknown { .. } => (*wrong, format!("correct {name}; `vitals datasets ls` lists them")),
        E::NoSplit { .. } | E::BadSplit { .. } => (*wrong, format!("correct {split_word}")),
        E::Unlabelled { .. } => (*wrong, format!("choose a {split_word} without classes, such as every:3@2:train")),
        E::UnknownClass { .. } => (*wrong, "correct `classes`".to_owned()),
        E::NoRoot { .. } => (*wrong, format!("give its folder or file as {root_word}")),
        E::Missing { path, .. } if path != root && split.official().is_some() => {
            (Code::Missing, format!("choose a {split_word} that is there, or correct {root_word}"))
        }
        E::Missing { .. } | E::Io { .. } => {
            (Code::Missing, format!("correct {root_word}; `vitals datasets ls` shows what is expected there"))
        }
        E::Malformed { .. } | E::Parquet(_) => (Code::Missing, "fetch the file again, or put it right".to_owned()),
        E::Empty { .. } => {
            let narrowed = if *wrong == Code::Config { ", `classes` or `limit`" } else { "" };
            (Code::Missing, format!("correct {root_word}, {split_word}{narrowed}; `vitals datasets ls` shows layouts"))
        }
    };
    Failure::new(code, e, at, fix)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::study::file::StudyFile;

    fn table(keys: &str) -> DatasetTable {
        let text = format!("title = \"t\"\n[[model]]\nmodel = \"planted\"\n[[dataset]]\n{keys}");
        StudyFile::parse(&text, "t").unwrap().datasets.pop().unwrap()
    }

    /// Breaks when a published protocol of so many images counts as a departure from itself.
    #[test]
    fn only_the_command_line_departs_from_a_study() {
        let departures = |keys: &str, limit| {
            let keys = format!("dataset = \"synthetic\"\n{keys}");
            open(&table(&keys), Path::new(""), limit).unwrap().departures
        };
        assert!(departures("limit = 8", None).is_empty());
        assert!(departures("limit = 8", Some(8)).is_empty() && departures("limit = 8", Some(9)).is_empty());
        assert_eq!(departures("limit = 8", Some(7)), ["at most 7 images"]);
        assert_eq!(departures("limit = 8\ndepartures = [\"scenes\"]", None), ["scenes"]);
    }

    #[test]
    fn torchs_shuffle_is_torchs() {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..10 {
            std::fs::write(folder.path().join(format!("{i}.png")), b"x").unwrap();
        }
        let root = folder.path().display();
        let keys = format!("dataset = \"photos\"\nroot = \"{root}\"\nshuffle = \"torch\"\nshuffle_seed = 0\nlimit = 4");
        let open = open(&table(&keys), Path::new(""), None).unwrap();
        let names: Vec<&str> = open.source.manifest().entries.iter().map(|e| e.name.as_str()).collect();
        // torch.manual_seed(0); torch.randperm(10)[:4], torch 2.15.0.
        assert_eq!(names, ["4.png", "1.png", "7.png", "5.png"]);
        assert!(check(&table("dataset = \"photos\"\nshuffle = \"torch\"")).is_err(), "a seed is needed");
        assert!(check(&table("dataset = \"photos\"\nshuffle = \"numpy\"\nshuffle_seed = 1")).is_err());
    }
}
