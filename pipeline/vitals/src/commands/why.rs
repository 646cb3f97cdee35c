//! `vitals why`: which parameter, weight, input or version made a table stale, or that nothing did.

use std::collections::BTreeSet;
use std::path::Path;

use engine::record::Input;
use engine::store::Marker;
use engine::{Plan, Record, Step, Store, TableRef};
use serde::Serialize;

use super::{counted, no_store, say};
use crate::cli::WhyArgs;
use crate::failure::{Code, Failure};
use crate::lineage::{Difference, Records};
use crate::study::mistake::nearest;
use crate::study::{Access, build};

/// Stored runs that are explained in words: of a step that is finished, and of one that is not.
const SHOWN: [usize; 2] = [1, 3];

/// What is said of one step.
#[derive(Serialize)]
struct Verdict {
    step: String,
    stage: &'static str,
    table: &'static str,
    run: String,
    state: State,
    shards: usize,
    done: usize,
    /// Other runs of the same table, model, dataset and stage, nearest first.
    others: Vec<Other>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Every shard is there: a run reuses it.
    Finished,
    /// Some shards are there: a run goes on.
    Begun,
    /// Nothing is there, but another run is: something that its numbers depend on has changed.
    Stale,
    /// Neither this run nor another is there.
    New,
}

#[derive(Serialize)]
struct Other {
    run: String,
    parts: usize,
    /// None: the run left no record of what it means.
    difference: Option<Difference>,
}

/// Explains every step of a study that writes a table.
pub fn why(args: &WhyArgs) -> Result<(), Failure> {
    let built = build(&args.study, Access::Look)?;
    if !built.store.root().is_dir() {
        return Err(no_store(built.store.root()));
    }
    let verdicts = chosen(args, &built.plan)?
        .into_iter()
        .map(|(step, table)| verdict(step, table, &built.plan, &built.store))
        .collect::<Vec<_>>();
    if args.json {
        return say(&format!("{:#}\n", serde_json::json!({ "table": args.table, "steps": verdicts })));
    }
    say(&verdicts.iter().map(in_words).collect::<Vec<_>>().join("\n"))
}

/// Steps that write the table, with it.
fn chosen<'a>(args: &WhyArgs, plan: &'a Plan) -> Result<Vec<(&'a Step, &'a TableRef)>, Failure> {
    let usage = |what: String, at: &str, names: BTreeSet<&str>, wrong: &str| {
        let best = nearest(wrong, names.iter().copied()).unwrap_or_default();
        let all = names.iter().copied().collect::<Vec<_>>().join(", ");
        Failure::new(Code::Usage, what, at, format!("did you mean `{best}`? There are {all}"))
    };
    let mut hits: Vec<(&Step, &TableRef)> =
        plan.steps.iter().flat_map(|step| step.outputs.iter().map(move |table| (step, table))).collect();
    let tables: BTreeSet<&str> = hits.iter().map(|(_, t)| t.table).collect();
    hits.retain(|(_, t)| t.table == args.table);
    if hits.is_empty() && reports::check_wanted(std::slice::from_ref(&args.table)).is_ok() {
        let what = format!("`{}` is made by the report, anew each time, from tables of the store", args.table);
        let all = tables.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Failure::new(Code::Usage, what, "TABLE", format!("ask for scores, or another of: {all}")));
    }
    if hits.is_empty() {
        return Err(usage(format!("no step of this study makes `{}`", args.table), "TABLE", tables, &args.table));
    }
    for (key, option, wanted) in [("model", "--model", &args.model), ("dataset", "--dataset", &args.dataset)] {
        let Some(wanted) = wanted else { continue };
        let names: BTreeSet<&str> = hits.iter().filter_map(|(_, t)| level(t, key)).collect();
        hits.retain(|(_, t)| level(t, key) == Some(wanted));
        if hits.is_empty() {
            return Err(usage(format!("no {key} of `{}` is called `{wanted}`", args.table), option, names, wanted));
        }
    }
    Ok(hits)
}

fn level<'a>(table: &'a TableRef, key: &str) -> Option<&'a str> {
    table.partition.iter().find(|(k, _)| *k == key).map(|(_, value)| value.as_str())
}

/// Records of the plan's own runs, and of those in the store.
struct Known<'a>(&'a Plan, &'a Store);

impl Records for Known<'_> {
    fn of(&self, input: &Input) -> Option<Record> {
        let planned = self.0.steps.iter().find(|step| step.fingerprint.as_str() == input.run());
        planned.map_or_else(|| Record::read(&self.1.root().join(&input.folder)), Record::of)
    }

    fn images(&self, input: &Input) -> Option<u64> {
        let planned = self.0.steps.iter().find(|step| step.fingerprint.as_str() == input.run());
        let dir = self.1.root().join(&input.folder);
        planned.map_or_else(|| Record::read(&dir).and_then(|record| stored_images(&record, &dir)), planned_images)
    }
}

