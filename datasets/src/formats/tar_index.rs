//! Tar archives as an index: where each regular file lies, found from the headers alone.
//!
//! A tar is a chain of 512-byte headers, each followed by its payload padded to 512 bytes, so the next header is at
//! `header + 512 + ⌈size / 512⌉ · 512`: nothing between has to be read. Names over 100 bytes come in a member of their
//! own before the one they describe, GNU `L` or PAX `x` (whose records `LENGTH key=value\n` may also give a size).
//! Offsets are absolute, so a tar inside a tar is indexed where it lies, and reading one item is one positioned read.
//!
//! The `tar` crate decodes the header fields; its iterator is not used, because it reads long names of any length and
//! takes a cut archive for a short one. Links, folders and devices are passed over; sparse members do not lie in one
//! piece and are refused. Limits: [`MAX_NAME_BYTES`], [`MAX_RECORDS_BYTES`], [`MAX_MEMBERS`], [`MAX_IMAGE_BYTES`].
//!
//! Source: POSIX.1-2017 `pax` (ustar and extended headers); GNU tar manual, "Basic Tar Format".

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use super::spans::{Span, Spans};
use crate::source::{Entry, Manifest};
use crate::spec::DatasetError;

/// Longest name of a member: Linux's `PATH_MAX`.
pub const MAX_NAME_BYTES: u64 = 4096;
/// Longest PAX header: it may carry extended attributes beside the name.
pub const MAX_RECORDS_BYTES: u64 = 1 << 20;
/// Most regular files of one archive; all of ImageNet-21k has 14 million.
pub const MAX_MEMBERS: usize = 1 << 24;
/// Largest image: a longer member is no image, and would be read into memory whole.
pub const MAX_IMAGE_BYTES: u64 = 1 << 30;

const BLOCK_BYTES: u64 = 512;

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte, from the start of the file.
    pub offset: u64,
    /// How many.
    pub len: u64,
}

/// A regular file inside a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path in the archive, without leading `./`.
    pub name: String,
    /// Where its payload lies.
    pub region: Region,
}

/// Something read by position, from any thread.
pub trait ReadAt: Sync {
    /// Fills the buffer from the bytes at `offset`, or fails.
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| self.get(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Opens a tar and says how long it is.
pub fn open_tar(path: &Path, expected: &str) -> Result<(File, Region), DatasetError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DatasetError::missing(path, expected),
        _ => DatasetError::io(path)(error),
    })?;
    let len = file.metadata().map_err(DatasetError::io(path))?.len();
    Ok((file, Region { offset: 0, len }))
}

/// The regular files of the tar that fills `region`, in archive order. `path` is named in errors.
pub fn index<R: ReadAt + ?Sized>(archive: &R, path: &Path, region: Region) -> Result<Vec<Member>, DatasetError> {
    let walk = Walk { archive, path, end: region.offset.saturating_add(region.len) };
    let mut members = Vec::new();
    let mut extension = Extension::default();
    let mut at = region.offset;
    while let Some(header) = walk.header(at)? {
        let start = at + BLOCK_BYTES;
        let kind = header.entry_type();
        let mut len = if carries_payload(kind) {
            header.entry_size().map_err(|_| walk.malformed(at, "the size of a member is not a number"))?
        } else {
            0
        };
        if kind.is_gnu_longname() {
            let name = walk.extension(Region { offset: start, len }, MAX_NAME_BYTES)?;
            extension.name = Some(until_nul(&name).to_vec());
        } else if kind.is_pax_local_extensions() {
            let records = walk.extension(Region { offset: start, len }, MAX_RECORDS_BYTES)?;
            extension.read_records(&records).map_err(|what| walk.malformed(start, what))?;
        } else if kind.is_gnu_sparse() {
            return Err(walk.malformed(at, SPARSE));
        } else if !kind.is_gnu_longlink() && !kind.is_pax_global_extensions() {
            let Extension { name, len: long_len } = std::mem::take(&mut extension);
            if carries_payload(kind) {
                len = long_len.unwrap_or(len);
            }
            let name = walk.name(at, &name.unwrap_or_else(|| header.path_bytes().into_owned()))?;
            if start.checked_add(len).is_none_or(|end| end > walk.end) {
                let left = walk.end - start;
                let what =
                    format!("{name} is said to hold {len} bytes, but {left} follow its header; is it cut short?");
                return Err(walk.malformed(at, what));
            }
            // Before POSIX a folder was a file whose name ends in a slash.
            if (kind.is_file() || kind.is_contiguous()) && !name.ends_with('/') {
                if name.is_empty() {
                    return Err(walk.malformed(at, "a file without a name"));
                }
                if members.len() == MAX_MEMBERS {
                    return Err(walk.malformed(at, format_args!("more than {MAX_MEMBERS} files in one archive")));
                }
                members.push(Member { name, region: Region { offset: start, len } });
            }
        }
        at = len
            .checked_next_multiple_of(BLOCK_BYTES)
            .and_then(|padded| start.checked_add(padded))
            .ok_or_else(|| walk.malformed(at, "the size of a member is beyond any file"))?;
    }
    if extension.name.is_some() || extension.len.is_some() {
        return Err(walk.malformed(at, "a long name is followed by no member"));
    }
    Ok(members)
}

