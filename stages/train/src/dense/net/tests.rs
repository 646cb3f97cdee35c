//! Closed forms, and slopes by finite differences, of every layer. `golden` compares whole trainings with PyTorch.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::super::labels::LabelMap;
use super::super::place::Place;
use super::super::recipe::Init;
use super::*;

fn features(h: usize, w: usize, width: usize, sites: usize, seed: u64) -> Features {
    let mut random = SplitMix64::new(seed, 0);
    let mut draw = |n: usize| (0..n).map(|_| random.normal() as f32).collect::<Vec<_>>();
    let place = Place {
        scaled_h: h,
        scaled_w: w,
        y0: 0,
        x0: 0,
        view_h: h as u32,
        view_w: w as u32,
        mirrored: false,
        pad_top: 0,
        pad_left: 0,
        input_h: h,
        input_w: w,
    };
    Features { image: 0, place, h, w, width, tokens: draw(h * w * width * sites), cls: draw(width * sites) }
}

fn recipes() -> [Recipe; 4] {
    let labels = LabelMap::plain(3);
    let with = |recipe: Recipe| Recipe { init: Init::Normal(0.5), ..recipe };
    let mut deit = Recipe::deit3_segmentation();
    let Task::Segments(task) = &mut deit.task else { panic!("segments") };
    task.labels = labels.clone();
    let mut depth = Recipe::nyu_linear();
    let Task::Depth(task) = &mut depth.task else { panic!("depth") };
    task.bins = 3;
    [with(Recipe::cells(labels.clone())), with(Recipe::dinov2_segmentation(labels)), with(deit), with(depth)]
}

/// A loss that weighs each logit differently; with batch normalisation as in a step of two views.
fn loss(net: &Net, views: &[Features], weights: &[f32]) -> (f64, Vec<Vec<f32>>) {
    let mut net = net.clone();
    let mut views = views.to_vec();
    let sums: Vec<Sums> = views.iter().map(Sums::of).collect();
    if let Some(moments) = net.normalise(&sums) {
        for view in &mut views {
            moments.apply(view);
        }
    }
    let (mut loss, mut all) = (0.0, Vec::<Vec<f32>>::new());
    for view in &views {
        let forward = net.forward(view);
        // Squares, so that the slope is not the same everywhere.
        let by_logits: Vec<f32> =
            forward.logits.values.iter().zip(weights.iter().cycle()).map(|(z, w)| w * z).collect();
        loss +=
            forward.logits.values.iter().zip(&by_logits).map(|(z, s)| 0.5 * f64::from(*z) * f64::from(*s)).sum::<f64>();
        let gradients = net.backward(view, &forward, &by_logits);
        if all.is_empty() {
            all = gradients;
        } else {
            all.iter_mut().zip(gradients).for_each(|(a, g)| a.iter_mut().zip(g).for_each(|(a, g)| *a += g));
        }
    }
    (loss, all)
}

/// Every parameter of every head. Breaks when a term of a derivative is missing or goes to another parameter.
#[test]
fn derivatives_are_slopes() {
    for recipe in recipes() {
        let sites = 2;
        let mut net = Net::new(&recipe, 4, sites, 3);
        if net.counts() {
            let mut random = SplitMix64::new(8, 0);
            net.tensors[..2].iter_mut().flat_map(|t| &mut t.values).for_each(|v| *v = random.normal() as f32);
        }
        let views = [features(2, 3, 4, sites, 1), features(3, 2, 4, sites, 2)];
        let weights: Vec<f32> = (0..7).map(|i| i as f32 / 3.0 - 1.0).collect();
        let (_, gradients) = loss(&net, &views, &weights);
        for (t, gradient) in gradients.iter().enumerate() {
            assert_eq!(gradient.len(), net.tensors[t].values.len(), "{:?} {}", net.layers, net.tensors[t].name);
            for (i, found) in gradient.iter().enumerate() {
                let at = |step: f32| {
                    let mut moved = net.clone();
                    moved.tensors[t].values[i] += step;
                    loss(&moved, &views, &weights).0
                };
                let slope = (at(0.01) - at(-0.01)) / 0.02;
                let close = (slope - f64::from(*found)).abs() < 5e-3 * slope.abs().max(1.0);
                assert!(close, "{:?} {}[{i}]: {slope} {found}", net.layers, net.tensors[t].name);
            }
        }
    }
}

