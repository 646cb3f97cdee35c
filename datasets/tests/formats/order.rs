//! Splits, shuffles, limits and digests.

use std::collections::BTreeSet;

use datasets::select::shuffle;
use datasets::{DatasetError, DatasetSpec, Raw, Source};

fn scenes(edit: impl FnOnce(&mut DatasetSpec)) -> Box<dyn Source> {
    let mut spec = DatasetSpec::new("synthetic", "");
    edit(&mut spec);
    datasets::open(&spec).unwrap()
}

fn names(source: &dyn Source) -> Vec<String> {
    source.manifest().entries.iter().map(|entry| entry.name.clone()).collect()
}

#[test]
fn a_shuffle_is_a_pinned_permutation() {
    let mut items: Vec<u32> = (0..10).collect();
    shuffle(&mut items, 7);
    // Breaks when the stream or the walk changes: every shuffled study would then read other images.
    assert_eq!(items, PINNED);
    items.sort_unstable();
    assert_eq!(items, (0..10).collect::<Vec<_>>());
}

/// From a second implementation of the documented walk, in Python.
const PINNED: [u32; 10] = [9, 5, 8, 6, 1, 2, 4, 7, 0, 3];

#[test]
fn limits_are_prefixes_with_and_without_a_shuffle() {
    for seed in [None, Some(3)] {
        let long = names(&*scenes(|spec| (spec.limit, spec.shuffle_seed) = (Some(50), seed)));
        let short = names(&*scenes(|spec| (spec.limit, spec.shuffle_seed) = (Some(20), seed)));
        assert_eq!(long[..20], short);
    }
    let other = names(&*scenes(|spec| (spec.limit, spec.shuffle_seed) = (Some(50), Some(4))));
    assert_ne!(other, names(&*scenes(|spec| (spec.limit, spec.shuffle_seed) = (Some(50), Some(3)))));
}

#[test]
fn train_and_test_are_disjoint_and_complete() {
    for rule in ["every:3@2", "class:2/3"] {
        let part = |part: &str| -> BTreeSet<String> {
            names(&*scenes(|spec| spec.split = format!("{rule}:{part}").parse().unwrap())).into_iter().collect()
        };
        let (train, test) = (part("train"), part("test"));
        assert!(train.is_disjoint(&test));
        assert_eq!(train.len() + test.len(), 2000);
        assert!((train.len() as f64 / 2000.0 - 2.0 / 3.0).abs() < 0.01, "{rule} {}", train.len());
    }
    let test = scenes(|spec| spec.split = "every:3@2:test".parse().unwrap());
    assert!(test.manifest().entries[1].name.ends_with("0000005"));
}

#[test]
fn classes_are_chosen_by_name_and_keep_their_numbers() {
    let source = scenes(|spec| spec.classes = vec!["grating-2-2".to_owned(), "grating-3-1".to_owned()]);
    let labels: BTreeSet<_> = source.manifest().entries.iter().filter_map(|entry| entry.label).collect();
    assert_eq!(labels, BTreeSet::from([4, 8]));
    let mut spec = DatasetSpec::new("synthetic", "");
    spec.classes = vec!["grating-22".to_owned()];
    let Err(DatasetError::UnknownClass { nearest, .. }) = datasets::open(&spec) else { panic!("it opened") };
    assert!(nearest.contains("grating-2-2"), "{nearest}");
}

#[test]
fn items_and_truths_follow_the_selection() {
    let source = scenes(|spec| (spec.limit, spec.shuffle_seed) = (Some(5), Some(11)));
    let whole = datasets::synthetic::Scenes::new(0, 2000);
    for index in 0..5 {
        let name = &source.manifest().entries[index].name;
        let original: usize = name.rsplit('-').next().unwrap().parse().unwrap();
        assert_eq!(source.read(index).unwrap(), Raw::Rgb(whole.scene(original).image));
        assert_eq!(source.truth(index).unwrap().unwrap(), whole.scene(original).truth);
    }
    assert!(source.read(5).is_err() && source.truth(5).unwrap().is_none());
}

#[test]
fn the_digest_moves_with_order_labels_sizes_and_names() {
    let base = scenes(|spec| spec.limit = Some(5)).manifest().clone();
    let digest = base.digest();
    assert_eq!(digest.len(), 64);
    let mut changed = Vec::new();
    for edit in 0..5 {
        let mut other = base.clone();
        match edit {
            0 => other.entries.swap(0, 1),
            1 => other.entries[2].label = None,
            2 => other.entries[2].bytes += 1,
            3 => other.entries[2].name.push('x'),
            _ => other.classes[0].push('x'),
        }
        changed.push(other.digest());
    }
    changed.push(digest);
    assert_eq!(changed.iter().collect::<BTreeSet<_>>().len(), 6);
    assert_ne!(scenes(|spec| (spec.limit, spec.seed) = (Some(5), 1)).manifest().digest(), changed[5]);
}

#[test]
fn a_split_by_class_needs_labels() {
    let dir = crate::laid_out(&[("a.jpg", b"a")]);
    assert!(matches!(crate::open("photos", dir.path(), "class:2/3:train"), Err(DatasetError::Unlabelled { .. })));
    assert!(matches!(crate::open("nonsense", dir.path(), "all"), Err(DatasetError::Unknown { .. })));
}
