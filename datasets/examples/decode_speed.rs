//! Images per second of one core from file bytes to an encoder's input: one JSON object.
//!
//! ```text
//! decode_speed FOLDER [--rounds 4]
//! ```
//! JPEG or PNG bytes → decode, short side 256 bicubic, centre crop 224, `ImageNet` mean and deviation → `[3, 224, 224]`.
//! Files are read once beforehand, so the disk is not measured. `images_per_sec` is the best round, as in
//! `benches/peers/decode_pil.py`, which does the same with Pillow and torchvision.
#![expect(clippy::print_stdout, reason = "the output of a measuring program")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use datasets::Preprocess;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: decode_speed FOLDER [--rounds N]";
    let folder = args.next().ok_or(usage)?;
    let rounds: usize = match (args.next().as_deref(), args.next()) {
        (None, _) => 4,
        (Some("--rounds"), Some(n)) => n.parse()?,
        _ => return Err(usage.into()),
    };
    let mut files = Vec::new();
    pictures(Path::new(&folder), &mut files)?;
    files.sort();
    let contents = files.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let preprocess = Preprocess::imagenet(256, 224);

    let mut secs = Vec::new();
    for _ in 0..rounds.max(1) {
        let started = Instant::now();
        for content in &contents {
            std::hint::black_box(preprocess.decode_and_apply(content)?);
        }
        secs.push(started.elapsed().as_secs_f64());
    }
    let best = secs.iter().copied().fold(f64::INFINITY, f64::min);
    let line = serde_json::json!({
        "images": contents.len(), "threads": 1, "images_per_sec": contents.len() as f64 / best, "secs_per_round": secs,
    });
    println!("{line}");
    Ok(())
}

/// JPEG and PNG files below `folder`.
fn pictures(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        if path.is_dir() {
            pictures(&path, files)?;
        } else if matches!(extension.as_deref(), Some("jpeg" | "jpg" | "png")) {
            files.push(path);
        }
    }
    Ok(())
}
