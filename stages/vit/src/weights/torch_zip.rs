//! The table of contents of a `PyTorch` zip file: `<name>/data.pkl` describes, `<name>/data/<key>` holds.
//!
//! `torch.save` stores its entries uncompressed, so a tensor is a strided view of the file itself and nothing is
//! unpacked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::checkpoint::{Contents, Element, Stored, read_at};
use super::pickle::{self, Global};
use super::state_dict::{self, View};
use crate::error::VitError;

/// Longest `data.pkl` that is read; that of a ViT-g is 0.1 MB.
const MAX_PICKLE_BYTES: u64 = 64 << 20;

/// Where an entry's bytes lie.
#[derive(Debug, Clone, Copy)]
struct Extent {
    start: u64,
    bytes: u64,
}

/// Tensors of the file by name, and what lies beside the state dict.
pub(super) fn contents(path: &Path) -> Result<Contents, VitError> {
    let wrong = |problem: String| VitError::weights(path, problem);
    let total = std::fs::metadata(path).map_err(|error| VitError::read(path, error))?.len();
    let file = File::open(path).map_err(|error| VitError::read(path, error))?;
    let mut archive = ZipArchive::new(BufReader::new(file))
        .map_err(|error| wrong(format!("corrupt or truncated zip file ({error}); fetch it again")))?;
    let names: Vec<String> =
        archive.file_names().filter_map(|name| name.ok().map(std::borrow::Cow::into_owned)).collect();
    let Some(folder) = names.iter().filter_map(|name| name.strip_suffix("data.pkl")).min_by_key(|folder| folder.len())
    else {
        return Err(wrong("a zip file without data.pkl: not saved by torch.save".to_owned()));
    };
    let mut entry =
        |name: &str| extent(&mut archive, name, total).map_err(|problem| wrong(format!("entry {name}: {problem}")));
    let order = format!("{folder}byteorder");
    if names.contains(&order) {
        let at = entry(&order)?;
        if read_at(path, at.start, at.bytes.min(16))?.starts_with(b"big") {
            return Err(wrong("big-endian tensors; save the file again on a little-endian machine".to_owned()));
        }
    }
    let at = entry(&format!("{folder}data.pkl"))?;
    if at.bytes > MAX_PICKLE_BYTES {
        return Err(wrong(format!("data.pkl of {} bytes; a state dict needs far less", at.bytes)));
    }
    let pickle = pickle::read(&read_at(path, at.start, at.bytes)?).map_err(wrong)?;
    let found = state_dict::find(&pickle).map_err(wrong)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in found.tensors {
        let storage = entry(&format!("{folder}data/{}", view.storage))?;
        let stored = place(view, storage).map_err(|problem| wrong(format!("tensor `{name}`: {problem}")))?;
        tensors.insert(name, stored);
    }
    Ok((tensors, found.aside))
}

fn extent(archive: &mut ZipArchive<BufReader<File>>, name: &str, total: u64) -> Result<Extent, String> {
    let index = archive.index_for_name(name).ok_or("missing; the file is incomplete")?;
    let entry = archive.by_index_raw(index).map_err(|error| error.to_string())?;
    if entry.compression() != CompressionMethod::Stored {
        return Err("compressed, which torch.save never does; save the file again".to_owned());
    }
    let (Some(start), bytes) = (entry.data_start(), entry.size()) else {
        return Err("without a position".to_owned());
    };
    if start.checked_add(bytes).is_none_or(|end| end > total) {
        return Err("reaches past the end of the file; fetch it again".to_owned());
    }
    Ok(Extent { start, bytes })
}

/// A view of a storage as a view of the file, if it stays within the storage.
fn place(view: View, storage: Extent) -> Result<Stored, String> {
    let element = match view.element {
        Global::F32 => Element::F32,
        Global::F16 => Element::F16,
        Global::Bf16 => Element::Bf16,
        Global::F64 => Element::F64,
        _ => Element::Other("integer".to_owned()),
    };
    // The smallest element that there is, where the type is not known.
    let bytes = element.bytes().max(1);
    let count =
        view.shape.iter().try_fold(1_u64, |count, &n| count.checked_mul(n as u64)).ok_or("its shape is absurd")?;
    let last = Stored::span(&view.shape, &view.strides).and_then(|span| view.offset.checked_add(span.max(count)));
    if last.and_then(|last| last.checked_mul(bytes)).is_none_or(|end| end > storage.bytes) {
        return Err("reaches past the end of its storage".to_owned());
    }
    let offset = storage.start + view.offset * bytes;
    Ok(Stored { file: 0, offset, element, shape: view.shape, strides: view.strides })
}
