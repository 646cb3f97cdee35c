//! `vitals status`: what of a study is finished.

use engine::run::skipped;

use super::{columns, counted, say};
use crate::cli::StudyArgs;
use crate::failure::Failure;
use crate::study::{Access, build};

/// One line per step.
pub fn status(args: &StudyArgs) -> Result<(), Failure> {
    let built = build(args, Access::Look)?;
    let mut rows: Vec<Vec<String>> = vec![["step", "done", "items", "skipped", "run"].map(str::to_owned).to_vec()];
    let mut missing = 0;
    for step in &built.plan.steps {
        let todo = step.missing(&built.store).count();
        missing += todo;
        let (items, skips) = skipped(step, &built.store);
        rows.push(vec![
            step.title(),
            format!("{}/{}", step.shards.len() - todo, step.shards.len()),
            items.to_string(),
            skips.to_string(),
            step.fingerprint.to_string(),
        ]);
    }
    let next = if missing == 0 { "All done." } else { "`vitals run` with the same study goes on." };
    let missing = counted(missing, "shard", "shards");
    say(&format!("{}\n{missing} missing in {}. {next}\n", columns(&rows), built.store.root().display()))
}