/// The stage whose items are all images of a list; others look at the first ones, or at tables.
const READS_ALL: &str = "extract";

/// Images that a planned step reads.
fn planned_images(step: &Step) -> Option<u64> {
    (step.stage.name() == READS_ALL).then(|| step.shards.iter().map(|s| s.items.end - s.items.start).sum())
}

/// Images that the finished parts of a stored run saw.
fn stored_images(record: &Record, dir: &Path) -> Option<u64> {
    let parts = engine::store::finished_parts(dir).ok().filter(|_| record.stage == READS_ALL)?;
    let items = |part: &std::path::PathBuf| -> Option<u64> {
        let marker: Marker = serde_json::from_slice(&std::fs::read(part.with_extension("done")).ok()?).ok()?;
        Some(marker.items)
    };
    parts.iter().map(items).sum()
}

fn verdict(step: &Step, table: &TableRef, plan: &Plan, store: &Store) -> Verdict {
    let own = Record::of(step);
    let mut others: Vec<Other> = runs_beside(&store.dir(table), plan)
        .into_iter()
        .filter_map(|(run, parts, record)| {
            let stage = record.as_ref().map_or(step.stage.name(), |r| &r.stage);
            let dir = store.dir(table).with_file_name(format!("run={run}"));
            let of = |record: &Record| {
                let images = [stored_images(record, &dir), planned_images(step)];
                own.as_ref().map(|own| Difference::between(record, own, images, &Known(plan, store)))
            };
            let kin = record.as_ref().zip(own.as_ref()).is_none_or(|(was, is)| Difference::is_told(was, is));
            (stage == step.stage.name() && kin).then(|| Other { run, parts, difference: record.as_ref().and_then(of) })
        })
        .collect();
    others.sort_by_key(|o| (o.difference.as_ref().map_or(usize::MAX, Difference::distance), o.run.clone()));
    let done = step.shards.len() - step.missing(store).count();
    let state = match (done, others.is_empty()) {
        (done, _) if done == step.shards.len() => State::Finished,
        (0, true) => State::New,
        (0, false) => State::Stale,
        _ => State::Begun,
    };
    Verdict {
        step: step.title(),
        stage: step.stage.name(),
        table: table.table,
        run: step.fingerprint.to_string(),
        state,
        shards: step.shards.len(),
        done,
        others,
    }
}

/// Runs beside the folder of one that hold parts and are not the plan's: name, parts, record.
fn runs_beside(dir: &Path, plan: &Plan) -> Vec<(String, usize, Option<Record>)> {
    let entries = dir.parent().and_then(|above| std::fs::read_dir(above).ok());
    let runs = entries.into_iter().flatten().filter_map(Result::ok).filter_map(|entry| {
        let name = entry.file_name();
        let run = name.to_str()?.strip_prefix("run=")?.to_owned();
        let ours = plan.steps.iter().any(|step| step.fingerprint.as_str() == run);
        let parts = engine::store::finished_parts(&entry.path()).ok()?.len();
        (!ours && parts > 0).then(|| (run, parts, Record::read(&entry.path())))
    });
    runs.collect()
}

fn in_words(verdict: &Verdict) -> String {
    let Verdict { step, table, run, shards, done, others, .. } = verdict;
    let what = match verdict.state {
        State::Finished => "finished, and reused: everything that its numbers depend on is as it was".to_owned(),
        State::Begun => {
            format!("begun: {done} of {} finished; a run does the others", counted(*shards, "shard", "shards"))
        }
        State::Stale => "stale: it means something else than any run in the store, so a run makes it anew".to_owned(),
        State::New => "new: the store has no run of it".to_owned(),
    };
    let mut text = format!("{step}: `{table}`, run {run}\n  {what}\n");
    let shown = SHOWN[usize::from(verdict.state != State::Finished)];
    for (i, other) in others.iter().take(shown).enumerate() {
        let nearest = if i == 0 && others.len() > 1 { ", the nearest" } else { "" };
        text += &format!("  stored run {} ({}{nearest}) ", other.run, counted(other.parts, "part", "parts"));
        match &other.difference {
            Some(difference) => text += &format!("differs:\n{}", difference.in_words(verdict.stage, 4)),
            None => text += "left no record of what it means: an older version made it\n",
        }
    }
    if others.len() > shown {
        text += &format!("  {} more are stored; --json shows all\n", others.len() - shown);
    }
    text
}
