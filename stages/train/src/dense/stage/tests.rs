//! From tables on disk to scores on disk, through the engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{ErrorKind, Event, Plan, Progress, RunOptions, Silent, Store, outputs_of};
use schemas::read_part;

use super::super::features::made as rows;
use super::super::labels::LabelMap;
use super::super::truths::made as maps;
use super::*;
use crate::random::SplitMix64;

/// What is wrong with an export.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
enum Fault {
    None,
    /// Every label is 255.
    Unlabelled,
    /// Only images 0 and 1 are labelled.
    OneImage,
    /// Every label is 1.
    OneClass,
    NotFinite,
    /// Features of half the width.
    Narrow,
    /// Truths whose bytes do not fill their sizes.
    Shape,
    /// A truth of an image that has no features.
    Stranger,
    /// A label beyond the classes.
    Label,
    /// No truths at all.
    Unannotated,
    /// Nothing at all, because every image was skipped.
    Skipped,
}

/// Stands for `densify`: 24 images of 4x4 patches in three shards. A patch's feature is its class (or its depth) and noise;
/// its truth has a pixel for each patch, so that nothing is lost in resizing.
#[derive(Serialize)]
struct Planted {
    seed: u64,
    /// Truths are of the image, not of the view.
    of_image: bool,
    fault: Fault,
}

impl Meaning for Planted {}

impl Stage for Planted {
    fn name(&self) -> &'static str {
        "plant"
    }
    fn version(&self) -> u32 {
        1
    }
    fn inputs(&self) -> Vec<TableRef> {
        vec![]
    }
    fn outputs(&self) -> Vec<TableSpec> {
        [Dense::NAME, TruthMaps::NAME, Skipped::NAME]
            .map(|table| TableSpec { table, partition: vec![("model", "m".into())] })
            .into()
    }
    fn meaning(&self) -> Canonical {
        Canonical::of(self)
    }
    fn estimate(&self, _: &Sizes) -> Estimate {
        Estimate { items: 24, items_per_shard: 8, ..Estimate::default() }
    }
    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let mut random = SplitMix64::new(self.seed, u64::from(shard.index));
        let (mut dense, mut truths) = (Dense::default(), TruthMaps::default());
        let width = if self.fault == Fault::Narrow { 4 } else { 8 };
        let mut skipped = Skipped::default();
        for image in shard.items.clone().map(|i| i as u32) {
            let classes: Vec<u8> = (0..16).map(|_| (random.unit() * 3.0) as u8).collect();
            let mut tokens: Vec<f32> = (0..16 * width).map(|_| 0.1 * random.normal() as f32).collect();
            for (token, class) in tokens.chunks_exact_mut(width).zip(&classes) {
                token[usize::from(*class)] += 1.0;
            }
            if self.fault == Fault::NotFinite && image == 13 {
                tokens[5] = f32::NAN;
            }
            if self.fault == Fault::Skipped {
                skipped.image.push(image);
                skipped.name.push(format!("{image}.png").into());
                skipped.reason.push("bad annotation".into());
                skipped.detail.push("7.5 is beyond 1".into());
                continue;
            }
            rows::push(&mut dense, image, 0, (4, 4), "final", (&tokens, &vec![0.5; width]));
            let segments = match self.fault {
                Fault::Unlabelled => vec![255; 16],
                Fault::OneImage if image > 1 => continue,
                Fault::Unannotated => continue,
                Fault::OneClass => vec![1; 16],
                Fault::Label => vec![7; 16],
                Fault::Shape => vec![1; 15],
                _ => classes.clone(),
            };
            let key = (image, (!self.of_image).then_some(0));
            maps::push(&mut truths, key, "segments", (4, 4), segments);
            // 1, 2 and 3 m.
            let depth = classes.iter().flat_map(|c| (1000 * (u16::from(*c) + 1)).to_le_bytes()).collect();
            maps::push(&mut truths, key, "depth", (4, 4), depth);
            if self.fault == Fault::Stranger && image == 5 {
                maps::push(&mut truths, (99, None), "segments", (1, 1), vec![0]);
            }
        }
        io.write(dense)?;
        io.write(truths)?;
        let count = skipped.image.len() as u64;
        io.write(skipped)?;
        Ok(ShardReport { items: 8, skipped: count })
    }
}

fn planted(seed: u64, fault: Fault) -> Planted {
    Planted { seed, of_image: seed > 0, fault }
}

fn params(recipe: Recipe) -> HeadParams {
    HeadParams {
        name: "linear".into(),
        sites: vec!["final".into()],
        recipe,
        seeds: vec![0],
        permute_labels: false,
        every_nth: None,
        pictures: 2,
        class_names: vec!["sky".into(), "road".into()],
    }
}

