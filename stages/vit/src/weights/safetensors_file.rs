//! The table of contents of a safetensors file: `u64 n`, n bytes of JSON, then the tensors.
//!
//! The header is read alone and checked by the `safetensors` crate (contiguous offsets, sizes that fit the shapes);
//! the length of the file must be exactly what it says. The file is read by position rather than mapped: a mapped
//! file that is cut short while in use kills the process.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata};

use super::checkpoint::{Element, Stored, dense_strides, read_at};
use crate::error::VitError;

/// Longest header that is read; the reference implementation has the same limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Tensors of the file by name.
pub(super) fn contents(path: &Path) -> Result<BTreeMap<String, Stored>, VitError> {
    let total = std::fs::metadata(path).map_err(|error| VitError::read(path, error))?.len();
    let length = read_at(path, 0, 8)?;
    let header_bytes = length.iter().rev().fold(0_u64, |n, &byte| (n << 8) | u64::from(byte));
    if header_bytes > MAX_HEADER_BYTES {
        return Err(VitError::weights(
            path,
            format!("safetensors header of {header_bytes} bytes; the file is corrupt"),
        ));
    }
    let header = read_at(path, 8, header_bytes)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| VitError::weights(path, format!("corrupt safetensors header: {error}")))?;
    let data_start = 8 + header_bytes;
    let promised = data_start.saturating_add(metadata.data_len() as u64);
    if promised != total {
        let problem = format!("{total} bytes, the safetensors header promises {promised}; fetch the file again");
        return Err(VitError::weights(path, problem));
    }
    let stored = metadata.tensors().into_iter().map(|(name, info)| {
        let element = match info.dtype {
            Dtype::F32 => Element::F32,
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::Bf16,
            Dtype::F64 => Element::F64,
            other => Element::Other(format!("{other:?}")),
        };
        let stored = Stored {
            file: 0,
            offset: data_start + info.data_offsets.0 as u64,
            element,
            strides: dense_strides(&info.shape),
            shape: info.shape.clone(),
        };
        (name, stored)
    });
    Ok(stored.collect())
}
