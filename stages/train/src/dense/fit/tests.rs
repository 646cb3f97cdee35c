//! Whole trainings: against PyTorch, on any number of threads, and over again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde::Deserialize;

use super::super::labels::LabelMap;
use super::super::place::Place;
use super::super::schedule::{Schedule, Shape};
use super::*;

/// A case of `tests/golden/dense_heads.py`.
#[derive(Deserialize)]
struct Case {
    name: String,
    views: Vec<View>,
    truth_size: [usize; 2],
    truths: Vec<Vec<f32>>,
    order: Vec<Vec<usize>>,
    first: Vec<Vec<f32>>,
    losses: Vec<f64>,
    last: Vec<Vec<f32>>,
    buffers: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct View {
    tokens: Vec<f32>,
    cls: Vec<f32>,
}

const H: usize = 3;
const W: usize = 4;
const WIDTH: usize = 5;

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("pytorch.json")).unwrap()
}

impl Case {
    fn sites(&self) -> usize {
        self.views[0].tokens.len() / (H * W * WIDTH)
    }

    /// The named recipe, with the sizes of the script.
    fn recipe(&self) -> Recipe {
        let labels = LabelMap::plain(3);
        let views_per_step = self.order[0].len();
        let epochs = Length::Epochs((self.order.len() / 5usize.div_ceil(views_per_step)) as u64);
        let steps = Length::Steps(self.order.len() as u64);
        let mut recipe = match self.name.as_str() {
            "cells" => Recipe::cells(labels.clone()),
            "dinov2_segmentation" => Recipe::dinov2_segmentation(labels.clone()),
            "study_segmentation" => Recipe::study_segmentation(),
            "deit3_segmentation" => Recipe::deit3_segmentation(),
            "nyu_linear_16" | "nyu_linear_256" => Recipe::nyu_linear(),
            _ => Recipe { schedule: Schedule::new(3e-3, Shape::Cosine { min_ratio: 0.0 }), ..Recipe::depth_cells(1.0) },
        };
        match &mut recipe.task {
            Task::Segments(task) => task.labels = labels,
            Task::Depth(task) => {
                if let DepthLoss::Logarithmic { warm_up_steps, .. } = &mut task.loss {
                    task.bins = self.first[1].len();
                    *warm_up_steps = 4;
                }
            }
        }
        recipe.length =
            if self.name == "study_segmentation" || self.name == "deit3_segmentation" { epochs } else { steps };
        match &mut recipe.schedule.shape {
            Shape::Step { epochs, .. } => *epochs = 2,
            Shape::LateCosine { .. } => recipe.schedule.learning_rate = 5e-3,
            _ => {}
        }
        let depth = recipe.kind() == "depth";
        if let Some(warm_up) = &mut recipe.schedule.warm_up {
            (warm_up.steps, warm_up.of) = (if depth { 6 } else { 5 }, self.order.len() as u64);
        }
        if recipe.clip_norm.is_some() {
            recipe.schedule.learning_rate = 1e-2;
            recipe.clip_norm = Some(0.05);
        }
        Recipe { views_per_step, ..recipe }
    }

    fn pair(&self, view: usize) -> (Features, Truth) {
        let [height, width] = self.truth_size;
        let (input_h, input_w) = (H * 14, W * 14);
        let place = Place {
            scaled_h: input_h,
            scaled_w: input_w,
            y0: 0,
            x0: 0,
            view_h: input_h as u32,
            view_w: input_w as u32,
            mirrored: false,
            pad_top: 0,
            pad_left: 0,
            input_h,
            input_w,
        };
        let View { tokens, cls } = &self.views[view];
        let features =
            Features { image: view as u32, place, h: H, w: W, width: WIDTH, tokens: tokens.clone(), cls: cls.clone() };
        let cells = match self.recipe().task {
            Task::Segments(_) => Cells::Classes(self.truths[view].iter().map(|v| *v as u8).collect()),
            Task::Depth(_) => Cells::Depths(self.truths[view].clone()),
        };
        (features, Truth { image: view as u32, height, width, cells })
    }

    /// Trains in the script's order from its first weights.
    fn trained(&self) -> (Training, Vec<f64>) {
        let recipe = self.recipe();
        let mut training = Training::new(&recipe, WIDTH, self.sites(), 0);
        training.net.tensors.iter_mut().zip(&self.first).for_each(|(t, first)| t.values.clone_from(first));
        let course = Course::new(&recipe, self.views.len(), 0);
        let step = |(i, views): (usize, &Vec<usize>)| {
            let batch = views.iter().map(|&view| self.pair(view)).collect();
            training.step(&recipe, batch, course.moment(i as u64)).0
        };
        let losses = self.order.iter().enumerate().map(step).collect();
        (training, losses)
    }
}

/// Largest difference, by the largest of what is wanted.
fn apart(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(1e-12_f32, |a, b| a.max(b.abs()));
    found.iter().zip(wanted).fold(0.0_f32, |a, (f, w)| a.max((f - w).abs())) / largest
}

