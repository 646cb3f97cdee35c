#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;
use crate::source::Raw;

fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn shard(files: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s-0.tar");
    fs::write(&path, pack(files)).unwrap();
    (dir, path)
}

fn message(files: &[(&str, &[u8])]) -> String {
    open(&shard(files).1, &[]).err().unwrap().to_string()
}

fn list(source: &dyn Source) -> Vec<(&str, Option<u32>)> {
    source.manifest().entries.iter().map(|entry| (entry.name.as_str(), entry.label)).collect()
}

/// Breaks if names are split at the last dot, if a label goes to a neighbour, or if a sample's other files are images.
#[test]
fn samples_are_grouped_by_name() {
    let (_dir, path) = shard(&[
        ("b.cls", b"7\n"),
        ("b.jpg", b"image b"),
        ("d.x/a.json", br#"{"label": 3, "caption": "c"}"#),
        ("d.x/a.PNG", b"image a"),
        ("d.x/a.seg.png", b"mask"),
        ("c.jpeg", b"image c"),
        ("c.json", br#"{"caption": "no label"}"#),
        ("e.input.webp", b"image e"),
        ("e.cls", b"0"),
        ("e.json", br#"{"label": 9}"#),
        ("text.txt", b"no image"),
        ("README", b""),
        (".hidden", b""),
    ]);
    let source = open(&path, &[]).unwrap();
    assert_eq!(
        list(&*source),
        [
            ("s-0.tar/b.jpg", Some(7)),
            ("s-0.tar/c.jpeg", None),
            ("s-0.tar/d.x/a.PNG", Some(3)),
            ("s-0.tar/e.input.webp", Some(0)),
        ]
    );
    assert_eq!(source.read(2).unwrap(), Raw::Encoded(b"image a".to_vec()));
    assert_eq!(source.manifest().classes, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

/// Breaks if shards are listed in folder order, or if a read goes to another shard's file.
#[test]
fn folders_and_patterns_open_the_same_shards() {
    let dir = tempfile::tempdir().unwrap();
    for number in [10, 9, 8] {
        let text = number.to_string();
        let path = dir.path().join(format!("part-{number:02}.tar"));
        fs::write(path, pack(&[("same.jpg", text.as_bytes()), ("same.cls", b"1")])).unwrap();
    }
    fs::write(dir.path().join("notes.txt"), "").unwrap();
    fs::write(dir.path().join("classnames.txt"), "cat\n dog \n").unwrap();
    let folder = open(dir.path(), &[]).unwrap();
    let pattern = open(&dir.path().join("part-{08..10}.tar"), &[]).unwrap();
    assert_eq!(folder.manifest(), pattern.manifest());
    assert_eq!(folder.manifest().classes, ["cat", "dog"]);
    for (index, expected) in ["8", "9", "10"].iter().enumerate() {
        assert_eq!(pattern.read(index).unwrap(), Raw::Encoded(expected.as_bytes().to_vec()));
    }
    let message = open(&dir.path().join("part-{08..11}.tar"), &[]).err().unwrap().to_string();
    assert!(message.contains("part-11.tar does not exist"), "{message}");
    let tens = open(dir.path(), &["train", "part-1"]).unwrap();
    assert_eq!(list(&*tens), [("part-10.tar/same.jpg", Some(1))]);
    assert!(open(dir.path(), &["test"]).unwrap().manifest().entries.is_empty());
    fs::write(dir.path().join("classnames.txt"), "cat\n").unwrap();
    let message = open(dir.path(), &[]).err().unwrap().to_string();
    assert!(message.contains("label 1, but there are 1 classes at most"), "{message}");
}

#[test]
fn patterns_expand_as_in_a_shell() {
    assert_eq!(expand("a{08..10}b").unwrap(), ["a08b", "a09b", "a10b"]);
    assert_eq!(expand("{8..10}").unwrap(), ["8", "9", "10"]);
    assert_eq!(expand("{0..0}.tar").unwrap(), ["0.tar"]);
    for none in ["a.tar", "a{1,2}", "a{2..1}", "a{x..2}", "a{0..99999999999}", "a{..}", "a}{", "{-1..2}"] {
        assert_eq!(expand(none), None, "{none}");
    }
}

#[test]
fn wrong_labels_and_twins_are_refused() {
    assert!(message(&[("a.jpg", b""), ("a.cls", b"cat")]).contains("a.cls is not the number of a class"));
    assert!(message(&[("a.jpg", b""), ("a.cls", b"-1")]).contains("a.cls is not the number of a class"));
    assert!(message(&[("a.jpg", b""), ("a.json", br#"{"label": "cat"}"#)]).contains("not the number of a class"));
    assert!(message(&[("a.jpg", b""), ("a.json", b"{")]).contains("a.json is not JSON"));
    assert!(message(&[("a.jpg", b""), ("a.cls", b"4000000000")]).contains("has label 4000000000"));
    let long = vec![b' '; MAX_LABEL_BYTES as usize + 1];
    assert!(message(&[("a.jpg", b""), ("a.cls", &long)]).contains("a label has at most"));
    assert!(message(&[("a.jpg", b""), ("a.png", b"")]).contains("several images"));
    assert!(message(&[("a.1.jpg", b""), ("a.2.jpg", b"")]).contains("several images"));
    assert!(message(&[("a.jpg", b""), ("a.jpg", b"")]).contains("several images"));
}

#[test]
fn missing_shards_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["x.tar", "x-{a..b}.tar"] {
        let message = open(&dir.path().join(name), &[]).err().unwrap().to_string();
        assert!(message.contains("tar shards: one file, a folder"), "{message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_shards_never_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut: Option<prop::sample::Index>,
    ) {
        let mut bytes = pack(&[("a.jpg", b"image"), ("a.cls", b"12"), ("b.png", b"image"), ("b.json", br#"{"label": 1}"#)]);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("s.tar"), &bytes).unwrap();
        if let Ok(source) = open(dir.path(), &[]) {
            for index in 0..source.manifest().entries.len() {
                prop_assert!(source.read(index).is_ok());
            }
        }
    }

    #[test]
    fn names_are_split_at_the_first_dot_of_the_file(name in "[a./]{0,12}") {
        if let Some((key, extension)) = split_name(&name) {
            prop_assert_eq!(format!("{key}.{extension}"), name.clone());
            let base = key.rsplit('/').next().unwrap();
            prop_assert!(!base.is_empty() && !base.contains('.') && !extension.contains('/'), "{}", name);
        }
    }
}
