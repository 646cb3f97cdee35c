#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::Array2;

use super::*;
use crate::logistic::Solver;

/// Ten classes around ten centres; `signal` is the distance of the centres in units of the noise.
fn clusters(n: usize, signal: f64, seed: u32) -> Design {
    let mut words = RandomState::new(seed);
    let mut noise = || f64::from(words.next_u32()) / f64::from(u32::MAX) - 0.5;
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 10).collect();
    let x = Array2::from_shape_fn((n, 16), |(i, j)| {
        let centre = if j as u32 == labels[i] { signal } else { 0.0 };
        // Channels of very different size, as raw tokens have.
        (centre + noise()) * 10f64.powi(j as i32 % 3)
    });
    Design::new(x, labels).unwrap()
}

fn protocol() -> Protocol {
    Protocol::fixed_c(1.0, Split::Datasets)
}

#[test]
fn a_planted_signal_is_found() {
    let (train, test) = (clusters(300, 2.0, 1), clusters(200, 2.0, 2));
    let found = classify(&train, &test, &protocol()).unwrap().unwrap();
    assert!(found.fit.converged && found.accuracy.micro > 0.95, "{:?}", found.accuracy);
    assert_eq!(found.n_test, 200);
}

#[test]
fn permuted_labels_are_at_chance() {
    let (train, test) = (clusters(300, 2.0, 1), clusters(400, 2.0, 2));
    let control = Protocol { permute_labels: Some(5), ..protocol() };
    let found = classify(&train, &test, &control).unwrap().unwrap();
    // Chance is 0.1 with a standard error of 0.015 from 400 images.
    assert!((found.accuracy.micro - 0.1).abs() < 0.08, "{:?}", found.accuracy);
}

#[test]
fn an_unconverged_fit_says_so() {
    let (train, test) = (clusters(300, 0.3, 1), clusters(50, 0.3, 2));
    let mut hasty = protocol();
    hasty.logistic = LogisticParams { max_iterations: 1, solver: Solver::Lbfgs, ..LogisticParams::default() };
    assert!(!classify(&train, &test, &hasty).unwrap().unwrap().fit.converged);
}

#[test]
fn the_grid_is_dinov2s() {
    let grid = Protocol::dinov2_logreg(Split::Datasets, Average::Micro).regularisation.grid();
    assert_eq!(grid.len(), 45);
    assert!((grid[0] / 1e-6 - 1.0).abs() < 1e-12 && (grid[44] / 1e5 - 1.0).abs() < 1e-12);
    assert!((grid[24] - 1.0).abs() < 1e-12, "x = −6 + 24·11/44 = 0");
}

#[test]
fn selection_takes_the_first_best_c() {
    // So clear a signal that every C is perfect on the held-out rows: the first of the grid wins.
    let (train, test) = (clusters(300, 9.0, 1), clusters(100, 9.0, 2));
    let mut select = Protocol::dinov2_logreg(Split::Datasets, Average::Macro).standardised();
    select.regularisation = Regularisation::Select { low: -3.0, high: 2.0, steps: 6, one_in: 10, seed: 0 };
    let found = classify(&train, &test, &select).unwrap().unwrap();
    assert!((found.fit.c / 1e-3 - 1.0).abs() < 1e-12, "{}", found.fit.c);
    assert_eq!(found.accuracy.per_class, 1.0);
    let choice = found.choice.unwrap();
    assert_eq!((choice.held_out, choice.classes, choice.at_end, choice.unconverged), (30, 10, true, 0));
    // Noise with a faint signal: the weakest penalty overfits and is not chosen.
    let (train, test) = (clusters(300, 0.4, 1), clusters(100, 0.4, 2));
    assert!(classify(&train, &test, &select).unwrap().unwrap().fit.c < 50.0);
}

#[test]
fn a_choice_in_the_middle_on_many_rows_is_in_no_doubt() {
    let choice = Choice { c: 10f64.powf(-0.25), held_out: 50, classes: 10, at_end: false, unconverged: 0 };
    assert_eq!(choice.doubt(), None);
    let few = Choice { held_out: 49, ..choice };
    assert_eq!(few.doubt().unwrap(), "C = 0.56 chosen on 49 images of 10 classes");
    let end = Choice { c: 1e5, held_out: 600, at_end: true, ..choice };
    assert_eq!(end.doubt().unwrap(), "C = 1e5 chosen on 600 images, at the end of its range");
}

#[test]
fn one_c_is_no_range() {
    let mut select = Protocol::dinov2_logreg(Split::Datasets, Average::Micro);
    select.regularisation = Regularisation::Select { low: 0.0, high: 0.0, steps: 1, one_in: 10, seed: 0 };
    let found = classify(&clusters(300, 2.0, 1), &clusters(50, 2.0, 2), &select).unwrap().unwrap();
    assert!(!found.choice.unwrap().at_end);
}

#[test]
fn too_few_rows_give_no_number() {
    let small = clusters(9, 9.0, 1);
    let select = Protocol::dinov2_logreg(Split::Datasets, Average::Micro);
    assert_eq!(classify(&small, &small, &select).unwrap(), None, "⌊9/10⌋ rows are held out");
}

#[test]
fn accuracies_are_closed_forms() {
    // Class 0: 3 of 4; class 1: 0 of 1.
    let a = Accuracy::of(&[0, 0, 0, 1, 0], &[0, 0, 0, 0, 1]).unwrap();
    assert_eq!((a.micro, a.per_class), (0.6, 0.375));
    assert!((a.micro_stderr - (0.6f64 * 0.4 / 5.0).sqrt()).abs() < 1e-12);
    assert!((a.per_class_stderr - (0.75f64 * 0.25 / 4.0).sqrt() / 2.0).abs() < 1e-12);
    assert_eq!(Accuracy::of(&[], &[]), None);
}
