//! A grid on which normal tokens know their place and outliers do not, and closed forms of the two regressions.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::logistic::Standardise;
use crate::numpy_random::RandomState;

/// A 6×6 grid; normal tokens carry a one-hot row and column, outliers noise only.
fn planted(noise_of_normal: f32) -> (Subjects, Vec<Labelled>, Vec<(u16, u16)>) {
    let mut words = RandomState::new(3);
    let mut uniform = || words.next_u32() as f32 / u32::MAX as f32;
    let images: Vec<Labelled> = (0..150).map(|i| ((0, i), None)).collect();
    let mut subjects = Subjects::new();
    for (key, _) in &images {
        for (kind, signal) in [("normal", 1.0), ("outlier", 0.0)] {
            for draw in 0..6 {
                let cell = ((uniform() * 6.0) as u16 % 6, (uniform() * 6.0) as u16 % 6);
                let s = subjects.entry(kind.to_owned()).or_default();
                s.images.push(*key);
                s.draws.push(draw);
                s.indices.push(cell.0 * 6 + cell.1);
                s.cells.push(cell);
                s.dim = 12;
                for j in 0..12 {
                    let on = j == usize::from(cell.0) || j == 6 + usize::from(cell.1);
                    s.values.push(noise_of_normal * (uniform() - 0.5) + if on { signal } else { 0.0 });
                }
            }
        }
    }
    let grids = vec![(6, 6); images.len()];
    (subjects, images, grids)
}

fn softmax() -> Position {
    let logistic = LogisticParams { standardise: Standardise::Floor { frac: 1e-3 }, ..LogisticParams::default() };
    Position {
        site: "final".into(),
        subjects: vec![],
        separate: true,
        model: PositionModel::Softmax { c: 1.0, logistic },
        split: Split::EveryNth { nth: 3 },
    }
}

fn run(probe: &Position) -> Vec<Score> {
    let (subjects, images, grids) = planted(0.2);
    probe.run(&subjects, &images, &grids, &AtomicBool::new(false)).unwrap()
}

fn get(scores: &[Score], subject: &str, metric: &str) -> f64 {
    scores.iter().find(|s| s.subject == subject && s.metric == metric).unwrap().value.unwrap()
}

#[test]
fn tokens_with_their_place_are_told_from_tokens_without() {
    for separate in [true, false] {
        let scores = run(&Position { separate, ..softmax() });
        assert!(get(&scores, "normal", "top1_frac") > 0.95, "{separate} {scores:?}");
        assert!(get(&scores, "normal", "mean_distance_cells") < 0.1);
        // Chance is 1/36.
        assert!(get(&scores, "outlier", "top1_frac") < 0.1);
        assert!(get(&scores, "outlier", "mean_distance_cells") > 1.8);
    }
}

/// Breaks when the split is drawn for each kind: they have other images, so the same seed draws other ones.
#[test]
fn one_model_for_all_kinds_is_not_tested_on_images_that_taught_it() {
    let (mut subjects, images, _) = planted(0.2);
    let without = subjects.get_mut("outlier").unwrap();
    let kept: Vec<usize> = (0..without.rows()).filter(|&i| without.images[i].1 % 3 > 0).collect();
    without.images = kept.iter().map(|&i| without.images[i]).collect();
    let kinds = [&subjects["normal"], &subjects["outlier"]];
    for split in [Split::Sklearn { test_frac: 0.2, seed: 42 }, Split::Random { test_frac: 0.2, seed: 42 }] {
        let sides = Position { separate: false, split, ..softmax() }.sides(&images, &kinds);
        let images_of = |rows: &[usize], kind: &Samples| rows.iter().map(|&i| kind.images[i]).collect::<Vec<_>>();
        let (mut train, mut test) = (BTreeSet::new(), BTreeSet::new());
        for ((teach, tested), kind) in sides.iter().zip(kinds) {
            train.extend(images_of(teach, kind));
            test.extend(images_of(tested, kind));
        }
        assert!(train.is_disjoint(&test), "{split:?}");
        assert_eq!((train.len(), test.len()), (120, 30));
        assert!(sides.iter().all(|(train, test)| !train.is_empty() && !test.is_empty()));
    }
}

/// The way of large problems on tokens that fit. Breaks when a part's rows are counted from another's start.
#[test]
fn streamed_cells_are_those_of_the_fit_in_memory() {
    let (subjects, images, grids) = planted(0.8);
    let probe = Position { separate: false, ..softmax() };
    let PositionModel::Softmax { c, logistic } = probe.model else { panic!("the model is a softmax") };
    let cancel = AtomicBool::new(false);
    let kinds = [&subjects["normal"], &subjects["outlier"]];
    let sides = probe.sides(&images, &kinds);
    let parts = |test: bool| -> Vec<(&Samples, Vec<usize>)> {
        kinds
            .into_iter()
            .zip(&sides)
            .map(|(kind, side)| (kind, if test { side.1.clone() } else { side.0.clone() }))
            .collect()
    };
    let (train, test) = (Side::of(&parts(false)), Side::of(&parts(true)));
    assert!(!train.is_large(grids[0]));
    let whole = probe.predict(grids[0], &train, &[Side::of(&parts(true))], &cancel).unwrap().remove(0).unwrap();
    let (cells, converged) = train.streamed_cells(&[test], c, logistic, &cancel).unwrap();
    let tested = Side::of(&parts(true));
    let hits = cells[0].iter().zip(&tested.cells).filter(|(found, cell)| **found == code(**cell)).count();
    assert!(converged && cells[0].len() == tested.cells.len());
    assert!((whole.hits.iter().sum::<f64>() - hits as f64).abs() < 1.5, "{hits}");
    assert!(hits > tested.cells.len() / 4);
}

