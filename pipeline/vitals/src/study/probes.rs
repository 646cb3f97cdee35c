//! The fits of a study: from `[[probe]]` to stages.

use engine::{Partition, Stage, outputs_of};
use probe::classify::{Average, Protocol};
use probe::{Experiment, LogisticParams, Pixels, Position, PositionModel, ProbeStage, Split, Standardise, VectorClass};
use reports::{Provenance, Subject};

use super::build::{Extraction, known, site, take};
use super::file::ProbeTable;
use super::truth;
use crate::failure::{Code, Failure};

/// Share of the largest standard deviation under which features are not amplified.
const FLOOR_FRAC: f64 = 1e-3;
/// Share of the images that the study tests on.
const STUDY_TEST_FRAC: f64 = 0.2;

/// Adds one stage per probe and model, and its scores to the report.
pub fn add(
    tables: &[ProbeTable],
    extractions: &[Extraction],
    stages: &mut Vec<Box<dyn Stage>>,
    subjects: &mut Vec<Subject>,
) -> Result<(), Failure> {
    for table in tables {
        let datasets = extractions.iter().map(|e| e.dataset.as_str());
        for name in [Some(&table.train), table.test.as_ref()].into_iter().flatten() {
            known("dataset", name, datasets.clone())?;
        }
        for train in extractions.iter().filter(|e| e.dataset == table.train) {
            let test = match &table.test {
                None => None,
                Some(name) => {
                    let of_model = |e: &&Extraction| e.dataset == *name && e.model.model.name == train.model.model.name;
                    // A model that was not run on the test set has no score there.
                    let Some(test) = extractions.iter().find(of_model) else { continue };
                    Some(test)
                }
            };
            let name = table.name.clone().unwrap_or_else(|| table.train.clone());
            let experiment = experiment(table, train.model.spec.config.depth, test.is_some())?;
            let partition: Partition = vec![("model", train.model.model.name.clone()), ("dataset", name.clone())];
            let stage = ProbeStage::new(experiment, &train.tables, test.map(|t| t.tables.as_slice()), partition)
                .map_err(|e| {
                    bad(&e, &format!("[[probe]] {} {name}", table.experiment), "correct the probe in the study")
                })?;
            let outputs = outputs_of(&stage);
            stages.push(Box::new(stage));
            report(subjects, train, test, &name, table, &outputs);
        }
    }
    Ok(())
}

fn bad(what: &dyn std::fmt::Display, at: &str, fix: &str) -> Failure {
    Failure::new(Code::Config, what, at, fix)
}

/// Scores go to the subject of their dataset's name; a probe over two datasets has a name, and so a subject, of its own.
fn report(
    subjects: &mut Vec<Subject>,
    train: &Extraction,
    test: Option<&Extraction>,
    name: &str,
    table: &ProbeTable,
    outputs: &[engine::TableRef],
) {
    let model = &train.model.model.name;
    let known = subjects.iter().position(|s| s.model == *model && s.dataset == name);
    let i = known.unwrap_or_else(|| {
        let of = subjects.iter().find(|s| s.model == *model && s.dataset == train.dataset);
        let base = of.cloned().unwrap_or_default();
        subjects.push(Subject {
            dataset: name.to_owned(),
            tables: std::collections::BTreeMap::new(),
            truth: Vec::new(),
            ..base
        });
        subjects.len() - 1
    });
    let subject = &mut subjects[i];
    take(subject, outputs);
    // Skipped images of both sides are counted where the numbers stand.
    for extraction in [Some(train), test].into_iter().flatten() {
        let skipped: Vec<_> = extraction.tables.iter().filter(|t| t.table == "skipped").cloned().collect();
        take(subject, &skipped);
    }
    if train.model.provenance == Provenance::Planted {
        let wanted = truth::of_probes(train.model.spec.config.registers, table.permute_labels);
        let of_this = wanted.into_iter().filter(|t| t.experiment == table.experiment);
        subject.truth.extend(of_this);
    }
}

fn experiment(table: &ProbeTable, depth: usize, two_runs: bool) -> Result<Experiment, Failure> {
    let at = format!("[[probe]] {}", table.experiment);
    // `block_10+norm` and the like are labels of the pooled table.
    let site = if table.site.ends_with("+norm") { table.site.clone() } else { site(&table.site, depth)?.to_string() };
    let subjects = table.kinds.clone();
    match table.experiment.as_str() {
        "token_class" | "pooled_class" => {
            let class = VectorClass { site, subjects, draws: table.draws, protocol: protocol(table, two_runs, &at)? };
            Ok(if table.experiment == "token_class" {
                Experiment::TokenClass(class)
            } else {
                Experiment::PooledClass(class)
            })
        }
        "position" => {
            let logistic = LogisticParams { standardise: standardise(table, &at)?, ..LogisticParams::default() };
            let model = PositionModel::Softmax { c: table.c.unwrap_or(1.0), logistic };
            Ok(Experiment::Position(Position {
                site,
                subjects,
                separate: table.separate,
                model,
                split: split(table, two_runs)?,
            }))
        }
        "pixels" => {
            let ridge = table.penalty.unwrap_or(1.0);
            Ok(Experiment::Pixels(Pixels { site, subjects, ridge, split: split(table, two_runs)? }))
        }
        other => Err(bad(
            &format!("unknown experiment `{other}`"),
            &at,
            "write token_class, pooled_class, position or pixels",
        )),
    }
}

fn protocol(table: &ProbeTable, two_runs: bool, at: &str) -> Result<Protocol, Failure> {
    let average = if table.macro_average { Average::Macro } else { Average::Micro };
    let split = split(table, two_runs)?;
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

fn split(table: &ProbeTable, two_runs: bool) -> Result<Split, Failure> {
    match (&table.split, two_runs) {
        (None, true) => Ok(Split::Datasets),
        (None, false) => Ok(Split::Sklearn { test_frac: STUDY_TEST_FRAC, seed: 42 }),
        (Some(split), false) => Ok(*split),
        (Some(_), true) => Err(bad(
            &"a probe with a `test` dataset needs no split",
            &format!("[[probe]] {}", table.experiment),
            "remove `split` or `test`",
        )),
    }
}

fn standardise(table: &ProbeTable, at: &str) -> Result<Standardise, Failure> {
    match table.standardise.as_deref() {
        None | Some("none") => Ok(Standardise::None),
        Some("floor") => Ok(Standardise::Floor { frac: FLOOR_FRAC }),
        Some(other) => Err(bad(&format!("unknown standardise `{other}`"), at, "write none or floor")),
    }
}
