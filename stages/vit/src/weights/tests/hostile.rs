//! Foreign bytes end in an error: no panic, no allocation that the file does not pay for.
//!
//! Every reader bounds what it allocates by bytes that are there ([`crate::weights::checkpoint::read_at`] refuses
//! before it allocates), so random and mutated files of a few kilobytes finish at once; a reader that believed a
//! length field would abort the test process.

use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, ZipArchive};

use super::{load_file, official, tiny, write};
use crate::weights::pickle;
use crate::weights::state_dict;

/// Checkpoints saved by `torch.save`; the golden encoders load them too.
fn golden(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/fixtures/");
    std::fs::read(format!("{path}{name}")).unwrap()
}

fn pickle_of(file: &[u8]) -> Vec<u8> {
    let mut archive = ZipArchive::new(Cursor::new(file)).unwrap();
    let name =
        archive.file_names().map(|name| name.unwrap().into_owned()).find(|name| name.ends_with("data.pkl")).unwrap();
    let mut bytes = Vec::new();
    std::io::copy(&mut archive.by_name(&name).unwrap(), &mut bytes).unwrap();
    bytes
}

fn zip_of(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [("archive/data.pkl", pickle), ("archive/data/0", storage)] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn load_bytes(bytes: &[u8]) -> Result<crate::weights::Weights, crate::error::VitError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, bytes).unwrap();
    load_file(&tiny(), &path)
}

/// Replaces bytes, then cuts: positions are taken modulo the length.
fn mutated(mut bytes: Vec<u8>, edits: &[(usize, u8)], keep: usize) -> Vec<u8> {
    let length = bytes.len();
    for &(at, value) in edits {
        bytes[at % length] = value;
    }
    bytes.truncate(keep % (length + 1));
    bytes
}

fn edits() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>()), 1..12)
}

/// Mostly instructions that `PyTorch` writes, so that random programs get far.
fn opcode() -> impl Strategy<Value = u8> {
    prop_oneof![
        prop::sample::select(b"()]}KMJXcqrhjt\x85\x86\x87aesuRbQN.012ld\x81\x93\x94\x8c\x88".to_vec()),
        any::<u8>()
    ]
}

proptest! {
    #[test]
    fn random_bytes_are_no_weights(head in prop::sample::select(vec![&b""[..], b"PK\x03\x04", b"\x40\0\0\0\0\0\0\0{"]), bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(load_bytes(&[head, &bytes].concat()).is_err());
    }

    #[test]
    fn random_pickles_end(program in prop::collection::vec(opcode(), 0..400)) {
        if let Ok(pickle) = pickle::read(&program) {
            let _ = state_dict::find(&pickle);
        }
    }

    #[test]
    fn mutated_pickles_end(edits in edits(), keep in any::<usize>()) {
        let bytes = mutated(pickle_of(&golden("official_dino.pth")), &edits, keep);
        if let Ok(pickle) = pickle::read(&bytes) {
            let _ = state_dict::find(&pickle);
        }
        let _ = load_bytes(&zip_of(&bytes, &[0; 64]));
    }

    #[test]
    fn mutated_safetensors_end(edits in edits(), header in any::<bool>(), keep in any::<usize>()) {
        let folder = tempfile::tempdir().unwrap();
        let bytes = std::fs::read(write(folder.path(), "m", &official(&tiny().config))).unwrap();
        // Half of the cases hit the header alone, where the structure is.
        let edits: Vec<(usize, u8)> = edits.into_iter().map(|(at, v)| (if header { at % 2500 } else { at }, v)).collect();
        let keep = if keep % 2 == 0 { bytes.len() } else { keep };
        let _ = load_bytes(&mutated(bytes, &edits, keep));
    }

    #[test]
    fn mutated_zips_end(edits in edits(), tail in any::<bool>(), keep in any::<usize>()) {
        let bytes = golden("official_dinov2.pth");
        // Half of the cases hit the central directory at the end.
        let edits: Vec<(usize, u8)> = edits.into_iter().map(|(at, v)| (if tail { bytes.len() - 1 - at % 4000 } else { at }, v)).collect();
        let keep = if keep % 2 == 0 { bytes.len() } else { keep };
        let _ = load_bytes(&mutated(bytes, &edits, keep));
    }
}

/// `torch.save({"w": tensor})` with a shape, strides and offset of our choice, over a storage of 16 floats.
fn one_tensor(offset: u8, shape: &[u32], strides: &[u32]) -> Vec<u8> {
    let tuple = |sizes: &[u32]| {
        let items: Vec<u8> = sizes.iter().flat_map(|n| [vec![b'J'], n.to_le_bytes().to_vec()].concat()).collect();
        [b"(".to_vec(), items, b"t".to_vec()].concat()
    };
    let storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x10tQ";
    [
        &b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n("[..],
        storage,
        &[b'K', offset],
        &tuple(shape),
        &tuple(strides),
        b"\x89NtRs.",
    ]
    .concat()
}

fn opened(pickle: &[u8]) -> String {
    load_bytes(&zip_of(pickle, &[0; 64])).unwrap_err().to_string()
}

#[test]
fn views_stay_within_their_storage() {
    // Fits, and then is not a ViT: the reader itself was content.
    assert!(opened(&one_tensor(0, &[4, 4], &[4, 1])).contains("no known ViT"));
    assert!(opened(&one_tensor(0, &[4, 4], &[1, 4])).contains("no known ViT"));
    let huge = i32::MAX as u32;
    for (offset, shape, strides) in [
        (1, &[4, 4][..], &[4, 1][..]),
        (0, &[4, 5], &[4, 1]),
        (0, &[huge, huge], &[0, 0]),
        (0, &[huge, huge, huge, huge], &[huge, huge, huge, huge]),
        (0, &[2], &[huge]),
    ] {
        assert!(
            opened(&one_tensor(offset, shape, strides)).contains("past the end")
                || opened(&one_tensor(offset, shape, strides)).contains("absurd"),
            "{shape:?}"
        );
    }
    assert!(opened(&one_tensor(0, &[u32::MAX], &[1])).contains("size of -1"));
}

/// The classic attack, and that it is named rather than run.
#[test]
fn code_in_a_pickle_is_named_and_not_run() {
    let error = opened(b"\x80\x02cos\nsystem\nX\x0e\0\0\0touch /tmp/own\x85R.");
    assert!(error.contains("`os.system`") && error.contains("safetensors"), "{error}");
    let error = opened(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x01x\x85R.");
    assert!(error.contains("`builtins.eval`"), "{error}");
}

/// Each step doubles what a copying reader would hold; by reference it is two dozen values.
#[test]
fn shared_values_are_not_copied() {
    let mut program = b"\x80\x02)q\x00".to_vec();
    for _ in 0..200 {
        program.extend(b"h\x00h\x00\x86q\x00");
    }
    program.push(b'.');
    assert!(pickle::read(&program).is_ok());
}

#[test]
fn a_value_within_itself_ends() {
    // d = {}; d["model"] = d
    let error = opened(b"\x80\x02}q\x00X\x05\0\0\0modelh\x00s.");
    assert!(error.contains("no tensors by name"), "{error}");
}

#[test]
fn lengths_are_not_believed() {
    for program in [
        &b"X\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8b\xff\xff\xff\x7f",
        b"B\xff\xff\xff\x7f",
    ] {
        assert!(pickle::read(program).unwrap_err().contains("ends in the middle"));
    }
}
