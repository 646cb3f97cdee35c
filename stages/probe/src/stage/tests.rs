//! The four experiments from tables on disk to scores on disk, through the engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicBool;

use engine::{Plan, RunOptions, Silent, Store, outputs_of};
use schemas::tables::{Images, Pooled, TokenPixels, TokenVectors};
use schemas::{Meaning, read_part};

use super::*;
use crate::classify::Protocol;
use crate::logistic::LogisticParams;
use crate::numpy_random::RandomState;
use crate::position::PositionModel;

/// Stands for an extraction: 120 images of 4 classes on a 3×3 grid, in two shards. CLS and outliers hold the class;
/// normal patches hold their place and their pixels.
#[derive(Serialize)]
struct Planted {
    shuffle: u32,
    /// Number of the class that is called `class 0`; two datasets need not agree.
    first_label: i32,
}

impl Meaning for Planted {}

fn planted(shuffle: u32) -> Planted {
    Planted { shuffle, first_label: 0 }
}

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
        ["images", "token_vectors", "token_pixels", "pooled"]
            .map(|table| TableSpec { table, partition: vec![("model", "m".into())] })
            .into()
    }
    fn meaning(&self) -> Canonical {
        Canonical::of(self)
    }
    fn estimate(&self, _: &Sizes) -> Estimate {
        Estimate { items: 120, items_per_shard: 60, ..Estimate::default() }
    }
    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let mut words = RandomState::new(self.shuffle + shard.index);
        let mut noise = || 0.3 * (words.next_u32() as f32 / u32::MAX as f32 - 0.5);
        let (mut images, mut tokens) = (Images::default(), TokenVectors::default());
        let (mut pixels, mut pooled) = (TokenPixels::default(), Pooled::default());
        for image in shard.items.clone().map(|i| i as u32) {
            let class = image % 4;
            images.image.push(image);
            images.name.push(format!("{image}.png").into());
            images.label.push(Some((class as i32 + self.first_label) % 4));
            images.class.push(Some(format!("class {class}").into()));
            images.width_px.push(6);
            images.height_px.push(6);
            images.grid_h.push(3);
            images.grid_w.push(3);
            pooled.image.push(image);
            pooled.site.push("final".into());
            pooled.pool.push("cls".into());
            pooled.vector.push(&(0..4).map(|j| noise() + f32::from(u8::from(j == class))).collect::<Vec<_>>());
            for (kind, draws) in [("cls", 1), ("normal", 4), ("outlier", 4)] {
                for draw in 0..draws {
                    let place = ((image * 5 + draw) % 9) as u16;
                    let patch: Vec<f32> = (0..3).map(|_| noise()).collect();
                    // [class | row | column | pixels]
                    let mut vector: Vec<f32> = (0..13).map(|_| noise()).collect();
                    if kind == "normal" {
                        vector[4 + usize::from(place / 3)] += 1.0;
                        vector[7 + usize::from(place % 3)] += 1.0;
                        vector[10..].copy_from_slice(&patch);
                    } else {
                        vector[class as usize] += 1.0;
                    }
                    let cell = (kind != "cls").then_some((place / 3, place % 3));
                    tokens.image.push(image);
                    tokens.site.push("final".into());
                    tokens.kind.push(kind.into());
                    tokens.index.push(if kind == "cls" { 0 } else { place });
                    tokens.row.push(cell.map(|c| c.0));
                    tokens.col.push(cell.map(|c| c.1));
                    tokens.draw.push(draw as u16);
                    tokens.norm.push(1.0);
                    tokens.vector.push(&vector);
                    if kind != "cls" {
                        pixels.image.push(image);
                        pixels.kind.push(kind.into());
                        pixels.index.push(place);
                        pixels.draw.push(draw as u16);
                        pixels.pixels.push(&patch);
                    }
                }
            }
        }
        io.write(images)?;
        io.write(tokens)?;
        io.write(pixels)?;
        io.write(pooled)?;
        Ok(ShardReport { items: 60, skipped: 0 })
    }
}

fn class(split: Split) -> VectorClass {
    VectorClass { site: "final".into(), subjects: vec![], draws: None, protocol: Protocol::fixed_c(10.0, split) }
}

fn experiments() -> [Experiment; 5] {
    let split = Split::EveryNth { nth: 3 };
    let model = PositionModel::Softmax { c: 10.0, logistic: LogisticParams::default() };
    [
        Experiment::TokenClass(class(split)),
        Experiment::PooledClass(class(split)),
        Experiment::MultiLabel(class(split)),
        Experiment::Position(Position { site: "final".into(), subjects: vec![], separate: true, model, split }),
        Experiment::Pixels(Pixels { site: "final".into(), subjects: vec![], ridge: 0.0, split }),
    ]
}

