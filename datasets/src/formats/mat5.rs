//! Variables of MATLAB 5 files, in which ImageNet, Oxford Flowers and Stanford Cars keep their labels.
//!
//! A file is a 128-byte header, then data elements: a tag (type, byte count; or both in four bytes, with up to four
//! bytes of data in the tag's other half), data, padding to 8 bytes. An array is an element of elements: flags with
//! the class, dimensions, name, content; a struct array's content is its field names and then one array per field per
//! element, a cell array's one array per cell. Elements may be zlib-compressed one by one. Numbers are stored in any type
//! that holds them.
//!
//! What label files need is read: little-endian files; whole numbers, lists of text, and structs of both. Inflation stops
//! at [`MAX_INFLATED_BYTES`] for the whole file. Source: `MathWorks`, "MAT-File Format", chapter 1 (level 5).

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;

use crate::spec::DatasetError;

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
const CELL_CLASS: u8 = 1;
const STRUCT_CLASS: u8 = 2;
const CHAR_CLASS: u8 = 4;
const NUMERIC_CLASSES: std::ops::RangeInclusive<u8> = 6..=15;

const WHOLE: &str = "a whole number";

/// The bytes are not a MATLAB 5 file with what was asked of it.
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
    #[error("no {kind} is called {name:?}; is this the right file?")]
    NoVariable {
        /// What it should be.
        kind: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// The struct lacks a field.
    #[error("{variable} has no field {field:?}")]
    NoField {
        /// The struct array.
        variable: &'static str,
        /// The field.
        field: &'static str,
    },
    /// An element of the wrong kind.
    #[error("{variable} number {number}: {field} is not {expected}")]
    BadElement {
        /// The array.
        variable: &'static str,
        /// Which element, from 1.
        number: usize,
        /// Which field, or what the elements are.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// Reads a file by one of the functions below; `layout` says where it belongs, for who has not got it.
pub fn read<T>(
    path: &Path,
    layout: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, Mat5Error>,
) -> Result<T, DatasetError> {
    if !path.is_file() {
        return Err(DatasetError::missing(path, layout));
    }
    let bytes = fs::read(path).map_err(DatasetError::io(path))?;
    parse(&bytes).map_err(|error| DatasetError::malformed(path, error))
}

/// The elements of a struct array: `read` makes a value of each, whose cells are in the order of `fields`.
pub fn structs<T, const N: usize>(
    bytes: &[u8],
    variable: &'static str,
    fields: [&'static str; N],
    mut read: impl FnMut(&Element<'_, N>) -> Result<T, Mat5Error>,
) -> Result<Vec<T>, Mat5Error> {
    find(bytes, "struct array", variable, |Array { class, count, mut content, .. }| {
        if class != STRUCT_CLASS {
            return Ok(None);
        }
        let names = field_names(&mut content)?;
        let mut columns = [0; N];
        for (column, field) in columns.iter_mut().zip(fields) {
            let found = names.iter().position(|name| *name == field.as_bytes());
            *column = found.ok_or(Mat5Error::NoField { variable, field })?;
        }
        check_count(count, names.len(), content)?;
        let mut values = Vec::new();
        for number in 1..=count {
            let cells = names
                .iter()
                .map(|_| element(&mut content, "a field of a struct").map(|(_, data)| data))
                .collect::<Result<Vec<_>, _>>()?;
            values.push(read(&Element { variable, number, fields, cells: columns.map(|column| cells[column]) })?);
        }
        Ok(Some(values))
    })
}

/// The elements of a cell array of text.
pub fn texts(bytes: &[u8], variable: &'static str) -> Result<Vec<String>, Mat5Error> {
    find(bytes, "cell array", variable, |Array { class, count, mut content, .. }| {
        if class != CELL_CLASS {
            return Ok(None);
        }
        check_count(count, 1, content)?;
        let mut values = Vec::new();
        for number in 1..=count {
            let cells = [element(&mut content, "a cell")?.1];
            values.push(Element { variable, number, fields: ["cell"], cells }.text(0)?);
        }
        Ok(Some(values))
    })
}

/// The elements of an array of whole numbers.
pub fn integers(bytes: &[u8], variable: &'static str) -> Result<Vec<u32>, Mat5Error> {
    find(bytes, "array of numbers", variable, |array| {
        if !NUMERIC_CLASSES.contains(&array.class) {
            return Ok(None);
        }
        let count = array.count;
        let values = numbers(array)?;
        let Some(number) = values.iter().position(Option::is_none) else {
            return Ok((values.len() == count).then(|| values.into_iter().flatten().collect()));
        };
        Err(Mat5Error::BadElement { variable, number: number + 1, field: "element", expected: WHOLE })
    })
}

/// What an element of a struct array holds.
pub struct Element<'a, const N: usize> {
    variable: &'static str,
    number: usize,
    fields: [&'static str; N],
    cells: [&'a [u8]; N],
}

impl<const N: usize> Element<'_, N> {
    /// The cell at `place` as a whole number.
    pub fn integer(&self, place: usize) -> Result<u32, Mat5Error> {
        integer(self.cells[place])?.ok_or_else(|| self.bad(place, WHOLE))
    }

    /// The cell at `place` as text.
    pub fn text(&self, place: usize) -> Result<String, Mat5Error> {
        text(self.cells[place])?.ok_or_else(|| self.bad(place, "text"))
    }

    fn bad(&self, place: usize, expected: &'static str) -> Mat5Error {
        Mat5Error::BadElement { variable: self.variable, number: self.number, field: self.fields[place], expected }
    }
}

/// The first variable of this name that `read` takes.
fn find<T>(
    bytes: &[u8],
    kind: &'static str,
    name: &'static str,
    mut read: impl FnMut(Array<'_>) -> Result<Option<T>, Mat5Error>,
) -> Result<T, Mat5Error> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(Mat5Error::NotMat5)?;
    if !header.ends_with(b"\x00\x01IM") {
        return Err(Mat5Error::NotMat5);
    }
    let mut named = |data: &[u8]| {
        let array = array(data)?;
        if array.name == name.as_bytes() { read(array) } else { Ok(None) }
    };
    let mut budget = MAX_INFLATED_BYTES;
    while !rest.is_empty() {
        let (kind, data) = element(&mut rest, "a variable")?;
        let found = match kind {
            MATRIX => named(data)?,
            COMPRESSED => {
                let mut inflated = Vec::new();
                ZlibDecoder::new(data).take(budget + 1).read_to_end(&mut inflated)?;
                budget = budget.checked_sub(inflated.len() as u64).ok_or(Mat5Error::TooLarge)?;
                let mut whole = inflated.as_slice();
                let (kind, data) = element(&mut whole, "a compressed variable")?;
                if kind == MATRIX { named(data)? } else { None }
            }
            _ => None,
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(Mat5Error::NoVariable { kind, name })
}

/// Takes the names of a struct array's fields off its content.
fn field_names<'a>(content: &mut &'a [u8]) -> Result<Vec<&'a [u8]>, Mat5Error> {
    let width = element(content, "the width of field names")?.1;
    let width = width.first_chunk().map_or(0, |width| u32::from_le_bytes(*width)) as usize;
    let names = element(content, "field names")?.1;
    if width == 0 || names.is_empty() || !names.len().is_multiple_of(width) {
        return Err(Mat5Error::Malformed("the list of field names"));
    }
    Ok(names.chunks(width).map(|name| name.split(|&byte| byte == 0).next().unwrap_or(name)).collect())
}

/// Every array takes a tag of 8 bytes at least, so a false count cannot ask for more than the file holds.
fn check_count(count: usize, arrays: usize, content: &[u8]) -> Result<(), Mat5Error> {
    if count > content.len() / (8 * arrays) { Err(Mat5Error::Truncated("an array of arrays")) } else { Ok(()) }
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
    let array = array(data)?;
    if !NUMERIC_CLASSES.contains(&array.class) || array.count != 1 {
        return Ok(None);
    }
    Ok(numbers(array)?.first().copied().flatten())
}

/// The numbers of an array; none for one that is not whole.
fn numbers(mut array: Array<'_>) -> Result<Vec<Option<u32>>, Mat5Error> {
    let (kind, bytes) = element(&mut array.content, "numbers")?;
    let width = match kind {
        INT8 | UINT8 => 1,
        3 | UINT16 => 2,
        5..=7 => 4,
        _ => 8,
    };
    if array.count.checked_mul(width) != Some(bytes.len()) {
        return Err(Mat5Error::Malformed("an array of numbers"));
    }
    let whole = |value: &f64| value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(value);
    Ok(bytes.chunks_exact(width).map(|bytes| scalar(kind, bytes).filter(whole).map(|value| value as u32)).collect())
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
