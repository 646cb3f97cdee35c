//! The fits of a study: from `[[probe]]` to stages.

use std::collections::BTreeSet;

use engine::{Partition, Stage, outputs_of};
use probe::classify::{Average, Protocol};
use probe::{
    Curve, Experiment, Knn, Knobs, LogisticParams, Pixels, Position, PositionModel, ProbeCurve, ProbeStage, Split,
    Standardise, VectorClass,
};
use reports::Subject;

use super::build::{Extraction, take};
use super::dataset::OpenDataset;
use super::file::{ExtractTable, ProbeTable};
use super::mistake::nearest;
use super::params::pool_site;
use super::truth;
use crate::failure::{Code, Failure};

/// Share of the largest standard deviation under which features are not amplified.
const FLOOR_FRAC: f64 = 1e-3;
/// Share of the images that the study tests on.
const STUDY_TEST_FRAC: f64 = 0.2;

/// Adds one stage per probe, model and repeat, and its scores to the report.
pub fn add(
    tables: &[ProbeTable],
    extractions: &[Extraction],
    datasets: &[OpenDataset],
    (threads, memory_bytes): (usize, Option<u64>),
    stages: &mut Vec<Box<dyn Stage>>,
    subjects: &mut Vec<Subject>,
) -> Result<(), Failure> {
    for table in tables {
        for first in extractions.iter().filter(|e| table.train.first() == Some(&e.dataset)) {
            let of_model = |name: &String| {
                extractions.iter().find(|e| e.dataset == *name && e.model.model.name == first.model.model.name)
            };
            // A model that was not run on all of these has no score there.
            let Some(trains) = table.train.iter().map(of_model).collect::<Option<Vec<_>>>() else { continue };
            let Some(test) = table.test.as_ref().map(of_model).map_or(Some(None), |t| t.map(Some)) else { continue };
            // Neighbours are looked up, not fitted: what is said is of the images that ask.
            let asked = test.filter(|_| table.experiment == "knn").map_or(&first.dataset, |test| &test.dataset);
            let name = table.name.as_ref().unwrap_or(asked);
            let config = &first.model.spec.config;
            let partition: Partition = vec![("model", first.model.model.name.clone()), ("dataset", name.clone())];
            let (mut outputs, mut curves, mut settings) = (Vec::new(), Vec::new(), String::new());
            for (train, experiment) in trains.iter().zip(experiments(table, config.depth)?) {
                let tested = test.map(|t| t.tables.as_slice());
                settings = experiment.settings();
                let wrong = |e: probe::ProbeError| {
                    bad(&e, &format!("[[probe]] {} {name}", table.experiment), "correct the probe in the study")
                };
                if let Some(steps) = table.curve_steps {
                    let knobs = Knobs { steps, ..Knobs::default() };
                    let curve = Curve { experiment: experiment.clone(), knobs };
                    let stage = ProbeCurve::new(curve, &train.tables, tested, partition.clone()).map_err(wrong)?;
                    let stage = stage.sized(config.width);
                    curves.extend(outputs_of(&stage));
                    stages.push(Box::new(stage));
                }
                let stage = ProbeStage::new(experiment, &train.tables, tested, partition.clone()).map_err(wrong)?;
                let classes = datasets.iter().find(|d| d.name == train.dataset);
                let classes = classes.map_or(0, |d| d.source.manifest().classes.len());
                let stage = stage.sized(config.width, threads).of_classes(classes);
                let stage = memory_bytes.map_or(stage.clone(), |bytes| stage.within(bytes));
                outputs.push(outputs_of(&stage));
                stages.push(Box::new(stage));
            }
            if let Some(subject) = report(subjects, &trains, test, name, table, (&outputs, &settings)) {
                take(subject, &curves);
            }
        }
    }
    Ok(())
}

/// An error when a dataset of a classification has no labels, or a test set has images of a class whose name the
/// training set does not know.
pub fn check_classes(tables: &[ProbeTable], datasets: &[OpenDataset]) -> Result<(), Failure> {
    let find = |name: &String| datasets.iter().find(|d| d.name == *name).map(|d| d.source.manifest());
    for table in tables.iter().filter(|t| t.experiment.ends_with("_class") || t.experiment == "knn") {
        for name in table.train.iter().chain(&table.test) {
            if find(name).is_some_and(|manifest| manifest.entries.iter().all(|e| e.label.is_none())) {
                return Err(bad(
                    &format!("dataset `{name}` has no labels, so no class can be learned or tested"),
                    &format!("[[probe]] {}", table.experiment),
                    "remove the probe, or use a dataset with labels, such as `folders` (one folder per class)",
                ));
            }
        }
        let (Some(train), Some(test)) = (table.train.first().and_then(find), table.test.as_ref().and_then(find)) else {
            continue;
        };
        if train.classes.is_empty() {
            continue;
        }
        let tested: BTreeSet<u32> = test.entries.iter().filter_map(|e| e.label).collect();
        let tested = tested.into_iter().filter_map(|label| test.classes.get(label as usize));
        if let Some(class) = tested.into_iter().find(|class| !train.classes.contains(class)) {
            let near = nearest(class, train.classes.iter().map(String::as_str)).unwrap_or_default();
            return Err(bad(
                &format!("the test set has images of a class `{class}`, which the training set does not know"),
                &format!("[[probe]] {} {}", table.experiment, table.name.as_ref().unwrap_or(&table.train[0])),
                &format!("name classes alike (the nearest is `{near}`), or choose `classes` of the test set"),
            ));
        }
    }
    Ok(())
}

