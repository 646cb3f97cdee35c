//! From a study file to a plan: one extraction per (model, dataset), then what reads its tables.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::plan::PlanError;
use engine::{Budget, Partition, Plan, Stage, Store, TableRef, outputs_of};
use extract::{Calibrate, Extract, ExtractParams, PoolSite, Tuning};
use measure::{Measure, MeasureParams};
use reports::Subject;
use vit::Site;
use vit::executor::{Precision, devices};

use super::dataset::{OpenDataset, open};
use super::file::{ExtractTable, StudyFile, nearest};
use super::model::{OpenModel, resolve};
use super::preprocess::{in_words, preprocess};
use super::{embedded, probes, truth};
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
}

/// Reads, checks and plans a study.
pub fn build(args: &StudyArgs) -> Result<Built, Failure> {
    let (file, folder) = match &args.study {
        Some(path) => (StudyFile::read(path)?, path.parent().unwrap_or(Path::new("")).to_owned()),
        None => (StudyFile::parse(embedded::TEXT, embedded::ORIGIN)?, PathBuf::new()),
    };
    let config = |e: &dyn std::fmt::Display, at: &str, fix: &str| Failure::new(Code::Config, e, at, fix);
    let usage = |e: vit::VitError| Failure::new(Code::Usage, e, "--device", "write auto, cpu, cuda:N or cuda:N,M");
    let device = devices(args.device.as_deref().unwrap_or("auto")).map_err(usage)?;
    let precision: Precision = file
        .extract
        .precision
        .parse()
        .map_err(|e: vit::VitError| config(&e, "[extract] precision", "write f32, bf16 or f16"))?;
    file.extract.outliers.check().map_err(|e| config(&e, "[extract] outliers", "correct the number"))?;
    let cores = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut on_gpu = false;
    for one in &device {
        on_gpu |= !one.resolve().map_err(usage)?.is_cpu();
    }
    let tuning = if on_gpu { Tuning::device(device.len(), cores, 32) } else { Tuning::cpu(cores) };

    let mut models = Vec::new();
    for table in &file.models {
        models.push(Arc::new(resolve(table, &folder, &device, precision)?));
    }
    unique("model", models.iter().map(|m| m.model.name.as_str()))?;
    let mut datasets = Vec::new();
    for table in &file.datasets {
        datasets.push(open(table, &folder, args.limit)?);
    }
    unique("dataset", datasets.iter().map(|d| d.name.as_str()))?;

    let mut stages: Vec<Box<dyn Stage>> = Vec::new();
    let mut subjects = Vec::new();
    let mut extractions = Vec::new();
    for dataset in &datasets {
        for wanted in &dataset.table.models {
            known("model", wanted, models.iter().map(|m| m.model.name.as_str()))?;
        }
        for model in
            models.iter().filter(|m| dataset.table.models.is_empty() || dataset.table.models.contains(&m.model.name))
        {
            let (subject, tables) = extraction(&file.extract, model, dataset, tuning, &mut stages)?;
            subjects.push(subject);
            extractions.push(Extraction { model: Arc::clone(model), dataset: dataset.name.clone(), tables });
        }
    }
    probes::add(&file.probes, &extractions, &mut stages, &mut subjects)?;

    let plan = Plan::new(stages).map_err(|e| match e {
        PlanError::Twice { .. } => config(&e, "[[model]], [[dataset]] or [[probe]]", "keep one of them"),
        PlanError::MissingInput { .. } => Failure::new(Code::Bug, e, "plan", "please report this"),
    })?;
    let store = Store::open(args.store.as_ref().unwrap_or(&file.store))?;
    for subject in &mut subjects {
        for folders in subject.tables.values_mut() {
            for folder in folders {
                *folder = store.root().join(&*folder);
            }
        }
    }
    Ok(Built {
        plan,
        store,
        report_dir: args.report.clone().unwrap_or(file.report),
        report: reports::Study { title: file.title, subjects, wanted: file.tables, notes: file.notes },
        budget: file.budget,
        max_skip_frac: file.max_skip_frac,
    })
}

