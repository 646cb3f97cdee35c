//! `vitals models`: the zoo, and whether a weight file fits.

use vit::weights::load;

use super::{columns, say};
use crate::cli::{ModelsArgs, ModelsCommand};
use crate::failure::Failure;
use crate::study::model::of_file;
use crate::study::weights::{unfit, weight_source};

/// `ls` and `check`.
pub fn models(args: &ModelsArgs) -> Result<(), Failure> {
    match &args.command {
        ModelsCommand::Ls => say(&list()),
        ModelsCommand::Check { model, weights } => check(model, weights),
    }
}

fn list() -> String {
    let mut rows: Vec<Vec<String>> = vec![
        ["model", "blocks", "width", "heads", "patch", "registers", "input", "parameters", "public weights"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for spec in vit::zoo::all() {
        let c = &spec.config;
        let weights = spec.hub.map(|repo| format!("hf:{repo}")).or_else(|| spec.official_file.map(str::to_owned));
        rows.push(vec![
            spec.name.clone(),
            c.depth.to_string(),
            c.width.to_string(),
            c.heads.to_string(),
            format!("{} px", c.patch_px),
            c.registers.to_string(),
            format!("{} px", spec.input.crop_px),
            format!("{:.1} M", c.parameters() as f64 / 1e6),
            weights.unwrap_or_default(),
        ]);
    }
    format!("{}\nAny of them with R registers: <model>_reg<R>. `planted` is the embedded study's.\n", columns(&rows))
}

fn check(model: &str, weights: &str) -> Result<(), Failure> {
    let spec = of_file(model)?;
    let source = weight_source(weights)?;
    let loaded = load(&spec, &source, &crate::progress::download())
        .map_err(|e| unfit(&e, weights, |other| format!("vitals models check {other} {weights}")))?;
    let mut text = format!("{weights} fits {model}: {} names, sha256 {}\n", loaded.naming, loaded.digest);
    if loaded.config.pos.grid != spec.config.pos.grid {
        let grid = loaded.config.pos.grid;
        text += &format!("position grid of the file: {grid}×{grid}\n");
    }
    if !loaded.leftover.is_empty() {
        text += &format!("not part of the encoder: {}\n", loaded.leftover.join(", "));
    }
    say(&text)
}
