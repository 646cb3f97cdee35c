//! As much of MATLAB's version-5 files as the ImageNet devkit uses: an array of structs of numbers and strings.
//!
//! A file is a 128-byte header and elements `(type: u32, bytes: u32, data, padding to 8)`; up to four bytes of data may
//! share the tag (type in its low, length in its high half). A compressed element inflates to another. A matrix holds
//! flags (class in the low byte), dimensions, a name, then its values: for structs a field-name length, the names, and
//! one matrix per field and record. Little-endian only. Source: MathWorks, "MAT-File Format", chapter 1.

use std::collections::HashMap;
use std::io::Read;

/// Largest inflated element; the devkit's is under a megabyte.
const MAX_INFLATED: u64 = 64 << 20;
const MAX_RECORDS: usize = 1_000_000;

const INT8: u32 = 1;
const UINT8: u32 = 2;
const INT16: u32 = 3;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const SINGLE: u32 = 7;
const DOUBLE: u32 = 9;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;

const CLASS_STRUCT: u8 = 2;
const CLASS_CHAR: u8 = 4;

/// A field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A numeric array, in storage order.
    Numbers(Vec<f64>),
    /// A string.
    Text(String),
    /// Anything else.
    Other,
}

impl Value {
    /// The first number.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Numbers(numbers) => numbers.first().copied(),
            _ => None,
        }
    }
}

/// Bytes that are not such a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a readable version-5 MATLAB file: {0}")]
pub struct MatlabError(&'static str);

/// Field values of one struct, by name.
pub type Record = HashMap<String, Value>;

/// The records of the struct array called `name`.
pub fn struct_records(file: &[u8], name: &str) -> Result<Vec<Record>, MatlabError> {
    if file.get(126..128) != Some(b"IM") {
        return Err(MatlabError("no little-endian header"));
    }
    let mut rest = &file[128..];
    while !rest.is_empty() {
        let (kind, data) = element(&mut rest)?;
        let inflated;
        let matrix = match kind {
            COMPRESSED => {
                inflated = inflate(data)?;
                let (kind, data) = element(&mut &inflated[..])?;
                (kind == MATRIX).then_some(data)
            }
            MATRIX => Some(data),
            _ => None,
        };
        if let Some(mut matrix) = matrix {
            let header = MatrixHeader::read(&mut matrix)?;
            if header.name == name.as_bytes() {
                return if header.class == CLASS_STRUCT { records(matrix, header.count) } else { Err(MatlabError("not a struct")) };
            }
        }
    }
    Err(MatlabError("no array of that name"))
}

fn inflate(data: &[u8]) -> Result<Vec<u8>, MatlabError> {
    let mut inflated = Vec::new();
    let mut decoder = flate2::read::ZlibDecoder::new(data).take(MAX_INFLATED);
    decoder.read_to_end(&mut inflated).map_err(|_| MatlabError("corrupt compression"))?;
    Ok(inflated)
}

/// Takes the next element off the front.
fn element<'a>(rest: &mut &'a [u8]) -> Result<(u32, &'a [u8]), MatlabError> {
    let cut = MatlabError("cut short");
    let (tag, body) = rest.split_at_checked(8).ok_or_else(|| cut.clone())?;
    let word = |at: usize| u32::from_le_bytes([tag[at], tag[at + 1], tag[at + 2], tag[at + 3]]);
    let (kind, length) = (word(0), word(4) as usize);
    if kind >> 16 != 0 {
        let short = (kind >> 16) as usize;
        *rest = body;
        return Ok((kind & 0xffff, tag[4..].get(..short).ok_or(cut)?));
    }
    let data = body.get(..length).ok_or(cut)?;
    // Compressed elements are not padded.
    let padded = if kind == COMPRESSED { length } else { length.next_multiple_of(8) };
    *rest = &body[padded.min(body.len())..];
    Ok((kind, data))
}

struct MatrixHeader<'a> {
    class: u8,
    count: usize,
    name: &'a [u8],
}

impl<'a> MatrixHeader<'a> {
    fn read(matrix: &mut &'a [u8]) -> Result<Self, MatlabError> {
        let (_, flags) = element(matrix)?;
        let (_, dimensions) = element(matrix)?;
        let (_, name) = element(matrix)?;
        let sizes = dimensions.as_chunks::<4>().0.iter().map(|&size| u32::from_le_bytes(size) as usize);
        let count = sizes.fold(1_usize, usize::saturating_mul);
        Ok(Self { class: *flags.first().ok_or(MatlabError("no flags"))?, count, name })
    }
}

fn records(mut body: &[u8], count: usize) -> Result<Vec<Record>, MatlabError> {
    let (_, length) = element(&mut body)?;
    let length = length.first().copied().map_or(0, usize::from);
    let (_, names) = element(&mut body)?;
    if length == 0 || count > MAX_RECORDS {
        return Err(MatlabError("no fields, or too many records"));
    }
    let text = |name: &[u8]| String::from_utf8_lossy(name.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned();
    let names: Vec<String> = names.chunks(length).map(text).collect();
    let mut records = Vec::new();
    for _ in 0..count {
        let mut record = Record::new();
        for name in &names {
            let (kind, matrix) = element(&mut body)?;
            let value = if kind == MATRIX && !matrix.is_empty() { value(matrix)? } else { Value::Other };
            record.insert(name.clone(), value);
        }
        records.push(record);
    }
    Ok(records)
}

fn value(mut matrix: &[u8]) -> Result<Value, MatlabError> {
    let header = MatrixHeader::read(&mut matrix)?;
    if header.class < CLASS_CHAR || matrix.is_empty() {
        return Ok(Value::Other);
    }
    let (kind, data) = element(&mut matrix)?;
    if header.class == CLASS_CHAR {
        let text = match kind {
            UTF8 | UINT8 | INT8 => String::from_utf8_lossy(data).into_owned(),
            _ => String::from_utf16_lossy(&data.as_chunks().0.iter().map(|&unit| u16::from_le_bytes(unit)).collect::<Vec<_>>()),
        };
        return Ok(Value::Text(text));
    }
    let numbers = match kind {
        INT8 => data.iter().map(|&byte| f64::from(byte.cast_signed())).collect(),
        UINT8 => data.iter().map(|&byte| f64::from(byte)).collect(),
        INT16 => data.as_chunks().0.iter().map(|&bytes| f64::from(i16::from_le_bytes(bytes))).collect(),
        UINT16 => data.as_chunks().0.iter().map(|&bytes| f64::from(u16::from_le_bytes(bytes))).collect(),
        INT32 => data.as_chunks().0.iter().map(|&bytes| f64::from(i32::from_le_bytes(bytes))).collect(),
        UINT32 => data.as_chunks().0.iter().map(|&bytes| f64::from(u32::from_le_bytes(bytes))).collect(),
        SINGLE => data.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect(),
        DOUBLE => data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect(),
        _ => return Ok(Value::Other),
    };
    Ok(Value::Numbers(numbers))
}
