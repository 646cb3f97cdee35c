#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::arr2;

use super::*;
use crate::numpy_random::RandomState;

/// Raw-token-like features: correlated channels whose sizes span a factor of a thousand.
fn raw(n: usize, d: usize, classes: u32, seed: u32) -> Design {
    let mut words = RandomState::new(seed);
    let mut noise = || f64::from(words.next_u32()) / f64::from(u32::MAX) - 0.5;
    let labels: Vec<u32> = (0..n as u32).map(|i| i % classes).collect();
    let mut x = Array2::zeros((n, d));
    for i in 0..n {
        let common = noise();
        for j in 0..d {
            let signal = if j as u32 % classes == labels[i] { 0.2 } else { 0.0 };
            x[[i, j]] = (signal + common + noise()) * 10f64.powf(3.0 * j as f64 / d as f64 - 1.0);
        }
    }
    Design::new(x, labels).unwrap()
}

fn with(solver: Solver) -> ValidLogistic {
    LogisticParams { solver, gap_frac: 1e-9, ..LogisticParams::default() }.check().unwrap()
}

#[test]
fn two_points_have_a_closed_form() {
    // x = ±1 with classes 0 and 1. By symmetry W = (−w, w), b = 0 and F = 2·ln(1 + e^(−2w)) + w²/C, so that
    // w/C = 2/(1 + e^(2w)): w = 1 needs C = (1 + e²)/2.
    let design = Design::new(arr2(&[[-1.0], [1.0]]), vec![0, 1]).unwrap();
    let c = 0.5 + 0.5 * 1f64.exp().powi(2);
    for solver in [Solver::Lbfgs, Solver::Linfa, Solver::Auto] {
        let fit = &with(solver).fit(&design, &[c]).unwrap()[0];
        assert!(fit.converged, "{solver:?}");
        assert!((fit.model.weights[[0, 1]] - 1.0).abs() < 1e-4, "{solver:?} {:?}", fit.model);
        assert!((fit.model.weights[[0, 0]] + 1.0).abs() < 1e-4);
        let exact = 2.0 * (1.0 + (-2f64).exp()).ln() + 1.0 / c;
        assert!((fit.objective - exact).abs() < 1e-8);
    }
}

