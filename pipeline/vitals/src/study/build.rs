//! From a study file to a plan: one extraction per (model, dataset), then what reads its tables.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::plan::PlanError;
use engine::{Budget, Partition, Plan, Stage, Store, TableRef, outputs_of};
use extract::{EncoderSlot, Extract, ExtractParams, Tuning};
use measure::{Measure, MeasureParams};
use reports::Subject;
use schemas::outlier::OutlierPolicy;
use vit::executor::{DeviceChoice, devices};

use super::check::{check, follows};
use super::dataset::{OpenDataset, open};
use super::file::StudyFile;
use super::model::{self, OpenModel, Opening};
use super::params::{params, policy_in_words, precision};
use super::preprocess::in_words;
use super::weights::Digests;
use super::{change, dense, discover, embedded, linear_eval, portrait, probes, truth, zero_shot};
use crate::cli::StudyArgs;
use crate::failure::{Code, Failure};

/// A study, ready to run.
pub struct Built {
    /// Its steps.
    pub plan: Plan,
    /// Where results go.
    pub store: Store,
    /// Where the report goes.
    pub report_dir: PathBuf,
    /// What the report is made of.
    pub report: reports::Study,
    /// Limits.
    pub budget: Budget,
    /// Allowed share of skipped images.
    pub max_skip_frac: f64,
}

/// One extraction of a study.
pub struct Extraction {
    /// Its model.
    pub model: Arc<OpenModel>,
    /// Its dataset's name in tables.
    pub dataset: String,
    /// Its tables.
    pub tables: Vec<TableRef>,
    /// Whether probes on it have answers that are known.
    pub teaches_truth: bool,
}

/// What a command does with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Looks at it; nothing is created.
    Look,
    /// Writes to it.
    Write,
}

/// Reads, checks and plans a study.
pub fn build(args: &StudyArgs, access: Access) -> Result<Built, Failure> {
    let (file, folder) = match &args.study {
        Some(path) => (StudyFile::read(path)?, path.parent().unwrap_or(Path::new("")).to_owned()),
        None => (StudyFile::parse(embedded::TEXT, embedded::ORIGIN)?, PathBuf::new()),
    };
    let declared = check(&file)?;
    let device = args.device.as_deref().unwrap_or("auto");
    let device = devices(device).map_err(|e| device_failure(&e, "write auto, cpu, cuda:N or cuda:N,M"))?;
    let cores = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    threads(cores)?;
    let mut on_gpu = false;
    for one in &device {
        on_gpu |= !one.resolve().map_err(|e| device_failure(&e, NO_DEVICE))?.is_cpu();
    }
    let tuning = if on_gpu { Tuning::device(device.len(), cores, 32) } else { Tuning::cpu(cores) };

    // Indices of datasets before gigabytes of weights.
    let mut datasets = Vec::new();
    for table in &file.datasets {
        datasets.push(open(table, &folder, args.limit)?);
    }
    probes::check_classes(&file.probes, &datasets)?;
    let root = args.store.as_ref().unwrap_or(&file.store);
    let store = if access == Access::Write { Store::open(root)? } else { Store::at(root) };
    let mut opening = Opening {
        folder: &folder,
        devices: &device,
        precision: precision(&file.extract)?,
        slot: EncoderSlot::default(),
        digests: Digests::of(store.root()),
    };
    let mut models = Vec::new();
    for one in declared {
        models.push(Arc::new(model::open(one, &mut opening)?));
    }

    // Model by model, since the weights of one are in memory at a time; a reader meets dataset by dataset.
    let mut stages: Vec<Box<dyn Stage>> = Vec::new();
    let mut subjects = Vec::new();
    let mut extractions = Vec::new();
    for model in &models {
        let runs_on = |d: &&OpenDataset| d.table.models.is_empty() || d.table.models.contains(&model.model.name);
        let mut neurons = None;
        if let Some(dataset) = change::shows_neurons(model, datasets.iter().filter(runs_on)) {
            let params = extract_params(&file, model, dataset)?;
            neurons = change::neurons(&params, model, dataset, tuning, &mut stages);
        }
        for (at, dataset) in datasets.iter().enumerate().filter(|(_, d)| runs_on(d) && d.table.extract) {
            let (subject, tables) = extraction(&file, model, dataset, neurons.clone(), tuning, &mut stages)?;
            subjects.push((at, subject));
            let teaches_truth = teaches_truth(model, dataset);
            let (model, dataset) = (Arc::clone(model), dataset.name.clone());
            extractions.push(Extraction { model, dataset, tables, teaches_truth });
        }
        let Some(first) = device.first() else { continue };
        let at_hand = AtHand { file: &file, model, datasets: &datasets, neurons, tuning, device: first };
        let tables = |dataset: &str| {
            let of_this = |e: &&Extraction| e.dataset == dataset && Arc::ptr_eq(&e.model, model);
            extractions.iter().find(of_this).map(|e| e.tables.as_slice())
        };
        dense::add(&at_hand, &mut stages, &mut subjects)?;
        linear_eval::add(&at_hand, &tables, &mut stages, &mut subjects)?;
        zero_shot::add(&at_hand, &tables, &mut stages, &mut subjects)?;
    }
    subjects.sort_by_key(|(at, _)| *at);
    let mut subjects: Vec<Subject> = subjects.into_iter().map(|(_, subject)| subject).collect();
    // Half of the memory that a study may take goes to vectors that are fitted.
    let memory_bytes = file.budget.memory_gb.map(|gb| (gb * 0.5e9) as u64);
    probes::add(&file.probes, &extractions, &datasets, (cores, memory_bytes), &mut stages, &mut subjects)?;

    let plan = Plan::new(stages).map_err(|e| match e {
        PlanError::Twice { .. } => {
            Failure::new(Code::Config, e, "[[model]], [[dataset]] or [[probe]]", "keep one of them")
        }
        PlanError::MissingInput { .. } => Failure::new(Code::Bug, e, "plan", "please report this"),
    })?;
    for subject in &mut subjects {
        for folder in subject.tables.values_mut().chain(&mut subject.repeats).flatten() {
            *folder = store.root().join(&*folder);
        }
        let settings = std::mem::take(&mut subject.settings).into_iter();
        subject.settings = settings.map(|(folder, words)| (store.root().join(folder), words)).collect();
    }
    Ok(Built {
        plan,
        store,
        report_dir: args.report.clone().unwrap_or(file.report),
        report: reports::Study {
            title: file.title,
            subjects,
            wanted: file.tables,
            notes: file.notes,
            ..reports::Study::default()
        },
        budget: file.budget,
        max_skip_frac: file.max_skip_frac,
    })
}

