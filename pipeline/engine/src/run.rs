//! Does what is missing of a plan. Running again is resuming.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use schemas::Table;
use schemas::tables::Skipped;

use crate::error::{ErrorKind, StageError};
use crate::io::ShardIo;
use crate::ledger::{self, Line};
use crate::plan::{Plan, Step};
use crate::progress::{Event, Progress};
use crate::record;
use crate::stage::{Shard, ShardReport, TableRef};
use crate::store::{Marker, Store};

/// So many skipped items are no failure, whatever their share: one bad photo of twenty is no wrong folder.
pub const FEW: u64 = 3;

/// How to run; nothing here can change a number.
pub struct RunOptions<'a> {
    /// Set it to stop after the current item.
    pub cancel: &'a AtomicBool,
    /// Listener.
    pub progress: &'a dyn Progress,
    /// A step that writes the table `skipped` fails when more than this share of its items was skipped, and more than
    /// [`FEW`]; 0 allows none.
    pub max_skip_frac: f64,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct RunSummary {
    /// Shards that were done now.
    pub done: u32,
    /// Shards that were there already.
    pub reused: u32,
    /// Rows of the tables `skipped` in all shards of the plan, old and new.
    pub skipped: u64,
    /// Shards that failed, with their steps' ids.
    pub failed: Vec<(String, u32, StageError)>,
}

/// Runs every missing shard of a plan, step by step.
///
/// A shard that fails does not stop its siblings; a step whose inputs are incomplete is not started. An error that
/// would meet every shard (disk, configuration, missing files, interruption) stops the run at once, and so does a step
/// that has skipped more than its share, now or in an earlier run.
pub fn run(plan: &Plan, store: &Store, options: &RunOptions<'_>) -> Result<RunSummary, StageError> {
    let mut summary = RunSummary::default();
    for (i, step) in plan.steps.iter().enumerate() {
        let mut skips = Skips::of(step, store);
        skips.check(step, store, options.max_skip_frac)?;
        let incomplete = step.stage.inputs().iter().any(|input| {
            plan.steps
                .iter()
                .find(|s| s.fingerprint == input.fingerprint)
                .is_some_and(|s| s.missing(store).next().is_some())
        });
        if incomplete {
            continue;
        }
        let missing: Vec<&Shard> = step.missing(store).collect();
        begin(step, store, (i + 1, plan.steps.len()), &missing, options);
        summary.reused += (step.shards.len() - missing.len()) as u32;
        for shard in missing {
            match attempt(step, shard, store, options) {
                Ok(report) => {
                    summary.done += 1;
                    // Of a shard that another process finished meanwhile, the marker tells.
                    skips.skipped += match report {
                        Some(report) => report.skipped,
                        None => marker(step, store, shard.index).map_or(0, |m| m.skipped),
                    };
                    skips.check(step, store, options.max_skip_frac)?;
                }
                Err(e) if e.kind == ErrorKind::Shard => summary.failed.push((step.id(), shard.index, e)),
                Err(e) => return Err(e),
            }
        }
        summary.skipped += if tells(step).is_some() { skips.skipped } else { 0 };
        options.progress.event(&Event::StepDone);
    }
    Ok(summary)
}

/// Runs one shard, unless it is finished: then it says so and does nothing. Fails, like [`run()`], when the finished
/// shards of the step, this one among them, have skipped more than their share.
pub fn run_shard(
    step: &Step,
    shard: &Shard,
    store: &Store,
    options: &RunOptions<'_>,
) -> Result<Option<ShardReport>, StageError> {
    let missing: &[&Shard] = if step.is_done(store, shard.index) { &[] } else { &[shard] };
    begin(step, store, (1, 1), missing, options);
    let report = attempt(step, shard, store, options)?;
    check_skipped(step, store, options.max_skip_frac)?;
    options.progress.event(&Event::StepDone);
    Ok(report)
}

fn begin(step: &Step, store: &Store, (number, steps): (usize, usize), missing: &[&Shard], options: &RunOptions<'_>) {
    if !options.cancel.load(Ordering::Relaxed) {
        record::keep(step, store);
    }
    options.progress.event(&Event::Step {
        number,
        steps,
        title: &step.title(),
        shards: step.shards.len() as u32,
        missing: missing.len() as u32,
        items: missing.iter().map(|s| s.items.end - s.items.start).sum(),
    });
}

