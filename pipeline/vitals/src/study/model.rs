//! The models of a study: first what the study says of them, which needs no file; then the weights' names and shapes.
//!
//! Values are read when the first shard needs them. The planted model's are a formula.

use std::path::Path;
use std::sync::Arc;

use extract::{EncoderSlot, Model};
use reports::Provenance;
use schemas::{Canonical, Fingerprint, Meaning};
use vit::executor::{DeviceChoice, Precision, open_on};
use vit::planted::{Dials, PatchStatistics, planted};
use vit::weights::Header;
use vit::{Interpolation, ModelSpec, Pixels, VitError};

use super::file::{ModelTable, PlantedTable, expand};
use super::weights::{Digests, Stamp, located, unfit};
use crate::failure::{Code, Failure};
use crate::progress::download;

/// A model as the study names it; no file was looked at.
pub struct Declared<'a> {
    /// Name in tables.
    pub name: String,
    /// Sizes, input and names; the position grid is the family's.
    pub spec: ModelSpec,
    provenance: Provenance,
    table: &'a ModelTable,
}

/// What every model of a study is opened with.
pub struct Opening<'a> {
    /// Folder of the study file.
    pub folder: &'a Path,
    /// Devices to encode on.
    pub devices: &'a [DeviceChoice],
    /// Precision of the forward pass.
    pub precision: Precision,
    /// Where the one open encoder is.
    pub slot: EncoderSlot,
    /// Digests that are known.
    pub digests: Digests,
}

/// A model that is ready to be planned with.
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

/// Checks what needs no file.
pub fn declare(table: &ModelTable) -> Result<Declared<'_>, Failure> {
    if table.model == PLANTED {
        let registers = table.registers.unwrap_or(0);
        let (config, _) = planted(&Dials::default(), registers, None).map_err(|e| dials_failure(&e))?;
        let spec = ModelSpec::custom(PLANTED, config, vit::planted::INPUT);
        let default = if registers == 0 { PLANTED.to_owned() } else { format!("{PLANTED}_reg{registers}") };
        let name = table.name.clone().unwrap_or(default);
        return Ok(Declared { name, spec, provenance: Provenance::Planted, table });
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
    if table.weights.is_none() {
        let fix = spec.hub.map_or_else(
            || "write weights = \"path/to/file\" under this model".to_owned(),
            |repo| format!("write weights = \"hf:{repo}\" or a path under this model"),
        );
        return Err(Failure::new(Code::Config, "the model has no weights", at, fix));
    }
    let provenance = match table.provenance.as_str() {
        "same" => Provenance::SameWeights,
        "proxy" => Provenance::ProxyWeights,
        "own" => Provenance::OwnTraining,
        "unstated" => Provenance::Unstated,
        other => {
            let what = format!("unknown provenance `{other}`");
            return Err(Failure::new(Code::Config, what, at, "write same, proxy or own"));
        }
    };
    let name = table.name.clone().unwrap_or_else(|| spec.name.clone());
    Ok(Declared { name, spec, provenance, table })
}

/// Finds the weights and compares their names and shapes with the model's.
pub fn open(declared: Declared<'_>, opening: &mut Opening<'_>) -> Result<OpenModel, Failure> {
    if declared.provenance == Provenance::Planted {
        return open_planted(declared, opening);
    }
    let Declared { name, mut spec, provenance, table } = declared;
    let weights = table.weights.as_deref().unwrap_or_default();
    let source = located(&expand(weights, "weights")?, opening.folder)?;
    let failed = |e: VitError| unfit(&e, weights, |model| format!("write model = \"{model}\""));
    let header = Header::read(&spec, &source, &download()).map_err(failed)?;
    let stamps = Stamp::of(header.files()).map_err(|e| Failure::new(Code::Missing, e, weights, "check the path"))?;
    let digest = opening.digests.get(&stamps, || header.digest()).map_err(failed)?;
    spec.config = header.config.clone();
    let leftover = header.leftover.clone();
    let (devices, precision) = (opening.devices.to_vec(), opening.precision);
    let model = Model::new(name, spec.config.clone(), digest, precision, move || {
        // The digest was computed then, and says what these values are.
        if Stamp::of(header.files()).ok().as_ref() != Some(&stamps) {
            return Err(VitError::Config("the weight file changed while the study ran".to_owned()));
        }
        open_on(&header.config, &header.params()?, &devices, precision)
    });
    let model = Arc::new(model.in_slot(&opening.slot));
    Ok(OpenModel { model, spec, provenance, note: table.note.clone(), leftover })
}

/// Scenes whose colours calibrate the noise dial, and where their seeds begin: far from any study's own.
const CALIBRATION_SCENES: usize = 60;
const CALIBRATION_SEED: u64 = 1 << 40;

fn dials_failure(e: &VitError) -> Failure {
    Failure::new(Code::Config, e, "[model.planted]", "see docs/planted.md for the dials")
}

fn open_planted(declared: Declared<'_>, opening: &Opening<'_>) -> Result<OpenModel, Failure> {
    let Declared { name, mut spec, provenance, table } = declared;
    let registers = spec.config.registers;
    let dials = dials(&table.planted.unwrap_or_default());
    let statistics = if dials.detection_noise > 0.0 { Some(calibration()?) } else { None };
    let (config, params) = planted(&dials, registers, statistics.as_ref()).map_err(|e| dials_failure(&e))?;
    spec.config = config.clone();
    // The formula is the file: its dials say every weight.
    let formula = Formula { dials: format!("{dials:?}"), registers };
    let digest = format!("planted-{}", Fingerprint::of(PLANTED, 1, &Canonical::of(&formula), &[]));
    let (devices, precision) = (opening.devices.to_vec(), opening.precision);
    let of = config.clone();
    let model = Model::new(name, config, digest, precision, move || open_on(&of, &params, &devices, precision));
    let model = Arc::new(model.in_slot(&opening.slot));
    let note = if table.note.is_empty() {
        "weights written by construction, not trained; every answer is known in closed form (docs/planted.md)"
            .to_owned()
    } else {
        table.note.clone()
    };
    Ok(OpenModel { model, spec, provenance, note, leftover: Vec::new() })
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

/// A name that is in no family.
pub fn not_found(e: &VitError) -> Failure {
    Failure::new(Code::Config, e, "model", "`vitals models ls` lists the names")
}

/// A model that a command reads from a file.
pub fn of_file(name: &str) -> Result<ModelSpec, Failure> {
    if name.split("_reg").next() == Some(PLANTED) {
        let what = format!("`{name}` has no weight file: its weights are a formula (docs/planted.md)");
        return Err(Failure::new(Code::Usage, what, "model", "`vitals models ls` lists the models that have one"));
    }
    vit::zoo::find(name).map_err(|e| not_found(&e).of_usage("model", "`vitals models ls` lists the names"))
}
