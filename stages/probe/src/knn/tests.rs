//! Neighbours against PyTorch's and scikit-learn's, from tables on disk through the engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicBool;

use engine::{Estimate, Plan, RunOptions, Shard, ShardReport, Silent, Sizes, Stage, Store, TableSpec, outputs_of};
use schemas::tables::{Images, Scores};
use schemas::{Canonical, Meaning, read_part};

use super::*;
use crate::{Experiment, ProbeStage};

/// `tests/golden/knn/generate.py`: vectors, labels, and how many test images `DINOv2`'s rule classifies well.
#[derive(Deserialize)]
struct Golden {
    train: Vec<Vec<f32>>,
    train_labels: Vec<i32>,
    test: Vec<Vec<f32>>,
    test_labels: Vec<i32>,
    full: BTreeMap<u32, (u64, u64)>,
    few: BTreeMap<u32, Vec<Try>>,
}

#[derive(Deserialize)]
struct Try {
    picked: Vec<usize>,
    hits: BTreeMap<u32, (u64, u64)>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../../tests/golden/knn/expected.json")).unwrap()
}

/// Stands for an extraction of one side, or of both in one dataset.
#[derive(Serialize, Clone)]
struct Vectors {
    rows: Vec<Vec<f32>>,
    labels: Vec<i32>,
}

impl Meaning for Vectors {}

impl Stage for Vectors {
    fn name(&self) -> &'static str {
        "plant"
    }
    fn version(&self) -> u32 {
        1
    }
    fn inputs(&self) -> Vec<engine::TableRef> {
        vec![]
    }
    fn outputs(&self) -> Vec<TableSpec> {
        ["images", "pooled"].map(|table| TableSpec { table, partition: vec![] }).into()
    }
    fn meaning(&self) -> Canonical {
        Canonical::of(self)
    }
    fn estimate(&self, _: &Sizes) -> Estimate {
        Estimate { items: self.rows.len() as u64, items_per_shard: 130, ..Estimate::default() }
    }
    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let (mut images, mut pooled) = (Images::default(), Pooled::default());
        for i in shard.items.clone() {
            images.image.push(i as u32);
            images.name.push(format!("{i}").into());
            images.label.push(Some(self.labels[i as usize]));
            images.class.push(None);
            images.width_px.push(1);
            images.height_px.push(1);
            images.grid_h.push(1);
            images.grid_w.push(1);
            // A site that nobody asks for, and a pool that says nothing.
            for (site, pool) in [("block_0", "cls"), ("final", "cls"), ("final", "mean_patch")] {
                pooled.image.push(i as u32);
                pooled.site.push(site.into());
                pooled.pool.push(pool.into());
                let row = &self.rows[i as usize];
                let blank = vec![1.0; row.len()];
                pooled.vector.push(if (site, pool) == ("final", "cls") { row } else { &blank });
            }
        }
        io.write(images)?;
        io.write(pooled)?;
        Ok(ShardReport { items: shard.items.end - shard.items.start, skipped: 0 })
    }
}

fn sides() -> (Golden, Vectors, Vectors) {
    let golden = golden();
    let train = Vectors { rows: golden.train.clone(), labels: golden.train_labels.clone() };
    let test = Vectors { rows: golden.test.clone(), labels: golden.test_labels.clone() };
    (golden, train, test)
}

fn scores(knn: Knn, train: Vectors, test: Option<Vectors>) -> Scores {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let tested = test.as_ref().map(|t| outputs_of(t));
    let probe = ProbeStage::new(Experiment::Knn(knn), &outputs_of(&train), tested.as_deref(), vec![]).unwrap();
    let output = outputs_of(&probe);
    let mut stages: Vec<Box<dyn Stage>> = vec![Box::new(train)];
    stages.extend(test.map(|t| Box::new(t) as Box<dyn Stage>));
    stages.push(Box::new(probe));
    let cancel = AtomicBool::new(false);
    let options = RunOptions { cancel: &cancel, progress: &Silent, max_skip_frac: 0.0 };
    engine::run(&Plan::new(stages).unwrap(), &store, &options).unwrap();
    read_part(&store.part(&output[0], 0)).unwrap()
}

fn row(scores: &Scores, subject: &str, metric: &str) -> usize {
    (0..scores.rows()).find(|&i| *scores.subject[i] == *subject && *scores.metric[i] == *metric).unwrap()
}

fn published() -> Knn {
    Knn { k: vec![200, 1, 10, 20, 100], ..Knn::dinov2("final", Split::Datasets) }
}

