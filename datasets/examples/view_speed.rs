//! Milliseconds of one core per view, from file bytes to an encoder's input with its truth: one JSON object a protocol.
//!
//! ```text
//! view_speed FOLDER [--rounds 3]
//! ```
//! Files are read once beforehand, so the disk is not measured. The truth is stripes, made beforehand as well. The best
//! round counts.
#![expect(clippy::print_stdout, reason = "the output of a measuring program")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use datasets::preprocess::{IMAGENET_MEAN, IMAGENET_STD};
use datasets::{Crops, DenseTruth, DepthCrops, Filter, Raw, Resize, TruthOf, ViewSpec, Views};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: view_speed FOLDER [--rounds N]";
    let folder = args.next().ok_or(usage)?;
    let rounds: usize = match (args.next().as_deref(), args.next()) {
        (None, _) => 3,
        (Some("--rounds"), Some(n)) => n.parse()?,
        _ => return Err(usage.into()),
    };
    let mut items = Vec::new();
    for name in datasets::formats::listing::files_below(Path::new(&folder), "")? {
        let bytes = std::fs::read(Path::new(&folder).join(&name.name))?;
        if let Ok(image) = datasets::decode(&bytes) {
            let (height, width) = (image.height, image.width);
            let segments = Some((0..height * width).map(|at| (at % width / 40) as u8).collect());
            let depth_m = Some(vec![1.0; height * width]);
            items.push((Raw::Encoded(bytes), DenseTruth { height, width, segments, depth_m }));
        }
    }
    let depth = DepthCrops { rows: [0, 427], columns: [0, 565], ..DepthCrops::dinov2(1, 0) };
    let protocols = [
        ("crops", Views::Crops(Crops::dinov2(1, 0, vec![0])), Filter::Cv2Bilinear, TruthOf::View),
        ("four crops", Views::Crops(Crops::dinov2(4, 0, vec![0])), Filter::Cv2Bilinear, TruthOf::View),
        ("depth crops", Views::DepthCrops(depth), Filter::Cv2Bilinear, TruthOf::View),
        (
            "windows",
            Views::Windows { short_side_px: 512, window_px: 512, stride_px: 341 },
            Filter::Cv2Bilinear,
            TruthOf::Image,
        ),
        ("resized crops", Views::ResizedCrops { count: 1, seed: 0, size_px: 224 }, Filter::Bicubic, TruthOf::None),
        (
            "squashed",
            Views::Whole { resize: Resize::Exact { height: 518, width: 518 }, mirror: false },
            Filter::Bilinear,
            TruthOf::View,
        ),
    ];
    for (name, views, filter, truth) in protocols {
        let spec = ViewSpec { views, filter, mean: IMAGENET_MEAN, std: IMAGENET_STD, patch_px: 14, truth }.check()?;
        let (mut best, mut views) = (f64::INFINITY, 0);
        for _ in 0..rounds.max(1) {
            let started = Instant::now();
            views = 0;
            for (index, (raw, truth)) in items.iter().enumerate() {
                views += std::hint::black_box(spec.views(raw, Some(truth), index)?).views.len();
            }
            best = best.min(started.elapsed().as_secs_f64());
        }
        let ms_per_view = best * 1e3 / views.max(1) as f64;
        println!(
            "{}",
            serde_json::json!({ "protocol": name, "images": items.len(), "views": views, "ms_per_view": ms_per_view })
        );
    }
    Ok(())
}
