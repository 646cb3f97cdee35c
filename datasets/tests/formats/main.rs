//! Every format and catalogue entry on a miniature in its official layout, built in a temporary folder; and on broken ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archives;
mod boxes;
mod dense;
mod devkits;
mod hostile;
mod hostile_lists;
mod loose;
mod order;
mod real;
mod records;
mod transfer;

use std::fs;
use std::path::{Path, PathBuf};

use datasets::{DatasetSpec, Raw, Source};
use tempfile::TempDir;

/// Bytes of a fixture.
fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

/// A folder with these files.
fn laid_out(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

fn open(name: &str, root: &Path, split: &str) -> Result<Box<dyn Source>, datasets::DatasetError> {
    let mut spec = DatasetSpec::new(name, PathBuf::from(root));
    spec.split = split.parse()?;
    datasets::open(&spec)
}

/// Name and label of each entry.
fn entries(source: &dyn Source) -> Vec<(&str, Option<u32>)> {
    source.manifest().entries.iter().map(|entry| (entry.name.as_str(), entry.label)).collect()
}

fn bytes(source: &dyn Source, index: usize) -> Vec<u8> {
    let Raw::Encoded(bytes) = source.read(index).unwrap() else { panic!("item {index} is not a file") };
    bytes
}

/// A tar of these members.
fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}
