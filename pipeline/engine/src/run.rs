//! Does what is missing of a plan. Running again is resuming.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{ErrorKind, StageError};
use crate::io::ShardIo;
use crate::ledger::{self, Line};
use crate::plan::{Plan, Step};
use crate::progress::{Event, Progress};
use crate::stage::{Shard, ShardReport};
use crate::store::Store;

/// How to run; nothing here can change a number.
pub struct RunOptions<'a> {
    /// Set it to stop after the current item.
    pub cancel: &'a AtomicBool,
    /// Listener.
    pub progress: &'a dyn Progress,
    /// A step fails when more than this share of its items was skipped.
    pub max_skip_frac: f64,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct RunSummary {
    /// Shards that were done now.
    pub done: u32,
    /// Shards that were there already.
    pub reused: u32,
    /// Items skipped in all shards of the plan, old and new.
    pub skipped: u64,
    /// Shards that failed, with their steps' ids.
    pub failed: Vec<(String, u32, StageError)>,
}

/// Runs every missing shard of a plan, step by step.
///
/// A shard that fails does not stop its siblings; a step whose inputs are incomplete is not started. An error that
/// would meet every shard (disk, configuration, missing files, interruption) stops the run at once.
pub fn run(plan: &Plan, store: &Store, options: &RunOptions<'_>) -> Result<RunSummary, StageError> {
    let mut summary = RunSummary::default();
    for (i, step) in plan.steps.iter().enumerate() {
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
        options.progress.event(&Event::Step {
            number: i + 1,
            steps: plan.steps.len(),
            title: &step.title(),
            shards: step.shards.len() as u32,
            missing: missing.len() as u32,
            items: missing.iter().map(|s| s.items.end - s.items.start).sum(),
        });
        summary.reused += (step.shards.len() - missing.len()) as u32;
        for shard in missing {
            match run_shard(step, shard, store, options) {
                Ok(_) => summary.done += 1,
                Err(e) if e.kind == ErrorKind::Shard => summary.failed.push((step.id(), shard.index, e)),
                Err(e) => return Err(e),
            }
            check_skipped(step, store, options.max_skip_frac)?;
        }
        summary.skipped += skipped(step, store).1;
        options.progress.event(&Event::StepDone);
    }
    Ok(summary)
}

/// Runs one shard, unless it is finished: then it says so and does nothing.
pub fn run_shard(
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
    options.progress.event(&Event::Shard { index: shard.index });
    let mut io =
        ShardIo::new(store, step.stage.inputs(), step.outputs.clone(), shard.index, options.progress, options.cancel);
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
            let at = format!("{} shard {}", step.title(), shard.index);
            e.at = if e.at.is_empty() { at } else { format!("{at}, {}", e.at) };
            line.event = "shard_failed";
            line.note = &e.what;
            // On a full disk the ledger cannot be written either; the first error is the one to tell.
            let _ = ledger::append(store, &line);
            Err(e)
        }
    }
}

/// Items and skipped items of the finished shards of a step.
pub fn skipped(step: &Step, store: &Store) -> (u64, u64) {
    let Some(first) = step.outputs.first() else {
        return (0, 0);
    };
    step.shards
        .iter()
        .filter_map(|s| store.marker(first, s.index))
        .fold((0, 0), |(items, skipped), m| (items + m.items, skipped + m.skipped))
}

/// Fails as soon as the allowed share of the whole step is used up, so that a wrong folder does not burn a night.
fn check_skipped(step: &Step, store: &Store, max_skip_frac: f64) -> Result<(), StageError> {
    let (_, skipped) = skipped(step, store);
    let total: u64 = step.shards.iter().map(|s| s.items.end - s.items.start).sum();
    if skipped as f64 <= max_skip_frac * total as f64 {
        return Ok(());
    }
    Err(StageError::new(
        ErrorKind::Missing,
        format!("{skipped} of {total} items were skipped, more than max_skip_frac = {max_skip_frac} allows"),
        step.title(),
        "look at `vitals query \"SELECT reason, count(*) FROM skipped GROUP BY reason\"`, mend the data or raise `max_skip_frac`",
    ))
}
