//! The `synsets` of a MATLAB 5 file: ImageNet's `meta.mat`, which says what the numbers of the ground truth mean.
//!
//! A file is a 128-byte header, then data elements: a tag (type, byte count; or both in four bytes, with up to four
//! bytes of data in the tag's other half), data, padding to 8 bytes. An array is an element of elements: flags with
//! the class, dimensions, name, content; a struct array's content is its field names and then one array per field per
//! element. Elements may be zlib-compressed one by one. Numbers are stored in any type that holds them.
//!
//! Only what `synsets` needs is read: little-endian files, text and scalars. Inflation stops at [`MAX_INFLATED_BYTES`]
//! for the whole file. Source: `MathWorks`, "MAT-File Format", chapter 1 (level 5).

use std::io::Read;

use flate2::read::ZlibDecoder;

/// Most bytes that the compressed elements of a file may unfold to; the official file has under a million.
pub const MAX_INFLATED_BYTES: u64 = 64 << 20;

const HEADER_BYTES: usize = 128;

// Data types of elements.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const UINT16: u32 = 4;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;
const UTF16: u32 = 17;

// Classes of arrays.
const STRUCT_CLASS: u8 = 2;
const CHAR_CLASS: u8 = 4;
const NUMERIC_CLASSES: std::ops::RangeInclusive<u8> = 6..=15;

/// A node of ImageNet's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synset {
    /// `ILSVRC2012_ID`, counted from 1: what the ground truth is written in.
    pub id: u32,
    /// `WordNet` id, `n` and eight digits.
    pub wnid: String,
    /// How many nodes hang below it; the 1000 classes are the nodes with none.
    pub num_children: u32,
}

