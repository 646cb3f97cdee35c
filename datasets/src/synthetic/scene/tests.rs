//! The properties that the planted model relies on, over many scenes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use sha2::{Digest, Sha256};

use super::*;

const COUNT: usize = 800;

fn scenes() -> impl Iterator<Item = Scene> {
    (0..COUNT).map(|index| Scene::new(0, index))
}

fn luminance_variance(image: &Rgb8, cell: usize) -> f64 {
    let luminance = |pixel: usize| {
        let rgb = &image.data[pixel * 3..pixel * 3 + 3];
        rgb.iter().map(|&byte| f64::from(byte)).sum::<f64>() / (3.0 * 255.0)
    };
    let mean = cell_pixels(cell).map(luminance).sum::<f64>() / 64.0;
    cell_pixels(cell).map(|pixel| (luminance(pixel) - mean).powi(2)).sum::<f64>() / 64.0
}

/// Breaks when the grain, the clipping or the painting of flat cells changes: outliers would no longer follow from pixels.
#[test]
fn the_variance_rule_finds_exactly_the_flat_cells() {
    let (mut flattest_other, mut roughest_flat) = (f64::MAX, 0.0_f64);
    for scene in scenes() {
        for (cell, &is_flat) in scene.truth.flat.unwrap().iter().enumerate() {
            let variance = luminance_variance(&scene.image, cell);
            assert_eq!(variance < FLAT_VARIANCE, is_flat);
            if is_flat {
                roughest_flat = roughest_flat.max(variance);
            } else {
                flattest_other = flattest_other.min(variance);
            }
        }
    }
    // A gap of more than a factor of three on either side of the threshold.
    assert!(roughest_flat < 1.3e-5, "{roughest_flat:e}");
    assert!(flattest_other > 1.5e-4, "{flattest_other:e}");
}

#[test]
fn shares_are_those_of_the_recipe() {
    let (mut flat, mut without, mut object) = (0, 0, 0);
    let mut labels = [0_usize; CLASSES.len()];
    for (index, scene) in scenes().enumerate() {
        let cells = scene.truth.flat.unwrap().iter().filter(|&&flat| flat).count();
        flat += cells;
        without += usize::from(cells == 0);
        object += scene.truth.segments.unwrap().iter().map(|&kind| usize::from(kind == OBJECT)).sum::<usize>();
        let label = scene.truth.label.unwrap();
        assert_eq!(label, super::label(0, index));
        labels[label as usize] += 1;
    }
    let share = flat as f64 / (COUNT * GRID * GRID) as f64;
    assert!((0.03..0.04).contains(&share), "{share}");
    let without = without as f64 / COUNT as f64;
    assert!((without - 0.15).abs() < 0.04, "{without}");
    let object = object as f64 / (COUNT * IMAGE_PX * IMAGE_PX) as f64;
    assert!((object - 0.12).abs() < 0.02, "{object}");
    // Five standard deviations of a binomial.
    let expected = COUNT as f64 / 10.0;
    assert!(labels.iter().all(|&count| (count as f64 - expected).abs() < 5.0 * (0.9 * expected).sqrt()), "{labels:?}");
}

#[test]
fn masks_boxes_segments_and_depths_agree() {
    for scene in scenes().take(200) {
        let Truth { boxes, mask, depth, segments, flat, .. } = scene.truth;
        let (mask, depth, segments) = (mask.unwrap(), depth.unwrap(), segments.unwrap());
        let BoxPx { x0, y0, x1, y1 } = boxes[0].area;
        assert!(x1 - x0 >= 20 && y1 - y0 >= 20 && x1 <= 96 && y1 <= 96);
        for (index, &inside) in mask.iter().enumerate() {
            let (y, x) = ((index / IMAGE_PX) as u32, (index % IMAGE_PX) as u32);
            let boxed = (x0..x1).contains(&x) && (y0..y1).contains(&y);
            assert!(!inside || (boxed && segments[index] == OBJECT && depth[index] <= 0.5));
            assert!((0.1..=1.0).contains(&depth[index]));
        }
        for (cell, _) in flat.unwrap().iter().enumerate().filter(|(_, flat)| **flat) {
            let mut kinds: Vec<_> = cell_pixels(cell).map(|pixel| segments[pixel]).collect();
            kinds.dedup();
            assert!(kinds.len() == 1 && kinds[0] != OBJECT, "{kinds:?}");
        }
    }
}

#[test]
fn streams_of_neighbours_and_seeds_differ() {
    assert_ne!(Scene::new(0, 0), Scene::new(0, 1));
    assert_ne!(Scene::new(0, 0), Scene::new(1, 0));
    assert_eq!(Scene::new(3, 5), Scene::new(3, 5));
}

/// Breaks when any pixel changes on any machine; then `VERSION` must change too.
#[test]
fn the_first_scenes_are_pinned() {
    let mut hash = Sha256::new();
    for scene in scenes().take(20) {
        hash.update(&scene.image.data);
        hash.update(scene.truth.label.unwrap().to_le_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    assert_eq!(
        digest,
        hex("865bd0042b7b99d01e923a36514d4f46e7264f0b02c0afe740ba092dc0156623"),
        "VERSION {}",
        super::super::VERSION
    );
}

fn hex(text: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}