/// Losses of every step and parameters after some twenty of each recipe equal PyTorch's, which are f64, to 1e-5: ours are
/// f32, of which each step adds a rounding (found: at most 2e-6 of the largest loss or of a tensor's largest value). Breaks
/// with any constant, order of decay and step, resizing rule, mean or mask that differs.
#[test]
fn every_recipe_trains_as_pytorch_does() {
    let cases = cases();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let (training, losses) = case.trained();
        let largest = case.losses.iter().copied().fold(0.0, f64::max);
        for (step, (found, wanted)) in losses.iter().zip(&case.losses).enumerate() {
            assert!((found - wanted).abs() <= 1e-5 * largest, "{} step {step}: {found} {wanted}", case.name);
        }
        let net = &training.net;
        assert_eq!((net.tensors.len(), net.buffers.len()), (case.last.len(), case.buffers.len()));
        let all = net.tensors.iter().zip(&case.last).chain(net.buffers.iter().zip(&case.buffers));
        for (tensor, wanted) in all {
            let apart = apart(&tensor.values, wanted);
            assert!(apart <= 1e-5, "{} {}: {apart}", case.name, tensor.name);
        }
    }
}

/// A run of a recipe in its own order, optionally from a state and up to a step.
fn run(case: &Case, recipe: &Recipe, mut training: Training, until: u64) -> Training {
    let course = Course::new(recipe, case.views.len(), 9);
    let stopped = training.run(
        ("head", recipe),
        &course,
        |view| Ok(case.pair(view as usize)),
        |head| if head.step == until { Err(StageError::interrupted()) } else { Ok(()) },
    );
    assert_eq!(stopped.is_err(), until <= course.steps());
    training
}

fn bits(training: &Training) -> Vec<u32> {
    let tensors = training.net.tensors.iter().chain(&training.net.buffers).map(|t| &t.values);
    tensors.chain(&training.memory).flatten().map(|v| v.to_bits()).collect()
}

/// One thread and five, and a stop after any step, give the same bits and losses. Breaks when a sum depends on which thread
/// was first, or something is not kept between steps.
#[test]
fn threads_and_stops_change_no_bit() {
    for case in cases() {
        let recipe = case.recipe();
        let fresh = || Training::new(&recipe, WIDTH, case.sites(), 4);
        let whole = run(&case, &recipe, fresh(), u64::MAX);
        assert!(whole.losses.len() == whole.step as usize && whole.step > 10);
        for threads in [1, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(bits(&pool.install(|| run(&case, &recipe, fresh(), u64::MAX))), bits(&whole), "{}", case.name);
        }
        for until in [1, 7, whole.step] {
            let half = run(&case, &recipe, fresh(), until);
            let kept = super::super::state::write(std::slice::from_ref(&half));
            let read = super::super::state::read(&kept, |_| Some((fresh(), whole.step))).unwrap();
            let resumed = run(&case, &recipe, read.into_iter().next().unwrap(), u64::MAX);
            assert_eq!(bits(&resumed), bits(&whole), "{} stopped at {until}", case.name);
            assert_eq!(resumed.losses, whole.losses);
        }
    }
}

/// Epochs take every view once, their last step what is left; steps go on into the next epoch.
#[test]
fn every_view_comes_once_an_epoch() {
    let recipe = |length, views_per_step| Recipe { length, views_per_step, ..Recipe::cells(LabelMap::plain(2)) };
    let sorted = |mut views: Vec<u32>| {
        views.sort_unstable();
        views
    };
    let course = Course::new(&recipe(Length::Epochs(2), 3), 7, 1);
    assert_eq!(course.steps(), 6);
    let sizes: Vec<usize> = (0..6).map(|s| course.views_of(s).len()).collect();
    assert_eq!(sizes, [3, 3, 1, 3, 3, 1]);
    let epochs = [0, 3].map(|s| (s..s + 3).flat_map(|s| course.views_of(s)).collect::<Vec<_>>());
    assert_ne!(epochs[0], epochs[1]);
    assert!(epochs.into_iter().all(|e| sorted(e) == [0, 1, 2, 3, 4, 5, 6]));
    assert_eq!((course.moment(2).epoch, course.moment(3).epoch), (0, 1));
    let course = Course::new(&recipe(Length::Steps(7), 4), 7, 1);
    let all: Vec<u32> = (0..7).flat_map(|s| course.views_of(s)).collect();
    assert_eq!(all.len(), 28);
    assert!(all.chunks(7).all(|epoch| sorted(epoch.to_vec()) == [0, 1, 2, 3, 4, 5, 6]));
    // More views a step than there are.
    assert_eq!(Course::new(&recipe(Length::Steps(1), 9), 4, 1).views_of(0).len(), 9);
}

#[test]
fn a_loss_that_is_no_number_stops_the_training() {
    let case = &cases()[0];
    let recipe = case.recipe();
    let mut training = Training::new(&recipe, WIDTH, 1, 0);
    training.net.tensors[0].values[0] = f32::NAN;
    let course = Course::new(&recipe, 5, 0);
    let error =
        training.run(("linear", &recipe), &course, |view| Ok(case.pair(view as usize)), |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("step 1 of `linear`"), "{error}");
}