fn segments() -> HeadParams {
    let recipe = Recipe::cells(LabelMap::plain(3));
    let schedule = Schedule::new(0.05, recipe.schedule.shape);
    params(Recipe { length: Length::Epochs(20), schedule, ..recipe })
}

fn depth() -> HeadParams {
    params(Recipe { length: Length::Epochs(40), ..Recipe::depth_cells(4.0) })
}

use super::super::schedule::Schedule;

/// Stops the run once so many steps are done, and hears what is told of steps.
struct StopAt<'a>(u64, &'a AtomicBool, Mutex<Vec<String>>);

impl Progress for StopAt<'_> {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Items { done } if *done == self.0 => self.1.store(true, Ordering::Relaxed),
            Event::Total { items } => self.2.lock().unwrap().push(format!("{items} in all")),
            Event::Resumed { done } => self.2.lock().unwrap().push(format!("from {done}")),
            _ => {}
        }
    }
}

type Tables = (Heads, Losses, Predictions, Scores, Replicates);

/// Plants, trains, perhaps stops after some steps first, and reads what came out.
fn run(params: &HeadParams, faults: (Fault, Fault), stops: &[u64]) -> Result<Tables, StageError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plan = || {
        let (train, test) = (planted(0, faults.0), planted(1, faults.1));
        let stage = TrainHead::new(params.clone(), &outputs_of(&train), &outputs_of(&test), vec![]).unwrap();
        let outputs = outputs_of(&stage);
        let stages: Vec<Box<dyn Stage>> = vec![Box::new(train), Box::new(test), Box::new(stage)];
        (Plan::new(stages).unwrap(), outputs)
    };
    let mut before = 0;
    for &stop in stops {
        let cancel = AtomicBool::new(false);
        let progress = StopAt(stop, &cancel, Mutex::default());
        let stopped =
            engine::run(&plan().0, &store, &RunOptions { cancel: &cancel, progress: &progress, max_skip_frac: 1.0 });
        assert!(cancel.load(Ordering::Relaxed), "step {stop} is not reached");
        assert_eq!(stopped.err().map(|e| e.kind), Some(ErrorKind::Interrupted));
        // Who looks on is told how many steps there are, and from where it goes on.
        let told = progress.2.lock().unwrap();
        assert!(told[0].ends_with("in all") && told.get(1).is_none_or(|from| *from == format!("from {before}")));
        assert_eq!(told.len(), if before > 0 { 2 } else { 1 });
        before = stop;
    }
    let (plan, outputs) = plan();
    let cancel = AtomicBool::new(false);
    engine::run(&plan, &store, &RunOptions { cancel: &cancel, progress: &Silent, max_skip_frac: 1.0 })?;
    let part = |i: usize| store.part(&outputs[i], 0);
    Ok((
        read_part(&part(0)).unwrap(),
        read_part(&part(1)).unwrap(),
        read_part(&part(2)).unwrap(),
        read_part(&part(3)).unwrap(),
        read_part(&part(4)).unwrap(),
    ))
}

fn whole(params: &HeadParams) -> Tables {
    run(params, (Fault::None, Fault::None), &[]).unwrap()
}

fn value(scores: &Scores, subject: &str, metric: &str) -> Option<f64> {
    let row = (0..scores.value.len()).find(|&i| *scores.subject[i] == *subject && *scores.metric[i] == *metric);
    scores.value[row.unwrap_or_else(|| panic!("no row of {subject} {metric}"))]
}

/// Features that hold the class give every pixel its class. Breaks when truths and features of different images meet.
#[test]
fn separable_classes_are_told_apart() {
    let (heads, losses, predictions, scores, _) = whole(&segments());
    assert_eq!(value(&scores, "linear", "miou_frac"), Some(1.0));
    assert_eq!(value(&scores, "linear", "accuracy_frac"), Some(1.0));
    assert_eq!(value(&scores, "class_sky", "iou_frac"), Some(1.0));
    // The third class has no name.
    assert_eq!(value(&scores, "class_2", "iou_frac"), Some(1.0));
    let majority = value(&scores, "majority", "accuracy_frac").unwrap();
    assert!((majority - 1.0 / 3.0).abs() < 0.08, "{majority}");
    let shapes: Vec<_> = heads.tensor.iter().zip(&heads.shape).map(|(t, s)| format!("{t} {s}")).collect();
    assert_eq!(shapes, ["weight 3x8", "bias 3"]);
    assert_eq!(losses.step.last(), Some(&120));
    assert!(losses.loss[0] > 0.9 && *losses.loss.last().unwrap() < 0.15);
    let kinds: Vec<_> = predictions.kind.iter().map(|k| &**k).collect();
    assert_eq!(kinds, ["segments", "truth_segments", "segments", "truth_segments"]);
    assert_eq!(predictions.cells[0], predictions.cells[1]);
}

