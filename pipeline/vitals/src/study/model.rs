//! Resolves the models of a study: the zoo with a weight file, or the planted model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use extract::Model;
use reports::Provenance;
use schemas::{Canonical, Fingerprint, Meaning};
use vit::executor::{DeviceChoice, Precision, open_on};
use vit::planted::{Dials, PatchStatistics, planted};
use vit::weights::{HubAccess, load};
use vit::{Interpolation, ModelSpec, Pixels, VitError, WeightSource};

use super::file::{ModelTable, PlantedTable, expand};
use crate::failure::{Code, Failure};
use crate::progress::download;

/// A model that is ready to be planned with; its weights are read again when the first shard needs them.
pub struct OpenModel {
    /// Name in tables, and the encoder.
    pub model: Arc<Model>,
    /// Sizes, input and names, as the weights say.
    pub spec: ModelSpec,
    /// Where the weights come from.
    pub provenance: Provenance,
    /// One sentence on the weights.
    pub note: String,
    /// Tensors that belong to no encoder.
    pub leftover: Vec<String>,
}

/// Name of the planted model in a study.
pub const PLANTED: &str = "planted";

/// Resolves one.
pub fn resolve(
    table: &ModelTable,
    folder: &Path,
    device: &[DeviceChoice],
    precision: Precision,
) -> Result<OpenModel, Failure> {
    if table.model == PLANTED {
        return resolve_planted(table, device, precision);
    }
    let at = format!("model `{}`", table.model);
    if table.planted.is_some() {
        return Err(Failure::new(Code::Config, "dials belong to the planted model", at, "write model = \"planted\""));
    }
    let mut spec = vit::zoo::find(&table.model).map_err(|e| not_found(&e))?;
    if let Some(registers) = table.registers {
        spec = spec.with_registers(registers);
    }
    if let Some(rule) = &table.interpolation {
        spec = spec.with_interpolation(interpolation(rule)?);
    }
    let Some(weights) = &table.weights else {
        let fix = spec.hub.map_or_else(
            || "write weights = \"path/to/file\" under this model".to_owned(),
            |repo| format!("write weights = \"hf:{repo}\" or a path under this model"),
        );
        return Err(Failure::new(Code::Config, "the model has no weights", at, fix));
    };
    let source = located(&expand(weights, "weights")?, folder)?;
    let loaded = load(&spec, &source, &download()).map_err(|e| weights_failure(&e, weights))?;
    spec.config = loaded.config;
    let name = table.name.clone().unwrap_or_else(|| spec.name.clone());
    let (again, on) = (spec.clone(), device.to_vec());
    let digest = loaded.digest.clone();
    let model = Model::new(name, spec.config.clone(), loaded.digest, precision, move || {
        let loaded = load(&again, &source, &download())?;
        if loaded.digest != digest {
            return Err(VitError::Config("the weight file changed while the study ran".to_owned()));
        }
        open_on(&loaded.config, &loaded.params, &on, precision)
    });
    let provenance = match table.provenance.as_str() {
        "same" => Provenance::SameWeights,
        "proxy" => Provenance::ProxyWeights,
        "own" => Provenance::OwnTraining,
        other => {
            let what = format!("unknown provenance `{other}`");
            return Err(Failure::new(Code::Config, what, at, "write same, proxy or own"));
        }
    };
    Ok(OpenModel { model: Arc::new(model), spec, provenance, note: table.note.clone(), leftover: loaded.leftover })
}

/// Scenes whose colours calibrate the noise dial, and where their seeds begin: far from any study's own.
const CALIBRATION_SCENES: usize = 60;
const CALIBRATION_SEED: u64 = 1 << 40;

fn resolve_planted(table: &ModelTable, device: &[DeviceChoice], precision: Precision) -> Result<OpenModel, Failure> {
    let registers = table.registers.unwrap_or(0);
    let dials = dials(&table.planted.unwrap_or_default());
    let failed = |e: &VitError| Failure::new(Code::Config, e, "[model.planted]", "see docs/planted.md for the dials");
    let statistics = if dials.detection_noise > 0.0 { Some(calibration()?) } else { None };
    let (config, params) = planted(&dials, registers, statistics.as_ref()).map_err(|e| failed(&e))?;
    let spec = ModelSpec::custom(PLANTED, config.clone(), vit::planted::INPUT);
    let default = if registers == 0 { PLANTED.to_owned() } else { format!("{PLANTED}_reg{registers}") };
    let name = table.name.clone().unwrap_or(default);
    // The formula is the file: its dials say every weight.
    let formula = Formula { dials: format!("{dials:?}"), registers };
    let digest = format!("planted-{}", Fingerprint::of(PLANTED, 1, &Canonical::of(&formula), &[]));
    let (for_open, on) = ((config.clone(), params), device.to_vec());
    let model = Model::new(name, config, digest, precision, move || open_on(&for_open.0, &for_open.1, &on, precision));
    let note = if table.note.is_empty() {
        "weights written by construction, not trained; every answer is known in closed form (docs/planted.md)"
            .to_owned()
    } else {
        table.note.clone()
    };
    Ok(OpenModel { model: Arc::new(model), spec, provenance: Provenance::Planted, note, leftover: Vec::new() })
}

