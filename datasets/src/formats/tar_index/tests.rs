#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::source::{Raw, ReadError, Source};

const PATH: &str = "test.tar";

fn index_all(bytes: &[u8]) -> Result<Vec<Member>, DatasetError> {
    index(bytes, Path::new(PATH), Region { offset: 0, len: bytes.len() as u64 })
}

fn header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header
}

fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in files {
        builder.append_data(&mut header(bytes.len() as u64), name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn payload<'a>(bytes: &'a [u8], member: &Member) -> &'a [u8] {
    &bytes[member.region.offset as usize..][..member.region.len as usize]
}

/// A member of any kind, written by hand: what the builder would refuse to write.
fn block(name: &str, kind: EntryType, size: u64, bytes: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn end_mark() -> Vec<u8> {
    vec![0; 1024]
}

fn what(result: Result<Vec<Member>, DatasetError>) -> String {
    match result {
        Err(DatasetError::Malformed { path, what }) => {
            assert_eq!(path, Path::new(PATH));
            what
        }
        other => panic!("{other:?} where malformed was expected"),
    }
}

/// Breaks if an offset is off by a block, if padding is counted wrongly (sizes 0, 1, 511..513), or if the GNU long name
/// is lost or given to the wrong member.
#[test]
fn payloads_lie_where_the_index_says() {
    let long = format!("{}/long.jpg", "folder".repeat(40));
    let sizes = [0, 1, 511, 512, 513, 3000];
    let payloads: Vec<Vec<u8>> = sizes.iter().map(|&size| (0..size).map(|i| (i * 7 + size) as u8).collect()).collect();
    let names = ["a.jpg", &long, "b.jpg", "./c.jpg", "d/e.jpg", "z"];
    let files: Vec<(&str, &[u8])> = names.iter().copied().zip(payloads.iter().map(Vec::as_slice)).collect();
    let bytes = pack(&files);
    let members = index_all(&bytes).unwrap();
    let found: Vec<_> = members.iter().map(|member| (member.name.as_str(), payload(&bytes, member))).collect();
    let expected: Vec<_> = files.iter().map(|&(name, bytes)| (name.trim_start_matches("./"), bytes)).collect();
    assert_eq!(found, expected);
}

/// Breaks if PAX records are split at newlines (the comment holds one), or if the PAX size does not override the header's.
#[test]
fn pax_records_override_name_and_size() {
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let len =
            (1..4).map(|digits| rest.len() + digits).find(|len| len.to_string().len() + rest.len() == *len).unwrap();
        format!("{len}{rest}")
    };
    let long = "p/".repeat(150) + "x.jpg";
    let records = record("comment", "two\nlines") + &record("path", &long) + &record("size", "5");
    let mut bytes = block("PaxHeaders/x", EntryType::XHeader, records.len() as u64, records.as_bytes());
    bytes.extend(block("short", EntryType::Regular, 0, b"hello"));
    bytes.extend(block("next", EntryType::Regular, 2, b"hi"));
    bytes.extend(end_mark());
    let members = index_all(&bytes).unwrap();
    assert_eq!(members.len(), 2);
    assert_eq!((members[0].name.as_str(), payload(&bytes, &members[0])), (long.as_str(), &b"hello"[..]));
    assert_eq!((members[1].name.as_str(), payload(&bytes, &members[1])), ("next", &b"hi"[..]));
}

