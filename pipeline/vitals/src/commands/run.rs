//! `vitals run`: does what is missing, then writes the report.

use std::time::Instant;

use engine::run::run_shard;
use engine::{RunOptions, RunSummary};

use super::{counted, say};
use crate::cli::RunArgs;
use crate::failure::{Code, Failure};
use crate::progress::{Reporter, time};
use crate::study::{Access, Built, build};
use crate::{commands, interrupt};

/// Runs a study, or one shard of it.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let started = Instant::now();
    let built = build(&args.study, Access::Write)?;
    let cancel = interrupt::flag()?;
    let reporter = Reporter::new();
    let options = RunOptions { cancel: &cancel, progress: &reporter, max_skip_frac: built.max_skip_frac };
    commands::plan::refuse_over_budget(&built)?;
    if let (Some(stage), Some(shard)) = (&args.stage, args.shard) {
        return one_shard(&built, stage, shard, &options);
    }
    let summary = engine::run(&built.plan, &built.store, &options)?;
    let (done, reused, skipped) = (summary.done, summary.reused, summary.skipped);
    first_failed(summary)?;
    let written = commands::report::write(&built)?;
    say(&written.text)?;
    say(&format!(
        "\n{} done, {} reused, {} skipped, {}.\nReport: {}\n",
        counted(done as usize, "shard", "shards"),
        reused,
        counted(skipped as usize, "image", "images"),
        time(started.elapsed().as_secs_f64()),
        written.html.display()
    ))?;
    if args.check { written.check() } else { Ok(()) }
}

/// The first shard that failed, if one did.
pub fn first_failed(summary: RunSummary) -> Result<(), Failure> {
    let Some((step, shard, e)) = summary.failed.into_iter().next() else { return Ok(()) };
    let mut failure = Failure::from(e);
    failure.during(&format!("{step} shard {shard}"));
    Err(failure)
}

/// One shard for a cluster engine: finished already is success, and stdout holds one JSON line.
fn one_shard(built: &Built, stage: &str, index: u32, options: &RunOptions<'_>) -> Result<(), Failure> {
    let step = built.plan.step(stage).ok_or_else(|| {
        let ids: Vec<String> = built.plan.steps.iter().map(engine::Step::id).collect();
        Failure::new(
            Code::Usage,
            format!("no step is called `{stage}`"),
            "--stage",
            format!("one of: {}", ids.join(", ")),
        )
    })?;
    let shard = step.shards.get(index as usize).ok_or_else(|| {
        Failure::new(
            Code::Usage,
            format!("step {} has {} shards", step.id(), step.shards.len()),
            "--shard",
            "numbers begin at 0",
        )
    })?;
    for input in step.stage.inputs() {
        let from = built.plan.steps.iter().find(|s| s.fingerprint == input.fingerprint);
        if let Some(missing) = from.and_then(|s| s.missing(&built.store).next().map(|shard| (s.id(), shard.index))) {
            let what = format!("its input {} shard {} is not finished", missing.0, missing.1);
            return Err(Failure::new(Code::Missing, what, step.id(), "run that shard first"));
        }
    }
    let report = run_shard(step, shard, &built.store, options)?;
    let line = serde_json::json!({
        "step": step.id(), "shard": index, "already_done": report.is_none(),
        "items": report.as_ref().map(|r| r.items), "skipped": report.as_ref().map(|r| r.skipped),
    });
    say(&format!("{line}\n"))
}