#[test]
fn least_squares_finds_a_linear_place() {
    // Row = Σ r·[row = r] is linear in the one-hot code.
    let scores = run(&Position { model: PositionModel::LeastSquares { ridge: 0.0 }, ..softmax() });
    assert!(get(&scores, "normal", "mean_distance_cells") < 0.5);
    let blind = get(&scores, "outlier", "blind_distance_cells");
    assert!((get(&scores, "outlier", "mean_distance_cells") / blind - 1.0).abs() < 0.1);
}

#[test]
fn the_blind_cell_of_a_full_grid_is_its_middle() {
    let cells: Vec<(u16, u16)> = (0..9).map(|i| (i / 3, i % 3)).collect();
    assert_eq!(blind_cell(&cells), (1.0, 1.0));
}

#[test]
fn grids_of_two_sizes_are_an_error() {
    let (subjects, images, mut grids) = planted(0.2);
    grids[7] = (6, 7);
    assert!(softmax().run(&subjects, &images, &grids, &AtomicBool::new(false)).is_err());
}

#[test]
fn without_outliers_there_is_no_number() {
    let (mut subjects, images, grids) = planted(0.2);
    subjects.remove("outlier");
    let scores = softmax().run(&subjects, &images, &grids, &AtomicBool::new(false)).unwrap();
    let outlier = scores.iter().find(|s| s.subject == "outlier").unwrap();
    assert_eq!((outlier.value, outlier.n, outlier.images_without), (None, 0, 150));
}

#[test]
fn an_unconverged_fit_is_no_number() {
    let mut probe = softmax();
    let logistic = LogisticParams { max_iterations: 1, gap_frac: 1e-12, ..LogisticParams::default() };
    probe.model = PositionModel::Softmax { c: 1e4, logistic };
    probe.separate = false;
    assert!(run(&probe).iter().filter(|s| s.metric == "top1_frac").all(|s| s.value.is_none() && !s.converged));
}

/// Tokens whose only channel is `x`, on cells of a grid, one to an image; the first ones teach.
fn line(grid: (u16, u16), tokens: &[((u16, u16), f32)], teach: usize, model: PositionModel) -> Vec<Score> {
    let images: Vec<Labelled> = (0..tokens.len() as u32).map(|i| ((0, i), None)).collect();
    let mut s = Samples { dim: 1, ..Samples::default() };
    for (i, &(cell, x)) in tokens.iter().enumerate() {
        s.images.push((0, i as u32));
        s.draws.push(0);
        s.indices.push(cell.0 * grid.1 + cell.1);
        s.cells.push(cell);
        s.values.push(x);
    }
    let split = Split::First { train_frac: (teach as f64 + 0.5) / tokens.len() as f64 };
    let probe = Position { model, subjects: vec!["normal".into()], split, ..softmax() };
    let grids = vec![grid; images.len()];
    probe.run(&[("normal".to_owned(), s)].into(), &images, &grids, &AtomicBool::new(false)).unwrap()
}

/// On a 2×3 grid with x = index/2 the fit is index = 2x exactly. Tests: x = 1.1 → 2.2 → 2, the cell (0, 2), a hit;
/// x = 1.8 → 3.6 → 4, the cell (1, 1) instead of (1, 0), one cell off; x = 40 → clipped to 5, the cell (1, 2), a hit;
/// x = −9 → clipped to 0 instead of 1, one cell off. Breaks when an index is not clipped, or turned with the rows' count.
#[test]
fn a_flat_index_is_clipped_and_rounded() {
    let cells: Vec<((u16, u16), f32)> = (0..6u16).map(|i| ((i / 3, i % 3), f32::from(i) / 2.0)).collect();
    let tests = [((0, 2), 1.1), ((1, 0), 1.8), ((1, 2), 40.0), ((0, 1), -9.0)];
    let scores = line((2, 3), &[cells, tests.to_vec()].concat(), 6, PositionModel::FlatIndex { ridge: 0.0 });
    assert_eq!(get(&scores, "normal", "top1_frac"), 0.5);
    assert!((get(&scores, "normal", "mean_distance_cells") - 0.5).abs() < 1e-9);
}

