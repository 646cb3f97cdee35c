//! The streamed fit against the one in memory, on the same vectors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::Array2;

use super::*;
use crate::classify::{Average, Protocol, Regularisation, classify, classify_streamed};
use crate::logistic::{Design, Solver};
use crate::numpy_random::RandomState;
use crate::samples::Samples;
use crate::split::Split;

/// Raw-token-like vectors: correlated channels far from 0 whose sizes span a factor of a hundred.
fn raw(n: usize, d: usize, classes: u32, seed: u32) -> (Samples, Vec<u32>) {
    let mut words = RandomState::new(seed);
    let mut noise = || f64::from(words.next_u32()) / f64::from(u32::MAX) - 0.5;
    let labels: Vec<u32> = (0..n as u32).map(|i| (i * 7 + i / 5) % classes * 3).collect();
    let mut values = Vec::with_capacity(n * d);
    for label in &labels {
        let common = noise();
        for j in 0..d {
            let signal = if j as u32 % classes == label / 3 { 0.5 } else { 0.0 };
            values.push(((signal + common + noise() + 2.0) * 10f64.powf(2.0 * j as f64 / d as f64 - 1.0)) as f32);
        }
    }
    (Samples { dim: d, values, ..Samples::default() }, labels)
}

fn design(samples: &Samples, rows: &[usize], labels: &[u32]) -> Design {
    Design::new(samples.vectors(rows), rows.iter().map(|&i| labels[i]).collect()).unwrap()
}

fn chosen<'a>(samples: &'a Samples, rows: &[usize], labels: &[u32]) -> Chosen<'a> {
    Chosen::new(samples, rows.to_vec(), rows.iter().map(|&i| labels[i]).collect())
}

fn streamed(params: LogisticParams, chosen: &Chosen<'_>, grid: &[f64]) -> Vec<Fit> {
    let mut fits = Vec::new();
    let each = |fit| {
        fits.push(fit);
        Ok(())
    };
    params.check().unwrap().fit_streamed(chosen, grid, &AtomicBool::new(false), each).unwrap();
    fits
}

/// 2,500 rows cross a block's boundary of 1,024 tasks and slabs. Breaks when a row is lost between blocks, a mean is not
/// taken out, or the certificate is read in f32.
#[test]
fn both_ways_reach_one_optimum() {
    let (samples, labels) = raw(2500, 24, 7, 1);
    let rows: Vec<usize> = (0..2500).collect();
    let grid = [1e-4, 1e-2, 1.0, 100.0];
    for standardise in [Standardise::None, Standardise::Floor { frac: 1e-3 }] {
        let params = LogisticParams { standardise, gap_frac: 1e-8, solver: Solver::Lbfgs, ..LogisticParams::default() };
        let whole = params.check().unwrap().fit(&design(&samples, &rows, &labels), &grid).unwrap();
        let blocks = streamed(params, &chosen(&samples, &rows, &labels), &grid);
        for (a, b) in whole.iter().zip(&blocks) {
            assert!(a.converged && b.converged, "{standardise:?} {} {} {}", b.c, b.gradient_norm, b.iterations);
            assert!((a.objective / b.objective - 1.0).abs() < 1e-6, "{} against {}", a.objective, b.objective);
            assert!(b.rounding.unwrap() > 0.0, "f32 is not f64");
        }
    }
}

/// Breaks when the two select otherwise: rows held out, ties, or accuracies on them.
#[test]
fn both_ways_choose_one_c_and_are_right_on_the_same_images() {
    let (samples, labels) = raw(3000, 20, 8, 2);
    let (train, test): (Vec<usize>, Vec<usize>) = (0..3000).partition(|i| i % 4 > 0);
    let mut protocol = Protocol::dinov2_logreg(Split::Datasets, Average::Macro);
    protocol.regularisation = Regularisation::Select { low: -4.0, high: 2.0, steps: 7, one_in: 10, seed: 0 };
    for permute_labels in [None, Some(5)] {
        protocol.permute_labels = permute_labels;
        let whole = classify(&design(&samples, &train, &labels), &design(&samples, &test, &labels), &protocol);
        let whole = whole.unwrap().unwrap();
        let sides = (chosen(&samples, &train, &labels), chosen(&samples, &test, &labels));
        let blocks = classify_streamed(&sides.0, &sides.1, &protocol, &AtomicBool::new(false)).unwrap().unwrap();
        assert!(whole.fit.converged && blocks.fit.converged);
        assert_eq!((whole.choice, whole.n_test), (blocks.choice, blocks.n_test));
        let images = |a: f64, b: f64| ((a - b) * whole.n_test as f64).abs();
        assert!(images(whole.accuracy.micro, blocks.accuracy.micro) < 1.5);
        assert!(images(whole.top5.unwrap(), blocks.top5.unwrap()) < 1.5);
        assert!((whole.fit.objective / blocks.fit.objective - 1.0).abs() < 2e-5, "each within its gap of 1e-5");
        // Eight classes: by chance one in eight is right, and five in eight are among five.
        assert_eq!(permute_labels.is_none(), blocks.accuracy.micro > 0.3, "{}", blocks.accuracy.micro);
    }
}

