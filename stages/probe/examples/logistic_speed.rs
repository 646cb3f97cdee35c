//! Seconds of multinomial logistic regression on vectors in a file, fitted in blocks: one JSON object.
//!
//! ```text
//! logistic_speed FILE --rows N --width D [--c 1 | --c 1e-6,1e5,45] [--gap 1e-5] [--threads N]
//! ```
//! FILE holds N·D f32 and N u32 (vectors row by row, then labels), as `benches/peers/logistic_sklearn.py` writes them.
//! `--c` is one C, or the first, the last and the number of a grid, even in its logarithm, each fit from where the last
//! one ended. Reading is not measured.
#![expect(clippy::print_stdout, reason = "the output of a measuring program")]

use std::error::Error;
use std::io::Read as _;
use std::time::Instant;

use probe::{LogisticParams, Solver};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("usage: logistic_speed FILE --rows N --width D [--c C] [--gap G] [--threads N]")?;
    let (mut rows, mut width, mut c, mut gap) = (0usize, 0usize, vec![1.0], 1e-5);
    while let (Some(key), Some(value)) = (args.next(), args.next()) {
        match key.as_str() {
            "--rows" => rows = value.parse()?,
            "--width" => width = value.parse()?,
            "--c" => c = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--gap" => gap = value.parse()?,
            "--threads" => rayon::ThreadPoolBuilder::new().num_threads(value.parse()?).build_global()?,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let grid = match c[..] {
        [one] => vec![one],
        [low, high, steps] if steps >= 2.0 => {
            (0..steps as usize).map(|i| low * f64::powf(high / low, i as f64 / (steps - 1.0))).collect()
        }
        _ => return Err("--c takes C, or the smallest, the largest and the number of values".into()),
    };
    let mut file = std::io::BufReader::with_capacity(1 << 20, std::fs::File::open(&file)?);
    let mut word = [0; 4];
    let mut values = vec![0f32; rows * width];
    for value in &mut values {
        file.read_exact(&mut word)?;
        *value = f32::from_le_bytes(word);
    }
    let mut labels = vec![0u32; rows];
    for label in &mut labels {
        file.read_exact(&mut word)?;
        *label = u32::from_le_bytes(word);
    }

    let params = LogisticParams { gap_frac: gap, solver: Solver::Lbfgs, ..LogisticParams::default() }.check()?;
    let started = Instant::now();
    let mut fits = Vec::new();
    params.fit_blocks((&values, width), &labels, &grid, |fit| {
        fits.push(serde_json::json!({
            "c": fit.c, "objective": fit.objective, "gradient_norm": fit.gradient_norm, "iterations": fit.iterations,
            "converged": fit.converged, "rounding": fit.rounding, "secs_since_start": started.elapsed().as_secs_f64(),
        }));
    })?;
    let line = serde_json::json!({
        "rows": rows, "width": width, "threads": rayon::current_num_threads(),
        "secs": started.elapsed().as_secs_f64(), "fits": fits,
    });
    println!("{line}");
    Ok(())
}