/// What to do about a device that is well named and not there.
pub const NO_DEVICE: &str = "leave --device out, or write cpu; `vitals doctor` tells what this machine has";

/// A device that is badly named, or not there.
pub fn device_failure(e: &vit::VitError, fix: &str) -> Failure {
    Failure::new(Code::Usage, e, "--device", fix)
}

/// Probes and measurements use rayon's threads; encoding and decoding have their own.
fn threads(cores: usize) -> Result<(), Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(cores).build_global();
    pool.map_err(|e| Failure::new(Code::Bug, e, "threads", "please report this"))
}

/// What to do about a change that a model cannot take.
const CHANGE: &str = "correct `edit` or `test_time_registers` of this [[model]]";

/// What the extraction of one model on one dataset means.
fn extract_params(file: &StudyFile, open: &OpenModel, dataset: &OpenDataset) -> Result<ExtractParams, Failure> {
    let table = &file.extract;
    let params = ExtractParams {
        edit: open.change.edit(),
        test_time_registers: open.change.registers(),
        // Portraits are shown beside their photos.
        pictures: if portrait::wanted(&file.portray, &dataset.name) {
            table.pictures.max(file.portray.images)
        } else {
            table.pictures
        },
        ..params(table, &open.spec, &open.model.weights_digest, (&dataset.table, &dataset.digest))?
    };
    params.check().map_err(|e| Failure::new(Code::Config, e, format!("model `{}`", open.model.name), CHANGE))?;
    Ok(params)
}

/// Hive folders of one model on one dataset.
pub fn partition(open: &OpenModel, dataset: &OpenDataset) -> Partition {
    vec![("model", open.model.name.clone()), ("dataset", dataset.name.clone())]
}

/// What the heads of one model are planned from.
pub struct AtHand<'a> {
    /// The study.
    pub file: &'a StudyFile,
    /// The model.
    pub model: &'a Arc<OpenModel>,
    /// All datasets.
    pub datasets: &'a [OpenDataset],
    /// The units that test-time registers take over.
    pub neurons: Option<TableRef>,
    /// Speed.
    pub tuning: Tuning,
    /// Where text encoders run.
    pub device: &'a DeviceChoice,
}

