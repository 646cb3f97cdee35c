#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use super::*;

/// Written by `scipy.io.savemat`, see `tests/golden/make_synsets.py`.
const COMPRESSED_FILE: &[u8] = include_bytes!("../../../tests/golden/synsets.mat");
const LABELS_FILE: &[u8] = include_bytes!("../../../tests/golden/devkits/imagelabels.mat");
const SETS_FILE: &[u8] = include_bytes!("../../../tests/golden/devkits/setid.mat");
const NAMES_FILE: &[u8] = include_bytes!("../../../tests/golden/devkits/cars_meta.mat");
const PLAIN_FILE: &[u8] = include_bytes!("../../../tests/golden/synsets_plain.mat");

/// What ImageNet's devkit needs of its nodes.
#[derive(Clone, Debug, PartialEq)]
struct Synset {
    id: u32,
    wnid: String,
    num_children: u32,
}

fn synsets(bytes: &[u8]) -> Result<Vec<Synset>, Mat5Error> {
    structs(bytes, "synsets", ["ILSVRC2012_ID", "WNID", "num_children"], |node| {
        Ok(Synset { id: node.integer(0)?, wnid: node.text(1)?, num_children: node.integer(2)? })
    })
}

fn nodes() -> Vec<Synset> {
    [
        (1, "n02119789", 0),
        (2, "n02100735", 0),
        (3, "n02110185", 0),
        (4, "n02096294", 0),
        (5, "n02083346", 2),
        (6, "n02084071", 3),
    ]
    .map(|(id, wnid, num_children)| Synset { id, wnid: wnid.into(), num_children })
    .to_vec()
}

/// Breaks if padding, small elements, number types or compression are misread: scipy wrote these, not this crate.
#[test]
fn files_of_scipy_are_read() {
    assert_eq!(synsets(COMPRESSED_FILE).unwrap(), nodes());
    assert_eq!(synsets(PLAIN_FILE).unwrap(), nodes());
}

/// Numbers come as bytes and as doubles, text as a cell array; a variable is found behind others.
#[test]
fn arrays_of_numbers_and_text_are_read() {
    assert_eq!(integers(LABELS_FILE, "labels").unwrap(), [2, 1, 3, 1, 2, 3]);
    assert_eq!(integers(SETS_FILE, "tstid").unwrap(), [6, 4]);
    let names = ["AM General Hummer SUV 2000", "Audi S4 Sedan 2007", "BMW Z4 Convertible 2012"];
    assert_eq!(texts(NAMES_FILE, "class_names").unwrap(), names);
    assert!(matches!(texts(LABELS_FILE, "labels"), Err(Mat5Error::NoVariable { kind: "cell array", name: "labels" })));
    assert!(matches!(integers(NAMES_FILE, "class_names"), Err(Mat5Error::NoVariable { .. })));
}

/// Breaks if an array may hold more or fewer numbers than it says, or cells that are not text are passed over.
#[test]
fn arrays_that_contradict_themselves_are_refused() {
    let numbers = |count, bytes: &[u8]| file(&matrix(9, [1, count], "labels", &tagged(UINT8, bytes)));
    assert_eq!(integers(&numbers(3, &[1, 2, 3]), "labels").unwrap(), [1, 2, 3]);
    assert!(matches!(integers(&numbers(4, &[1, 2, 3]), "labels"), Err(Mat5Error::Malformed(_))));
    assert!(matches!(integers(&numbers(u32::MAX, &[1, 2, 3]), "labels"), Err(Mat5Error::Malformed(_))));
    let halves = [1.0_f64, 0.5].map(f64::to_le_bytes).concat();
    let error = integers(&file(&matrix(6, [1, 2], "labels", &tagged(9, &halves))), "labels").unwrap_err();
    assert_eq!(error.to_string(), "labels number 2: element is not a whole number");
    let cells = |count, cells: &[Vec<u8>]| file(&matrix(CELL_CLASS, [count, 1], "class_names", &cells.concat()));
    let error = texts(&cells(2, &[utf16("a"), number(1)]), "class_names").unwrap_err();
    assert_eq!(error.to_string(), "class_names number 2: cell is not text");
    assert!(matches!(texts(&cells(u32::MAX, &[utf16("a")]), "class_names"), Err(Mat5Error::Truncated(_))));
}

fn tagged(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut out = if (1..=4).contains(&data.len()) {
        let mut out = (kind | (data.len() as u32) << 16).to_le_bytes().to_vec();
        out.extend_from_slice(data);
        out
    } else {
        let mut out = kind.to_le_bytes().to_vec();
        out.extend((data.len() as u32).to_le_bytes());
        out.extend_from_slice(data);
        out
    };
    if kind != COMPRESSED {
        out.resize(out.len().next_multiple_of(8), 0);
    }
    out
}

fn matrix(class: u8, dimensions: [u32; 2], name: &str, content: &[u8]) -> Vec<u8> {
    let mut data = tagged(6, &[class, 0, 0, 0, 0, 0, 0, 0]);
    data.extend(tagged(5, &dimensions.map(u32::to_le_bytes).concat()));
    data.extend(tagged(INT8, name.as_bytes()));
    data.extend_from_slice(content);
    tagged(MATRIX, &data)
}

