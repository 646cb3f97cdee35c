//! OpenCV's and Pillow's arithmetic, bit for bit, against `tests/golden/cv2.tsv` (made by `make_cv2.py`). Any change of a
//! rounding, a weight or a border breaks these.

use sha2::{Digest, Sha256};

use super::hsv::{hsv_of, rgb_of};
use super::plane::nearest;
use super::rotation::Turn;
use crate::pixels::Rgb8;
use crate::preprocess::Filter;
use crate::resize::{PlanarRows, Planes8, resize, resize_window};
use crate::source::DenseTruth;

struct Case<'a> {
    kind: &'a str,
    /// Rows and columns before and after, or rows, columns and thousandths of a degree.
    numbers: Vec<i64>,
    digest: &'a str,
}

fn check(kind: &str, least: usize, digest: impl Fn(&Case<'_>) -> String) {
    let cases: Vec<Case<'_>> = include_str!("../../tests/golden/cv2.tsv")
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .map(|cells| Case {
            kind: cells[0],
            numbers: cells[1..5].iter().filter_map(|cell| cell.parse().ok()).collect(),
            digest: cells[5],
        })
        .filter(|case| case.kind == kind)
        .collect();
    assert!(cases.len() >= least, "only {} cases of {kind}", cases.len());
    let wrong: Vec<_> = cases.iter().filter(|case| digest(case) != case.digest).map(|case| &case.numbers).collect();
    assert!(wrong.is_empty(), "{} of {} differ: {wrong:?}", wrong.len(), cases.len());
}

fn sha(bytes: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.map(|byte| format!("{byte:02x}")).concat()
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| ((at * 2654435761 % (1 << 32)) >> 11) as u8).collect()
}

fn colour(height: usize, width: usize) -> Rgb8 {
    Rgb8 { height, width, data: noise(height * width * 3) }
}

/// `[3, H, W]` as `[H, W, 3]`.
fn interleaved(planes: &Planes8) -> Vec<u8> {
    let area = planes.height * planes.width;
    (0..area * 3).map(|at| planes.data[at % 3 * area + at / 3]).collect()
}

#[test]
fn resizing_equals_opencv() {
    check("linear", 16, |case| {
        let [height, width, rows, columns] = [0, 1, 2, 3].map(|at| case.numbers[at] as usize);
        let image = colour(height, width);
        let whole = resize(&image, rows, columns, Filter::Cv2Bilinear);
        let (ys, xs) = (rows / 3..rows - rows / 4, columns / 5..columns - columns / 3);
        let window = resize_window(&image, (rows, columns), Filter::Cv2Bilinear, ys.clone(), xs.clone());
        let all = resize_window(&image, (rows, columns), Filter::Cv2Bilinear, 0..rows, 0..columns);
        assert_eq!(window, all.cut(ys, xs), "a window of {:?} is not a cut of the whole", case.numbers);
        sha(&whole.data)
    });
}

#[test]
fn labels_move_as_opencv_and_pillow_move_them() {
    for (kind, filter) in [("nearest_cv2", Filter::Cv2Bilinear), ("nearest_pillow", Filter::Bilinear)] {
        check(kind, 16, |case| {
            let [height, width, rows, columns] = [0, 1, 2, 3].map(|at| case.numbers[at] as usize);
            let truth = DenseTruth { height, width, segments: Some(noise(height * width)), depth_m: None };
            let ys = nearest(height, rows, filter, 0..rows);
            let xs = nearest(width, columns, filter, 0..columns);
            assert_eq!(nearest(width, columns, filter, columns / 2..columns), xs[columns / 2..]);
            sha(&truth.picked(&ys, &xs, (rows, columns)).segments.unwrap_or_default())
        });
    }
}

/// Every colour there, and every hue back.
#[test]
fn hsv_equals_opencv() {
    let all = |planes: u32| (0..planes << 16).map(|colour| [(colour >> 16) as u8, (colour >> 8) as u8, colour as u8]);
    check("hsv_of", 1, |_| sha(&all(256).flat_map(hsv_of).collect::<Vec<_>>()));
    check("rgb_of", 1, |_| sha(&all(180).flat_map(rgb_of).collect::<Vec<_>>()));
}

#[test]
fn turning_equals_opencv() {
    let turn = |case: &Case<'_>| {
        let [height, width] = [0, 1].map(|at| case.numbers[at] as usize);
        (height, width, Turn::new(height, width, case.numbers[2] as f64 / 1000.0))
    };
    check("turn_linear", 24, |case| {
        let (height, width, turn) = turn(case);
        let image = colour(height, width);
        let planes = resize_window(&image, image.size(), Filter::Cv2Bilinear, 0..height, 0..width);
        sha(&interleaved(&turn.pixels(&planes)))
    });
    check("turn_nearest", 24, |case| {
        let (height, width, turn) = turn(case);
        let depth_m = Some(noise(height * width).into_iter().map(f32::from).collect());
        let truth = turn.truth(&DenseTruth { height, width, segments: None, depth_m });
        sha(&truth.depth_m.unwrap_or_default().iter().map(|&depth| depth as u8).collect::<Vec<_>>())
    });
}