/// An error unless the extraction keeps what the probe reads.
pub fn check_site(table: &ProbeTable, extract: &ExtractTable, depth: usize) -> Result<(), Failure> {
    let (key, kept) = match table.experiment.as_str() {
        "pooled_class" | "knn" => ("pooled", &extract.pooled),
        _ => ("vector_sites", &extract.vector_sites),
    };
    let label = |name: &String| pool_site(name, depth).map(|site| site.label());
    if kept.iter().map(label).collect::<Result<Vec<_>, _>>()?.contains(&label(&table.site)?) {
        return Ok(());
    }
    let (site, kept) = (&table.site, kept.join(", "));
    Err(bad(
        &format!("the probe reads site `{site}`, which is not kept: `{key}` has {kept}"),
        &format!("[[probe]] {}", table.experiment),
        &format!("add it to `{key}` under [extract], or give the probe another `site`"),
    ))
}

fn bad(what: &dyn std::fmt::Display, at: &str, fix: &str) -> Failure {
    Failure::new(Code::Config, what, at, fix)
}

/// Scores go to the subject of their dataset's name; a probe over two datasets has a name, and so a subject, of its own.
fn report<'s>(
    subjects: &'s mut Vec<Subject>,
    trains: &[&Extraction],
    test: Option<&Extraction>,
    name: &str,
    table: &ProbeTable,
    (outputs, settings): (&[Vec<engine::TableRef>], &str),
) -> Option<&'s mut Subject> {
    let train = trains.first()?;
    let model = &train.model.model.name;
    let known = subjects.iter().position(|s| s.model == *model && s.dataset == name);
    let i = known.unwrap_or_else(|| {
        let of = subjects.iter().find(|s| s.model == *model && s.dataset == train.dataset);
        let base = of.cloned().unwrap_or_default();
        subjects.push(Subject {
            dataset: name.to_owned(),
            tables: std::collections::BTreeMap::new(),
            repeats: Vec::new(),
            settings: std::collections::BTreeMap::new(),
            truth: Vec::new(),
            ..base
        });
        subjects.len() - 1
    });
    let subject = &mut subjects[i];
    let folders = outputs.iter().flatten().map(engine::store::relative_dir);
    subject.settings.extend(folders.map(|folder| (folder, settings.to_owned())));
    match outputs {
        [one] => take(subject, one),
        several => subject.repeats.push(several.iter().flatten().map(engine::store::relative_dir).collect()),
    }
    // Skipped images of both sides are counted where the numbers stand.
    for extraction in trains.iter().copied().chain(test) {
        let skipped: Vec<_> = extraction.tables.iter().filter(|t| t.table == "skipped").cloned().collect();
        take(subject, &skipped);
    }
    if train.teaches_truth && test.is_none_or(|test| test.teaches_truth) {
        let wanted = truth::of_probes(train.model.spec.config.registers, &train.model.change, table.permute_labels);
        let of_this = wanted.into_iter().filter(|t| t.experiment == table.experiment);
        subject.truth.extend(of_this);
    }
    Some(subject)
}

/// The experiment of a probe, once for each dataset of `train`; checked as far as a study file can be.
pub fn experiments(table: &ProbeTable, depth: usize) -> Result<Vec<Experiment>, Failure> {
    let at = format!("[[probe]] {}", table.experiment);
    let repeats = table.train.len();
    if repeats == 0 {
        return Err(bad(&"the probe has nothing to learn from", &at, "name a dataset as `train`"));
    }
    if repeats > 1 && (table.name.is_none() || table.test.is_some()) {
        let fix = "give it a `name` and no `test`";
        return Err(bad(&"a probe of several datasets splits each and has one row for all", &at, fix));
    }
    if !table.seeds.is_empty() && table.seeds.len() != repeats {
        let what = format!("{} seeds for {repeats} datasets to learn from", table.seeds.len());
        return Err(bad(&what, &at, "write one seed for each dataset of `train`"));
    }
    (0..repeats)
        .map(|k| {
            let experiment = experiment(table, depth, table.seeds.get(k).copied())?;
            experiment.check().map_err(|e| bad(&e, &at, "correct the probe in the study"))?;
            Ok(experiment)
        })
        .collect()
}

