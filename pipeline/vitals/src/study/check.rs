//! Everything of a study that can be wrong without looking at any data: a mistake in the last probe must not be found
//! after gigabytes of weights were read.

use std::collections::BTreeSet;

use vit::executor::Precision;

use super::dataset;
use super::dense;
use super::discover;
use super::file::{DatasetTable, StudyFile};
use super::linear_eval;
use super::mistake::nearest;
use super::model::{Declared, declare};
use super::params::{params, precision};
use super::portrait;
use super::probes::{check_site, experiments};
use super::zero_shot;
use crate::failure::{Code, Failure};

/// Checks names, sites, numbers and splits; gives the models, which were looked up on the way.
pub fn check(file: &StudyFile) -> Result<Vec<Declared<'_>>, Failure> {
    let config = |e: &dyn std::fmt::Display, at: &str, fix: &str| Failure::new(Code::Config, e, at, fix);
    reports::check_wanted(&file.tables).map_err(|e| config(&e, "tables", "correct the name in the study"))?;
    file.extract.outliers.check().map_err(|e| config(&e, "[extract] outliers", "correct the number"))?;
    let models = file.models.iter().map(declare).collect::<Result<Vec<_>, _>>()?;
    unique("model", models.iter().map(|m| m.name.as_str()))?;
    let f32 = precision(&file.extract)? == Precision::F32;
    for model in &models {
        model.check_change(f32)?;
        if let Some(name) = model.neurons_on() {
            let runs_on = |d: &&DatasetTable| d.models.is_empty() || d.models.contains(&model.name);
            known("dataset", name, file.datasets.iter().filter(runs_on).map(dataset::name))?;
        }
    }
    unique("dataset", file.datasets.iter().map(dataset::name))?;
    for table in &file.datasets {
        dataset::check(table)?;
        follows(&table.follows)?;
        for wanted in &table.models {
            known("model", wanted, models.iter().map(|m| m.name.as_str()))?;
        }
        for model in &models {
            if table.extract && (table.models.is_empty() || table.models.contains(&model.name)) {
                let params = params(&file.extract, &model.spec, "", (table, ""))?;
                if portrait::wanted(&file.portray, dataset::name(table)) {
                    portrait::params(&file.portray, &params)?;
                }
                if discover::wanted(&file.discover, dataset::name(table)) {
                    discover::params(&file.discover, &params)?;
                }
            }
        }
    }
    for name in file.portray.datasets.iter().chain(&file.discover.datasets) {
        known("dataset", name, file.datasets.iter().map(dataset::name))?;
        extracted(name, file)?;
    }
    for table in &file.probes {
        for name in table.train.iter().chain(&table.test) {
            known("dataset", name, file.datasets.iter().map(dataset::name))?;
            extracted(name, file)?;
        }
        for model in &models {
            experiments(table, model.spec.config.depth)?;
            check_site(table, &file.extract, model.spec.config.depth)?;
        }
    }
    heads(file, &models)?;
    Ok(models)
}

/// The same of heads and of zero-shot classification.
fn heads(file: &StudyFile, models: &[Declared<'_>]) -> Result<(), Failure> {
    let datasets = || file.datasets.iter().map(dataset::name);
    for table in &file.dense {
        known("dataset", &table.train, datasets())?;
        known("dataset", &table.test, datasets())?;
        if table.seeds.is_empty() {
            let at = format!("[[dense]] {} on {}", table.recipe, table.train);
            return Err(Failure::new(Code::Config, "`seeds` is empty", at, "write at least one"));
        }
        for model in models {
            // How many classes there are, the dataset may say later.
            dense::protocol(table, &model.spec, 2)?;
        }
    }
    for table in &file.linear_eval {
        known("dataset", &table.train, datasets())?;
        known("dataset", &table.test, datasets())?;
        for model in models {
            linear_eval::params(table, model.spec.config.depth)?;
            linear_eval::check_sites(table, &file.extract, model.spec.config.depth)?;
        }
    }
    for table in &file.zero_shot {
        known("dataset", &table.dataset, datasets())?;
        zero_shot::sentences(table)?;
        if !file.extract.pooled.iter().any(|site| site == "final") {
            let at = format!("[[zero_shot]] {}", table.dataset);
            let fix = "add \"final\" to `pooled` under [extract]";
            return Err(Failure::new(Code::Config, "`pooled` keeps no final vectors", at, fix));
        }
    }
    Ok(())
}

/// An error for a dataset whose tokens are wanted and that says they are not.
fn extracted(name: &str, file: &StudyFile) -> Result<(), Failure> {
    if file.datasets.iter().any(|d| dataset::name(d) == name && !d.extract) {
        let what = format!("dataset `{name}` has `extract = false`, and its tokens are asked for");
        return Err(Failure::new(Code::Config, what, "[[dataset]]", "remove that key, or the dataset from the others"));
    }
    Ok(())
}

/// Whose protocol a dataset is read under.
pub fn follows(names: &[String]) -> Result<BTreeSet<reports::Source>, Failure> {
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

/// An error unless all names differ.
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