/// The last part of a member's path.
pub fn base_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

const SPARSE: &str = "sparse members are not supported; write the archive without --sparse";

/// As Python's `tarfile`: links, devices, folders and pipes have no payload, whatever their size field says.
fn carries_payload(kind: EntryType) -> bool {
    !matches!(kind.as_byte(), b'1'..=b'6')
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// What the extension members before a member say about it.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    len: Option<u64>,
}

impl Extension {
    /// Reads PAX records. Values may hold newlines, so records are told apart by their length alone.
    fn read_records(&mut self, mut records: &[u8]) -> Result<(), &'static str> {
        const BAD: &str = "a PAX record is not of the form `LENGTH key=value`";
        // Some writers pad the last block inside the declared size.
        while !until_nul(records).is_empty() {
            let space = records.iter().position(|&byte| byte == b' ').ok_or(BAD)?;
            let len = number(&records[..space]).and_then(|len| usize::try_from(len).ok()).ok_or(BAD)?;
            let record = records.get(space + 1..len).and_then(|record| record.strip_suffix(b"\n")).ok_or(BAD)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or(BAD)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" if value.len() as u64 > MAX_NAME_BYTES => return Err("the PAX name of a member is too long"),
                b"path" => self.name = Some(value.to_vec()),
                b"size" => self.len = Some(number(value).ok_or("the PAX size of a member is not a number")?),
                _ if key.starts_with(b"GNU.sparse.") => return Err(SPARSE),
                _ => {}
            }
            records = &records[len..];
        }
        Ok(())
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

struct Walk<'a, R: ?Sized> {
    archive: &'a R,
    path: &'a Path,
    end: u64,
}

impl<R: ReadAt + ?Sized> Walk<'_, R> {
    fn malformed(&self, at: u64, what: impl std::fmt::Display) -> DatasetError {
        DatasetError::malformed(self.path, format_args!("at byte {at}: {what}"))
    }

    /// The header at `at`, or none for the mark that ends an archive.
    fn header(&self, at: u64) -> Result<Option<Header>, DatasetError> {
        if at.checked_add(BLOCK_BYTES).is_none_or(|end| end > self.end) {
            return Err(self.malformed(at, "the archive ends without its end mark; is it cut short?"));
        }
        let mut header = Header::new_old();
        self.archive.fill(header.as_mut_bytes(), at).map_err(DatasetError::io(self.path))?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        // The sum of all bytes, its own field (148..156) counted as blanks.
        let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
        let expected = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]);
        if header.cksum().ok() != Some(expected) {
            return Err(self.malformed(at, "the checksum of a tar header is wrong; is this a tar, and whole?"));
        }
        Ok(Some(header))
    }

    fn extension(&self, region: Region, limit: u64) -> Result<Vec<u8>, DatasetError> {
        let Region { offset, len } = region;
        if len > limit {
            return Err(self.malformed(offset, format_args!("an extended header of {len} bytes; limit {limit}")));
        }
        if offset.checked_add(len).is_none_or(|end| end > self.end) {
            return Err(self.malformed(offset, "the archive ends in an extended header; is it cut short?"));
        }
        let mut bytes = vec![0; len as usize];
        self.archive.fill(&mut bytes, offset).map_err(DatasetError::io(self.path))?;
        Ok(bytes)
    }

    fn name(&self, at: u64, bytes: &[u8]) -> Result<String, DatasetError> {
        let name = std::str::from_utf8(bytes).map_err(|_| self.malformed(at, "a member's name is not UTF-8"))?;
        Ok(name.trim_start_matches("./").to_owned())
    }
}

/// An image inside one of several tars.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name in the dataset.
    pub name: String,
    /// Its class.
    pub label: Option<u32>,
    /// Which tar, by index.
    pub tar: usize,
    /// Where in that tar.
    pub region: Region,
}

/// A dataset of images that lie in tars, sorted by name. Refuses two of one name, and items too large to be images.
pub fn dataset(tars: Vec<PathBuf>, mut items: Vec<Item>, classes: Vec<String>) -> Result<Spans, DatasetError> {
    items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some([_, Item { name, tar, .. }]) = items.array_windows().find(|[a, b]| a.name == b.name) {
        return Err(DatasetError::malformed(&tars[*tar], format!("two images are called {name}")));
    }
    if let Some(item) = items.iter().find(|item| item.region.len > MAX_IMAGE_BYTES) {
        let Item { name, tar, region: Region { offset, len }, .. } = item;
        let what = format!("at byte {offset}: {name} has {len} bytes; limit {MAX_IMAGE_BYTES}");
        return Err(DatasetError::malformed(&tars[*tar], what));
    }
    let (entries, spans) = items
        .into_iter()
        .map(|Item { name, label, tar, region: Region { offset, len } }| {
            (Entry { name, label, bytes: len }, Span { file: tar as u32, offset, bytes: len })
        })
        .unzip();
    Ok(Spans::new(tars, spans, Manifest { entries, classes }))
}

#[cfg(test)]
mod tests;
