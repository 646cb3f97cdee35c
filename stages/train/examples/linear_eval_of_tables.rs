//! The linear evaluation on vectors that lie in a store, or on made-up ones; prints the scores and the time as JSON.
//!
//! ```text
//! cargo run --release -p train --example linear_eval_of_tables -- store STORE MODEL TRAIN TEST STEPS SITE,SITE,…
//! cargo run --release -p train --example linear_eval_of_tables -- random TRAIN TEST WIDTH CLASSES STEPS FOLDER
//! ```
//!
//! The second writes its vectors under FOLDER, where `benches/peers/linear_eval_torch.py FOLDER` finds the same ones.
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use engine::{
    Estimate, Plan, RunOptions, Shard, ShardIo, ShardReport, Silent, Sizes, Stage, StageError, Store, TableSpec,
    outputs_of,
};
use schemas::tables::{Images, Pooled, Scores};
use schemas::{Canonical, Meaning, Table, read_part, read_part_batches};
use serde::Serialize;
use train::linear_eval::{Length, LinearEval, LinearEvalParams};

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
                let mut unit = uniform(*seed);
                let mut centre = uniform(0);
                let centres: Vec<f32> = (0..*classes as usize * width).map(|_| centre()).collect();
                for image in 0..*rows {
                    let class = (image % classes) as usize;
                    images.write(&mut one_image(image, class as i32))?;
                    let mut rows = Pooled::default();
                    for (block, site) in SITES.into_iter().enumerate() {
                        for pool in ["cls", "mean_patch"] {
                            rows.image.push(image);
                            rows.site.push(site.into());
                            rows.pool.push(pool.into());
                            let near = &centres[class * width..(class + 1) * width];
                            let clear = 0.1 * block as f32;
                            rows.vector.push(&near.iter().map(|c| 2.0 * (clear * c + unit())).collect::<Vec<_>>());
                        }
                    }
                    pooled.write(&mut rows)?;
                }
            }
        }
        io.finish(images)?;
        io.finish(pooled)?;
        Ok(ShardReport { items: 1, skipped: 0 })
    }
}

const SITES: [&str; 4] = ["block_8+norm", "block_9+norm", "block_10+norm", "final"];

/// Uniform in [-0.5, 0.5): the upper bits of a linear congruential generator.
fn uniform(seed: u32) -> impl FnMut() -> f32 {
    let mut state = u64::from(seed) << 32 | 0x5851_f42d;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
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
    let sites = |names: &str| names.split(',').map(str::to_owned).collect::<Vec<_>>();
    let (train, test, steps, sites, folder) = match words[..] {
        ["store", store, model, train, test, steps, names] => {
            let of = |dataset| -> Result<Vectors, Box<dyn Error>> {
                let of = |table| parts(store, table, model, dataset);
                Ok(Vectors::Parts { images: of("images")?, pooled: of("pooled")? })
            };
            (of(train)?, of(test)?, steps, sites(names), held.path().to_owned())
        }
        ["random", train, test, width, classes, steps, folder] => {
            let (width, classes) = (width.parse()?, classes.parse()?);
            let of = |seed, rows| Vectors::Random { seed, rows, width, classes };
            (of(1, train.parse()?), of(2, test.parse()?), steps, SITES.map(str::to_owned).into(), PathBuf::from(folder))
        }
        _ => {
            return Err(
                "store STORE MODEL TRAIN TEST STEPS SITES, or random TRAIN TEST WIDTH CLASSES STEPS FOLDER".into()
            );
        }
    };
    let store = Store::open(&folder)?;
    let params = LinearEvalParams { length: Length::Steps(steps.parse()?), ..LinearEvalParams::dinov2(sites) };
    let stage = LinearEval::new(params, &outputs_of(&train), &outputs_of(&test), vec![])?;
    let output = outputs_of(&stage);
    let cancel = AtomicBool::new(false);
    let options = RunOptions { cancel: &cancel, progress: &Silent, max_skip_frac: 0.0 };
    let of: Vec<String> = [&train, &test].iter().map(|s| engine::stage::fingerprint(*s).to_string()).collect();
    engine::run(&Plan::new(vec![Box::new(train.clone()), Box::new(test.clone())])?, &store, &options)?;
    let plan = Plan::new(vec![Box::new(train), Box::new(test), Box::new(stage)])?;
    let started = Instant::now();
    engine::run(&plan, &store, &options)?;
    let secs = started.elapsed().as_secs_f64();
    let scores: Scores = read_part(&store.part(&output[0], 0))?;
    let rows = (0..scores.rows()).map(|i| {
        (format!("{} {}", scores.subject[i], scores.metric[i]), (scores.value[i], scores.note[i].to_string()))
    });
    let rows: std::collections::BTreeMap<String, (Option<f64>, String)> = rows.collect();
    println!("{}", serde_json::json!({ "secs": secs, "train": of[0], "test": of[1], "scores": rows }));
    Ok(())
}
