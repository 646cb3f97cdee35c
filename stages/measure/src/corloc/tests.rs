//! Overlaps against torchvision and pycocotools, and scores that can be counted by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// Pairs of boxes and their overlap by `torchvision.ops.box_iou`; `tests/golden/lost/iou.py` writes them.
const PAIRS: &str = include_str!("../../../../tests/golden/lost/iou.txt");

/// Breaks when sides are mixed up, ends count as inclusive, or boxes that are apart overlap.
#[test]
fn overlaps_are_those_of_torchvision() {
    let mut halves = 0;
    for line in PAIRS.lines() {
        let all: Vec<f64> = line.split(' ').map(|x| x.parse().unwrap()).collect();
        let area = |at: usize| [all[at] as f32, all[at + 1] as f32, all[at + 2] as f32, all[at + 3] as f32];
        let found = iou(area(0), area(4));
        assert!((f64::from(found) - all[8]).abs() < 2e-7, "{line}: {found}");
        assert_eq!(found.to_bits(), iou(area(4), area(0)).to_bits());
        halves += usize::from(all[8] >= 0.5);
    }
    assert!(PAIRS.lines().count() == 200 && halves > 30);
}

/// Boxes as x, y, width, height and their overlap by pycocotools; `tests/golden/lost/iou_coco.py` writes them.
const COCO_PAIRS: &str = include_str!("../../../../tests/golden/lost/iou_coco.txt");

/// Breaks when overlaps of fractions of a pixel are rounded, or ε weighs more than the rounding of f32 does.
#[test]
fn overlaps_are_those_of_pycocotools() {
    let (mut halves, mut apart) = (0, 0);
    for line in COCO_PAIRS.lines() {
        let all: Vec<f64> = line.split(' ').map(|x| x.parse().unwrap()).collect();
        let area = |at: usize| {
            let [x, y, width, height] = [all[at], all[at + 1], all[at + 2], all[at + 3]];
            [x, y, x + width, y + height].map(|corner| corner as f32)
        };
        let found = f64::from(iou(area(0), area(4)));
        assert!((found - all[8]).abs() < 2e-6, "{line}: {found}");
        assert_eq!(found >= 0.5, all[8] >= 0.5, "{line}: {found}");
        halves += usize::from(all[8] >= 0.5);
        apart += usize::from(all[8] == 0.0);
    }
    assert!(COCO_PAIRS.lines().count() == 120 && halves > 30 && apart > 10);
}

/// Breaks when ε decides what it should not: 50 of 100 px are half, as the reference counts in f32.
#[test]
fn exactly_one_half_is_found() {
    assert_eq!(iou([0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 5.0]), 0.5);
    assert_eq!(iou([0.0, 0.0, 10.0, 10.0], [10.0, 0.0, 20.0, 10.0]), 0.0);
    assert!(iou([3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0]) == 0.0, "nothing overlaps with nothing");
}

/// (image, box, difficult, truncated, crowd)
fn objects(rows: &[(u32, Area, [bool; 3])]) -> Objects {
    let mut t = Objects::default();
    for &(image, [x0, y0, x1, y1], [difficult, truncated, crowd]) in rows {
        t.image.push(image);
        t.class.push("".into());
        t.x0.push(x0);
        t.y0.push(y0);
        t.x1.push(x1);
        t.y1.push(y1);
        t.difficult.push(difficult);
        t.truncated.push(truncated);
        t.crowd.push(crowd);
    }
    t
}

/// (image, l2, bias, box)
fn boxes(rows: &[(u32, bool, f64, Area)]) -> Boxes {
    let mut t = Boxes::default();
    for &(image, l2, bias, [x0, y0, x1, y1]) in rows {
        t.image.push(image);
        t.site.push("key_1".into());
        t.l2.push(l2);
        t.bias.push(bias);
        t.seed.push(0);
        t.degree.push(0);
        t.similar.push(1);
        t.x0.push(x0);
        t.y0.push(y0);
        t.x1.push(x1);
        t.y1.push(y1);
    }
    t
}

const HERE: Area = [0.0, 0.0, 10.0, 10.0];
const AWAY: Area = [50.0, 50.0, 60.0, 60.0];
const PLAIN: [bool; 3] = [false; 3];

fn params(no_hard: bool) -> CorLocParams {
    CorLocParams { sites: vec!["key_1".into()], raw_biases: vec![0.0], l2_biases: vec![-0.5, 0.0], no_hard }
}

fn score(scores: &Scores, subject: &str, metric: &str) -> Option<(f64, Option<f64>, u64)> {
    let is = |i: &usize| (&*scores.subject[*i], &*scores.metric[*i]) == (subject, metric);
    (0..scores.value.len()).find(is).map(|i| (scores.value[i].unwrap(), scores.stderr[i], scores.n[i]))
}

