//! Lists and devkits from strangers: opening is an answer or an error, and no name leads out of the root.

use std::fs;
use std::path::{Component, Path, PathBuf};

use proptest::prelude::*;

use crate::devkits::{cars, flowers};
use crate::open;
use crate::transfer::{CUB, miniature, places, voc};

/// Lists of strangers: a few words that lead out, are too large, or are not there, at the place of every list.
fn hostile_text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "a/abbey/gsun_1.jpg",
        "../x",
        "/etc/passwd",
        "",
        "0",
        "1",
        "2",
        "-1",
        "4294967295",
        "1000000",
        "woven/x.jpg",
        "Abyssinian_100",
        "_",
        "/",
        "//",
        "\u{feff}",
        "\0",
        "a\\b",
        "é/é",
        "chair",
        "000001",
        "\t",
        "99999999999999999999",
    ]);
    let line = prop::collection::vec(word, 0..5).prop_map(|words| words.join(" "));
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever one list says, opening is an answer or an error, and no name leads out of the root.
    #[test]
    fn hostile_lists(which in 0..6_usize, list: prop::sample::Index, text in hostile_text()) {
        let (name, dir) = match which {
            0 => ("places205", places()),
            1 => ("cub", miniature(&CUB, &["CUB_200_2011/images/001.Auk/Auk_0002_1.jpg"])),
            2 => ("voc2007", voc()),
            3 => ("pets", miniature(&[("annotations/trainval.txt", ""), ("annotations/test.txt", "")], &["images/x.jpg"])),
            4 => ("sun397", miniature(&[("ClassName.txt", "/a/abbey\n"), ("Training_01.txt", "")], &["SUN397/a/abbey/x.jpg"])),
            _ => ("dtd", miniature(&[("labels/train1.txt", "")], &["images/woven/x.jpg"])),
        };
        let mut lists = Vec::new();
        find_lists(dir.path(), &mut lists);
        lists.sort();
        fs::write(&lists[list.index(lists.len())], text).unwrap();
        for split in ["all", "train", "trainval", "test"] {
            if let Ok(source) = open(name, dir.path(), split) {
                for entry in &source.manifest().entries {
                    let inside = Path::new(&entry.name).components().all(|c| matches!(c, Component::Normal(_)));
                    prop_assert!(inside, "{}", entry.name);
                    let label = entry.label.unwrap_or(u32::MAX) as usize;
                    prop_assert!(label < source.manifest().classes.len());
                }
            }
        }
    }

    #[test]
    fn damaged_devkits(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), which in 0..4_usize) {
        let (name, dir, file) = match which {
            0 => ("flowers", flowers(), "flowers-102/imagelabels.mat"),
            1 => ("flowers", flowers(), "flowers-102/setid.mat"),
            2 => ("cars", cars(), "stanford_cars/devkit/cars_meta.mat"),
            _ => ("cars", cars(), "stanford_cars/devkit/cars_train_annos.mat"),
        };
        let path = dir.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        fs::write(&path, bytes).unwrap();
        if let Ok(source) = open(name, dir.path(), "train") {
            let classes = source.manifest().classes.len();
            prop_assert!(source.manifest().entries.iter().all(|e| (e.label.unwrap_or(u32::MAX) as usize) < classes));
        }
    }
}

fn find_lists(folder: &Path, lists: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_lists(&path, lists);
        } else if path.extension().is_some_and(|e| e == "txt" || e == "csv") {
            lists.push(path);
        }
    }
}
