//! Images per second from photos to stored dense features: one JSON object.
//!
//! ```text
//! densify_speed WEIGHTS FOLDER STORE [--size 350x476] [--threads 2]
//! ```
//! DINOv2 ViT-S/14 by the official names. Photos are squashed (bilinear) to the size, encoded in f32, and the final-norm patch
//! tokens written in f16 to the table `dense` of a new store. `benches/peers/densify_torch.py` does the same with PyTorch and
//! NumPy, and compares the features.
#![expect(clippy::print_stdout, reason = "the output of a measuring program")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use datasets::preprocess::{IMAGENET_MEAN, IMAGENET_STD};
use datasets::{DatasetSpec, Filter, Resize, TruthOf, ViewSpec, Views};
use engine::run::{RunOptions, run};
use engine::{Plan, Silent, Sizes, Stage as _, Store};
use extract::{Densify, DensifyParams, Model, PoolSite, Tuning};
use vit::Site;
use vit::executor::{DeviceChoice, Precision, open};
use vit::weights::{WeightSource, load};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: densify_speed WEIGHTS FOLDER STORE [--size HxW] [--threads N]";
    let [weights, folder, store] = args.get(..3).and_then(|a| a.first_chunk()).ok_or(usage)?;
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(String::as_str);
    let (height, width) = option("--size").unwrap_or("350x476").split_once('x').ok_or(usage)?;
    let threads: usize = option("--threads").unwrap_or("2").parse()?;

    let spec = vit::zoo::find("dinov2_vits14")?;
    let loaded = load(&spec, &WeightSource::Path(weights.into()), &|_, _| {})?;
    let encoder_config = loaded.config.clone();
    let model = Model::new(spec.name.clone(), loaded.config.clone(), "file".into(), Precision::F32, move || {
        open(&loaded.config, &loaded.params, &DeviceChoice::Cpu(None), Precision::F32)
    });
    // Before the clock starts, as the peer loads its model before.
    model.encoder()?;
    let source = datasets::open(&DatasetSpec::new("photos", folder.as_str()))?;
    let images = source.manifest().entries.len();
    let stage = Densify {
        model: Arc::new(model),
        params: DensifyParams {
            model: encoder_config,
            weights: "file".into(),
            precision: Precision::F32,
            dataset: source.manifest().digest(),
            dense_annotations: String::new(),
            views: ViewSpec {
                views: Views::Whole {
                    resize: Resize::Exact { height: height.parse()?, width: width.parse()? },
                    mirror: false,
                },
                filter: Filter::Bilinear,
                mean: IMAGENET_MEAN,
                std: IMAGENET_STD,
                patch_px: 14,
                truth: TruthOf::None,
            },
            sites: vec![PoolSite { site: Site::Final, normed: false }],
            keep_cls: false,
            truths: Vec::new(),
            shard_images: 0,
            pictures: 0,
            edit: None,
            test_time_registers: None,
        },
        source: source.into(),
        neurons: None,
        partition: Vec::new(),
        tuning: Tuning::cpu(threads),
    };
    let promised_bytes = stage.estimate(&Sizes::new()).tables["dense"].bytes;
    let store = Store::open(Path::new(store))?;
    let plan = Plan::new(vec![Box::new(stage)])?;
    let options = RunOptions { cancel: &AtomicBool::new(false), progress: &Silent, max_skip_frac: 0.0 };
    let started = Instant::now();
    run(&plan, &store, &options)?;
    let secs = started.elapsed().as_secs_f64();
    let parts = plan.steps[0].outputs.iter().filter(|t| t.table == "dense").map(|t| store.parts(t));
    let parts = parts.collect::<Result<Vec<_>, _>>()?.concat();
    let bytes = parts.iter().map(|p| p.metadata().map(|m| m.len())).sum::<Result<u64, _>>()?;
    let line = serde_json::json!({
        "images": images, "threads": threads, "secs": secs, "images_per_sec": images as f64 / secs,
        "bytes": bytes, "promised_bytes": promised_bytes, "dense": parts,
    });
    println!("{line}");
    Ok(())
}
