//! Items that are spans of larger files: (file, offset, length), read on demand.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::source::{Manifest, Raw, ReadError, Source};

/// Where an item lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which file, by number.
    pub file: u32,
    /// First byte.
    pub offset: u64,
    /// Length.
    pub bytes: u64,
}

/// Reads `bytes` bytes at `offset`. Allocates as data arrives, so a length that lies costs nothing.
pub fn read_at(path: &Path, offset: u64, bytes: u64) -> Result<Vec<u8>, ReadError> {
    let failed = |source: io::Error| ReadError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut data = Vec::with_capacity(bytes.min(1 << 20) as usize);
    file.take(bytes).read_to_end(&mut data).map_err(failed)?;
    if data.len() as u64 == bytes { Ok(data) } else { Err(ReadError::Truncated { path: path.to_owned() }) }
}

/// The file and the row in it of item `index`, when the rows of files follow each other: file f begins at `starts[f]`.
pub fn file_and_row(starts: &[usize], len: usize, index: usize) -> Result<(usize, usize), ReadError> {
    match starts.partition_point(|&start| start <= index) {
        after if after > 0 && index < len => Ok((after - 1, index - starts[after - 1])),
        _ => Err(ReadError::OutOfRange { index, len }),
    }
}

/// A dataset of encoded images inside larger files, such as tars.
pub struct Spans {
    files: Vec<PathBuf>,
    places: Vec<Span>,
    manifest: Manifest,
}

impl Spans {
    /// `spans` and the manifest's entries go in parallel.
    pub fn new(files: Vec<PathBuf>, spans: Vec<Span>, manifest: Manifest) -> Self {
        Self { files, places: spans, manifest }
    }
}

impl Source for Spans {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let missing = || ReadError::OutOfRange { index, len: self.places.len() };
        let span = self.places.get(index).ok_or_else(missing)?;
        let path = self.files.get(span.file as usize).ok_or_else(missing)?;
        read_at(path, span.offset, span.bytes).map(Raw::Encoded)
    }
}