#[test]
fn without_a_signal_the_intercept_is_the_prior() {
    // A constant feature says nothing: b = ln of the class frequencies and F = n·H.
    let design = Design::new(Array2::ones((4, 2)), vec![3, 3, 3, 8]).unwrap();
    let fit = &with(Solver::Lbfgs).fit(&design, &[1.0]).unwrap()[0];
    let entropy = -(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
    assert!((fit.objective - 4.0 * entropy).abs() < 1e-9);
    assert_eq!(fit.model.predict(design.x()), [3; 4]);
}

#[test]
fn our_optimum_is_linfas() {
    let mut design = raw(120, 12, 4, 3);
    design.x /= 30.0; // so that linfa's cost is exact
    for c in [1e-2, 1.0] {
        let ours = &with(Solver::Lbfgs).fit(&design, &[c]).unwrap()[0];
        let linfa = &with(Solver::Linfa).fit(&design, &[c]).unwrap()[0];
        assert!(ours.converged, "{ours:?}");
        assert!((ours.objective / linfa.objective - 1.0).abs() < 1e-6, "{} {}", ours.objective, linfa.objective);
        let difference = (&ours.model.weights - &linfa.model.weights).mapv(f64::abs).sum();
        assert!(difference < 1e-2 * ours.model.weights.mapv(f64::abs).sum(), "{difference}");
    }
}

#[test]
fn every_c_of_the_grid_is_reached_on_raw_features() {
    let design = raw(150, 40, 5, 1);
    let grid: Vec<f64> = (-6..=5).map(|e| 10f64.powi(e)).collect();
    let fits = LogisticParams::default().check().unwrap().fit(&design, &grid).unwrap();
    for pair in fits.windows(2) {
        // A weaker penalty can only fit better.
        assert!(pair[0].converged && pair[1].converged && pair[1].objective <= pair[0].objective, "{pair:?}");
    }
    // The certificate is a bound: a hundred times the effort finds no more than it allows.
    let careful = with(Solver::Lbfgs).fit(&design, &grid).unwrap();
    for (a, b) in fits.iter().zip(&careful) {
        assert!(a.objective - b.objective <= 1e-5 * a.objective, "{a:?} {b:?}");
    }
}

#[test]
fn auto_gives_linfa_only_what_linfa_can_do() {
    // Sizes over four decades and almost no penalty: linfa's line search never returns here.
    let mut hard = raw(100, 20, 4, 9);
    for (j, mut column) in hard.x.columns_mut().into_iter().enumerate() {
        column *= 10f64.powf(j as f64 / 5.0);
    }
    let fit = &with(Solver::Auto).fit(&hard, &[1e4]).unwrap()[0];
    assert!(fit.converged && fit.by == Solver::Lbfgs, "{fit:?}");
    let mut easy = raw(100, 20, 4, 9);
    easy.x /= 1e3;
    let fit = &with(Solver::Auto).fit(&easy, &[1.0]).unwrap()[0];
    assert!(fit.converged && fit.by == Solver::Linfa, "{fit:?}");
}

#[test]
fn standardising_forgets_units_and_floors_empty_channels() {
    let design = raw(120, 12, 4, 3);
    let params = LogisticParams { standardise: Standardise::Floor { frac: 1e-3 }, ..LogisticParams::default() };
    let plain = &params.check().unwrap().fit(&design, &[1.0]).unwrap()[0];
    // A channel that tells the class exactly, at a millionth of the size of the others: unfloored it would be read.
    let x = ndarray::concatenate![
        Axis(1),
        design.x,
        Array2::from_shape_fn((120, 1), |(i, _)| 1e-6 * f64::from(design.labels[i]))
    ];
    let leaky = Design::new(x, design.labels.clone()).unwrap();
    let floored = &params.check().unwrap().fit(&leaky, &[1.0]).unwrap()[0];
    assert!((floored.objective / plain.objective - 1.0).abs() < 1e-3);
    let naive = LogisticParams { standardise: Standardise::Floor { frac: 1e-12 }, ..params };
    let mut scaled = leaky.clone();
    scaled.x *= 1e6; // past the absolute 1e-6
    assert!(naive.check().unwrap().fit(&scaled, &[1.0]).unwrap()[0].objective < 0.8 * plain.objective);
}

#[test]
fn impossible_inputs_are_refused() {
    assert_eq!(Design::new(Array2::zeros((0, 3)), vec![]), Err(LogisticError::Empty));
    assert_eq!(Design::new(arr2(&[[0.0], [f64::NAN]]), vec![0, 1]), Err(LogisticError::NotFinite { row: 1 }));
    assert!(Design::new(arr2(&[[0.0]]), vec![0, 1]).is_err());
    assert!(LogisticParams { gap_frac: 0.0, ..LogisticParams::default() }.check().is_err());
    let design = Design::new(arr2(&[[0.0], [1.0]]), vec![0, 1]).unwrap();
    assert!(with(Solver::Lbfgs).fit(&design, &[-1.0]).is_err());
}

#[test]
fn one_class_is_always_predicted() {
    let design = Design::new(arr2(&[[0.0], [1.0]]), vec![7, 7]).unwrap();
    for solver in [Solver::Lbfgs, Solver::Auto] {
        let fit = &with(solver).fit(&design, &[1.0]).unwrap()[0];
        assert!(fit.converged && fit.model.predict(design.x()) == [7, 7], "{solver:?} {fit:?}");
    }
}

/// Unequal classes under strong penalties, where λ exceeds the intercept's own curvature. Breaks when what is left of its
/// gradient counts no more than that of the weights: a fit 2.8e-5 above its optimum then passed for one within 1e-5.
#[test]
fn the_certificate_holds_where_the_penalty_exceeds_the_intercepts_curvature() {
    let mut words = RandomState::new(7);
    let mut unit = || f64::from(words.next_u32()) / f64::from(u32::MAX);
    let labels: Vec<u32> = (0..1000).map(|_| (unit().powi(4) * 10.0) as u32).collect();
    let x = Array2::from_shape_fn((1000, 20), |(i, j)| {
        let of_class = f64::from(u8::from(labels[i] as usize == j));
        let common = if j == 0 { f64::from(labels[i]) / 10.0 } else { 0.0 };
        30.0 * (unit() - 0.5 + of_class + common)
    });
    let design = Design::new(x, labels).unwrap();
    let grid: Vec<f64> = (-12..=-6).map(|e| 10f64.powf(f64::from(e) / 2.0)).collect();
    let fit = |gap_frac| {
        let params = LogisticParams { solver: Solver::Lbfgs, gap_frac, ..LogisticParams::default() };
        params.check().unwrap().fit(&design, &grid).unwrap()
    };
    for (quick, careful) in fit(1e-5).iter().zip(&fit(1e-12)) {
        assert!(quick.converged && careful.converged);
        let gap = (quick.objective - careful.objective) / quick.objective;
        assert!(gap <= 1e-5, "C = {}: {gap}", quick.c);
    }
}