fn experiment(table: &ProbeTable, depth: usize, seed: Option<u32>) -> Result<Experiment, Failure> {
    let at = format!("[[probe]] {}", table.experiment);
    let site = pool_site(&table.site, depth)?.label();
    let subjects = table.kinds.clone();
    let split = split(table, seed)?;
    match table.experiment.as_str() {
        name @ ("token_class" | "pooled_class" | "multi_label") => {
            let class = VectorClass { site, subjects, draws: table.draws, protocol: protocol(table, split, &at)? };
            Ok(match name {
                "token_class" => Experiment::TokenClass(class),
                "pooled_class" => Experiment::PooledClass(class),
                _ => Experiment::MultiLabel(class),
            })
        }
        "knn" => {
            let mut knn = Knn::dinov2(&site, split);
            if !subjects.is_empty() {
                knn.subjects = subjects;
            }
            knn.k = table.k.clone().unwrap_or(knn.k);
            knn.temperature = table.temperature.unwrap_or(knn.temperature);
            knn.n_per_class.clone_from(&table.n_per_class);
            knn.tries = table.tries;
            knn.permute_labels = table.permute_labels.then_some(0);
            Ok(Experiment::Knn(knn))
        }
        "position" => {
            let logistic = LogisticParams { standardise: standardise(table, &at)?, ..LogisticParams::default() };
            let ridge = table.penalty.unwrap_or(0.0);
            let model = match table.position.as_str() {
                "softmax" => PositionModel::Softmax { c: table.c.unwrap_or(1.0), logistic },
                "least_squares" => PositionModel::LeastSquares { ridge },
                "flat_index" => PositionModel::FlatIndex { ridge },
                other => {
                    let what = format!("unknown model of position `{other}`");
                    return Err(bad(&what, &at, "write softmax, least_squares or flat_index"));
                }
            };
            Ok(Experiment::Position(Position { site, subjects, separate: table.separate, model, split }))
        }
        "pixels" => {
            let ridge = table.penalty.unwrap_or(1.0);
            Ok(Experiment::Pixels(Pixels { site, subjects, ridge, split }))
        }
        other => Err(bad(
            &format!("unknown experiment `{other}`"),
            &at,
            "write token_class, pooled_class, knn, multi_label, position or pixels",
        )),
    }
}

fn protocol(table: &ProbeTable, split: Split, at: &str) -> Result<Protocol, Failure> {
    let average = if table.macro_average { Average::Macro } else { Average::Micro };
    let mut protocol = match table.protocol.as_str() {
        "dinov2" => Protocol::dinov2_logreg(split, average),
        "study" => Protocol::fixed_c(1.0, split),
        "fixed" => Protocol::fixed_c(table.c.unwrap_or(1.0), split),
        other => return Err(bad(&format!("unknown protocol `{other}`"), at, "write dinov2, study or fixed")),
    };
    protocol.average = average;
    protocol.logistic.standardise = standardise(table, at)?;
    protocol.permute_labels = table.permute_labels.then_some(0);
    Ok(protocol)
}

fn split(table: &ProbeTable, seed: Option<u32>) -> Result<Split, Failure> {
    let at = format!("[[probe]] {}", table.experiment);
    let of_one = table.split.unwrap_or(Split::Sklearn { test_frac: STUDY_TEST_FRAC, seed: 42 });
    match (&table.test, table.split, seed) {
        (Some(_), None, None) => Ok(Split::Datasets),
        (Some(_), ..) => {
            Err(bad(&"a probe with a `test` dataset needs no split", &at, "remove `split`, `seeds` or `test`"))
        }
        (None, _, None) => Ok(of_one),
        (None, _, Some(seed)) => match of_one {
            Split::Random { test_frac, .. } => Ok(Split::Random { test_frac, seed }),
            Split::Sklearn { test_frac, .. } => Ok(Split::Sklearn { test_frac, seed }),
            Split::SklearnRows { test_frac, .. } => Ok(Split::SklearnRows { test_frac, seed }),
            _ => Err(bad(&"the split has no seed", &at, "remove `seeds`, or split by sklearn or random")),
        },
    }
}

fn standardise(table: &ProbeTable, at: &str) -> Result<Standardise, Failure> {
    match table.standardise.as_deref() {
        None | Some("none") => Ok(Standardise::None),
        Some("floor") => Ok(Standardise::Floor { frac: FLOOR_FRAC }),
        Some(other) => Err(bad(&format!("unknown standardise `{other}`"), at, "write none or floor")),
    }
}