/// Closed form: with all of a step's tokens at ±1, channels have mean 0 and variance 1, whose unbiased form is n/(n − 1).
#[test]
fn running_moments_are_those_of_pytorch() {
    let [_, recipe, ..] = recipes();
    let mut net = Net::new(&recipe, 2, 1, 0);
    let mut view = features(1, 4, 2, 1, 0);
    view.tokens = vec![1.0, 5.0, -1.0, 5.0, 1.0, 5.0, -1.0, 5.0];
    let moments = net.normalise(&[Sums::of(&view)]).unwrap();
    assert_eq!(moments.mean, [0.0, 5.0]);
    assert_eq!(net.buffers[0].values, [0.0, 0.5]);
    let var = &net.buffers[1].values;
    assert!((var[0] - (0.9 + 0.1 * 4.0 / 3.0)).abs() < 1e-6 && (var[1] - 0.9).abs() < 1e-6);
    moments.apply(&mut view);
    assert!((view.tokens[0] - 1.0 / (1.0 + 1e-5f32).sqrt()).abs() < 1e-6 && view.tokens[1] == 0.0);
}

/// A folded head answers as normalisation by the running moments and then the layers. Breaks when the mean's share of the
/// bias is lost.
#[test]
fn a_folded_head_answers_the_same() {
    let [_, recipe, ..] = recipes();
    let mut net = Net::new(&recipe, 3, 1, 5);
    let mut random = SplitMix64::new(8, 0);
    for tensor in net.tensors.iter_mut().chain(&mut net.buffers) {
        for v in &mut tensor.values {
            *v = 0.5 + random.unit() as f32;
        }
    }
    let view = features(2, 2, 3, 1, 6);
    let folded = net.folded().forward(&view).logits;
    let mut normalised = view;
    let [mean, variance] = &net.buffers[..] else { panic!("two buffers") };
    let inverse = variance.values.iter().map(|v| 1.0 / (v + 1e-5).sqrt()).collect();
    Moments { mean: mean.values.clone(), inverse }.apply(&mut normalised);
    let plain = net.forward(&normalised).logits;
    assert_eq!((folded.h, folded.w, folded.k), (plain.h, plain.w, plain.k));
    assert!(folded.values.iter().zip(&plain.values).all(|(a, b)| (a - b).abs() < 1e-5));
}

/// A head that was trained on standardised features answers plain ones the same, CLS or not. Breaks when the mean's share of
/// the bias is lost or a channel of CLS is divided too.
#[test]
fn standardised_features_go_into_the_weights() {
    let [cells, _, _, depth] = recipes();
    let mut plain_depth = depth.clone();
    let Task::Depth(task) = &mut plain_depth.task else { panic!("depth") };
    task.cls = false;
    for recipe in [cells, depth, plain_depth] {
        let mut net = Net::new(&recipe, 3, 2, 5);
        let view = features(2, 3, 3, 2, 6);
        let scaling = Sums::of(&view).moments();
        let mut standardised = view.clone();
        scaling.apply(&mut standardised);
        let wanted = net.forward(&standardised).logits;
        net.absorb(&scaling);
        let found = net.forward(&view).logits;
        assert!(found.values.iter().zip(&wanted.values).all(|(a, b)| (a - b).abs() < 1e-4), "{:?}", net.layers);
    }
}

/// Closed forms of GELU and its slope at 0 and far out.
#[test]
fn gelu_is_exact() {
    assert_eq!(gelu(0.0), (0.0, 0.5));
    assert_eq!(gelu(20.0), (20.0, 1.0));
    let (value, _) = gelu(1.0);
    assert!((value - 0.841_344_7).abs() < 1e-6);
}

/// A transposed convolution of one cell is its kernel: cell (2y + i, 2x + j) is `U_ij`·x.
#[test]
fn a_transposed_convolution_lays_its_kernel_out() {
    let [_, _, recipe, _] = recipes();
    let mut net = Net::new(&recipe, 1, 1, 0);
    net.tensors[0].values = vec![1.0, 2.0, 3.0, 4.0];
    net.tensors[1].values = vec![10.0];
    net.tensors[2].values = vec![1.0, 0.0, -1.0];
    net.tensors[3].values = vec![0.0; 3];
    let mut view = features(1, 2, 1, 1, 0);
    view.tokens = vec![10.0, 100.0];
    let logits = net.forward(&view).logits;
    assert_eq!((logits.h, logits.w), (2, 4));
    let first: Vec<f32> = logits.values.iter().step_by(3).copied().collect();
    assert_eq!(first, [20.0, 30.0, 110.0, 210.0, 40.0, 50.0, 310.0, 410.0]);
}
