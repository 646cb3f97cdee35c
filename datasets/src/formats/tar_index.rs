//! Where the files of a tar lie, from its headers alone: payloads are seeked over, never read.
//!
//! A tar inside a tar is a window of the outer file, so ImageNet's tar of tars is indexed in place. Long names (GNU and
//! pax) are understood by the `tar` crate. A header may claim any size: a member that does not fit in the file is an
//! error, and the number of members is bounded.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::spec::DatasetError;

/// Most members of one tar: ImageNet's validation set has fifty thousand.
const MAX_MEMBERS: usize = 10_000_000;

/// A regular file inside a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path as stored, without a leading `./`.
    pub name: String,
    /// First byte of its payload, from the start of the outermost file.
    pub offset: u64,
    /// Payload length.
    pub bytes: u64,
}

/// Part of a file, readable and seekable as if it were one.
struct Window<'a> {
    file: &'a File,
    start: u64,
    len: u64,
    at: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = self.len.saturating_sub(self.at).min(into.len() as u64) as usize;
        self.file.seek(SeekFrom::Start(self.start + self.at))?;
        let got = self.file.read(&mut into[..wanted])?;
        self.at += got as u64;
        Ok(got)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        // Beyond the end is the end: a header there would be missing all the same.
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?.min(self.len);
        Ok(self.at)
    }
}

/// The regular files of a tar, in the order they lie.
pub fn index(path: &Path) -> Result<Vec<Member>, DatasetError> {
    let file = open(path)?;
    let len = file.metadata().map_err(DatasetError::io(path))?.len();
    index_window(path, &file, 0, len)
}

/// The regular files of a tar that is a member of another.
pub fn index_member(path: &Path, file: &File, member: &Member) -> Result<Vec<Member>, DatasetError> {
    index_window(path, file, member.offset, member.bytes)
}

/// Opens a tar for [`index_member`].
pub fn open(path: &Path) -> Result<File, DatasetError> {
    if !path.is_file() {
        return Err(DatasetError::missing(path, "a tar file"));
    }
    File::open(path).map_err(DatasetError::io(path))
}

fn index_window(path: &Path, file: &File, start: u64, len: u64) -> Result<Vec<Member>, DatasetError> {
    let malformed = |what: String| DatasetError::Malformed { path: path.to_owned(), what };
    let mut archive = tar::Archive::new(Window { file, start, len, at: 0 });
    let mut members = Vec::new();
    for entry in archive.entries_with_seek().map_err(|error| malformed(error.to_string()))? {
        let entry = entry.map_err(|error| malformed(format!("after {} members: {error}", members.len())))?;
        let kind = entry.header().entry_type();
        if !(kind.is_file() || kind.is_contiguous()) {
            continue;
        }
        let (offset, bytes) = (entry.raw_file_position(), entry.size());
        let raw_name = entry.path_bytes();
        let name = std::str::from_utf8(&raw_name)
            .map_err(|_| malformed(format!("member {} has a name that is not UTF-8", members.len())))?;
        if offset.checked_add(bytes).is_none_or(|end| end > len) {
            return Err(malformed(format!("member {name:?} of {bytes} bytes does not fit in the file")));
        }
        if members.len() == MAX_MEMBERS {
            return Err(malformed(format!("more than {MAX_MEMBERS} members")));
        }
        members.push(Member { name: name.trim_start_matches("./").to_owned(), offset: start + offset, bytes });
    }
    Ok(members)
}

/// The last part of a member's path.
pub fn base_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Whether tools that pack folders leave this beside the photos (`._photo.jpg`, `.DS_Store`).
pub fn is_hidden(name: &str) -> bool {
    base_name(name).starts_with('.') || base_name(name).is_empty()
}
