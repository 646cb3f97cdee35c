//! The linear evaluation from tables on disk to tables on disk, through the engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{
    ErrorKind, Estimate, Event, Plan, Progress, RunOptions, Shard, ShardIo, ShardReport, Silent, Sizes, Stage,
    StageError, Store, TableRef, TableSpec, outputs_of,
};
use schemas::tables::{Heads, Images, Losses, Pooled, PooledViews, Scores};
use schemas::{Canonical, Meaning, Table, read_part};
use serde::Serialize;

use super::*;
use crate::random::SplitMix64;

/// Stands for an extraction: images of 4 classes in three shards. The class is in CLS of the last block alone; older
/// blocks and the mean patch are noise.
#[derive(Serialize, Clone)]
struct Planted {
    seed: u64,
    images: u64,
    /// Number of the class that is called `class 0`; two datasets need not agree.
    first_label: i32,
    /// Views of each image, for `pooled_views`; 0: whole images, for `pooled`.
    views: u16,
}

impl Meaning for Planted {}

const SITES: [&str; 4] = ["block_0+norm", "block_1+norm", "block_2+norm", "final"];
const WIDTH: usize = 6;

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
        let vectors = if self.views > 0 { "pooled_views" } else { "pooled" };
        ["images", vectors].map(|table| TableSpec { table, partition: vec![] }).into()
    }
    fn meaning(&self) -> Canonical {
        Canonical::of(self)
    }
    fn estimate(&self, _: &Sizes) -> Estimate {
        Estimate { items: self.images, items_per_shard: self.images.div_ceil(3), ..Estimate::default() }
    }
    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let mut random = SplitMix64::new(self.seed, u64::from(shard.index));
        let (mut images, mut pooled) = (Images::default(), PooledViews::default());
        for image in shard.items.clone().map(|i| i as u32) {
            let class = image % 4;
            images.image.push(image);
            images.name.push(format!("{image}.png").into());
            images.label.push(Some((class as i32 + self.first_label) % 4));
            images.class.push(Some(format!("class {class}").into()));
            images.width_px.push(1);
            images.height_px.push(1);
            images.grid_h.push(1);
            images.grid_w.push(1);
            for (view, site) in (0..self.views.max(1)).flat_map(|view| SITES.map(|site| (view, site))) {
                for pool in ["cls", "mean_patch"] {
                    pooled.image.push(image);
                    pooled.view.push(view);
                    pooled.site.push(site.into());
                    pooled.pool.push(pool.into());
                    let mut vector: Vec<f32> = (0..WIDTH).map(|_| random.normal() as f32).collect();
                    if (site, pool) == ("final", "cls") {
                        vector[class as usize] += 5.0;
                    }
                    pooled.vector.push(&vector);
                }
            }
        }
        io.write(images)?;
        if self.views > 0 {
            io.write(pooled)?;
        } else {
            let PooledViews { image, site, pool, vector, .. } = pooled;
            io.write(Pooled { image, site, pool, vector })?;
        }
        Ok(ShardReport { items: shard.items.end - shard.items.start, skipped: 0 })
    }
}

fn params() -> LinearEvalParams {
    LinearEvalParams {
        batch: 64,
        length: Length::Steps(120),
        shuffle_samples: 1000,
        ..LinearEvalParams::dinov2(SITES.map(str::to_owned).into())
    }
}

fn sides() -> (Planted, Planted) {
    let train = Planted { seed: 1, images: 300, first_label: 0, views: 0 };
    (train.clone(), Planted { seed: 2, images: 101, first_label: 1, ..train })
}

fn stage(params: LinearEvalParams) -> LinearEval {
    let (train, test) = sides();
    LinearEval::new(params, &outputs_of(&train), &outputs_of(&test), vec![]).unwrap()
}

fn go(folder: &Path, stage: &LinearEval, progress: &dyn Progress, cancel: &AtomicBool) -> Result<(), StageError> {
    let (train, test) = sides();
    let plan = Plan::new(vec![Box::new(train), Box::new(test), Box::new(stage.clone())]).unwrap();
    let store = Store::open(folder).unwrap();
    engine::run(&plan, &store, &RunOptions { cancel, progress, max_skip_frac: 0.0 }).map(|summary| {
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    })
}

