//! The models of a study: first what the study says of them, which needs no file; then the weights' names and shapes.
//!
//! Values are read when the first shard needs them. The planted model's are a formula.

use std::path::Path;
use std::sync::Arc;

use extract::{Edit, EncoderSlot, Model, ParamsError, TestTimeRegisters, with_zero_registers};
use reports::Provenance;
use schemas::{Canonical, Fingerprint, Meaning};
use vit::executor::{DeviceChoice, Precision, open_on};
use vit::planted::{Dials, PatchStatistics, planted};
use vit::weights::Header;
use vit::{Interpolation, ModelSpec, Params, Pixels, VitConfig, VitError, WeightSource};

use super::file::{ModelTable, PlantedTable, TestTimeTable, expand};
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

impl Declared<'_> {
    /// Refuses a change that the model cannot take. Only f32 passes can be changed.
    pub fn check_change(&self, f32: bool) -> Result<(), Failure> {
        let at = format!("model `{}`", self.name);
        let changed = self.table.edit.is_some() || self.table.test_time_registers.is_some();
        if changed && !f32 {
            let what = "a model that is changed while it runs needs f32";
            return Err(Failure::new(Code::Config, what, at, "write precision = \"f32\" under [extract]"));
        }
        let depth = self.spec.config.depth;
        let bad = |e: ParamsError| Failure::new(Code::Config, e, at.clone(), "correct it in the study");
        if let Some(TestTimeTable { registers, neurons, images, blocks, .. }) = &self.table.test_time_registers {
            let numbers = [
                ("test_time_registers.registers", u32::from(*registers)),
                ("test_time_registers.neurons", *neurons),
                ("test_time_registers.images", *images),
            ];
            if let Some((key, _)) = numbers.into_iter().find(|(_, number)| *number == 0) {
                return Err(bad(ParamsError::Nothing(key)));
            }
            if let Some(&block) = blocks.iter().find(|&&block| usize::from(block) >= depth) {
                return Err(bad(ParamsError::Block { key: "test_time_registers.blocks", block, depth }));
            }
        }
        self.table.edit.as_ref().map_or(Ok(()), |edit| edit.check(depth).map_err(bad))
    }

    /// The dataset on which register neurons are looked for, if the study names one.
    pub fn neurons_on(&self) -> Option<&str> {
        self.table.test_time_registers.as_ref()?.dataset.as_deref()
    }
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
    /// What is changed while it runs.
    pub change: Change,
    /// Its weight file; a planted model has none.
    pub source: Option<WeightSource>,
}

/// What is changed while a model runs.
#[derive(Clone, Default)]
pub enum Change {
    /// Nothing.
    #[default]
    None,
    /// Tokens are overwritten.
    Edit(Edit),
    /// Registers are appended; the model without them shows which neurons move there.
    TestTime(TestTimeTable, Arc<Model>),
}

impl Change {
    /// Tokens that are overwritten.
    pub fn edit(&self) -> Option<Edit> {
        if let Self::Edit(edit) = self { Some(edit.clone()) } else { None }
    }

    /// Registers that are appended.
    pub fn registers(&self) -> Option<TestTimeRegisters> {
        let Self::TestTime(table, _) = self else { return None };
        Some(TestTimeRegisters { registers: table.registers, neurons: table.neurons })
    }
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
        let name = table.name.clone().unwrap_or(changed_name(default, table));
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
    let name = table.name.clone().unwrap_or_else(|| changed_name(spec.name.clone(), table));
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
    let weights = move || {
        // The digest was computed then, and says what these values are.
        if Stamp::of(header.files()).ok().as_ref() != Some(&stamps) {
            return Err(VitError::Config("the weight file changed while the study ran".to_owned()));
        }
        header.params()
    };
    let (model, change) = runnable(name, &mut spec, &digest, weights, table, opening)?;
    Ok(OpenModel { model, spec, provenance, note: table.note.clone(), leftover, change, source: Some(source) })
}

/// The name of a model of which something is changed.
fn changed_name(name: String, table: &ModelTable) -> String {
    match (&table.edit, &table.test_time_registers) {
        (Some(_), _) => format!("{name}-edited"),
        (None, Some(t)) => format!("{name}-test-time-reg{}", t.registers),
        (None, None) => name,
    }
}

/// The model that runs, and what is changed of it. `weights` gives the parameters of the model as it was trained;
/// `spec` counts appended registers afterwards.
fn runnable(
    name: String,
    spec: &mut ModelSpec,
    digest: &str,
    weights: impl Fn() -> Result<Params, VitError> + Send + Sync + 'static,
    table: &ModelTable,
    opening: &Opening<'_>,
) -> Result<(Arc<Model>, Change), Failure> {
    let (devices, precision) = (opening.devices.to_vec(), opening.precision);
    let weights = Arc::new(weights);
    let trained = spec.config.clone();
    let model = |name: String, extra: usize| {
        let (weights, devices, trained) = (Arc::clone(&weights), devices.clone(), trained.clone());
        let config = VitConfig { registers: trained.registers + extra, ..trained.clone() };
        let open = move || {
            if extra == 0 {
                return open_on(&trained, &weights()?, &devices, precision);
            }
            let (config, params) = with_zero_registers(&trained, weights()?, extra)?;
            open_on(&config, &params, &devices, precision)
        };
        Arc::new(Model::new(name, config, digest.to_owned(), precision, open).in_slot(&opening.slot))
    };
    let Some(registers) = &table.test_time_registers else {
        let change = table.edit.clone().map_or(Change::None, Change::Edit);
        return Ok((model(name, 0), change));
    };
    if table.edit.is_some() {
        let what = "`edit` and `test_time_registers` of one model: nothing could tell which of them did what";
        return Err(Failure::new(Code::Config, what, format!("model `{name}`"), "make two [[model]]s of it"));
    }
    spec.config.registers += usize::from(registers.registers);
    let change = Change::TestTime(registers.clone(), model(format!("{name}-as-trained"), 0));
    Ok((model(name, usize::from(registers.registers)), change))
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
    spec.config = config;
    // The formula is the file: its dials say every weight.
    let formula = Formula { dials: format!("{dials:?}"), registers };
    let digest = format!("planted-{}", Fingerprint::of(PLANTED, 1, &Canonical::of(&formula), &[]));
    let (model, change) = runnable(name, &mut spec, &digest, move || Ok(params.clone()), table, opening)?;
    let note = if table.note.is_empty() {
        "weights written by construction, not trained; every answer is known in closed form (docs/planted.md)"
            .to_owned()
    } else {
        table.note.clone()
    };
    Ok(OpenModel { model, spec, provenance, note, leftover: Vec::new(), change, source: None })
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
