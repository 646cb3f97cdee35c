//! Named tensors of one or more files: where each lies, and its values as f32.
//!
//! Every format ends in the same thing, a strided view of bytes at an offset of a file, so that only what a model
//! needs is read. Views are checked against the length of the file when it is opened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use sha2::{Digest, Sha256};

use super::{safetensors_file, torch_zip};
use crate::error::VitError;

/// Type of a stored element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F16,
    Bf16,
    F64,
    /// Nothing that a weight can be: integers, booleans, 8-bit floats.
    Other(String),
}

impl Element {
    /// Bytes of one element; 0 where unknown, which no reader accepts.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Element::F32 => 4,
            Element::F16 | Element::Bf16 => 2,
            Element::F64 => 8,
            Element::Other(_) => 0,
        }
    }
}

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Index into [`Checkpoint::files`].
    pub(crate) file: usize,
    /// First element, bytes from the start of the file.
    pub(crate) offset: u64,
    pub(crate) element: Element,
    pub(crate) shape: Vec<usize>,
    /// Steps between neighbours along each axis, elements.
    pub(crate) strides: Vec<usize>,
}

impl Stored {
    /// Elements from the first to the last, if the arithmetic holds: 1 + Σ (shape − 1)·stride.
    pub(crate) fn span(shape: &[usize], strides: &[usize]) -> Option<u64> {
        if shape.contains(&0) {
            return Some(0);
        }
        shape.iter().zip(strides).try_fold(1_u64, |span, (&n, &step)| {
            (n as u64 - 1).checked_mul(step as u64).and_then(|reach| span.checked_add(reach))
        })
    }
}

/// Strides of a dense row-major array; wrapping is harmless, a span is checked afterwards.
pub(crate) fn dense_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

/// The tensors of a checkpoint, by the names they have in it.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) tensors: BTreeMap<String, Stored>,
    /// What lies beside the state dict in a nested file (`optimizer`, `student`).
    pub(crate) aside: Vec<String>,
}

impl Checkpoint {
    /// Reads the tables of contents of `files`; the format is told by their bytes, not by their names.
    pub(crate) fn open(files: &[PathBuf]) -> Result<Self, VitError> {
        let mut all = Checkpoint { files: files.to_vec(), ..Checkpoint::default() };
        for (index, path) in files.iter().enumerate() {
            let (tensors, aside) = contents(path)?;
            all.aside.extend(aside);
            for (name, mut stored) in tensors {
                stored.file = index;
                if all.tensors.insert(name.clone(), stored).is_some() {
                    return Err(VitError::weights(path, format!("tensor `{name}` is also in another file of the set")));
                }
            }
        }
        Ok(all)
    }

    /// The file that `stored` lies in.
    pub(crate) fn path(&self, stored: &Stored) -> &Path {
        &self.files[stored.file]
    }

    /// The values of `name`, row-major. The caller has compared the shape with one that it trusts.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<f32>, VitError> {
        let Some(stored) = self.tensors.get(name) else {
            return Err(VitError::Parameter { name: name.to_owned(), problem: "not in the checkpoint".to_owned() });
        };
        let path = self.path(stored);
        if let Element::Other(kind) = &stored.element {
            let problem = format!("tensor `{name}` has elements of type {kind}; f32, f16, bf16 and f64 can be read");
            return Err(VitError::weights(path, problem));
        }
        let span = Stored::span(&stored.shape, &stored.strides).unwrap_or(u64::MAX);
        let bytes = read_at(path, stored.offset, span.saturating_mul(stored.element.bytes()))?;
        let flat = decode(&bytes, &stored.element);
        let values = if stored.strides == dense_strides(&stored.shape) { flat } else { gather(&flat, stored) };
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => {
                let value = values[index];
                Err(VitError::NonFinite { path: path.to_owned(), tensor: name.to_owned(), index, value })
            }
        }
    }
}

/// Tensors by name, and what else the file holds.
pub(crate) type Contents = (BTreeMap<String, Stored>, Vec<String>);

fn contents(path: &Path) -> Result<Contents, VitError> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(|error| VitError::read(path, error))?;
    file.take(64).read_to_end(&mut head).map_err(|error| VitError::read(path, error))?;
    let refuse = |problem: &str| Err(VitError::weights(path, problem));
    match head.as_slice() {
        [] => refuse("the file is empty; fetch it again"),
        [b'P', b'K', 3, 4, ..] => torch_zip::contents(path),
        [_, _, _, _, _, _, _, _, b'{', ..] => Ok((safetensors_file::contents(path)?, Vec::new())),
        [0x80, 2..=5, ..] => refuse(
            "a PyTorch file from before version 1.6 (bare pickle); load it in PyTorch and save the state dict again",
        ),
        head if head.starts_with(b"version https://git-lfs") => {
            refuse("a Git LFS pointer, not the file itself; run `git lfs pull`")
        }
        head if head.starts_with(b"<") => {
            refuse("a web page, not weights; the download link needs a login or has moved")
        }
        _ => refuse("neither safetensors nor a PyTorch zip file (.pth, .pt, .bin)"),
    }
}

/// `len` bytes from `offset`; never allocates more than the file has.
pub(crate) fn read_at(path: &Path, offset: u64, len: u64) -> Result<Vec<u8>, VitError> {
    let failed = |error| VitError::read(path, error);
    let mut file = File::open(path).map_err(failed)?;
    let total = file.metadata().map_err(failed)?.len();
    if offset.checked_add(len).is_none_or(|end| end > total) {
        return Err(VitError::weights(path, format!("truncated: {total} bytes, {len} wanted from byte {offset}")));
    }
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = vec![0; len as usize];
    file.read_exact(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Little-endian elements as f32.
fn decode(bytes: &[u8], element: &Element) -> Vec<f32> {
    match element {
        Element::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Element::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        Element::Bf16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        Element::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Element::Other(_) => Vec::new(),
    }
}

/// Row-major copy of a strided view.
fn gather(flat: &[f32], stored: &Stored) -> Vec<f32> {
    let total: usize = stored.shape.iter().product();
    let mut index = vec![0_usize; stored.shape.len()];
    let mut values = Vec::with_capacity(total);
    for _ in 0..total {
        values.push(flat[index.iter().zip(&stored.strides).map(|(i, step)| i * step).sum::<usize>()]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < stored.shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    values
}

/// SHA-256 of a file; of the concatenated digests where there are several.
pub(crate) fn digest(files: &[PathBuf]) -> Result<String, VitError> {
    let mut each = Vec::new();
    for path in files {
        let mut file = File::open(path).map_err(|error| VitError::read(path, error))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).map_err(|error| VitError::read(path, error))? {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
        each.push(hash.finalize());
    }
    let digest = match each.as_slice() {
        [one] => *one,
        several => several.iter().fold(Sha256::new(), Sha256::chain_update).finalize(),
    };
    Ok(hex(&digest))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