/// The `tar` crate writes PAX members as POSIX says; breaks if a record as others write it is not understood.
#[test]
fn pax_members_written_by_another_hand_are_read() {
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions([("path", b"from/pax.jpg".as_slice()), ("mtime", b"1.5")]).unwrap();
    builder.append_data(&mut header(3), "plain", &b"abc"[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    assert_eq!(index_all(&bytes).unwrap()[0].name, "from/pax.jpg");
}

/// ustar splits a name of up to 255 bytes over two fields.
#[test]
fn ustar_prefixes_are_joined() {
    let name = format!("{}/{}", "a".repeat(120), "b".repeat(90));
    let mut header = Header::new_ustar();
    header.set_path(&name).unwrap();
    header.set_size(0);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(end_mark());
    assert_eq!(index_all(&bytes).unwrap()[0].name, name);
}

/// Breaks if a folder or link is taken for a file, or if the size in a link's header is skipped as if it were payload.
#[test]
fn what_is_not_a_file_is_passed_over() {
    let mut bytes = block("folder/", EntryType::Directory, 0, b"");
    bytes.extend(block("link", EntryType::Symlink, 4096, b""));
    bytes.extend(block("old-folder/", EntryType::new(0), 0, b""));
    bytes.extend(block("globals", EntryType::XGlobalHeader, 13, b"13 comment=x\n"));
    bytes.extend(block("file", EntryType::Regular, 1, b"!"));
    bytes.extend(end_mark());
    let members = index_all(&bytes).unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(payload(&bytes, &members[0]), b"!");
}

#[test]
fn a_tar_in_a_tar_is_indexed_where_it_lies() {
    let inner = pack(&[("one.jpg", b"1"), ("two.jpg", b"22")]);
    let outer = pack(&[("pad", &[9; 700]), ("n01.tar", &inner)]);
    let at = index_all(&outer).unwrap()[1].region;
    let members = index(outer.as_slice(), Path::new(PATH), at).unwrap();
    let found: Vec<_> = members.iter().map(|member| payload(&outer, member)).collect();
    assert_eq!(found, [&b"1"[..], b"22"]);
}

/// Every cut is noticed and the byte named: a shorter dataset must not pass for the whole one. (Of the two blocks that
/// end an archive, only the first is asked for.)
#[test]
fn a_cut_archive_is_refused() {
    let bytes = pack(&[("a.jpg", &[1; 600]), ("b.jpg", &[2; 10])]);
    assert_eq!(bytes.len(), 512 + 1024 + 512 + 512 + 1024);
    for len in 0..bytes.len() - 512 {
        let what = what(index_all(&bytes[..len]));
        assert!(what.starts_with("at byte ") && what.contains("cut short?"), "{len}: {what}");
    }
    assert_eq!(index_all(&bytes[..bytes.len() - 512]).unwrap().len(), 2);
}

/// A nested tar may not reach beyond its own bytes into its neighbour.
#[test]
fn a_region_bounds_its_members() {
    let bytes = pack(&[("a.jpg", &[1; 600])]);
    let error = index(bytes.as_slice(), Path::new(PATH), Region { offset: 0, len: 1000 });
    assert!(what(error).contains("a.jpg is said to hold 600 bytes"));
}

#[test]
fn hostile_sizes_are_refused() {
    for size in [1 << 20, u64::MAX >> 1, u64::MAX - 511, u64::MAX] {
        let mut bytes = block("huge.jpg", EntryType::Regular, size, b"");
        bytes.extend(end_mark());
        assert!(what(index_all(&bytes)).contains("huge.jpg is said to hold"), "{size}");
        let mut bytes = block("L", EntryType::GNULongName, size, b"");
        bytes.extend(end_mark());
        assert!(what(index_all(&bytes)).contains("extended header"), "{size}");
        let mut bytes = block("K", EntryType::GNULongLink, size, b"");
        bytes.extend(end_mark());
        let what = what(index_all(&bytes));
        assert!(what.contains("cut short?") || what.contains("beyond any file"), "{size}: {what}");
    }
}

#[test]
fn wrong_headers_name_the_byte() {
    let mut bytes = pack(&[("a.jpg", b"a"), ("b.jpg", b"b")]);
    bytes[1024 + 20] ^= 1;
    assert!(what(index_all(&bytes)).starts_with("at byte 1024: the checksum"));
    let mut bytes = block("s", EntryType::GNUSparse, 0, b"");
    bytes.extend(end_mark());
    assert!(what(index_all(&bytes)).contains("sparse"));
    let mut bytes = block("L", EntryType::GNULongName, 4, b"name");
    bytes.extend(end_mark());
    assert!(what(index_all(&bytes)).contains("followed by no member"));
    for records in
        ["8 path=x\n", "11 path=x\n", "999 path=x\n", "path=x\n", "0 path=x\n", "7 path\n", "12 size=ten\n", "-1 a=b\n"]
    {
        let mut bytes = block("x", EntryType::XHeader, records.len() as u64, records.as_bytes());
        bytes.extend(block("file", EntryType::Regular, 0, b""));
        bytes.extend(end_mark());
        assert!(what(index_all(&bytes)).contains("PAX"), "{records:?}");
    }
}

fn open_one(bytes: &[u8]) -> (tempfile::TempDir, PathBuf, Spans) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(PATH);
    std::fs::write(&path, bytes).unwrap();
    let (file, whole) = open_tar(&path, "a tar").unwrap();
    let members = index(&file, &path, whole).unwrap();
    let items = members.into_iter().map(|Member { name, region }| Item { name, label: None, tar: 0, region }).collect();
    let images = dataset(vec![path.clone()], items, Vec::new()).unwrap();
    (dir, path, images)
}

/// Breaks if names are sorted apart from their places, or if a file cut after opening gives short or stale bytes.
#[test]
fn images_are_sorted_and_read_in_place() {
    let (_dir, path, images) = open_one(&pack(&[("b.jpg", b"bb"), ("a.jpg", b"a")]));
    let names: Vec<_> = images.manifest().entries.iter().map(|entry| (entry.name.as_str(), entry.bytes)).collect();
    assert_eq!(names, [("a.jpg", 1), ("b.jpg", 2)]);
    assert_eq!(images.read(0).unwrap(), Raw::Encoded(b"a".to_vec()));
    assert_eq!(images.read(1).unwrap(), Raw::Encoded(b"bb".to_vec()));
    assert!(matches!(images.read(2), Err(ReadError::OutOfRange { index: 2, len: 2 })));
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(images.read(0), Err(ReadError::Truncated { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(images.read(0), Err(ReadError::Io { .. })));
}

#[test]
fn twins_and_giants_are_no_images() {
    let item = |name: &str, len| Item { name: name.into(), label: None, tar: 0, region: Region { offset: 512, len } };
    let open = |items| dataset(vec![PATH.into()], items, Vec::new()).map(|_| Vec::new());
    assert!(what(open(vec![item("a", 1), item("b", 1), item("a", 1)])).contains("two images are called a"));
    assert!(what(open(vec![item("a", MAX_IMAGE_BYTES + 1)])).contains("limit"));
}

#[test]
fn a_missing_tar_says_what_it_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let error = open_tar(&dir.path().join("x.tar"), "a tar of photos").unwrap_err();
    assert!(error.to_string().contains("a tar of photos"));
}

/// Sound: whatever the index returns lies inside the archive.
fn check(bytes: &[u8]) {
    if let Ok(members) = index_all(bytes) {
        for member in members {
            assert!(member.name.len() as u64 <= MAX_NAME_BYTES);
            assert!(member.region.offset.checked_add(member.region.len).unwrap() <= bytes.len() as u64);
        }
    }
}

/// Sets the checksum of every block, so that damage gets past it.
fn mend_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512).filter(|block| block.iter().any(|&byte| byte != 0)) {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}

fn mixed() -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions([("path", b"from/pax.jpg".as_slice()), ("size", b"3")]).unwrap();
    builder.append_data(&mut header(3), "plain", &b"abc"[..]).unwrap();
    builder.append_data(&mut header(1), "l".repeat(200), &b"x"[..]).unwrap();
    builder.into_inner().unwrap()
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..4096), mend: bool) {
        if mend {
            mend_checksums(&mut bytes);
        }
        check(&bytes);
    }

    #[test]
    fn damaged_tars_never_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut: Option<prop::sample::Index>,
        mend: bool,
    ) {
        let mut bytes = mixed();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if mend {
            mend_checksums(&mut bytes);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check(&bytes);
    }

    /// Damage to the fields that steer the walk: kind, size, and the magic that decides how names are read.
    #[test]
    fn damaged_headers_never_panic(block in 0_usize..6, kind: u8, size in proptest::collection::vec(any::<u8>(), 12), magic: bool) {
        let mut bytes = mixed();
        let header = &mut bytes[block * 512..][..512];
        header[156] = kind;
        header[124..136].copy_from_slice(&size);
        if magic {
            header[257..265].copy_from_slice(b"ustar\x0000");
        }
        mend_checksums(&mut bytes);
        check(&bytes);
    }
}
