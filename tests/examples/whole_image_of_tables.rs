//! k-NN and the linear evaluation on vectors that lie in a store, or on made-up ones; prints the scores and the time as
//! JSON.
//!
//! ```text
//! cargo run --release -p acceptance --example whole_image_of_tables -- WHAT store STORE MODEL TRAIN TEST SITE,…
//! cargo run --release -p acceptance --example whole_image_of_tables -- WHAT random TRAIN TEST WIDTH CLASSES FOLDER
//! ```
//!
//! WHAT is `knn` or `heads:STEPS`. `random` writes its vectors under FOLDER, where `benches/peers/knn_torch.py` and
//! `benches/peers/linear_eval_torch.py` find the same ones.
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use engine::{
    Estimate, Plan, RunOptions, Shard, ShardIo, ShardReport, Silent, Sizes, Stage, StageError, Store, TableRef,
    TableSpec, outputs_of,
};
use probe::{Experiment, Knn, ProbeStage, Split};
use schemas::tables::{Images, Pooled, Scores};
use schemas::{Canonical, Meaning, Table, read_part, read_part_batches};
use serde::Serialize;
use train::linear_eval::{Length, LinearEval, LinearEvalParams};

const USAGE: &str =
    "(knn | heads:STEPS) (store STORE MODEL TRAIN TEST SITE,… | random TRAIN TEST WIDTH CLASSES FOLDER)";

/// Where a made-up vector lies, and how clear its class is there.
#[derive(Serialize, Clone)]
struct Place {
    site: String,
    pool: &'static str,
    clear: f32,
}

/// What an experiment reads: k-NN one vector an image, the 52 heads two pools of the last four blocks.
fn places(what: &str) -> Vec<Place> {
    let place = |site: &str, pool, clear| Place { site: site.to_owned(), pool, clear };
    if what == "knn" {
        return vec![place("final", "cls", 0.3)];
    }
    let blocks = ["block_8+norm", "block_9+norm", "block_10+norm", "final"].into_iter().zip([0.0, 0.1, 0.2, 0.3]);
    blocks.flat_map(|(site, clear)| ["cls", "mean_patch"].map(|pool| place(site, pool, clear))).collect()
}

/// Puts vectors into a store of our own.
#[derive(Serialize, Clone)]
enum Vectors {
    /// Copied from finished parts.
    Parts { images: Vec<PathBuf>, pooled: Vec<PathBuf> },
    /// Around a centre for each class: in each place one vector an image.
    Random { seed: u32, rows: u32, width: usize, classes: u32, places: Vec<Place> },
}

impl Meaning for Vectors {}

impl Stage for Vectors {
    fn name(&self) -> &'static str {
        "vectors"
    }
    fn version(&self) -> u32 {
        1
    }
    fn inputs(&self) -> Vec<TableRef> {
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
            Self::Random { seed, rows, width, classes, places } => {
                let (mut noise, mut centre) = (uniform(*seed), uniform(0));
                let centres: Vec<f32> = (0..*classes as usize * width).map(|_| centre()).collect();
                for image in 0..*rows {
                    let class = (image % classes) as usize;
                    images.write(&mut one_image(image, class as i32))?;
                    let centre = &centres[class * width..][..*width];
                    pooled.write(&mut around(image, centre, places, &mut noise))?;
                }
            }
        }
        io.finish(images)?;
        io.finish(pooled)?;
        Ok(ShardReport { items: 1, skipped: 0 })
    }
}

/// The vectors of an image.
fn around(image: u32, centre: &[f32], places: &[Place], noise: &mut impl FnMut() -> f32) -> Pooled {
    let mut rows = Pooled::default();
    for Place { site, pool, clear } in places {
        rows.image.push(image);
        rows.site.push(site.as_str().into());
        rows.pool.push((*pool).into());
        rows.vector.push(&centre.iter().map(|c| 2.0 * (clear * c + noise())).collect::<Vec<_>>());
    }
    rows
}

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

/// The experiment on both tables of vectors.
fn stage(what: &str, sites: &[String], train: &Vectors, test: &Vectors) -> Result<Box<dyn Stage>, Box<dyn Error>> {
    let (train, test) = (outputs_of(train), outputs_of(test));
    Ok(match what.split_once(':') {
        None if what == "knn" => {
            let site = sites.last().ok_or("no site")?;
            let knn = Experiment::Knn(Knn::dinov2(site, Split::Datasets));
            Box::new(ProbeStage::new(knn, &train, Some(&test), vec![])?)
        }
        Some(("heads", steps)) => {
            let length = Length::Steps(steps.parse()?);
            let params = LinearEvalParams { length, ..LinearEvalParams::dinov2(sites.to_vec()) };
            Box::new(LinearEval::new(params, &train, &test, vec![])?)
        }
        _ => return Err(USAGE.into()),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let held = tempfile::tempdir()?;
    let (what, train, test, sites, folder) = match words[..] {
        [what, "store", store, model, train, test, names] => {
            let of = |dataset| -> Result<Vectors, Box<dyn Error>> {
                let of = |table| parts(store, table, model, dataset);
                Ok(Vectors::Parts { images: of("images")?, pooled: of("pooled")? })
            };
            let sites: Vec<String> = names.split(',').map(str::to_owned).collect();
            (what, of(train)?, of(test)?, sites, held.path().to_owned())
        }
        [what, "random", train, test, width, classes, folder] => {
            let (places, width, classes) = (places(what), width.parse()?, classes.parse()?);
            let mut sites: Vec<String> = places.iter().map(|place| place.site.clone()).collect();
            sites.dedup();
            let of = |seed, rows| Vectors::Random { seed, rows, width, classes, places: places.clone() };
            (what, of(1, train.parse()?), of(2, test.parse()?), sites, PathBuf::from(folder))
        }
        _ => return Err(USAGE.into()),
    };
    let store = Store::open(&folder)?;
    let stage = stage(what, &sites, &train, &test)?;
    let output = outputs_of(stage.as_ref());
    let cancel = AtomicBool::new(false);
    let options = RunOptions { cancel: &cancel, progress: &Silent, max_skip_frac: 0.0 };
    let of: Vec<String> = [&train, &test].iter().map(|s| engine::stage::fingerprint(*s).to_string()).collect();
    engine::run(&Plan::new(vec![Box::new(train.clone()), Box::new(test.clone())])?, &store, &options)?;
    let plan = Plan::new(vec![Box::new(train), Box::new(test), stage])?;
    let started = Instant::now();
    engine::run(&plan, &store, &options)?;
    let secs = started.elapsed().as_secs_f64();
    let scores: Scores = read_part(&store.part(&output[0], 0))?;
    let rows = (0..scores.rows()).map(|i| (format!("{} {}", scores.subject[i], scores.metric[i]), scores.value[i]));
    let rows: BTreeMap<String, Option<f64>> = rows.collect();
    println!("{}", serde_json::json!({ "secs": secs, "train": of[0], "test": of[1], "scores": rows }));
    Ok(())
}