/// Breaks when a neighbour, a weight, a vote or a draw differs from `DINOv2`'s.
#[test]
fn counts_are_those_of_pytorch_and_scikit_learn() {
    let (golden, train, test) = sides();
    let n = golden.test.len() as f64;
    let found = scores(Knn { n_per_class: vec![1, 5, 12], tries: 3, ..published() }, train, Some(test));
    for (k, (first, five)) in &golden.full {
        for (metric, count) in [("accuracy_frac", first), ("top5_accuracy_frac", five)] {
            let i = row(&found, "cls", &format!("{metric}_k{k}"));
            assert_eq!(found.value[i], Some(*count as f64 / n), "{metric} at k {k}");
            assert_eq!((found.n[i], found.std[i], found.draws[i]), (90, None, 1));
        }
    }
    let best = golden.full.values().map(|h| h.0).max().unwrap() as f64 / n;
    let i = row(&found, "cls", "accuracy_frac");
    assert_eq!(found.value[i], Some(best));
    assert_eq!(found.stderr[i], Some((best * (1.0 - best) / n).sqrt()));
    assert!(found.note[i].contains("the best of 1, 10, 20, 100, 200 on the test images"), "{}", found.note[i]);
    for (shots, tries) in &golden.few {
        for k in tries[0].hits.keys() {
            let shares: Vec<f64> = tries.iter().map(|t| t.hits[k].0 as f64 / n).collect();
            let i = row(&found, &format!("cls_{shots}_per_class"), &format!("accuracy_frac_k{k}"));
            assert_eq!((found.value[i], found.std[i]), (mean(&shares), sample_std(&shares)), "{shots} shots, k {k}");
            assert_eq!(found.draws[i], 3);
        }
    }
}

#[test]
fn few_shots_are_torchs() {
    let golden = golden();
    let labels: Vec<u32> = golden.train_labels.iter().map(|l| *l as u32).collect();
    for (shots, tries) in &golden.few {
        for (seed, one) in tries.iter().enumerate() {
            let members = task::few(&labels, *shots as usize, seed as u32);
            let picked: Vec<usize> = (0..labels.len()).filter(|&i| members[i]).collect();
            assert_eq!(picked, one.picked);
        }
    }
}

/// One dataset in dataset order, the first share of which teaches: the same numbers as of two datasets.
#[test]
fn one_dataset_may_hold_both_sides() {
    let (golden, mut both, test) = sides();
    both.rows.extend(test.rows);
    both.labels.extend(test.labels);
    let split = Split::First { train_frac: 320.5 / 410.0 };
    let found = scores(Knn { split, ..published() }, both, None);
    let i = row(&found, "cls", "accuracy_frac_k20");
    assert_eq!(found.value[i], Some(golden.full[&20].0 as f64 / 90.0));
    assert_eq!(found.images_without[i], 0);
}

/// Breaks when a control is not one: seven classes, so chance is near a seventh.
#[test]
fn permuted_labels_are_at_chance_and_say_so() {
    let (_, train, test) = sides();
    let found = scores(Knn { permute_labels: Some(0), ..published() }, train, Some(test));
    let i = row(&found, "cls", "accuracy_frac");
    assert!(found.value[i].unwrap() < 0.35, "{:?}", found.value[i]);
    assert!(found.note[i].starts_with("control"), "{}", found.note[i]);
}

#[test]
fn a_pool_without_signal_is_at_chance_and_a_k_beyond_the_bank_is_no_number() {
    let (golden, train, test) = sides();
    let k = vec![20, 1000];
    let found = scores(Knn { subjects: vec![], k, ..published() }, train, Some(test));
    // Every similarity is 1: the first twenty images vote, for one class.
    let blank = found.value[row(&found, "mean_patch", "accuracy_frac_k20")].unwrap();
    assert!(blank < 0.35, "{blank}");
    let i = row(&found, "cls", "accuracy_frac_k1000");
    assert!(found.value[i].is_none() && found.note[i].contains("320 images"), "{}", found.note[i]);
    assert_eq!(found.value[row(&found, "cls", "accuracy_frac")], Some(golden.full[&20].0 as f64 / 90.0));
}

/// Breaks when memory grows with the training set: 65,536 queries are the most that are held.
#[test]
fn memory_is_flat_in_the_number_of_images() {
    let knn = Knn::dinov2("final", Split::Datasets);
    let [small, large] = [100_000, 10_000_000].map(|images| knn.host_bytes(images, 768) - images * 64);
    assert_eq!(small, large);
    assert!(knn.host_bytes(1_331_167, 1536) < 2 << 30);
}

#[test]
fn parameters_out_of_range_are_refused() {
    for wrong in [
        Knn { k: vec![], ..published() },
        Knn { k: vec![0], ..published() },
        Knn { temperature: 0.0, ..published() },
        Knn { n_per_class: vec![0], ..published() },
        Knn { tries: 0, ..published() },
    ] {
        assert!(matches!(wrong.check(), Err(ProbeError::Range { .. })), "{wrong:?}");
    }
}