fn path(folder: &Path, stage: &LinearEval, table: &str) -> std::path::PathBuf {
    let output = outputs_of(stage).into_iter().find(|t| t.table == table).unwrap();
    Store::open(folder).unwrap().part(&output, 0)
}

/// All that a stage writes, and the bytes of its parts.
fn run(params: LinearEvalParams) -> (Scores, Heads, Losses) {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(params);
    go(folder.path(), &stage, &Silent, &AtomicBool::new(false)).unwrap();
    let path = |table| path(folder.path(), &stage, table);
    let scores = read_part(&path("scores")).unwrap();
    (scores, read_part(&path("heads")).unwrap(), read_part(&path("losses")).unwrap())
}

fn row(scores: &Scores, subject: &str, metric: &str) -> usize {
    (0..scores.rows()).find(|&i| *scores.subject[i] == *subject && *scores.metric[i] == *metric).unwrap()
}

fn value(scores: &Scores, subject: &str, metric: &str) -> f64 {
    scores.value[row(scores, subject, metric)].unwrap()
}

/// Breaks when features, labels, classes of two datasets or heads are mixed up.
#[test]
fn a_planted_class_is_found() {
    let (scores, heads, losses) = run(params());
    for subject in ["chosen_on_test", "chosen_on_train"] {
        assert!(value(&scores, subject, "accuracy_frac") > 0.95);
        assert_eq!(value(&scores, subject, "top5_accuracy_frac"), 1.0);
        let i = row(&scores, subject, "accuracy_frac");
        let p = scores.value[i].unwrap();
        assert_eq!((scores.n[i], scores.stderr[i]), (101, Some((p * (1.0 - p) / 101.0).sqrt())));
        assert_eq!((&*scores.experiment[i], &*scores.site[i]), ("linear_eval", "final"));
    }
    let of_test = &scores.note[row(&scores, "chosen_on_test", "accuracy_frac")];
    assert!(
        of_test.contains("the best of 52 on the test images themselves") && of_test.contains("without"),
        "{of_test}"
    );
    let of_train = &scores.note[row(&scores, "chosen_on_train", "accuracy_frac")];
    assert!(of_train.contains("the held-out 10 % of the training images (30 vectors)"), "{of_train}");
    // The slowest head has hardly moved, the fastest has learned.
    let slow = value(&scores, "blocks1-lr0.00001", "accuracy_frac");
    assert!(slow < value(&scores, "blocks1-lr0.1", "accuracy_frac"), "{slow}");
    assert!(value(&scores, "blocks1-lr0.1", "held_out_accuracy_frac") > 0.9);

    // A hundred rows at most, of rates that go down a cosine to nothing, and losses that fall.
    let of: Vec<usize> = (0..losses.rows()).filter(|i| *losses.head[*i] == *"blocks4-avgpool-lr0.1").collect();
    assert_eq!((of.len(), losses.step[of[0]], losses.step[of[59]]), (60, 2, 120));
    assert!(losses.loss[of[59]] < 0.2 * losses.loss[of[0]]);
    let half_way = losses.learning_rate[of[29]];
    let exact = 0.1 * 64.0 / 256.0 * 0.5 * (1.0 + (std::f64::consts::PI * 59.0 / 120.0).cos());
    assert!((half_way - exact).abs() < 1e-12);

    // The kept head classifies by itself: W·x + b of its rows.
    let i = (0..heads.rows()).find(|&i| *heads.tensor[i] == *"weight").unwrap();
    let dim = heads.values[i].len() / 4;
    assert_eq!(*heads.shape[i], *format!("4x{dim}"));
    assert!(dim.is_multiple_of(WIDTH) && *heads.tensor[i + 1] == *"bias" && heads.values[i + 1].len() == 4);
    assert_eq!(heads.values[i + 2], [0.0, 1.0, 2.0, 3.0]);
}