/// Plans calibration, extraction and measurement of one model on one dataset.
fn extraction(
    table: &ExtractTable,
    open: &OpenModel,
    dataset: &OpenDataset,
    tuning: Tuning,
    stages: &mut Vec<Box<dyn Stage>>,
) -> Result<(Subject, Vec<TableRef>), Failure> {
    let config = &open.spec.config;
    let site = |name: &String| site(name, config.depth);
    let params = ExtractParams {
        model: config.clone(),
        weights: open.model.weights_digest.clone(),
        precision: open.model.precision,
        dataset: dataset.digest.clone(),
        preprocess: preprocess(&dataset.table.preprocess, &open.spec)?,
        outliers: table.outliers,
        outlier_site: site(&table.outlier_site)?,
        stats_sites: table.stats_sites.iter().map(site).collect::<Result<_, _>>()?,
        vector_sites: table.vector_sites.iter().map(site).collect::<Result<_, _>>()?,
        pooled: table.pooled.iter().map(|name| pool_site(name, config.depth)).collect::<Result<_, _>>()?,
        draws: table.draws,
        seed: table.seed,
        pictures: table.pictures,
        shard_images: table.shard_images.max(1),
    };
    let partition: Partition = vec![("model", open.model.name.clone()), ("dataset", dataset.name.clone())];
    let mut subject = Subject {
        model: open.model.name.clone(),
        weights: open.provenance,
        weights_note: open.note.clone(),
        weights_digest: open.model.weights_digest.clone(),
        leftover: open.leftover.clone(),
        dataset: dataset.name.clone(),
        preprocessing: in_words(&params.preprocess),
        precision: open.model.precision.to_string(),
        outlier_policy: policy_in_words(&params.outliers),
        site: params.outlier_site.to_string(),
        registers: config.registers,
        follows: follows(&dataset.table.follows)?,
        departures: dataset.departures.clone(),
        ..Subject::default()
    };
    let mut cutoff = None;
    if let Some(images) = params.outliers.calibration_images() {
        let stage = Calibrate {
            model: Arc::clone(&open.model),
            source: Arc::clone(&dataset.source),
            params: params.clone(),
            images,
            partition: partition.clone(),
            tuning,
        };
        cutoff = outputs_of(&stage).pop();
        take(&mut subject, &outputs_of(&stage));
        stages.push(Box::new(stage));
    }
    let measure = MeasureParams {
        outlier_site: params.outlier_site.to_string(),
        last_block: config.depth - 1,
        truth_pixel_variance: table.truth_pixel_variance,
    };
    let stage = Extract {
        model: Arc::clone(&open.model),
        source: Arc::clone(&dataset.source),
        params,
        cutoff,
        partition: partition.clone(),
        tuning,
    };
    let tables = outputs_of(&stage);
    take(&mut subject, &tables);
    stages.push(Box::new(stage));
    let inputs = tables.iter().filter(|t| ["token_stats", "norm_histograms"].contains(&t.table)).cloned().collect();
    let stage = Measure { params: measure, inputs, partition };
    take(&mut subject, &outputs_of(&stage));
    stages.push(Box::new(stage));
    if open.provenance == reports::Provenance::Planted {
        subject.truth = truth::of_maps(config.registers);
    }
    Ok((subject, tables))
}

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

/// A site by name; `last` is the last block.
pub fn site(name: &str, depth: usize) -> Result<Site, Failure> {
    let fail =
        |e: vit::VitError| Failure::new(Code::Config, e, format!("site `{name}`"), "correct the site in the study");
    let site = if name == "last" { Site::Block(depth as u16 - 1) } else { name.parse().map_err(fail)? };
    match site.block() {
        Some(block) if block as usize >= depth => Err(fail(vit::VitError::NoSuchBlock { site, depth })),
        _ => Ok(site),
    }
}

fn pool_site(name: &str, depth: usize) -> Result<PoolSite, Failure> {
    let (plain, normed) = name.strip_suffix("+norm").map_or((name, false), |plain| (plain, true));
    Ok(PoolSite { site: site(plain, depth)?, normed })
}

fn policy_in_words(policy: &schemas::outlier::OutlierPolicy) -> String {
    use schemas::outlier::{OutlierPolicy as P, Scope};
    match policy {
        P::Fixed { cutoff } => format!("norm above {cutoff}"),
        P::TopFraction { frac, over: Scope::Image } => format!("top {} % of each image", 100.0 * frac),
        P::TopFraction { frac, over: Scope::All { images } } => format!("top {} % over {images} images", 100.0 * frac),
        P::NthLargest { n } => format!("above the {n}th largest of each image"),
        P::Valley { images } => format!("above the valley of the norms of {images} images"),
    }
}

/// Whose protocol a dataset is read under.
fn follows(names: &[String]) -> Result<BTreeSet<reports::Source>, Failure> {
    let source = |name: &String| match name.as_str() {
        "paper" => Ok(reports::Source::Paper),
        "study" => Ok(reports::Source::Study),
        other => {
            let what = format!("`{other}` published nothing");
            Err(Failure::new(Code::Config, what, "[[dataset]] follows", "write paper or study"))
        }
    };
    names.iter().map(source).collect()
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            let fix = format!("give one of them another `name` under [[{what}]]");
            return Err(Failure::new(
                Code::Config,
                format!("two {what}s are called `{name}`"),
                format!("[[{what}]]"),
                fix,
            ));
        }
    }
    Ok(())
}

/// An error that names the nearest, unless `wanted` is among `names`.
pub fn known<'a>(what: &str, wanted: &str, names: impl Iterator<Item = &'a str> + Clone) -> Result<(), Failure> {
    if names.clone().any(|n| n == wanted) {
        return Ok(());
    }
    let fix = nearest(wanted, names).map_or_else(String::new, |best| format!("did you mean `{best}`?"));
    Err(Failure::new(Code::Config, format!("the study has no {what} called `{wanted}`"), format!("[[{what}]]"), fix))
}