/// Does a shard; nothing when it is done already, or done by another process by the time this one fails.
fn attempt(
    step: &Step,
    shard: &Shard,
    store: &Store,
    options: &RunOptions<'_>,
) -> Result<Option<ShardReport>, StageError> {
    if step.is_done(store, shard.index) {
        return Ok(None);
    }
    if options.cancel.load(Ordering::Relaxed) {
        return Err(StageError::interrupted());
    }
    let started = Instant::now();
    options.progress.event(&Event::Shard { index: shard.index, items: shard.items.end - shard.items.start });
    let who = (step.stage.name(), shard.index);
    let mut io = ShardIo::new(store, step.stage.inputs(), step.outputs.clone(), who, options.progress, options.cancel);
    let done = step.stage.run(shard, &mut io).and_then(|report| {
        let rows = io.commit(shard, &report)?;
        Ok((report, rows))
    });
    let mut line = Line::now("shard_done", step.stage.name(), step.fingerprint.as_str());
    line.shard = Some(shard.index);
    line.secs = Some(started.elapsed().as_secs_f64());
    match done {
        Ok((report, rows)) => {
            line.counts = Some([rows, report.items, report.skipped]);
            ledger::append(store, &line)?;
            options.progress.event(&Event::ShardDone {
                index: shard.index,
                items: report.items,
                skipped: report.skipped,
                rows,
            });
            Ok(Some(report))
        }
        Err(mut e) => {
            // Whoever finishes a shard sweeps its temporary files, those of a slower attempt among them.
            let raced = step.is_done(store, shard.index);
            let at = format!("{} shard {}", step.title(), shard.index);
            e.at = if e.at.is_empty() { at } else { format!("{at}, {}", e.at) };
            line.event = if raced { "shard_raced" } else { "shard_failed" };
            line.note = &e.what;
            // On a full disk the ledger cannot be written either; the first error is the one to tell.
            let _ = ledger::append(store, &line);
            if raced { Ok(None) } else { Err(e) }
        }
    }
}

/// Items of a step, and how many of them its finished shards skipped.
struct Skips {
    skipped: u64,
    total: u64,
}

impl Skips {
    fn of(step: &Step, store: &Store) -> Self {
        Self { skipped: skipped(step, store).1, total: step.shards.iter().map(|s| s.items.end - s.items.start).sum() }
    }

    fn check(&self, step: &Step, store: &Store, max_skip_frac: f64) -> Result<(), StageError> {
        let Self { skipped, total } = self;
        let few = if max_skip_frac > 0.0 { FEW } else { 0 };
        // A calibration skips what the extraction skips again, and tells.
        let Some(table) = tells(step) else { return Ok(()) };
        if *skipped <= few || *skipped as f64 <= max_skip_frac * *total as f64 {
            return Ok(());
        }
        let first =
            first_skipped(step, table, store).map_or_else(String::new, |first| format!("; the first is {first}"));
        Err(StageError::new(
            ErrorKind::Missing,
            format!(
                "{skipped} of {total} images were skipped, more than max_skip_frac = {max_skip_frac} allows{first}"
            ),
            step.title(),
            "`vitals query \"SELECT name, reason FROM skipped\"` lists them; mend or remove the files, or raise `max_skip_frac`",
        ))
    }
}

/// The table that tells what a step skipped, if it writes one.
fn tells(step: &Step) -> Option<&TableRef> {
    step.outputs.iter().find(|t| t.table == Skipped::NAME)
}

/// Name and reason of the first skipped item; nothing where its part cannot be read.
fn first_skipped(step: &Step, table: &TableRef, store: &Store) -> Option<String> {
    let shard = step.shards.iter().find(|s| marker(step, store, s.index).is_some_and(|m| m.skipped > 0))?;
    let rows = schemas::read_part::<Skipped>(&store.part(table, shard.index)).ok()?;
    Some(format!("`{}`: {}", rows.name.first()?, rows.reason.first()?))
}

/// Items and skipped items of the finished shards of a step.
pub fn skipped(step: &Step, store: &Store) -> (u64, u64) {
    step.shards
        .iter()
        .filter_map(|s| marker(step, store, s.index))
        .fold((0, 0), |(items, skipped), m| (items + m.items, skipped + m.skipped))
}

/// All tables of a shard have the same counts in their markers.
fn marker(step: &Step, store: &Store, shard: u32) -> Option<Marker> {
    step.outputs.first().and_then(|table| store.marker(table, shard))
}

/// Fails when the finished shards of a step have used up the allowed share of the whole step, so that a wrong folder
/// does not burn a night.
pub fn check_skipped(step: &Step, store: &Store, max_skip_frac: f64) -> Result<(), StageError> {
    Skips::of(step, store).check(step, store, max_skip_frac)
}

#[cfg(test)]
mod tests;