/// Breaks when a control is none: four classes, so chance is a quarter. The best of 52 on the test images themselves is
/// above it, which is what choosing there does.
#[test]
fn permuted_labels_are_at_chance_and_say_so() {
    let (scores, ..) = run(LinearEvalParams { permute_labels: Some(0), ..params() });
    let chosen = value(&scores, "chosen_on_train", "accuracy_frac");
    assert!(chosen < 0.45, "{chosen}");
    assert!(scores.note.iter().all(|n| n.starts_with("control: ")));
}

/// Breaks when the heads of both numbers are not those of all images, or the choice not that of the rest.
#[test]
fn trained_twice_the_numbers_are_of_heads_that_saw_all_images() {
    let twice = LinearEvalParams { training: Training::Twice, ..params() };
    let (scores, _, losses) = run(twice.clone());
    let (once, ..) = run(params());
    let (all, ..) = run(LinearEvalParams { hold_out_frac: 0.0, ..params() });
    for i in (0..scores.rows()).filter(|i| !scores.subject[*i].starts_with("chosen")) {
        let (subject, metric) = (&scores.subject[i], &scores.metric[i]);
        // The choice is by the heads of the rest, the number by those of all.
        let same_as = if metric.starts_with("held_out") { &once } else { &all };
        assert_eq!(scores.value[i], same_as.value[row(same_as, subject, metric)], "{subject} {metric}");
    }
    assert_eq!(all.value[row(&all, "chosen_on_train", "accuracy_frac")], None);
    let names = losses.head.iter().filter(|h| h.starts_with("rest/")).count();
    assert_eq!((names, losses.rows()), (52 * 60, 2 * 52 * 60));
    assert!(scores.note[row(&scores, "chosen_on_train", "accuracy_frac")].ends_with("trained again with them"));
}

/// Breaks when heads learn from whole images although there are views, or are chosen on views although there are whole
/// images: 30 of 300 images are held out, of three views each.
#[test]
fn heads_learn_from_views_and_are_chosen_on_whole_images() {
    let (train, test) = sides();
    let views = Planted { views: 3, ..train.clone() };
    let both = [outputs_of(&views), outputs_of(&train)].concat();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let scores = |tables: &[TableRef]| -> Scores {
        let stage = LinearEval::new(params(), tables, &outputs_of(&test), vec![]).unwrap();
        let output = outputs_of(&stage);
        let stages: [Box<dyn Stage>; 4] =
            [Box::new(views.clone()), Box::new(train.clone()), Box::new(test.clone()), Box::new(stage)];
        let options = RunOptions { cancel: &AtomicBool::new(false), progress: &Silent, max_skip_frac: 0.0 };
        engine::run(&Plan::new(stages.into()).unwrap(), &store, &options).unwrap();
        read_part(&store.part(&output[0], 0)).unwrap()
    };
    let (of_both, of_views, of_whole) = (scores(&both), scores(&both[..2]), scores(&both[2..]));
    let note = |of: &Scores| of.note[row(of, "chosen_on_train", "accuracy_frac")].to_string();
    assert!(note(&of_both).contains("(30 vectors)") && !note(&of_both).contains("augmented"), "{}", note(&of_both));
    assert!(note(&of_views).contains("(90 vectors)") && note(&of_views).contains("augmented"), "{}", note(&of_views));
    let slow = |of: &Scores| value(of, "blocks4-lr0.0005", "accuracy_frac");
    assert_eq!(slow(&of_both), slow(&of_views), "both learn from views");
    assert!(value(&of_both, "chosen_on_train", "accuracy_frac") > 0.95);
    let held_out = |of: &Scores| of.n[row(of, "blocks4-lr0.1", "held_out_accuracy_frac")];
    assert_eq!([held_out(&of_both), held_out(&of_views), held_out(&of_whole)], [30, 90, 30]);
}

/// Stops after some step.
struct StopAt<'a> {
    step: u64,
    cancel: &'a AtomicBool,
}