/// Runs stages on a planted extraction (and a second one) and reads the scores of each.
fn scores(make: impl Fn(&[TableRef], &[TableRef]) -> Vec<ProbeStage>) -> Result<Vec<Scores>, StageError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (first, second) = (planted(0), Planted { shuffle: 100, first_label: 1 });
    let probes = make(&outputs_of(&first), &outputs_of(&second));
    let outputs: Vec<TableRef> = probes.iter().flat_map(|p| outputs_of(p)).collect();
    let mut stages: Vec<Box<dyn Stage>> = vec![Box::new(first), Box::new(second)];
    stages.extend(probes.into_iter().map(|p| Box::new(p) as Box<dyn Stage>));
    let plan = Plan::new(stages).unwrap();
    let cancel = AtomicBool::new(false);
    engine::run(&plan, &store, &RunOptions { cancel: &cancel, progress: &Silent, max_skip_frac: 0.0 })?;
    Ok(outputs.iter().map(|t| read_part(&store.part(t, 0)).unwrap()).collect())
}

fn get(scores: &Scores, subject: &str, metric: &str) -> f64 {
    let row = (0..scores.rows()).find(|&i| *scores.subject[i] == *subject && *scores.metric[i] == *metric);
    scores.value[row.unwrap()].unwrap()
}

#[test]
fn every_experiment_finds_what_was_planted() {
    let found = scores(|tables, _| {
        experiments().into_iter().map(|e| ProbeStage::new(e, tables, None, vec![]).unwrap()).collect()
    })
    .unwrap();
    let [token, pooled, multi, position, pixels] = &found[..] else { panic!("{} tables", found.len()) };
    assert!(get(token, "cls", "accuracy_frac") > 0.95 && get(token, "outlier", "accuracy_frac") > 0.95);
    assert!(get(token, "normal", "accuracy_frac") < 0.5);
    assert!(get(pooled, "cls", "accuracy_frac") > 0.95);
    // An image of one class is one with a single name.
    assert!(get(multi, "cls", "map_11pt_frac") > 0.95 && get(multi, "normal", "map_11pt_frac") < 0.6);
    assert!(get(position, "normal", "top1_frac") > 0.95 && get(position, "outlier", "top1_frac") < 0.3);
    assert!(get(pixels, "normal", "l2_mean") < 1e-4);
    assert!(get(pixels, "outlier", "l2_mean") > 0.9 * get(pixels, "outlier", "blind_l2_mean"));
    assert!(found.iter().all(|s| s.converged.iter().all(|&c| c)));
}

/// The two runs number the same classes otherwise: breaks when numbers are compared instead of names.
#[test]
fn a_test_run_is_another_table() {
    let found = scores(|train, test| {
        vec![ProbeStage::new(Experiment::TokenClass(class(Split::Datasets)), train, Some(test), vec![]).unwrap()]
    })
    .unwrap();
    assert!(get(&found[0], "cls", "accuracy_frac") > 0.95);
    assert_eq!(found[0].n[0], 120, "all of the test run and nothing of the training run");
}

/// Vectors held at once, held one fit at a time, and read again in every pass. Breaks when rows of a part are taken for
/// another token's, when two runs' parts are mixed up, or when memory changes a number.
#[test]
fn memory_changes_no_number() {
    // 240 images × 13 floats a fit; 0 as the largest small fit: all are streamed.
    let limits = [(u64::MAX, 0), (240 * 13 * 4, 0), (0, 0), (0, usize::MAX)];
    for experiment in [Experiment::TokenClass, Experiment::PooledClass] {
        let found = limits.map(|limits| {
            let make = |train: &[TableRef], test: &[TableRef]| {
                let stage = ProbeStage::new(experiment(class(Split::Datasets)), train, Some(test), vec![]).unwrap();
                vec![ProbeStage { limits, ..stage }]
            };
            scores(make).unwrap().remove(0)
        });
        let values = |scores: &Scores| scores.value.iter().map(|v| v.unwrap().to_bits()).collect::<Vec<_>>();
        assert!(found[0].metric.iter().any(|m| &**m == "gradient_rounding_norm"), "they were streamed");
        assert_eq!(values(&found[0]), values(&found[1]));
        assert_eq!(values(&found[0]), values(&found[2]));
        assert!(found[3].metric.iter().all(|m| &**m != "gradient_rounding_norm"), "small fits stay what they are");
        for metric in ["accuracy_frac", "macro_accuracy_frac"] {
            assert!((get(&found[0], "cls", metric) - get(&found[3], "cls", metric)).abs() < 1.5 / 120.0);
        }
        let objective = |scores| get(scores, "cls", "objective_sum");
        assert!((objective(&found[0]) / objective(&found[3]) - 1.0).abs() < 2e-5);
    }
}

