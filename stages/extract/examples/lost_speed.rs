//! Seconds per image of LOST on features that lie in a file: one JSON object.
//!
//! ```text
//! lost_speed FEATURES --rows R --columns C --width D [--rounds 3]
//! ```
//! `FEATURES` holds f32, little-endian, `[images, R · C, D]`. One thread, bias 0, k = 100: the reference's own case.
//! `benches/peers/lost_torch.py` writes the file and measures the reference's steps on it.
#![expect(clippy::print_stdout, reason = "the output of a measuring program")]

use std::error::Error;
use std::time::Instant;

use extract::discover::lost::Gram;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let path = words.next().ok_or("lost_speed FEATURES --rows R --columns C --width D [--rounds 3]")?;
    let (mut rows, mut columns, mut width, mut rounds) = (0, 0, 0, 3);
    while let (Some(word), Some(value)) = (words.next(), words.next()) {
        let place = match word.as_str() {
            "--rows" => &mut rows,
            "--columns" => &mut columns,
            "--width" => &mut width,
            "--rounds" => &mut rounds,
            _ => return Err(format!("unknown option {word}").into()),
        };
        *place = value.parse::<usize>()?;
    }
    let bytes = std::fs::read(path)?;
    let features: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let one = rows * columns * width;
    if one == 0 || features.is_empty() || !features.len().is_multiple_of(one) {
        return Err(format!("{} numbers are not images of {rows} x {columns} x {width}", features.len()).into());
    }
    let mut best = f64::INFINITY;
    let mut boxes = Vec::new();
    for _ in 0..rounds.max(1) {
        let started = Instant::now();
        boxes = features
            .chunks_exact(one)
            .map(|image| {
                let found = Gram::of(image, width, false)?.discover(columns, 0.0, 100)?;
                Some(found.area.map_or([0; 4], |a| [a.x0, a.y0, a.x1, a.y1]))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or("features that are not finite")?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    let images = boxes.len();
    println!("{}", serde_json::json!({"images": images, "images_per_sec": images as f64 / best, "boxes": boxes}));
    Ok(())
}