/// What decides every weight of a planted model.
#[derive(serde::Serialize)]
struct Formula {
    dials: String,
    registers: usize,
}

impl Meaning for Formula {}

fn dials(table: &PlantedTable) -> Dials {
    let default = Dials::default();
    Dials {
        detection_noise: table.detection_noise.unwrap_or(default.detection_noise),
        erasure: table.erasure.unwrap_or(default.erasure),
        gather_decay: table.gather_decay.unwrap_or(default.gather_decay),
        evidence_loss: table.evidence_loss.unwrap_or(default.evidence_loss),
        key_gain: table.key_gain.unwrap_or(default.key_gain),
        seed: table.seed.unwrap_or(default.seed),
    }
}

/// Colours of scenes that no study uses.
fn calibration() -> Result<PatchStatistics, Failure> {
    let bug = |e: &dyn std::fmt::Display| Failure::new(Code::Bug, e, "calibration scenes", "please report this");
    let mut spec = datasets::DatasetSpec::new("synthetic", "");
    (spec.limit, spec.seed) = (Some(CALIBRATION_SCENES), CALIBRATION_SEED);
    let source = datasets::open(&spec).map_err(|e| bug(&e))?;
    let input = vit::planted::INPUT;
    let preprocess = datasets::Preprocess::new(datasets::Resize::None, datasets::Crop::None, datasets::Filter::Bicubic)
        .normalised(input.mean, input.std);
    let mut images = Vec::new();
    for i in 0..CALIBRATION_SCENES {
        let image = extract::prepare::prepare(source.as_ref(), i, &preprocess).map_err(|skip| bug(&skip.detail))?;
        images.push(image.pixels);
    }
    PatchStatistics::from_pixels(images.iter().collect::<Vec<&Pixels>>()).map_err(|e| bug(&e))
}

fn interpolation(rule: &str) -> Result<Interpolation, Failure> {
    match rule {
        "offset" => Ok(Interpolation::Offset),
        "bicubic" => Ok(Interpolation::Bicubic),
        "antialias" => Ok(Interpolation::Antialias),
        other => {
            let what = format!("unknown interpolation `{other}`");
            Err(Failure::new(Code::Config, what, "[[model]]", "write offset, bicubic or antialias"))
        }
    }
}

/// Where the hub keeps its files: `$HF_HOME/hub`, else `~/.cache/huggingface/hub`.
fn hub_access() -> HubAccess {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache_dir = home("HF_HOME")
        .map(|h| h.join("hub"))
        .or_else(|| home("HOME").map(|h| h.join(".cache/huggingface/hub")))
        .unwrap_or_else(|| PathBuf::from(".hf-hub"));
    HubAccess { cache_dir, endpoint: std::env::var("HF_ENDPOINT").ok(), token: std::env::var("HF_TOKEN").ok() }
}

/// A path or `hf:` address, as written on a command line.
pub fn weight_source(text: &str) -> Result<WeightSource, Failure> {
    WeightSource::parse(text, &hub_access()).map_err(|e| weights_failure(&e, text))
}

/// The same as written in a study file, relative to its folder.
fn located(text: &str, folder: &Path) -> Result<WeightSource, Failure> {
    match weight_source(text)? {
        WeightSource::Path(path) => Ok(WeightSource::Path(folder.join(path))),
        hub @ WeightSource::Hub { .. } => Ok(hub),
    }
}

/// A name that is in no family.
pub fn not_found(e: &VitError) -> Failure {
    Failure::new(Code::Config, e, "model", "`vitals models ls` lists the names")
}

/// Weights that cannot be used.
pub fn weights_failure(e: &VitError, weights: &str) -> Failure {
    let fix = match e {
        VitError::Mismatch(_) => "choose the model that the file fits, or the file of this model",
        VitError::Hub { .. } => "check the address and the network, or fetch the file yourself and give its path",
        VitError::NonFinite { .. } => "fetch the file again, or choose a checkpoint from before the training diverged",
        _ => "check the path; `vitals models check` tests one file",
    };
    Failure::new(Code::Missing, e, format!("weights {weights}"), fix)
}