impl AtHand<'_> {
    /// A dataset that the model runs on, with its place among all.
    pub fn dataset(&self, name: &str) -> Option<(usize, &OpenDataset)> {
        let runs_on = |d: &OpenDataset| d.table.models.is_empty() || d.table.models.contains(&self.model.model.name);
        self.datasets.iter().enumerate().find(|(_, d)| d.name == name && runs_on(d))
    }

    /// What an extraction of a dataset would mean: how the model is changed, digests, the size of shards.
    pub fn params(&self, dataset: &OpenDataset) -> Result<ExtractParams, Failure> {
        extract_params(self.file, self.model, dataset)
    }

    /// The row of the report that scores called `name`, of images of a dataset, stand in.
    pub fn subject<'s>(
        &self,
        name: &str,
        (at, dataset): (usize, &OpenDataset),
        subjects: &'s mut Vec<(usize, Subject)>,
    ) -> Result<&'s mut Subject, Failure> {
        let model = &self.model.model.name;
        let known = subjects.iter().position(|(_, s)| s.model == *model && s.dataset == name);
        let i = if let Some(i) = known {
            i
        } else {
            let base = subject(self.file, self.model, dataset, &self.params(dataset)?)?;
            subjects.push((at, Subject { dataset: name.to_owned(), ..base }));
            subjects.len() - 1
        };
        Ok(&mut subjects[i].1)
    }
}

/// What a head learned from, in words.
pub fn learned_from(train: &OpenDataset, test: &OpenDataset) -> String {
    let images = train.source.manifest().entries.len();
    let judged = if train.name == test.name { ", the very images that it is judged on" } else { "" };
    format!("learned from {images} images of {}{judged}", train.name)
}

/// What the report says of one model on one dataset before anything was measured.
fn subject(
    file: &StudyFile,
    open: &OpenModel,
    dataset: &OpenDataset,
    params: &ExtractParams,
) -> Result<Subject, Failure> {
    Ok(Subject {
        model: open.model.name.clone(),
        weights: open.provenance,
        weights_note: open.note.clone(),
        weights_digest: open.model.weights_digest.clone(),
        leftover: open.leftover.clone(),
        dataset: dataset.name.clone(),
        preprocessing: in_words(&params.preprocess),
        precision: open.model.precision.to_string(),
        change: change::in_words(&open.change),
        wrapped_neighbours: file.extract.wrapped_neighbours,
        appended_registers: open.change.registers().map_or(0, |r| usize::from(r.registers)),
        outlier_policy: policy_in_words(&params.outliers),
        always_finds: matches!(params.outliers, OutlierPolicy::TopFraction { .. } | OutlierPolicy::NthLargest { .. }),
        site: params.outlier_site.to_string(),
        registers: open.spec.config.registers,
        follows: follows(&dataset.table.follows)?,
        departures: dataset.departures.clone(),
        ..Subject::default()
    })
}

/// Hive folders of scores that stand under a name of their own.
pub fn partition_of(open: &OpenModel, name: &str) -> Partition {
    vec![("model", open.model.name.clone()), ("dataset", name.to_owned())]
}

