//! k-NN on vectors that lie in a store, or on made-up ones; prints the scores and the time as JSON.
//!
//! ```text
//! cargo run --release -p probe --example knn_of_tables -- store STORE MODEL TRAIN TEST SITE
//! cargo run --release -p probe --example knn_of_tables -- random TRAIN TEST WIDTH CLASSES FOLDER
//! ```
//!
//! The second writes its vectors under FOLDER, where `benches/peers/knn_torch.py FOLDER` finds the same ones.
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use engine::{
    Estimate, Plan, RunOptions, Shard, ShardIo, ShardReport, Silent, Sizes, Stage, StageError, Store, TableSpec,
    outputs_of,
};
use probe::numpy_random::RandomState;
use probe::{Experiment, Knn, ProbeStage, Split};
use schemas::tables::{Images, Pooled, Scores};
use schemas::{Canonical, Meaning, Table, read_part, read_part_batches};
use serde::Serialize;

/// Puts vectors into a store of our own.
#[derive(Serialize, Clone)]
enum Vectors {
    /// Copied from finished parts.
    Parts { images: Vec<PathBuf>, pooled: Vec<PathBuf> },
    /// Around a centre for each class.
    Random { seed: u32, rows: u32, width: usize, classes: u32 },
}

impl Meaning for Vectors {}

impl Stage for Vectors {
    fn name(&self) -> &'static str {
        "vectors"
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
        Estimate { items: 1, ..Estimate::default() }
    }
    fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let (mut images, mut pooled) = (io.create::<Images>()?, io.create::<Pooled>()?);
        match self {
            Self::Parts { images: from, pooled: vectors } => {
                for part in from {
                    images.write(&mut read_part(part)?)?;
                }
                for part in vectors {
                    for batch in read_part_batches::<Pooled>(part)? {
                        pooled.write(&mut batch?)?;
                    }
                }
            }
            Self::Random { seed, rows, width, classes } => {
                let mut words = RandomState::new(*seed);
                let mut unit = move || words.next_u32() as f32 / u32::MAX as f32 - 0.5;
                let mut centres = RandomState::new(12);
                let centres: Vec<f32> =
                    (0..*classes as usize * width).map(|_| centres.next_u32() as f32 / u32::MAX as f32 - 0.5).collect();
                for image in 0..*rows {
                    let class = (image % classes) as usize;
                    images.write(&mut one_image(image, class as i32))?;
                    let mut rows = Pooled::default();
                    rows.image.push(image);
                    rows.site.push("final".into());
                    rows.pool.push("cls".into());
                    let near = &centres[class * width..(class + 1) * width];
                    rows.vector.push(&near.iter().map(|c| 0.3 * c + unit()).collect::<Vec<_>>());
                    pooled.write(&mut rows)?;
                }
            }
        }
        io.finish(images)?;
        io.finish(pooled)?;
        Ok(ShardReport { items: 1, skipped: 0 })
    }
}

fn one_image(image: u32, label: i32) -> Images {
    Images {
        image: vec![image],
        name: vec![image.to_string().into()],
        label: vec![Some(label)],
        class: vec![None],
        width_px: vec![1],
        height_px: vec![1],
        grid_h: vec![1],
        grid_w: vec![1],
    }
}

/// Finished parts of a table of a model and a dataset.
fn parts(store: &str, table: &str, model: &str, dataset: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let folder = Path::new(store).join(table).join(format!("model={model}")).join(format!("dataset={dataset}"));
    let run = std::fs::read_dir(&folder)?.next().ok_or("no run")??.path();
    Ok(engine::store::finished_parts(&run)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let held = tempfile::tempdir()?;
    let (train, test, site, folder) = match words[..] {
        ["store", store, model, train, test, site] => {
            let of = |dataset| -> Result<Vectors, Box<dyn Error>> {
                let of = |table| parts(store, table, model, dataset);
                Ok(Vectors::Parts { images: of("images")?, pooled: of("pooled")? })
            };
            (of(train)?, of(test)?, site, held.path().to_owned())
        }
        ["random", train, test, width, classes, folder] => {
            let (width, classes) = (width.parse()?, classes.parse()?);
            let of = |seed, rows| Vectors::Random { seed, rows, width, classes };
            (of(1, train.parse()?), of(2, test.parse()?), "final", PathBuf::from(folder))
        }
        _ => return Err("store STORE MODEL TRAIN TEST SITE, or random TRAIN TEST WIDTH CLASSES FOLDER".into()),
    };
    let store = Store::open(&folder)?;
    let knn = Experiment::Knn(Knn::dinov2(site, Split::Datasets));
    let probe = ProbeStage::new(knn, &outputs_of(&train), Some(&outputs_of(&test)), vec![])?;
    let output = outputs_of(&probe);
    let cancel = AtomicBool::new(false);
    let options = RunOptions { cancel: &cancel, progress: &Silent, max_skip_frac: 0.0 };
    let of: Vec<String> = [&train, &test].iter().map(|s| engine::stage::fingerprint(*s).to_string()).collect();
    engine::run(&Plan::new(vec![Box::new(train.clone()), Box::new(test.clone())])?, &store, &options)?;
    let plan = Plan::new(vec![Box::new(train), Box::new(test), Box::new(probe)])?;
    let started = Instant::now();
    engine::run(&plan, &store, &options)?;
    let secs = started.elapsed().as_secs_f64();
    let scores: Scores = read_part(&store.part(&output[0], 0))?;
    let rows = (0..scores.rows()).map(|i| (format!("{} {}", scores.subject[i], scores.metric[i]), scores.value[i]));
    let rows: std::collections::BTreeMap<String, Option<f64>> = rows.collect();
    println!("{}", serde_json::json!({ "secs": secs, "train": of[0], "test": of[1], "scores": rows }));
    Ok(())
}