/// The bytes are not a MATLAB 5 file with synsets.
#[derive(Debug, thiserror::Error)]
pub enum Mat5Error {
    /// Another format, or another version.
    #[error("not a little-endian MATLAB 5 file (HDF5-based version 7.3 files are not read)")]
    NotMat5,
    /// A length points past the end.
    #[error("the file ends inside {0}; is it cut short?")]
    Truncated(&'static str),
    /// An element that is not what the format puts there.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// The zlib stream is corrupt.
    #[error("a compressed variable does not inflate: {0}")]
    Inflate(#[from] std::io::Error),
    /// Inflates beyond the limit.
    #[error("variables inflate to more than {MAX_INFLATED_BYTES} bytes")]
    TooLarge,
    /// No such variable.
    #[error("no struct array is called \"synsets\"; is this the meta.mat of the 2012 devkit?")]
    NoSynsets,
    /// The struct lacks a field.
    #[error("synsets have no field {0:?}")]
    NoField(&'static str),
    /// A field of the wrong kind.
    #[error("synset number {number}: {field} is not {expected}")]
    BadField {
        /// Which element, from 1.
        number: usize,
        /// Which field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// Reads the struct array `synsets`.
pub fn synsets(bytes: &[u8]) -> Result<Vec<Synset>, Mat5Error> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(Mat5Error::NotMat5)?;
    if !header.ends_with(b"\x00\x01IM") {
        return Err(Mat5Error::NotMat5);
    }
    let mut budget = MAX_INFLATED_BYTES;
    while !rest.is_empty() {
        let (kind, data) = element(&mut rest, "a variable")?;
        let found = match kind {
            MATRIX => struct_array(data)?,
            COMPRESSED => {
                let mut inflated = Vec::new();
                ZlibDecoder::new(data).take(budget + 1).read_to_end(&mut inflated)?;
                budget = budget.checked_sub(inflated.len() as u64).ok_or(Mat5Error::TooLarge)?;
                match element(&mut inflated.as_slice(), "a compressed variable")? {
                    (MATRIX, data) => struct_array(data)?,
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(Mat5Error::NoSynsets)
}

/// The synsets, if this array is they.
fn struct_array(data: &[u8]) -> Result<Option<Vec<Synset>>, Mat5Error> {
    let Array { class, name, count, mut content } = array(data)?;
    if class != STRUCT_CLASS || name != b"synsets" {
        return Ok(None);
    }
    let width = element(&mut content, "the width of field names")?.1;
    let width = width.first_chunk().map_or(0, |width| u32::from_le_bytes(*width)) as usize;
    let names = element(&mut content, "field names")?.1;
    if width == 0 || !names.len().is_multiple_of(width) {
        return Err(Mat5Error::Malformed("the list of field names"));
    }
    let names: Vec<&[u8]> =
        names.chunks(width).map(|name| name.split(|&byte| byte == 0).next().unwrap_or(name)).collect();
    let column =
        |field: &'static str| names.iter().position(|name| *name == field.as_bytes()).ok_or(Mat5Error::NoField(field));
    let (id, wnid, num_children) = (column("ILSVRC2012_ID")?, column("WNID")?, column("num_children")?);
    // Every field takes a tag of 8 bytes at least, so a false count cannot ask for more than the file holds.
    if count > content.len() / (8 * names.len()) {
        return Err(Mat5Error::Truncated("the struct array \"synsets\""));
    }
    (1..=count)
        .map(|number| {
            let fields = names
                .iter()
                .map(|_| element(&mut content, "a field of a synset").map(|(_, data)| data))
                .collect::<Result<Vec<_>, _>>()?;
            let bad = |field, expected| move || Mat5Error::BadField { number, field, expected };
            Ok(Synset {
                id: integer(fields[id])?.ok_or_else(bad("ILSVRC2012_ID", "a whole number"))?,
                wnid: text(fields[wnid])?.ok_or_else(bad("WNID", "text"))?,
                num_children: integer(fields[num_children])?.ok_or_else(bad("num_children", "a whole number"))?,
            })
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

/// The head of an array, and what follows it.
struct Array<'a> {
    class: u8,
    name: &'a [u8],
    count: usize,
    content: &'a [u8],
}

fn array(data: &[u8]) -> Result<Array<'_>, Mat5Error> {
    let mut content = data;
    let flags = element(&mut content, "the flags of an array")?.1;
    let dimensions = element(&mut content, "the dimensions of an array")?.1;
    let name = element(&mut content, "the name of an array")?.1;
    let count = dimensions
        .chunks_exact(4)
        .try_fold(1_usize, |count, size| {
            let size = u32::from_le_bytes(size.try_into().ok()?);
            count.checked_mul(size as usize)
        })
        .ok_or(Mat5Error::Malformed("the dimensions of an array"))?;
    let class = *flags.first().ok_or(Mat5Error::Malformed("the flags of an array"))?;
    Ok(Array { class, name, count, content })
}

/// A scalar that is a whole number, in whatever type it is stored.
fn integer(data: &[u8]) -> Result<Option<u32>, Mat5Error> {
    if data.is_empty() {
        return Ok(None);
    }
    let Array { class, count, mut content, .. } = array(data)?;
    if !NUMERIC_CLASSES.contains(&class) || count != 1 {
        return Ok(None);
    }
    let (kind, bytes) = element(&mut content, "a number")?;
    Ok(scalar(kind, bytes)
        .filter(|value| value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(value))
        .map(|value| value as u32))
}

fn scalar(kind: u32, bytes: &[u8]) -> Option<f64> {
    Some(match kind {
        INT8 => f64::from(i8::from_le_bytes(bytes.try_into().ok()?)),
        UINT8 => f64::from(u8::from_le_bytes(bytes.try_into().ok()?)),
        3 => f64::from(i16::from_le_bytes(bytes.try_into().ok()?)),
        UINT16 => f64::from(u16::from_le_bytes(bytes.try_into().ok()?)),
        5 => f64::from(i32::from_le_bytes(bytes.try_into().ok()?)),
        6 => f64::from(u32::from_le_bytes(bytes.try_into().ok()?)),
        7 => f64::from(f32::from_le_bytes(bytes.try_into().ok()?)),
        9 => f64::from_le_bytes(bytes.try_into().ok()?),
        12 => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
        13 => u64::from_le_bytes(bytes.try_into().ok()?) as f64,
        _ => return None,
    })
}

/// A row of characters, in whatever encoding it is stored.
fn text(data: &[u8]) -> Result<Option<String>, Mat5Error> {
    if data.is_empty() {
        return Ok(None);
    }
    let Array { class, mut content, .. } = array(data)?;
    if class != CHAR_CLASS {
        return Ok(None);
    }
    let (kind, bytes) = element(&mut content, "text")?;
    Ok(match kind {
        INT8 | UINT8 | UTF8 => String::from_utf8(bytes.to_vec()).ok(),
        UINT16 | UTF16 => {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    })
}

/// Takes the next element off `rest`: its type and its data.
fn element<'a>(rest: &mut &'a [u8], what: &'static str) -> Result<(u32, &'a [u8]), Mat5Error> {
    let (tag, body) = rest.split_first_chunk::<8>().ok_or(Mat5Error::Truncated(what))?;
    let [a, b, c, d, ..] = *tag;
    let small_len = usize::from(u16::from_le_bytes([c, d]));
    if small_len > 0 {
        let data = rest.get(4..4 + small_len).filter(|_| small_len <= 4).ok_or(Mat5Error::Malformed(what))?;
        *rest = body;
        return Ok((u32::from(u16::from_le_bytes([a, b])), data));
    }
    let kind = u32::from(u16::from_le_bytes([a, b]));
    let [.., a, b, c, d] = *tag;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    let (data, body) = body.split_at_checked(len).ok_or(Mat5Error::Truncated(what))?;
    // Compressed elements alone are not padded, and the last padding of a file may be missing.
    let padding = if kind == COMPRESSED { 0 } else { len.next_multiple_of(8) - len };
    *rest = body.get(padding..).unwrap_or_default();
    Ok((kind, data))
}

#[cfg(test)]
mod tests;
