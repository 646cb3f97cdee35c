//! `vitals compare`: two nights or two models, number by number.

use std::collections::BTreeSet;
use std::path::PathBuf;

use reports::render::{legible, number};
use reports::tables::Unit;

use super::{columns, counted, no_store, say};
use crate::cli::CompareArgs;
use crate::failure::{Code, Failure};
use crate::study::mistake::nearest;
use crate::twins::{Comparison, Number, Twins, read};

/// One side of a comparison.
struct Side {
    name: String,
    numbers: Vec<Number>,
}

/// Compares, prints, and fails when asked to.
pub fn compare(args: &CompareArgs) -> Result<(), Failure> {
    if args.fail_above.is_some_and(|z| z.is_nan() || z < 0.0) {
        let fix = "write a number of standard errors, such as 4";
        return Err(Failure::new(Code::Usage, "no difference can be below that", "--fail-above", fix));
    }
    let [a, b] = sides(args)?;
    let across = !args.models.is_empty();
    let comparison = Comparison::of(&a.numbers, &b.numbers, across);
    if comparison.twins.is_empty() {
        let what = format!("no number of {} has a twin in {}", a.name, b.name);
        let fix = "compare stores of one study, or models that were run on the same datasets";
        return Err(Failure::new(Code::Missing, what, "compare", fix));
    }
    let sentences = sentences(&a, &b, across);
    say(&match (args.json, args.csv) {
        (true, _) => json(&a, &b, &comparison, &sentences),
        (_, true) => csv(&comparison),
        _ => in_words(&a, &b, &comparison, &sentences, args.rows),
    })?;
    args.fail_above.map_or(Ok(()), |limit| judge(&comparison, limit))
}

fn sides(args: &CompareArgs) -> Result<[Side; 2], Failure> {
    let default = [PathBuf::from("vitals-store")];
    let stores = if args.stores.is_empty() { &default[..] } else { &args.stores[..] };
    let [first, last] = [&stores[0], &stores[stores.len() - 1]];
    if stores.len() == 1 && args.models.is_empty() {
        let fix = "give two stores, or two models of one: vitals compare STORE --models A B";
        return Err(Failure::new(Code::Usage, "one store has nothing to be compared with", first.display(), fix));
    }
    if let Some(missing) = stores.iter().find(|store| !store.is_dir()) {
        if !args.models.is_empty() {
            return Err(no_store(missing));
        }
        let what = format!("there is no store at {}", missing.display());
        let fix = "give the folders of two stores; for two models of one store, --models A B";
        return Err(Failure::new(Code::Missing, what, "compare", fix));
    }
    let side = |store: &PathBuf, at: usize| {
        let mut numbers = read(store).map_err(|(path, what)| {
            let fix = "remove the damaged part with its `.done` and run the study again";
            Failure::new(Code::Missing, what, path.display(), fix)
        })?;
        let mut name = store.display().to_string();
        if let Some(model) = args.models.get(at) {
            let models: BTreeSet<String> = numbers.iter().map(|n| n.model.clone()).collect();
            numbers.retain(|n| n.model == *model);
            if numbers.is_empty() {
                let best = nearest(model, models.iter().map(String::as_str)).unwrap_or_default();
                let all = models.iter().cloned().collect::<Vec<_>>().join(", ");
                let what = format!("the store has no scores of a model called `{model}`");
                return Err(Failure::new(Code::Missing, what, name, format!("did you mean `{best}`? There are {all}")));
            }
            name = if stores.len() == 1 { model.clone() } else { format!("{model} of {name}") };
        }
        if numbers.is_empty() {
            let fix = "run the study to its end, or give another store";
            return Err(Failure::new(Code::Missing, "the store has no scores", store.display(), fix));
        }
        Ok(Side { name, numbers })
    };
    Ok([side(first, 0)?, side(last, 1)?])
}

/// Share, ratio and onset of each model and dataset, where both sides have them.
fn sentences(a: &Side, b: &Side, across: bool) -> Vec<String> {
    let of = |side: &Side| -> BTreeSet<(String, String)> {
        let told = side.numbers.iter().filter(|n| n.experiment == "detection" && n.metric == "share_frac");
        told.map(|n| (if across { String::new() } else { n.model.clone() }, n.dataset.clone())).collect()
    };
    let both = of(a).intersection(&of(b)).cloned().collect::<Vec<_>>();
    both.iter().map(|(model, dataset)| sentence([a, b], model, dataset)).collect()
}