#[test]
fn a_site_that_was_not_extracted_names_those_that_were() {
    let error = scores(|tables, _| {
        let experiment = VectorClass { site: "block_3".into(), ..class(Split::EveryNth { nth: 3 }) };
        vec![ProbeStage::new(Experiment::TokenClass(experiment), tables, None, vec![]).unwrap()]
    })
    .unwrap_err();
    assert!(error.what.contains("block_3") && error.what.contains("final"), "{error}");
}

#[test]
fn stages_that_cannot_run_are_refused() {
    let tables = outputs_of(&planted(0));
    let make = |experiment: Experiment, tables: &[TableRef], test| ProbeStage::new(experiment, tables, test, vec![]);
    let token = |split| Experiment::TokenClass(class(split));
    assert!(matches!(make(token(Split::Datasets), &tables, None), Err(ProbeError::Runs { .. })));
    assert!(matches!(make(token(Split::EveryNth { nth: 3 }), &tables, Some(&tables)), Err(ProbeError::Runs { .. })));
    assert!(matches!(make(token(Split::EveryNth { nth: 3 }), &tables[..1], None), Err(ProbeError::Table { .. })));
    let unknown = VectorClass { subjects: vec!["registers".into()], ..class(Split::EveryNth { nth: 3 }) };
    assert!(matches!(make(Experiment::TokenClass(unknown), &tables, None), Err(ProbeError::Kind { .. })));
}

#[test]
fn a_parameter_that_changes_a_number_changes_the_run() {
    let tables = outputs_of(&planted(0));
    let run = |e: Experiment| engine::stage::fingerprint(&ProbeStage::new(e, &tables, None, vec![]).unwrap());
    let token = || class(Split::EveryNth { nth: 3 });
    let base = run(Experiment::TokenClass(token()));
    let mut permuted = token();
    permuted.protocol.permute_labels = Some(0);
    let mut standardised = token();
    standardised.protocol = standardised.protocol.standardised();
    assert_eq!(base, run(Experiment::TokenClass(token())));
    for other in [permuted, standardised, VectorClass { draws: Some(1), ..token() }] {
        assert_ne!(base, run(Experiment::TokenClass(other)));
    }
}

#[test]
fn steps_are_told_apart_by_their_titles() {
    let tables = outputs_of(&planted(0));
    let titles = experiments().map(|e| ProbeStage::new(e, &tables, None, vec![]).unwrap().detail());
    assert_eq!(
        titles,
        ["token_class final", "pooled_class final", "multi_label final", "position final", "pixels final"]
    );
    let cls = VectorClass { subjects: vec!["cls".into()], ..class(Split::EveryNth { nth: 3 }) };
    let cls = ProbeStage::new(Experiment::TokenClass(cls), &tables, None, vec![]).unwrap();
    assert_eq!(cls.detail(), "token_class final cls");
    // Repeats of one probe have one name and learn from other datasets.
    let dataset = |name: &str| vec![("dataset", name.to_owned())];
    let tables: Vec<TableRef> =
        tables.into_iter().map(|t| TableRef { partition: dataset("cifar10-42"), ..t }).collect();
    let cls = Experiment::TokenClass(VectorClass { subjects: vec!["cls".into()], ..class(Split::EveryNth { nth: 3 }) });
    let repeat = ProbeStage::new(cls, &tables, None, dataset("cifar10")).unwrap();
    assert_eq!(repeat.detail(), "token_class final cls from cifar10-42");
}

/// 6,000 images of one CLS and two draws of two kinds: 5 tasks of 6,000 vectors.
#[test]
fn memory_grows_with_width_and_with_threads_that_have_a_task() {
    let tables = outputs_of(&planted(0));
    let sizes = Sizes::from([("images", 6_000), ("token_vectors", 30_000)]);
    let bytes = |width, threads| {
        let stage = ProbeStage::new(Experiment::TokenClass(class(Split::EveryNth { nth: 3 })), &tables, None, vec![]);
        stage.unwrap().sized(width, threads).estimate(&sizes).host_bytes
    };
    assert_eq!(bytes(768, 1), 30_000 * 768 * 4 + 6_000 * 768 * 24);
    assert_eq!(bytes(1536, 1), 2 * bytes(768, 1));
    assert_eq!(bytes(768, 2) - bytes(768, 1), 6_000 * 768 * 24);
    assert_eq!(bytes(768, 64), bytes(768, 5), "a thread without a task holds nothing");
}

#[test]
fn unknown_keys_are_refused() {
    for experiment in experiments() {
        let mut json = serde_json::to_value(&experiment).unwrap();
        assert_eq!(serde_json::from_value::<Experiment>(json.clone()).unwrap(), experiment);
        json.as_object_mut().unwrap().values_mut().next().unwrap()["sites"] = "final".into();
        assert!(serde_json::from_value::<Experiment>(json).is_err());
    }
}
