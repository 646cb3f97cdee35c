//! Two ways in which image datasets are shared: `WebDataset` shards and Parquet files of the Hugging Face hub.
//!
//! The official split is the start of a file's name; `test` takes `test`, or else `val`.

use super::{Dataset, TRAIN_TEST, check_root, no_split};
use crate::formats::{hf_parquet, webdataset};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

/// Opens what lies below a root, given the starts of the file names.
type Open = fn(&std::path::Path, &[&str]) -> Result<Box<dyn Source>, DatasetError>;

/// Tar shards.
pub const WEBDATASET: Dataset = Dataset {
    name: "webdataset",
    about: "WebDataset shards: {key}.jpg with {key}.cls or {key}.json",
    layout: "*.tar (train*.tar, test*.tar or val*.tar for splits), classes.txt if there is one; or one tar; \
        or a pattern such as train-{000..146}.tar",
    splits: "all; train, test if the files are so called",
    official: TRAIN_TEST,
    partitions: 0,
    open: open_shards,
};

/// Parquet.
pub const HF_PARQUET: Dataset = Dataset {
    name: "hf_parquet",
    about: "Parquet with embedded images, as on the Hugging Face hub",
    layout: "*.parquet at any depth (train-*.parquet, test-*.parquet or validation-*.parquet for splits); or one file",
    splits: "all; train, test if the files are so called",
    official: TRAIN_TEST,
    partitions: 0,
    open: |spec| {
        check_root(&spec.root, HF_PARQUET.layout)?;
        open(spec, hf_parquet::open)
    },
};

/// A pattern of shards does not exist under its own name, but the shards that it names must: they are looked for later.
fn open_shards(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    if webdataset::pattern(&spec.root).is_none() {
        check_root(&spec.root, WEBDATASET.layout)?;
    }
    open(spec, webdataset::open)
}

fn open(spec: &DatasetSpec, open: Open) -> Result<Box<dyn Source>, DatasetError> {
    let tries: &[&[&str]] = match spec.split {
        Split::Train => &[&["train"]],
        Split::Test => &[&["test"], &["val"]],
        _ => return open(&spec.root, &[]),
    };
    if !spec.root.is_dir() {
        return Err(no_split(spec, "all, class:…, every:… (a single file or a pattern has no splits)"));
    }
    for starts in tries {
        let source = open(&spec.root, starts)?;
        if !source.manifest().entries.is_empty() {
            return Ok(source);
        }
    }
    Err(no_split(spec, "all (no file name starts like the split)"))
}