/// Four images with objects, at places 0 to 3 (2, 4, 5 and 9). Breaks when an image without a box is not a miss, one
/// without objects counts, one hit of several objects is not enough, or l2 and raw boxes are mixed up.
#[test]
fn shares_are_of_the_images_with_objects() {
    let objects = objects(&[
        (2, AWAY, PLAIN),
        (2, HERE, PLAIN),
        (4, HERE, PLAIN),
        (5, HERE, PLAIN),
        (9, HERE, PLAIN),
        // A crowd alone: not evaluated.
        (7, HERE, [false, false, true]),
    ]);
    let boxes = boxes(&[
        (2, true, -0.5, HERE),
        (4, true, -0.5, AWAY),
        (5, true, -0.5, HERE),
        (9, true, -0.5, HERE),
        (2, true, 0.0, HERE),
        (4, true, 0.0, HERE),
        (7, true, 0.0, HERE),
        (8, true, 0.0, HERE),
        (2, false, 0.0, [80.0, 80.0, 90.0, 90.0]),
        // Another bias than asked for.
        (2, false, 0.5, HERE),
    ]);
    let mut tally = Tally::new(&params(false), &objects);
    tally.add(&boxes);
    let (scores, curves) = tally.rows();
    // 2 of 4; √(0.25 / 3).
    let error = Some((0.25f64 / 3.0).sqrt());
    assert_eq!(score(&scores, "l2", "corloc_frac"), Some((0.5, error, 4)));
    assert_eq!(score(&scores, "l2", "best_corloc_frac"), Some((0.75, Some((0.1875f64 / 3.0).sqrt()), 4)));
    assert_eq!(score(&scores, "l2", "best_bias"), Some((-0.5, None, 4)));
    // Even places (2, 5): −0.5 finds both, 0 one. Odd (4, 9): either finds one, the first of equals is −0.5. Each half
    // is scored by the choice of the other: −0.5 on both, 2 + 1.
    assert_eq!(score(&scores, "l2", "heldout_corloc_frac").map(|s| s.0), Some(0.75));
    assert_eq!(score(&scores, "raw", "corloc_frac"), Some((0.0, Some(0.0), 4)));
    assert_eq!(score(&scores, "raw", "best_corloc_frac"), None, "one bias is no sweep");
    let at = |metric: &str| -> Vec<(f64, f64)> {
        let rows = (0..curves.at.len()).filter(|&i| &*curves.metric[i] == metric && &*curves.subject[i] == "l2");
        rows.map(|i| (curves.at[i], curves.value[i].unwrap())).collect()
    };
    assert_eq!(at("corloc_frac"), [(-0.5, 0.75), (0.0, 0.5)]);
    assert_eq!(at("without_box_frac").iter().map(|p| p.1).collect::<Vec<_>>(), [0.0, 0.5]);
}

/// Breaks when the held-out choice looks at the half that it is scored on: each half's own best would find all four.
#[test]
fn a_bias_is_chosen_on_the_other_images() {
    let objects = objects(&[0, 1, 2, 3].map(|image| (image, HERE, PLAIN)));
    let boxes = boxes(&[(0, true, -0.5, HERE), (2, true, -0.5, HERE), (1, true, 0.0, HERE), (3, true, 0.0, HERE)]);
    let mut tally = Tally::new(&params(false), &objects);
    tally.add(&boxes);
    assert_eq!(score(&tally.rows().0, "l2", "heldout_corloc_frac").map(|s| s.0), Some(0.0));
    assert_eq!(score(&tally.rows().0, "l2", "best_corloc_frac").map(|s| s.0), Some(0.5));
}

/// Breaks when hard objects are dropped by default, or their images are still counted when they are.
#[test]
fn hard_objects_count_unless_they_are_dropped() {
    let objects = objects(&[
        (0, HERE, [true, false, false]),
        (1, HERE, [false, true, false]),
        (1, AWAY, PLAIN),
        (2, HERE, PLAIN),
    ]);
    let boxes = boxes(&[(0, true, 0.0, HERE), (1, true, 0.0, HERE), (2, true, 0.0, HERE)]);
    let of = |no_hard| {
        let mut tally = Tally::new(&params(no_hard), &objects);
        tally.add(&boxes);
        score(&tally.rows().0, "l2", "corloc_frac").map(|(value, _, n)| (value, n))
    };
    assert_eq!(of(false), Some((1.0, 3)));
    assert_eq!(of(true), Some((0.5, 2)));
}

#[test]
fn without_objects_there_is_no_number() {
    let tally = Tally::new(&params(false), &Objects::default());
    let (scores, curves) = tally.rows();
    let shares = |i: &usize| scores.metric[*i].ends_with("corloc_frac");
    let rows: Vec<usize> = (0..scores.value.len()).filter(shares).collect();
    assert!(rows.len() == 4 && rows.iter().all(|&i| scores.value[i].is_none() && !scores.note[i].is_empty()));
    assert!(curves.value.iter().all(Option::is_none));
}