fn sentence(sides: [&Side; 2], model: &str, dataset: &str) -> String {
    let of = |metric: &str| {
        sides.map(|side| {
            let mut hits = side.numbers.iter().filter(|n| {
                n.experiment == "detection"
                    && n.subject == "outlier"
                    && n.metric == metric
                    && n.dataset == dataset
                    && (model.is_empty() || n.model == model)
            });
            hits.next().and_then(|n| n.value)
        })
    };
    let change = |values: [Option<f64>; 2], show: &dyn Fn(f64) -> String| {
        let [a, b] = values.map(|v| v.map_or_else(|| "none".to_owned(), show));
        if a == b { a } else { format!("{a} → {b}") }
    };
    let three = |x: f64| number(x, Unit::Share);
    let shares = of("share_frac");
    let who = if model.is_empty() { dataset.to_owned() } else { format!("{model} on {dataset}") };
    let mut text = format!("{who}: {} % of patches are outliers", change(shares, &|x| three(100.0 * x)));
    if shares.iter().flatten().any(|share| *share > 0.0) {
        text += &format!("; their norm by that of the others: {}", change(of("norm_ratio"), &three));
        // A long-tailed early block is no onset where no patch is an outlier in the end.
        let [a, b] = of("onset_block");
        let onset = [a.filter(|_| shares[0] > Some(0.0)), b.filter(|_| shares[1] > Some(0.0))];
        text += &format!("; first block: {}", change(onset, &|x| x.to_string()));
    }
    legible(&(text + "."))
}

fn in_words(a: &Side, b: &Side, comparison: &Comparison, sentences: &[String], rows: usize) -> String {
    let twins = &comparison.twins;
    let mut text = legible(&format!("A = {}, B = {}", a.name, b.name)) + "\n\n";
    text += &sentences.iter().map(|s| format!("{s}\n")).collect::<String>();
    let differ: Vec<&Twins> = twins.iter().filter(|t| t.differ()).collect();
    if !differ.is_empty() {
        let heads = ["z", "difference", "±", "A", "B", "metric", "of", "on", "at"];
        let mut table = vec![heads.map(str::to_owned).to_vec()];
        table.extend(differ.iter().take(rows).map(|t| row(t)));
        text += &format!("\n{}", columns(&table));
    }
    let equal = twins.len() - differ.len();
    text += &format!("\n{} in both: {equal} equal, {} differ", counted(twins.len(), "number", "numbers"), differ.len());
    if differ.len() > rows {
        text += &format!(" ({rows} are shown; --rows N shows more, --csv all)");
    }
    text += &format!(".\nOnly in A: {}. Only in B: {}.\n", comparison.alone[0], comparison.alone[1]);
    if comparison.ambiguous > 0 {
        text += &format!(
            "{} of several runs of one name: none can be told to belong to another.\n",
            counted(comparison.ambiguous, "number", "numbers")
        );
    }
    text
}

fn row(t: &Twins) -> Vec<String> {
    let plain = |x: f64| number(x, Unit::Number);
    let dash = |x: Option<f64>, show: &dyn Fn(f64) -> String| x.map_or_else(|| "-".to_owned(), show);
    vec![
        dash(t.z, &|z| if z.is_finite() { format!("{z:+.1}") } else { "∞".to_owned() }),
        plain(t.difference),
        dash(t.stderr, &plain),
        plain(t.a),
        plain(t.b),
        legible(&format!("{} {}", t.experiment, t.metric)),
        legible(&t.subject),
        legible(&format!("{} {}", t.model, t.dataset)),
        legible(&t.site),
    ]
}

fn json(a: &Side, b: &Side, comparison: &Comparison, sentences: &[String]) -> String {
    let value = serde_json::json!({
        "a": a.name, "b": b.name, "sentences": sentences, "numbers": comparison.twins,
        "only_in_a": comparison.alone[0], "only_in_b": comparison.alone[1], "ambiguous": comparison.ambiguous,
    });
    format!("{value:#}\n")
}

fn csv(comparison: &Comparison) -> String {
    let mut text = "model,dataset,experiment,subject,site,metric,a,b,difference,stderr,z,n_a,n_b\n".to_owned();
    let quoted = |cell: &String| {
        if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.clone() }
    };
    let or_empty = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
    for t in &comparison.twins {
        let names = [&t.model, &t.dataset, &t.experiment, &t.subject, &t.site, &t.metric].map(quoted);
        text += &format!(
            "{},{},{},{},{},{},{},{}\n",
            names.join(","),
            t.a,
            t.b,
            t.difference,
            or_empty(t.stderr),
            or_empty(t.z),
            t.n[0],
            t.n[1]
        );
    }
    text
}

/// Fails when a number is further from its twin than so many standard errors.
fn judge(comparison: &Comparison, limit: f64) -> Result<(), Failure> {
    let judged = comparison.twins.iter().filter(|t| t.z.is_some());
    let far: Vec<&Twins> = judged.clone().filter(|t| t.z.is_some_and(|z| z.abs() > limit)).collect();
    let Some(worst) = far.first() else { return Ok(()) };
    let what = format!(
        "{} of {} with standard errors {} more than {limit} of them from {} twin: first {} {} of {}, {} and {}",
        far.len(),
        counted(judged.count(), "number", "numbers"),
        if far.len() == 1 { "is" } else { "are" },
        if far.len() == 1 { "its" } else { "their" },
        worst.experiment,
        worst.metric,
        worst.subject,
        number(worst.a, Unit::Number),
        number(worst.b, Unit::Number),
    );
    let at = legible(&format!("{} on {}, {}", worst.model, worst.dataset, worst.site));
    Err(Failure::new(Code::Tolerance, what, at, "look at what differs: `vitals why scores` tells what the runs mean"))
}
