//! Closed forms, and boxes of an independent program on the same features.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;

use super::*;

const FOUND: &str = include_str!("../../../../../tests/golden/lost/found.json");

fn discover(features: &[[f32; 2]], columns: usize, bias: f32, k: usize) -> Discovery {
    Gram::of(features.as_flattened(), 2, false).unwrap().discover(columns, bias, k).unwrap()
}

/// A 3×4 background of (1, 0) with an object of (0, 1) in its first row and in a corner that it touches at no edge:
///
/// ```text
/// o o . .
/// . . o .
/// . . . .
/// ```
fn scene() -> Vec<[f32; 2]> {
    (0..12).map(|p| if [0, 1, 6].contains(&p) { [0.0, 1.0] } else { [1.0, 0.0] }).collect()
}

/// Breaks when the diagonal counts as a degree, ties are not the first's, or the mask is joined over corners.
#[test]
fn the_rarer_feature_is_the_object_and_corners_do_not_join() {
    let found = discover(&scene(), 4, 0.0, 100);
    // The other two of three, the other eight of nine.
    assert_eq!(found.degrees, [2, 2, 8, 8, 8, 8, 2, 8, 8, 8, 8, 8]);
    assert_eq!((found.seed, found.similar), (0, 3));
    assert_eq!(found.expansion[..3], [3.0, 3.0, 0.0]);
    assert_eq!(found.area, Some(PatchBox { x0: 0, y0: 0, x1: 2, y1: 1 }));
    // All alike: everything is the object of the first patch.
    let flat = discover(&[[1.0, 0.0]; 12], 4, 0.0, 5);
    assert_eq!((flat.seed, flat.similar), (0, 5));
    assert_eq!(flat.area, Some(PatchBox { x0: 0, y0: 0, x1: 4, y1: 3 }));
}

/// Breaks when the bias is left out of one of its three places, or counts once in M instead of once per similar patch.
#[test]
fn a_bias_moves_every_threshold() {
    // b = 0.5: every product is above 0, each degree 11; M = 3 of 12 similar + 12 · 0.5 and so on: all above 0.
    let up = discover(&scene(), 4, 0.5, 100);
    assert_eq!((up.seed, up.similar, up.degrees[0]), (0, 12, 11));
    assert_eq!((up.expansion[0], up.expansion[2]), (9.0, 15.0));
    assert_eq!(up.area, Some(PatchBox { x0: 0, y0: 0, x1: 4, y1: 3 }));
    // b = −0.5: as without, but each of the three takes half away.
    let down = discover(&scene(), 4, -0.5, 100);
    assert_eq!((down.similar, down.expansion[0], down.expansion[2]), (3, 1.5, -1.5));
    assert_eq!(down.area, Some(PatchBox { x0: 0, y0: 0, x1: 2, y1: 1 }));
    // b = −1: a product of exactly −b is not above it; the seed resembles nobody, itself included, and has no box.
    let out = discover(&scene(), 4, -1.0, 100);
    assert_eq!((out.degrees[0], out.similar, out.area), (0, 0, None));
}

/// Breaks when candidates are not cut at k in the order of degrees: the third patch of the object lies behind.
#[test]
fn only_the_lowest_degrees_are_candidates() {
    let found = discover(&scene(), 4, 0.0, 2);
    assert_eq!((found.similar, found.expansion[6]), (2, 2.0));
}

/// Breaks when the seed's part runs over the end of a row into the next.
#[test]
fn parts_end_with_their_row() {
    let area = |mask: &str, columns, seed| {
        let mask: Vec<bool> = mask.bytes().map(|b| b == b'o').collect();
        part_of(&mask, columns, seed).map(|a| [a.x0, a.y0, a.x1, a.y1])
    };
    assert_eq!(area("..oo..", 3, 2), Some([2, 0, 3, 1]));
    assert_eq!(area("o.oo.oooo", 3, 2), Some([0, 0, 3, 3]));
    assert_eq!(area("...", 3, 1), None);
}

#[test]
fn lengths_are_divided_out_and_nonsense_is_refused() {
    let gram = Gram::of(&[3.0, 4.0, 0.0, 0.0], 2, true).unwrap();
    assert!((gram.row(0)[0] - 1.0).abs() < 1e-6 && gram.row(1) == [0.0, 0.0]);
    assert!(Gram::of(&[f32::NAN, 0.0], 2, false).is_none() && Gram::of(&[1e30, 0.0], 2, false).is_none());
    assert!(Gram::of(&[1.0, 2.0, 3.0], 2, false).is_none() && Gram::of(&[1.0], 0, false).is_none());
    assert!(Gram::of(&[], 2, false).unwrap().discover(2, 0.0, 100).is_none());
}

/// Every box of the reference algorithm as `tests/golden/lost/generate.py` runs it with numpy and scipy: features of
/// many shapes, raw and divided by their length, whole numbers (whose degrees tie and whose sums are exactly 0) among them.
#[test]
fn boxes_are_those_of_the_reference_algorithm() {
    let file: Value = serde_json::from_str(FOUND).unwrap();
    let number = |v: &Value| v.as_u64().unwrap() as usize;
    let (mut boxes, mut without, mut ties) = (0, 0, 0);
    for image in file["images"].as_array().unwrap() {
        let name = image["name"].as_str().unwrap();
        let (columns, width) = (number(&image["columns"]), number(&image["width"]));
        let features = image["features"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32);
        let features: Vec<f32> = features.collect();
        for wanted in image["found"].as_array().unwrap() {
            let gram = Gram::of(&features, width, wanted["l2"].as_bool().unwrap()).unwrap();
            let bias = wanted["bias"].as_f64().unwrap() as f32;
            let found = gram.discover(columns, bias, number(&wanted["k_patches"])).unwrap();
            let area = found.area.map(|a| serde_json::json!([a.x0, a.y0, a.x1, a.y1])).unwrap_or_default();
            assert_eq!(area, wanted["box"], "{name}, bias {bias}");
            let seen = (found.seed, found.degrees[found.seed] as usize, found.similar);
            let told = ["seed", "degree", "similar"].map(|key| number(&wanted[key]));
            assert_eq!(seen, (told[0], told[1], told[2]), "{name}, bias {bias}");
            boxes += usize::from(found.area.is_some());
            without += usize::from(found.area.is_none());
            let lowest = found.degrees[found.seed];
            ties += usize::from(found.degrees.iter().filter(|d| **d == lowest).count() > 1);
        }
    }
    assert!(boxes > 200 && without > 10 && ties > 50, "the fixture has {boxes} boxes, {without} without, {ties} ties");
}