fn number(value: u16) -> Vec<u8> {
    matrix(6, [1, 1], "", &tagged(UINT16, &value.to_le_bytes()))
}

fn utf16(text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    matrix(CHAR_CLASS, [1, text.len() as u32], "", &tagged(UINT16, &units))
}

fn file(variables: &[u8]) -> Vec<u8> {
    let mut out = vec![b' '; 124];
    out.extend(b"\x00\x01IM");
    out.extend_from_slice(variables);
    out
}

fn struct_of(count: u32, fields: &[&str], cells: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<u8> = fields.iter().flat_map(|field| format!("{field:\0<20}").into_bytes()).collect();
    let content = [tagged(5, &20_u32.to_le_bytes()), tagged(INT8, &names), cells.concat()].concat();
    matrix(STRUCT_CLASS, [count, 1], "synsets", &content)
}

const FIELDS: [&str; 3] = ["WNID", "num_children", "ILSVRC2012_ID"];

/// MATLAB itself writes text as 16-bit units and a double in the smallest integer type that holds it; fields may come
/// in any order.
#[test]
fn files_of_matlab_are_read() {
    let bytes = file(&struct_of(1, &FIELDS, &[utf16("n02119789"), number(0), number(40000)]));
    assert_eq!(synsets(&bytes).unwrap(), [Synset { id: 40000, wnid: "n02119789".into(), num_children: 0 }]);
}

#[test]
fn cells_of_the_wrong_kind_are_named() {
    let error = |cells: [Vec<u8>; 3]| synsets(&file(&struct_of(1, &FIELDS, &cells))).unwrap_err().to_string();
    let half = matrix(6, [1, 1], "", &tagged(9, &0.5_f64.to_le_bytes()));
    let empty = tagged(MATRIX, &[]);
    let two = matrix(6, [1, 2], "", &tagged(UINT8, &[1, 2]));
    assert_eq!(error([number(1), number(0), number(1)]), "synsets number 1: WNID is not text");
    assert_eq!(error([utf16("n0"), number(0), half]), "synsets number 1: ILSVRC2012_ID is not a whole number");
    assert_eq!(error([utf16("n0"), empty, number(1)]), "synsets number 1: num_children is not a whole number");
    assert_eq!(error([utf16("n0"), two, number(1)]), "synsets number 1: num_children is not a whole number");
}

#[test]
fn other_files_are_told_apart() {
    assert!(matches!(synsets(b"MATLAB 7.3 MAT-file"), Err(Mat5Error::NotMat5)));
    let mut big_endian = PLAIN_FILE.to_vec();
    big_endian[124..128].copy_from_slice(b"\x01\x00MI");
    assert!(matches!(synsets(&big_endian), Err(Mat5Error::NotMat5)));
    assert!(matches!(synsets(&file(b"")), Err(Mat5Error::NoVariable { .. })));
    assert!(matches!(
        synsets(&file(&matrix(6, [1, 1], "synsets", &tagged(UINT8, &[1])))),
        Err(Mat5Error::NoVariable { .. })
    ));
    let no_children = struct_of(0, &FIELDS[..1], &[]);
    assert!(matches!(synsets(&file(&no_children)), Err(Mat5Error::NoField { field: "ILSVRC2012_ID", .. })));
}

/// A count of four thousand million in a file of a few hundred bytes is refused before anything is reserved for it.
#[test]
fn false_counts_are_refused() {
    let bytes = file(&struct_of(u32::MAX, &FIELDS, &[]));
    assert!(matches!(synsets(&bytes), Err(Mat5Error::Truncated(_))));
}

/// The bound covers the file, not each variable: three bombs under it are stopped together.
#[test]
fn inflation_is_bounded() {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let body = MAX_INFLATED_BYTES as usize / 2 - 8;
    encoder.write_all(&UINT8.to_le_bytes()).unwrap();
    encoder.write_all(&(body as u32).to_le_bytes()).unwrap();
    encoder.write_all(&vec![0; body]).unwrap();
    let bomb = tagged(COMPRESSED, &encoder.finish().unwrap());
    assert!(matches!(synsets(&file(&bomb.repeat(2))), Err(Mat5Error::NoVariable { .. })));
    assert!(matches!(synsets(&file(&bomb.repeat(3))), Err(Mat5Error::TooLarge)));
}

#[test]
fn every_cut_is_an_error() {
    for whole in [COMPRESSED_FILE, PLAIN_FILE] {
        for len in 0..whole.len() - 8 {
            assert!(synsets(&whole[..len]).is_err(), "{len}");
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = synsets(&bytes);
        let _ = synsets(&file(&bytes));
        for named in ["labels", "names"] {
            let _ = (integers(&file(&bytes), named), texts(&file(&bytes), named));
        }
        let _ = integers(&file(&matrix(9, [1, 2], "labels", &bytes)), "labels");
        let _ = texts(&file(&matrix(CELL_CLASS, [1, 2], "labels", &bytes)), "labels");
    }

    #[test]
    fn damaged_files_never_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        compressed: bool,
    ) {
        let mut bytes = if compressed { COMPRESSED_FILE } else { PLAIN_FILE }.to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(found) = synsets(&bytes) {
            prop_assert!(found.len() <= bytes.len());
        }
    }
}
