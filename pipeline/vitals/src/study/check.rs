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
    for model in &models {
        told_apart(file, &model.name)?;
    }
    Ok(models)
}

/// An error where two heads of one model would stand under one name in every table, so that one would hide the other.
fn told_apart(file: &StudyFile, model: &str) -> Result<(), Failure> {
    let runs_on = |name: &str| {
        let table = file.datasets.iter().find(|d| dataset::name(d) == name);
        table.is_some_and(|d| d.models.is_empty() || d.models.iter().any(|m| m == model))
    };
    let named = |name: &Option<String>, test: &str| name.clone().unwrap_or_else(|| test.to_owned());
    let dense = file.dense.iter().filter(|t| runs_on(&t.train) && runs_on(&t.test));
    let dense = dense.map(|t| ("[[dense]]", t.recipe.clone(), named(&t.name, &t.test), t.permute_labels));
    let linear = file.linear_eval.iter().filter(|t| runs_on(&t.train) && runs_on(&t.test));
    let linear = linear.map(|t| ("[[linear_eval]]", String::new(), named(&t.name, &t.test), t.permute_labels));
    let called = |t: &_| zero_shot::sentences(t).map(|(called, _)| called).unwrap_or_default();
    let zero_shot = file.zero_shot.iter().filter(|t| runs_on(&t.dataset));
    let zero_shot = zero_shot.map(|t| ("[[zero_shot]]", called(t), named(&t.name, &t.dataset), t.permute_labels));
    let mut seen = BTreeSet::new();
    for head in dense.chain(linear).chain(zero_shot) {
        if let Some((table, what, name, _)) = seen.replace(head) {
            let what = format!("two scores of {model} would both be called `{name}` {what}").trim_end().to_owned();
            return Err(Failure::new(Code::Config, what, table, "give one of them another `name`"));
        }
    }
    Ok(())
}

/// How many classes a dataset has, it says later: enough for a softmax even if one of them is nothing.
const MADE_UP_CLASSES: usize = 3;

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
            dense::protocol(table, &model.spec, MADE_UP_CLASSES)?;
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// Breaks when of two heads of one name the report shows one, with the other's spread.
    #[test]
    fn two_heads_of_one_name_are_refused() {
        let study = |more: &str| {
            let head = "[[dense]]\nrecipe = \"quick_cells\"\ntrain = \"a\"\ntest = \"b\"\n";
            let text = format!(
                "title = \"t\"\n[[model]]\nmodel = \"planted\"\n[[dataset]]\ndataset = \"synthetic\"\nname = \"a\"\n\
                 [[dataset]]\ndataset = \"synthetic\"\nname = \"b\"\nseed = 1\n{head}{head}{more}\n"
            );
            let file = StudyFile::parse(&text, "x.toml").unwrap();
            check(&file).map(|_| ()).map_err(|e| format!("{e:?}"))
        };
        let refused = study("epochs = 2").unwrap_err();
        assert!(refused.contains("both be called `b` quick_cells") && refused.contains("another `name`"), "{refused}");
        assert_eq!(study("name = \"short\"\nepochs = 2"), Ok(()));
        assert_eq!(study("permute_labels = true"), Ok(()));
    }
}