/// The certificate at a gap that f32 cannot reach: the last steps are in f64. Breaks when a fit counts as converged by
/// its f32 gradient, or stops at the rounding floor.
#[test]
fn below_the_floor_of_f32_a_fit_is_polished() {
    let (samples, labels) = raw(1500, 12, 4, 3);
    let rows: Vec<usize> = (0..1500).collect();
    let params = LogisticParams { gap_frac: 1e-12, solver: Solver::Lbfgs, ..LogisticParams::default() };
    let fit = &streamed(params, &chosen(&samples, &rows, &labels), &[100.0])[0];
    let asked = (2.0 / 100.0 * 1e-12 * fit.objective).sqrt();
    assert!(fit.rounding.unwrap() > asked, "the case is no case: {} against {asked}", fit.rounding.unwrap());
    assert!(fit.converged && fit.gradient_norm <= asked, "{} against {asked}", fit.gradient_norm);
    // The gradient of the model it returns, by the code in memory.
    let careful = &params.check().unwrap().fit(&design(&samples, &rows, &labels), &[100.0]).unwrap()[0];
    assert!((careful.objective / fit.objective - 1.0).abs() < 1e-10);
}

/// Breaks when the gradient of a block is put elsewhere: rows are counted from the first block.
#[test]
fn data_are_the_softmaxs_in_both_precisions() {
    let (samples, labels) = raw(2100, 9, 3, 4);
    let picked: Vec<usize> = (0..2100).filter(|i| i % 3 != 1).collect();
    let chosen = chosen(&samples, &picked, &labels);
    let cancel = AtomicBool::new(false);
    let problem = Streamed::new(&chosen, Standardise::None, &cancel).unwrap();
    let x = samples.vectors(&picked);
    let x = &x - &x.mean_axis(Axis(0)).unwrap();
    let exact = crate::softmax::Softmax { x: x.view(), y: &problem.y, classes: 3, lambda: 0.0 };
    let w = Array2::from_shape_fn((10, 3), |(i, j)| ((i * 3 + j) % 5) as f64 / 10.0 - 0.2);
    let wanted = exact.evaluate(&w, &exact.logits(&w));
    let near = |found: &Data, tolerance: f64| {
        assert!((found.loss / wanted.objective - 1.0).abs() < tolerance);
        let scale = wanted.gradient.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        let off = (&found.gradient - &wanted.gradient).iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        assert!(off < tolerance * scale, "{off} of {scale}");
    };
    near(&problem.data::<f64>(&w, false).unwrap(), 1e-12);
    near(&problem.data::<f32>(&w, false).unwrap(), 1e-5);
    // The Gram matrix of √a·(x, 1).
    let gram = problem.data::<f64>(&w, true).unwrap().gram.unwrap();
    let mut weighted = Array2::ones((picked.len(), 10));
    weighted.slice_mut(s![.., ..9]).assign(&x);
    weighted.rows_mut().into_iter().zip(&wanted.curvature).for_each(|(mut row, a)| row *= a.sqrt());
    assert!((gram - weighted.t().dot(&weighted)).iter().all(|d| d.abs() < 1e-8));
}

#[test]
fn broken_vectors_are_refused_and_a_stop_is_obeyed() {
    let (mut samples, labels) = raw(50, 4, 3, 5);
    let rows: Vec<usize> = (0..50).collect();
    let params = LogisticParams::default().check().unwrap();
    let fit = |samples: &Samples, rows: &[usize], stop| {
        params.fit_streamed(&chosen(samples, rows, &labels), &[1.0], &AtomicBool::new(stop), |_| Ok(())).unwrap_err()
    };
    assert!(fit(&samples, &[], false).what.contains("no training rows"));
    assert_eq!(fit(&samples, &rows, true).kind, engine::ErrorKind::Interrupted);
    samples.values[17 * 4 + 1] = f32::NAN;
    assert!(fit(&samples, &rows, false).what.contains("row 17"));
}

/// Row numbers run on from one sample to the next.
#[test]
fn joined_samples_are_read_as_one() {
    let parts: Vec<Samples> = [vec![0.0, 1.0], vec![], vec![2.0, 3.0, 4.0]]
        .map(|values| Samples { dim: 1, images: vec![(0, 0); values.len()], values, ..Samples::default() })
        .into();
    let mut out = [0.0; 3];
    Joined(parts.iter().collect()).copy(&[1, 2, 4], &mut out).unwrap();
    assert_eq!(out, [1.0, 2.0, 4.0]);
}