impl Progress for StopAt<'_> {
    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::Items { done } if *done == self.step) {
            self.cancel.store(true, Ordering::Relaxed);
        }
    }
}

/// Breaks when anything but the rows decides the bytes: stopped at any step and begun again, on one thread and on
/// three, with all samples in memory or streamed.
#[test]
fn parts_are_the_same_bytes_whatever_happens_on_the_way() {
    for (training, shuffle_samples) in [(Training::Once, 1000), (Training::Once, 40), (Training::Twice, 1000)] {
        let stage = stage(LinearEvalParams { training, shuffle_samples, length: Length::Steps(23), ..params() });
        let bytes = |folder: &Path| -> Vec<Vec<u8>> {
            ["scores", "heads", "losses"].map(|t| std::fs::read(path(folder, &stage, t)).unwrap()).into()
        };
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let straight = |threads| {
            let folder = tempfile::tempdir().unwrap();
            pool(threads).install(|| go(folder.path(), &stage, &Silent, &AtomicBool::new(false))).unwrap();
            bytes(folder.path())
        };
        let whole = straight(1);
        assert_eq!(whole, straight(3), "threads decide");
        let folder = tempfile::tempdir().unwrap();
        let kept = path(folder.path(), &stage, "scores").with_extension("kept");
        let last = if training == Training::Twice { vec![24, 46] } else { vec![] };
        for step in [1, 2, 9, 22, 23].into_iter().chain(last) {
            let cancel = AtomicBool::new(false);
            let stopped = go(folder.path(), &stage, &StopAt { step, cancel: &cancel }, &cancel);
            assert_eq!(stopped.unwrap_err().kind, ErrorKind::Interrupted, "at {step}");
            assert!(kept.exists());
            cancel.store(false, Ordering::Relaxed);
        }
        pool(2).install(|| go(folder.path(), &stage, &Silent, &AtomicBool::new(false))).unwrap();
        assert_eq!(whole, bytes(folder.path()), "interruptions decide");
        assert!(!kept.exists());

        // A state that is damaged is as none.
        let folder = tempfile::tempdir().unwrap();
        let cancel = AtomicBool::new(false);
        go(folder.path(), &stage, &StopAt { step: 9, cancel: &cancel }, &cancel).unwrap_err();
        let kept = path(folder.path(), &stage, "scores").with_extension("kept");
        let mut state = std::fs::read(&kept).unwrap();
        let middle = state.len() / 2;
        state[middle] ^= 1;
        std::fs::write(&kept, state).unwrap();
        go(folder.path(), &stage, &Silent, &AtomicBool::new(false)).unwrap();
        assert_eq!(whole, bytes(folder.path()), "a damaged state decides");
    }
}

/// What was told of steps: totals, where it goes on, and each step done.
#[derive(Default)]
struct Told(std::sync::Mutex<(Vec<u64>, Vec<u64>, Vec<u64>)>);

impl Progress for Told {
    fn event(&self, event: &Event<'_>) {
        let mut told = self.0.lock().unwrap();
        match event {
            Event::Total { items } => told.0.push(*items),
            Event::Resumed { done } => told.1.push(*done),
            Event::Items { done } => told.2.push(*done),
            _ => {}
        }
    }
}

/// Breaks when a resumed training does the steps of before again, or does not say that it was resumed: after a stop at
/// step 9 the next one told is 10.
#[test]
fn a_resumed_training_goes_on_where_it_stopped() {
    let (folder, cancel) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    let stage = stage(LinearEvalParams { length: Length::Steps(12), ..params() });
    go(folder.path(), &stage, &StopAt { step: 9, cancel: &cancel }, &cancel).unwrap_err();
    let told = Told::default();
    go(folder.path(), &stage, &told, &AtomicBool::new(false)).unwrap();
    // Planting tells no steps.
    assert_eq!(*told.0.lock().unwrap(), (vec![12], vec![9], vec![10, 11, 12]));
    let ledger = std::fs::read_to_string(folder.path().join("ledger.jsonl")).unwrap();
    assert!(ledger.contains("goes on from step 9"), "{ledger}");
}