/// Truths handed round among the images: nothing can be learned but how frequent classes are, so the loss stays at ln 3.
/// Which class a patch is then given is a matter of luck, the same for all patches of a class: right with probability ⅓ for
/// each of three classes, so the mean of nine trainings has a standard deviation of .09.
#[test]
fn exchanged_truths_are_chance() {
    let mut mean = 0.0;
    for seed in 0..9 {
        let control = HeadParams { permute_labels: true, seeds: vec![seed], ..segments() };
        let (_, losses, _, scores, _) = whole(&control);
        assert!(losses.loss.last().unwrap() > &0.9, "{losses:?}");
        assert!(scores.note[0].starts_with("control:"));
        mean += value(&scores, "linear", "accuracy_frac").unwrap() / 9.0;
    }
    assert!((mean - 1.0 / 3.0).abs() < 0.27, "{mean}");
}

/// Depth that is in the features is found, far better than by one depth everywhere.
#[test]
fn depth_in_the_features_is_found() {
    let (_, _, predictions, scores, _) = whole(&depth());
    let (found, constant) =
        (value(&scores, "linear", "rmse_m").unwrap(), value(&scores, "constant", "rmse_m").unwrap());
    assert!(found < 0.35 && (constant - (2.0f64 / 3.0).sqrt()).abs() < 0.1, "{found} {constant}");
    let close = value(&scores, "linear", "delta1_frac").unwrap();
    assert!(close > 0.85, "{close} {found}");
    let metres = |cells: &[u8]| -> Vec<f64> {
        cells.chunks_exact(2).map(|c| f64::from(u16::from_le_bytes([c[0], c[1]])) * 4.0 / 65535.0).collect()
    };
    let (answer, truth) = (metres(&predictions.cells[0]), metres(&predictions.cells[1]));
    assert!(truth.iter().all(|t| (t - t.round()).abs() < 1e-4 && (1.0..=3.0).contains(&t.round())));
    assert!(answer.iter().zip(&truth).all(|(a, t)| (a - t).abs() < 1.0));
}

/// Stopped after several steps, in the middle of either head, the tables come out with the same bytes.
#[test]
fn a_training_that_is_stopped_goes_on_where_it_stopped() {
    let recipe = Recipe::dinov2_segmentation(LabelMap::plain(3));
    let recipe = Recipe { length: Length::Steps(9), views_per_step: 3, ..recipe };
    let params = HeadParams { seeds: vec![1, 2], ..params(recipe) };
    let (heads, losses, predictions, scores, replicates) = whole(&params);
    let names: Vec<_> = heads.head.iter().map(|n| &**n).collect();
    assert_eq!((names[0], names[11], names.len()), ("linear-seed1", "linear-seed2", 12));
    assert_ne!(heads.values[2], heads.values[8]);
    assert_eq!(scores.draws[0], 2);
    assert!(scores.std[0].is_some() && scores.stderr[0].is_some());
    let stopped = run(&params, (Fault::None, Fault::None), &[1, 4, 9, 14]).unwrap();
    // Each group's value, and from them the standard error.
    let own: Vec<f64> = (0..replicates.value.len())
        .filter(|&i| &*replicates.metric[i] == "miou_frac" && &*replicates.subject[i] == "linear")
        .map(|i| replicates.value[i])
        .collect();
    let mean = own.iter().sum::<f64>() / 20.0;
    let stderr = (0.95 * own.iter().map(|v| (v - mean).powi(2)).sum::<f64>()).sqrt();
    assert!(own.len() == 20 && (stderr - scores.stderr[0].unwrap()).abs() < 1e-12);
    assert!(replicates.subject.iter().all(|s| &**s == "linear") && replicates.value.len() == 40);
    assert_eq!(stopped, (heads, losses, predictions, scores, replicates));
}

/// One training image has nobody to exchange its truth with. Breaks when the control quietly learns the truth itself.
#[test]
fn a_control_of_one_image_is_refused() {
    let control = HeadParams { permute_labels: true, every_nth: Some(2), ..segments() };
    let error = run(&control, (Fault::OneImage, Fault::None), &[]).err();
    assert!(error.is_some_and(|e| e.kind == ErrorKind::Config && e.to_string().contains("only one")));
    assert!(run(&HeadParams { permute_labels: false, ..control }, (Fault::OneImage, Fault::None), &[]).is_ok());
}

/// Every n-th image of one run is judged, and the others are trained on.
#[test]
fn one_run_may_be_split() {
    let (_, _, predictions, scores, _) = whole(&HeadParams { every_nth: Some(4), ..segments() });
    assert_eq!(predictions.image, [3, 3, 7, 7]);
    assert_eq!((scores.n[0], value(&scores, "linear", "miou_frac")), (6, Some(1.0)));
}