/// Row = x, column = 0 on a 4×1 grid. Tests: 1.4 → row 1, hit, 0.4 off; 1.6 → row 2, no hit, 0.6 off; 0.5 → 0 (half to
/// even), hit, 0.5 off. Breaks when the rounded prediction is what is measured, or halves round up.
#[test]
fn least_squares_hits_rounded_and_is_off_unrounded() {
    let cells: Vec<((u16, u16), f32)> = (0..4u16).map(|i| ((i, 0), f32::from(i))).collect();
    let tests = [((1, 0), 1.4), ((1, 0), 1.6), ((0, 0), 0.5)];
    let scores = line((4, 1), &[cells, tests.to_vec()].concat(), 4, PositionModel::LeastSquares { ridge: 0.0 });
    assert!((get(&scores, "normal", "top1_frac") - 2.0 / 3.0).abs() < 1e-12);
    assert!((get(&scores, "normal", "mean_distance_cells") - 0.5).abs() < 1e-6);
}

/// Breaks when a regression that its tokens do not determine, and that fits them wherever they are, is told as any other.
#[test]
fn an_interpolating_regression_says_so() {
    let (subjects, images, grids) = planted(0.2);
    let split = |train_frac| Split::First { train_frac };
    for model in [PositionModel::LeastSquares { ridge: 0.0 }, PositionModel::FlatIndex { ridge: 0.0 }] {
        let of = |train_frac| {
            let probe = Position { model, split: split(train_frac), ..softmax() };
            probe.run(&subjects, &images, &grids, &AtomicBool::new(false)).unwrap()
        };
        // One image of 150 teaches its six tokens.
        let few = of(1.5 / 150.0);
        let note = "one model per kind of token; 6 training tokens for 12 channels, an interpolating fit: ";
        assert!(few.iter().all(|s| s.note.starts_with(note) && s.note.ends_with("added to the diagonal")), "{few:?}");
        assert!(few.iter().all(|s| s.value.is_some()), "a doubt suppresses nothing");
        assert!(of(0.5).iter().all(|s| s.note == "one model per kind of token"));
    }
}

/// The study's split is of tokens: images are on both sides. Breaks when rows are grouped by image on the way.
#[test]
fn the_studys_split_puts_images_on_both_sides() {
    let (subjects, images, _) = planted(0.2);
    let kinds = [&subjects["normal"], &subjects["outlier"]];
    let split = Split::SklearnRows { test_frac: 0.2, seed: 42 };
    for separate in [true, false] {
        let sides = Position { separate, split, ..softmax() }.sides(&images, &kinds);
        assert_eq!(sides.iter().map(|s| s.1.len()).sum::<usize>(), 360, "a fifth of 2 × 900 tokens");
        let keys = |rows: &[usize]| rows.iter().map(|&i| kinds[0].images[i]).collect::<BTreeSet<_>>();
        assert!(!keys(&sides[0].0).is_disjoint(&keys(&sides[0].1)));
    }
}

/// scikit-learn 1.9 on the same 240 tokens of 60 images: `train_test_split(test_size=0.2, random_state=42)` of the
/// tokens, `LinearRegression`, `np.round`, `np.clip`. Breaks when the split is by image, or another residual is measured.
#[test]
fn both_regressions_are_scikit_learns_under_the_studys_split() {
    let noise = |i: u32, j: u32| f64::from((i * 7919 + j * 104_729 + i * j * 31) % 1009) / 1009.0 - 0.5;
    let mut s = Samples { dim: 5, ..Samples::default() };
    for i in 0..240u32 {
        let cell = ((i * 7 + i / 4) % 4, (i * 3 + i / 7) % 5);
        let (row, col) = (f64::from(cell.0), f64::from(cell.1));
        s.images.push((0, i / 4));
        s.draws.push(0);
        s.indices.push((cell.0 * 5 + cell.1) as u16);
        s.cells.push((cell.0 as u16, cell.1 as u16));
        let signal = [row, col, row - col, 0.5 * row * col, 1.0];
        s.values.extend((0..5).map(|j| (signal[j] * 0.3 + 0.9 * noise(i, j as u32)) as f32));
    }
    let images: Vec<Labelled> = (0..60).map(|i| ((0, i), None)).collect();
    let grids = vec![(4, 5); 60];
    let subjects: Subjects = [("normal".to_owned(), s)].into();
    let of = |model| {
        let split = Split::SklearnRows { test_frac: 0.2, seed: 42 };
        let probe = Position { model, subjects: vec!["normal".into()], split, ..softmax() };
        let scores = probe.run(&subjects, &images, &grids, &AtomicBool::new(false)).unwrap();
        assert_eq!(scores[0].n, 48);
        (get(&scores, "normal", "top1_frac"), get(&scores, "normal", "mean_distance_cells"))
    };
    let near = |found: (f64, f64), wanted: (f64, f64)| {
        assert!((found.0 - wanted.0).abs() < 1e-12 && (found.1 - wanted.1).abs() < 1e-6, "{found:?}, not {wanted:?}");
    };
    near(of(PositionModel::LeastSquares { ridge: 0.0 }), (19.0 / 48.0, 0.700_002_113_550_594_6));
    near(of(PositionModel::FlatIndex { ridge: 0.0 }), (6.0 / 48.0, 1.755_952_148_783_246_8));
}