/// Plans calibration, extraction, measurement and portraits of one model on one dataset.
fn extraction(
    file: &StudyFile,
    open: &OpenModel,
    dataset: &OpenDataset,
    neurons: Option<TableRef>,
    tuning: Tuning,
    stages: &mut Vec<Box<dyn Stage>>,
) -> Result<(Subject, Vec<TableRef>), Failure> {
    let (table, config) = (&file.extract, &open.spec.config);
    let params = extract_params(file, open, dataset)?;
    let partition = partition(open, dataset);
    let mut subject = subject(file, open, dataset, &params)?;
    let cutoff = change::cutoff(&params, open, dataset, tuning, stages);
    take(&mut subject, cutoff.as_slice());
    let measure = MeasureParams {
        outlier_site: params.outlier_site.to_string(),
        last_block: config.depth - 1,
        truth_pixel_variance: table.truth_pixel_variance,
    };
    if portrait::wanted(&file.portray, &dataset.name) {
        let params = portrait::params(&file.portray, &params)?;
        subject.portrayed = in_words(&params.preprocess);
        let stage = portrait::stage(params, open, dataset, neurons.clone(), partition.clone(), tuning);
        take(&mut subject, &outputs_of(&stage));
        stages.push(Box::new(stage));
    }
    let discovers = discover::wanted(&file.discover, &dataset.name);
    if discovers {
        let params = discover::params(&file.discover, &params)?;
        let how = (partition.clone(), tuning);
        discover::add(&file.discover, params, (open, dataset), neurons.clone(), how, stages, &mut subject);
    }
    let stage = Extract {
        model: Arc::clone(&open.model),
        source: Arc::clone(&dataset.source),
        params,
        cutoff: cutoff.clone(),
        neurons,
        partition: partition.clone(),
        tuning,
    };
    let tables = outputs_of(&stage);
    take(&mut subject, &tables);
    stages.push(Box::new(stage));
    let read = tables.iter().filter(|t| ["token_stats", "norm_histograms"].contains(&t.table));
    let inputs = read.cloned().chain(cutoff).collect();
    let stage = Measure { params: measure, inputs, stats_sites: table.stats_sites.len(), partition };
    take(&mut subject, &outputs_of(&stage));
    stages.push(Box::new(stage));
    if has_truth(open, dataset) {
        let images = dataset.source.manifest().entries.len();
        subject.truth = truth::of_maps(config.registers, &open.change, images);
        if discovers && images >= ENOUGH {
            subject.truth.extend(truth::of_boxes(config.registers, &open.change));
        }
    }
    Ok((subject, tables))
}

/// Whether answers are known: of the planted model on the scenes that it was planted for.
fn has_truth(open: &OpenModel, dataset: &OpenDataset) -> bool {
    open.provenance == reports::Provenance::Planted && dataset.table.dataset == "synthetic"
}

/// Whether what is learned from a dataset has an answer that is known.
pub fn teaches_truth(open: &OpenModel, dataset: &OpenDataset) -> bool {
    has_truth(open, dataset) && dataset.source.manifest().entries.len() >= ENOUGH
}

/// Images from which a probe must have learned for its truth to hold.
const ENOUGH: usize = 300;

/// Adds the folders of some tables to what the report reads.
pub fn take(subject: &mut Subject, tables: &[TableRef]) {
    for table in tables {
        // Relative to the store, which is opened last.
        let folder = engine::store::relative_dir(table);
        let folders: &mut Vec<PathBuf> = subject.tables.entry(table.table.to_owned()).or_default();
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// The only test of this crate that plans: rayon's pool is made once in a process.
    #[test]
    fn models_come_one_after_another_and_threads_reach_the_probes() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let args = StudyArgs { limit: Some(8), threads: Some(3), store: Some(store.clone()), ..StudyArgs::default() };
        let built = build(&args, Access::Look).unwrap();
        assert_eq!(rayon::current_num_threads(), 3);
        assert!(!store.exists(), "looking creates nothing");
        let titles: Vec<String> = built.plan.steps.iter().map(engine::Step::title).collect();
        let extracted: Vec<&str> = titles.iter().filter_map(|t| t.strip_prefix("extract ")).collect();
        // Breaks when datasets are the outer loop, which opens every model once per dataset.
        let models = ["planted", "planted_reg4", "planted-edited", "planted-test-time-reg1"];
        let unchanged = |model: &str| models[..2].contains(&model);
        let wanted = models.iter().flat_map(|model| {
            // The other datasets are for the models that run unchanged, and some for dense heads alone.
            let datasets = if unchanged(model) { 3 } else { 2 };
            ["scenes-train", "scenes-test", "scenes-curves"]
                .into_iter()
                .take(datasets)
                .map(move |d| format!("{model} {d}"))
        });
        assert_eq!(extracted, wanted.collect::<Vec<_>>());
        // A changed model is judged by the cut-off of the model as it was trained, which is found once.
        let calibrated = titles.iter().filter(|t| t.starts_with("calibrate ")).count();
        assert_eq!(calibrated, 6, "{titles:#?}");
        let unlike: std::collections::BTreeSet<&String> = titles.iter().collect();
        assert_eq!(unlike.len(), titles.len(), "two steps have one title: {titles:#?}");
        let subjects = built.report.subjects.iter().map(|s| s.dataset.as_str());
        let subjects: Vec<&str> = subjects.filter(|d| ["scenes-train", "scenes-test"].contains(d)).collect();
        assert_eq!(subjects, [["scenes-train"; 4], ["scenes-test"; 4]].concat());
    }
}
