//! `vitals plan`: what a study would cost, before anything burns.

use engine::budget::{Cost, cost_of_missing};

use super::{columns, say};
use crate::cli::PlanArgs;
use crate::failure::{Code, Failure};
use crate::progress::{bytes, time};
use crate::study::{Access, Built, build};

/// Prints the plan; fails when it breaks the study's budget.
pub fn plan(args: &PlanArgs) -> Result<(), Failure> {
    let built = build(&args.study, Access::Look)?;
    if args.json {
        let steps: Vec<_> = built.plan.steps.iter().map(|s| s.describe(&built.store)).collect();
        let plan = serde_json::json!({
            "title": built.report.title, "store": built.store.root(), "steps": steps, "missing": cost_of_missing(&built.plan, &built.store),
        });
        say(&format!("{plan:#}\n"))?;
    } else {
        say(&in_words(&built))?;
    }
    refuse_over_budget(&built)
}

fn in_words(built: &Built) -> String {
    let mut rows: Vec<Vec<String>> =
        vec![["step", "shards", "missing", "items", "rows", "on disk", "memory", "time"].map(str::to_owned).to_vec()];
    for step in &built.plan.steps {
        let e = &step.estimate;
        rows.push(vec![
            step.title(),
            step.shards.len().to_string(),
            step.missing(&built.store).count().to_string(),
            e.items.to_string(),
            e.tables.values().map(|t| t.rows).sum::<u64>().to_string(),
            bytes(e.tables.values().map(|t| t.bytes as f64).sum()),
            bytes(e.host_bytes as f64),
            time(e.secs),
        ]);
    }
    let cost = cost_of_missing(&built.plan, &built.store);
    format!("{}\n{}", columns(&rows), total(&cost))
}

fn total(cost: &Cost) -> String {
    let device = if cost.device_bytes > 0.0 {
        format!(", {} of device memory", bytes(cost.device_bytes))
    } else {
        String::new()
    };
    format!(
        "Missing: about {} on disk, {} of memory{device}, {}. Estimates are right within a factor of two.\n",
        bytes(cost.store_bytes),
        bytes(cost.memory_bytes),
        time(cost.secs)
    )
}

/// An error that names every limit that is broken.
pub fn refuse_over_budget(built: &Built) -> Result<(), Failure> {
    let broken = built.budget.violations(&cost_of_missing(&built.plan, &built.store));
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Code::Config,
        format!("the study {}", broken.join(", and ")),
        "[budget]",
        "lower `limit`, `draws` or the sites of [extract], or raise the budget",
    ))
}
