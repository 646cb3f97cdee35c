//! Images per second of the CPU encoder alone, with random weights: one JSON object a line.
//!
//! ```text
//! encoder_speed [--models dinov2_vits14,dinov2_vitb14] [--sizes 224,518] [--threads 1,2] [--secs 3]
//!               [--precisions f32,bf16] [--kernel amx|avx512|portable]
//! ```
//! Every thread encodes images of its own and reads the final tokens, as an extraction does; there is no batch.
//! `benches/peers/encoder_torch.py` measures the same models in `PyTorch`.
#![expect(clippy::print_stdout, reason = "the output of a measuring program")]

use std::error::Error;
use std::sync::Barrier;
use std::time::Instant;

use vit::cpu::{CpuVit, Kernel};
use vit::weights::expected;
use vit::{Encoder, Params, Pixels, Request, Site, VitConfig, VitError};

struct Wanted {
    models: Vec<String>,
    sizes: Vec<usize>,
    threads: Vec<usize>,
    secs: f64,
    precisions: Vec<String>,
    /// Of bf16; none: the best of this machine.
    kernel: Option<Kernel>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let wanted = wanted(std::env::args().skip(1))?;
    for name in &wanted.models {
        let config = vit::zoo::find(name)?.config;
        let params = random_params(&config);
        for precision in &wanted.precisions {
            let encoder = match precision.as_str() {
                "f32" => CpuVit::new(&config, &params)?,
                "bf16" => CpuVit::bf16(&config, &params, wanted.kernel)?,
                _ => return Err(format!("unknown precision {precision}; use f32 or bf16").into()),
            };
            for &size in &wanted.sizes {
                let pixels = random_pixels(size);
                for &threads in &wanted.threads {
                    let (images, secs) = measure(&encoder, &pixels, threads, wanted.secs)?;
                    let line = serde_json::json!({
                        "model": name, "variant": "vitals", "precision": precision, "size_px": size,
                        "threads": threads, "images": images, "secs": secs, "images_per_sec": images as f64 / secs,
                    });
                    println!("{line}");
                }
            }
        }
    }
    Ok(())
}

fn wanted(mut args: impl Iterator<Item = String>) -> Result<Wanted, Box<dyn Error>> {
    let mut wanted = Wanted {
        models: ["dinov2_vits14", "dinov2_vits14_reg4", "dinov2_vitb14"].map(str::to_owned).to_vec(),
        sizes: vec![224],
        threads: vec![1, 2],
        secs: 3.0,
        precisions: vec!["f32".to_owned()],
        kernel: None,
    };
    while let Some(key) = args.next() {
        let value = args.next().ok_or_else(|| format!("{key} needs a value"))?;
        let numbers = || value.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>();
        match key.as_str() {
            "--models" => wanted.models = value.split(',').map(str::to_owned).collect(),
            "--sizes" => wanted.sizes = numbers()?,
            "--threads" => wanted.threads = numbers()?,
            "--secs" => wanted.secs = value.parse()?,
            "--precisions" => wanted.precisions = value.split(',').map(str::to_owned).collect(),
            "--kernel" => wanted.kernel = Some(value.parse()?),
            _ => {
                let known = "--models, --sizes, --threads, --secs, --precisions, --kernel";
                return Err(format!("unknown argument {key}; use {known}").into());
            }
        }
    }
    Ok(wanted)
}

/// Images and seconds of a run that lasts about `secs`; every thread does the same number of images.
fn measure(encoder: &CpuVit, pixels: &Pixels, threads: usize, secs: f64) -> Result<(usize, f64), VitError> {
    let want = Request { full: [Site::Final].into(), ..Request::default() };
    // The first pass allocates and resizes the positions; the second tells how many fit in the time.
    encoder.encode(&[pixels], &want)?;
    let started = Instant::now();
    encoder.encode(&[pixels], &want)?;
    let each = (secs / started.elapsed().as_secs_f64()).ceil().max(1.0) as usize;

    let (warm, go) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> Result<(), VitError> {
                    // Buffers of this thread; an error must not leave the others at a barrier.
                    let first = encoder.encode(&[pixels], &want);
                    warm.wait();
                    go.wait();
                    first?;
                    for _ in 0..each {
                        std::hint::black_box(encoder.encode(&[pixels], &want)?);
                    }
                    Ok(())
                })
            })
            .collect();
        warm.wait();
        let started = Instant::now();
        go.wait();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok((threads * each, started.elapsed().as_secs_f64()))
    })
}

/// Numbers in (−1, 1) that differ from call to call and not from run to run.
fn noise() -> impl FnMut() -> f32 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Small weights and unit norms, so that no value overflows or becomes denormal.
fn random_params(config: &VitConfig) -> Params {
    let mut noise = noise();
    let mut params = Params::default();
    for (name, shape) in expected(config) {
        let n = shape.iter().product();
        let is_scale =
            name.ends_with("norm.weight") || name.ends_with("norm1.weight") || name.ends_with("norm2.weight");
        let data = if is_scale { vec![1.0; n] } else { (0..n).map(|_| 0.02 * noise()).collect() };
        params.insert(name, shape, data);
    }
    params
}

fn random_pixels(size: usize) -> Pixels {
    let mut noise = noise();
    Pixels { height: size, width: size, data: (0..3 * size * size).map(|_| 2.0 * noise()).collect() }
}