/// What cannot be trained on or judged says what it is, where, and how to mend it.
#[test]
fn what_cannot_be_used_says_so() {
    let refused = |params: HeadParams, train: Fault, test: Fault| {
        let error = run(&params, (train, test), &[]).err().map(|e| (e.kind, e.to_string(), e.fix));
        let (kind, what, fix) = error.unwrap_or_else(|| panic!("{train:?} {test:?}"));
        assert!(!fix.is_empty());
        (kind, what)
    };
    let says = |found: (ErrorKind, String), kind: ErrorKind, part: &str| {
        assert!(found.0 == kind && found.1.contains(part), "{found:?}");
    };
    let none = Fault::None;
    says(refused(segments(), Fault::Unlabelled, none), ErrorKind::Config, "no training view");
    says(refused(segments(), none, Fault::Unlabelled), ErrorKind::Config, "no test view");
    says(
        refused(segments(), none, Fault::Unlabelled),
        ErrorKind::Config,
        "24 truths is ignored or without a class; labels that occur: 255",
    );
    says(refused(segments(), Fault::Unannotated, none), ErrorKind::Config, "the dataset has none");
    says(
        refused(depth(), Fault::Skipped, none),
        ErrorKind::Config,
        "24 images were skipped and no other has one; the first is `0.png`: bad annotation: 7.5 is beyond 1",
    );
    says(refused(segments(), Fault::NotFinite, none), ErrorKind::Missing, "image 13");
    says(refused(segments(), none, Fault::Narrow), ErrorKind::Config, "4 channels");
    says(refused(segments(), Fault::Shape, none), ErrorKind::Missing, "15 bytes for 4x4");
    let label =
        "image 0 of the training run has the label 7, which is none of the 3 classes; labels that occur in this run: 7";
    says(refused(segments(), Fault::Label, none), ErrorKind::Config, label);
    says(refused(segments(), none, Fault::Label), ErrorKind::Config, "image 0 of the test run has the label 7");
    let fix = run(&segments(), (Fault::Label, none), &[]).err().map(|e| e.fix);
    assert_eq!(fix.as_deref(), Some("write `ignore = [7]` in [[dense]], or `classes = 8` if they are classes"));
    says(refused(segments(), none, Fault::Stranger), ErrorKind::Missing, "image 99");
    let elsewhere = HeadParams { sites: vec!["block_3".into()], ..segments() };
    says(refused(elsewhere, none, none), ErrorKind::Config, "`block_3`");
    // A truth without features does no harm in training.
    assert!(run(&segments(), (Fault::Stranger, none), &[]).is_ok());
}

/// A training set of one class is learned, and judged as it deserves: a third of the pixels.
#[test]
fn one_class_is_no_error() {
    let (_, _, _, scores, _) = run(&segments(), (Fault::OneClass, Fault::None), &[]).unwrap();
    let accuracy = value(&scores, "linear", "accuracy_frac");
    assert_eq!(accuracy, value(&scores, "majority", "accuracy_frac"));
}

#[test]
fn wrong_parameters_are_refused_before_anything_runs() {
    let tables = outputs_of(&planted(0, Fault::None));
    let new = |params: HeadParams| TrainHead::new(params, &tables, &tables, vec![]).err();
    assert_eq!(new(HeadParams { sites: vec![], ..segments() }), Some(DenseError::Nothing("sites")));
    assert_eq!(new(HeadParams { seeds: vec![], ..segments() }), Some(DenseError::Nothing("seeds")));
    assert_eq!(new(HeadParams { seeds: vec![4, 0, 0], ..segments() }), Some(DenseError::Twice(0)));
    assert!(matches!(new(HeadParams { every_nth: Some(1), ..segments() }), Some(DenseError::Range { .. })));
    let missing = TrainHead::new(segments(), &tables[..1], &tables, vec![]).err();
    assert_eq!(missing, Some(DenseError::Table { run: "training", table: "truth_maps" }));
    assert_eq!(new(segments()), None);
}

/// The estimate has the steps of all heads, and what is trained on is held up to a bound; beyond it only footers grow.
#[test]
fn memory_is_bounded_in_the_estimate() {
    let tables = outputs_of(&planted(0, Fault::None));
    let stage = TrainHead::new(segments(), &tables, &tables, vec![]).unwrap();
    let sized = |train_views| {
        let sizes = HeadSizes { train_views, ..HeadSizes::default() };
        stage.clone().sized(sizes).estimate(&Sizes::new())
    };
    let (small, large, huge) = (sized(100), sized(100_000), sized(10_000_000));
    assert_eq!(small.items, 500);
    assert!(small.host_bytes < large.host_bytes && large.host_bytes < 3 << 30);
    // Three views of 37x37 patches and 384 channels fit a group.
    assert_eq!(huge.host_bytes - large.host_bytes, 9_900_000 / 3 * FOOTER_BYTES);
    assert!(huge.secs > 90.0 * large.secs);
}
