//! Heads against PyTorch's.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::f64::consts::PI;

use safetensors::SafeTensors;

use super::*;
use crate::linear_eval::Length;

const GOLDEN: &[u8] = include_bytes!("../../../../../tests/golden/linear_eval/steps.safetensors");

fn sites() -> Vec<String> {
    ["block_8+norm", "block_9+norm", "block_10+norm", "final"].map(str::to_owned).into()
}

fn params() -> LinearEvalParams {
    LinearEvalParams { batch: 64, length: Length::Steps(50), ..LinearEvalParams::dinov2(sites()) }
}

fn floats(of: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    of.tensor(name).unwrap().data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn ints(of: &SafeTensors<'_>, name: &str) -> Vec<usize> {
    let four = |b: &[u8]| i32::from_le_bytes(b.try_into().unwrap()) as usize;
    of.tensor(name).unwrap().data().chunks_exact(4).map(four).collect()
}

/// Of the heads in order: `blocks1-0` … `blocks4-avgpool-12`.
fn names() -> Vec<String> {
    let inputs = ["blocks1", "blocks1-avgpool", "blocks4", "blocks4-avgpool"];
    inputs.iter().flat_map(|input| (0..13).map(move |rate| format!("{input}-{rate}"))).collect()
}

fn set_weights(heads: &mut Heads, golden: &SafeTensors<'_>) {
    let names = names();
    let mut names = names.iter();
    for panel in &mut heads.panels {
        for (place, name) in names.by_ref().take(panel.rates.len()).enumerate() {
            let first = floats(golden, &format!("first/{name}"));
            let (dim, columns) = (panel.features.len(), panel.bias.len());
            for class in 0..5 {
                for i in 0..dim {
                    panel.weight[i * columns + place * 5 + class] = first[class * dim + i];
                }
            }
        }
    }
}

fn batch(golden: &SafeTensors<'_>, samples: &[usize]) -> Batch {
    let (x, labels) = (floats(golden, "x"), ints(golden, "labels"));
    Batch {
        x: samples.iter().flat_map(|s| x[s * 40..(s + 1) * 40].to_vec()).collect(),
        classes: samples.iter().map(|s| Some(labels[*s] as u32)).collect(),
    }
}

/// ‖a − b‖ / ‖b‖.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |v: f64| v * v;
    let apart: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    (apart / b.iter().map(|b| square(f64::from(*b))).sum::<f64>()).sqrt()
}

/// Breaks when an input, a rate, the momentum, the course of the rates or the mean over the batch differs: 50 steps of
/// `torch.optim.SGD` and `CosineAnnealingLR`, from the same weights on the same batches.
#[test]
fn fifty_steps_are_pytorchs() {
    let golden = SafeTensors::deserialize(GOLDEN).unwrap();
    let mut heads = Heads::new(&params(), 8, 5);
    set_weights(&mut heads, &golden);
    let (order, losses) = (ints(&golden, "order"), floats(&golden, "losses"));
    let mut farthest = 0.0_f64;
    for (step, samples) in order.chunks_exact(64).enumerate() {
        let course = 0.5 * (1.0 + (PI * step as f64 / 50.0).cos());
        let found = heads.step(&batch(&golden, samples), course);
        for (ours, theirs) in found.iter().zip(&losses[step * 52..(step + 1) * 52]) {
            farthest = farthest.max((ours / f64::from(*theirs) - 1.0).abs());
        }
    }
    assert!(farthest < 1e-5, "losses differ by {farthest:e}");
    let mut farthest = 0.0_f64;
    for (head, name) in names().iter().enumerate() {
        let (weight, bias) = heads.tensors(head);
        farthest = farthest.max(distance(&weight, &floats(&golden, &format!("weight/{name}"))));
        farthest = farthest.max(distance(&bias, &floats(&golden, &format!("bias/{name}"))));
    }
    assert!(farthest < 1e-5, "weights differ by {farthest:e}");
    let right = heads.count(&batch(&golden, &(0..96).collect::<Vec<_>>()));
    let first: Vec<usize> = right.iter().map(|r| r.0 as usize).collect();
    assert_eq!(first, ints(&golden, "right"));
    assert!(right.iter().all(|r| r.1 == 96), "five classes: the true one is among the first five");
}

#[test]
fn heads_are_dinov2s() {
    let heads = heads(&LinearEvalParams::dinov2(sites()), 384);
    assert_eq!(heads.len(), 52);
    let of = |i: usize| (heads[i].name.as_str(), heads[i].features.clone());
    assert_eq!(of(0), ("blocks1-lr0.00001", 3 * 384..4 * 384));
    assert_eq!(of(13), ("blocks1-avgpool-lr0.00001", 3 * 384..5 * 384));
    assert_eq!(of(38), ("blocks4-lr0.1", 0..4 * 384));
    assert_eq!(of(51), ("blocks4-avgpool-lr0.1", 0..5 * 384));
    // A batch of 1,024 is four of 256.
    assert_eq!(heads[51].rate, 0.4);
}

/// Breaks when a head's first weights depend on who stands beside it: of few classes all heads of an input share a
/// panel, of 300 none does.
#[test]
fn first_weights_are_normal_and_each_heads_own() {
    let wide = LinearEvalParams { last_blocks: vec![1], avgpool: vec![false], ..params() };
    let alone = LinearEvalParams { learning_rates: vec![1e-5], ..wide.clone() };
    assert_eq!(Heads::new(&wide, 64, 5).tensors(0), Heads::new(&alone, 64, 5).tensors(0));
    let heads = Heads::new(&wide, 64, 300);
    assert_eq!(heads.panels.len(), 13);
    assert_eq!(Heads::new(&wide, 64, 5).panels.len(), 1);
    let (weight, bias) = heads.tensors(12);
    assert_eq!((weight.len(), bias), (64 * 300, vec![0.0; 300]));
    let n = weight.len() as f64;
    let mean = weight.iter().map(|w| f64::from(*w)).sum::<f64>() / n;
    let std = (weight.iter().map(|w| (f64::from(*w) - mean).powi(2)).sum::<f64>() / n).sqrt();
    assert!(mean.abs() < 3e-4 && (std - 0.01).abs() < 2e-4, "{mean} {std}");
    assert_ne!(heads.tensors(11).0, weight);
}

/// Closed forms: equal logits of K classes lose ln K; ties go to the lower class; no class, no gradient.
#[test]
fn equal_logits_lose_their_logarithm() {
    let mut logits = [3.0_f32; 4];
    assert!((cross_entropy(&mut logits, 2, 0.5) - 4.0_f64.ln()).abs() < 1e-6);
    assert_eq!(logits, [0.125, 0.125, -0.375, 0.125]);
    let mut far = [-1000.0, 1000.0];
    assert_eq!(cross_entropy(&mut far, 0, 1.0), 2000.0);
    assert_eq!(cross_entropy(&mut [1.0, 2.0], usize::MAX, 1.0), 0.0);
    let one = LinearEvalParams { last_blocks: vec![1], avgpool: vec![false], learning_rates: vec![1.0], ..params() };
    let mut heads = Heads::new(&LinearEvalParams { init_std: 0.0, ..one }, 1, 7);
    let batch = Batch { x: vec![1.0; 4], classes: vec![Some(0), Some(4), Some(5), None] };
    assert_eq!(heads.count(&batch), [(1, 2)]);
    heads.panels[0].bias.fill(f32::NAN);
    assert_eq!(heads.count(&batch), [(0, 0)], "a head that has run away");
}