/// 300 labelled images, of which 30 are held out; 3 epochs of batches of 64 are 15 steps of all and 13 of the rest. Breaks
/// when test images or held-out ones are planned as steps, or the last step told is not the total.
#[test]
fn the_plan_has_the_steps_that_are_done() {
    for (training, steps) in [(Training::Once, 13), (Training::Twice, 28)] {
        let stage = stage(LinearEvalParams { length: Length::Epochs(3), training, ..params() });
        let sizes = Sizes::from([("images", 401), ("pooled", 8 * 401)]);
        assert_eq!(stage.clone().taught(300, 1).estimate(&sizes).items, steps);
        // Five vectors of each image: whole batches of all of them.
        assert_eq!(stage.clone().taught(300, 5).estimate(&sizes).items, if steps == 13 { 64 } else { 64 + 71 });
        let (folder, told) = (tempfile::tempdir().unwrap(), Told::default());
        go(folder.path(), &stage, &told, &AtomicBool::new(false)).unwrap();
        let told = told.0.lock().unwrap();
        assert_eq!((told.0.as_slice(), told.1.len(), told.2.last()), (&[steps][..], 0, Some(&steps)));
    }
}

/// 211 steps of 64 vectors of a ViT-S, ten classes, two threads with AVX-512: 0.48 to 0.72 s. Breaks when a plan of a small
/// evaluation is wrong by more than a factor of two.
#[test]
fn a_small_evaluation_is_planned_within_a_factor_of_two() {
    let stage = stage(LinearEvalParams { length: Length::Epochs(50), ..params() }).sized(384, 10, 2).taught(300, 1);
    let estimate = stage.estimate(&Sizes::new());
    assert_eq!(estimate.items, 211);
    assert!((0.36..0.96).contains(&estimate.secs), "{}", estimate.secs);
}

#[test]
fn stages_that_cannot_run_are_refused() {
    let (train, test) = sides();
    let (train, test) = (outputs_of(&train), outputs_of(&test));
    let make = |train: &[TableRef], test: &[TableRef]| LinearEval::new(params(), train, test, vec![]).map(|_| ());
    assert_eq!(make(&train, &test), Ok(()));
    assert_eq!(make(&train[1..], &test), Err(LinearEvalError::Table { run: "training", table: "images" }));
    assert_eq!(make(&train[..1], &test), Err(LinearEvalError::Table { run: "training", table: "pooled" }));
    assert_eq!(make(&train, &test[..1]), Err(LinearEvalError::Table { run: "test", table: "pooled" }));
    let wrong = LinearEvalParams { batch: 0, ..params() };
    assert!(LinearEval::new(wrong, &train, &test, vec![]).is_err());
}

/// Breaks when memory grows with the training set: ten times the images need the table of their classes alone.
#[test]
fn memory_is_flat_in_the_number_of_images() {
    let stage = stage(params()).sized(768, 1000, 2);
    let bytes = |images: u64| stage.estimate(&Sizes::from([("images", images), ("pooled", 8 * images)])).host_bytes;
    assert_eq!(bytes(10_000_000) - bytes(1_000_000), 64 * 9_000_000);
}

#[test]
fn a_parameter_that_changes_a_number_changes_the_run() {
    let of = |params| engine::stage::fingerprint(&stage(params));
    assert_eq!(of(params()), of(params()));
    for other in [
        LinearEvalParams { seed: 1, ..params() },
        LinearEvalParams { shuffle_samples: 999, ..params() },
        LinearEvalParams { training: Training::Twice, ..params() },
        LinearEvalParams { permute_labels: Some(0), ..params() },
    ] {
        assert_ne!(of(params()), of(other));
    }
    let mut json = serde_json::to_value(params()).unwrap();
    assert_eq!(serde_json::from_value::<LinearEvalParams>(json.clone()).unwrap(), params());
    json["epochs"] = 1.into();
    assert!(serde_json::from_value::<LinearEvalParams>(json).is_err());
}
