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
    let (mut missing, mut begun) = (0, 0);
    for step in &built.plan.steps {
        let todo = step.missing(&built.store).count();
        missing += todo;
        let half = step.begun(&built.store).count();
        begun += half;
        let (items, skips) = skipped(step, &built.store);
        rows.push(vec![
            step.title(),
            done(step.shards.len() - todo, step.shards.len(), half),
            items.to_string(),
            skips.to_string(),
            step.fingerprint.to_string(),
        ]);
    }
    let next = if missing == 0 { "All done." } else { "`vitals run` with the same study goes on." };
    let kept = match begun {
        0 => String::new(),
        _ => format!(", of which {begun} will go on from a kept state"),
    };
    let missing = counted(missing, "shard", "shards");
    say(&format!("{}\n{missing} missing{kept} in {}. {next}\n", columns(&rows), built.store.root().display()))
}

/// Finished shards of all, and those that have kept a state.
fn done(done: usize, shards: usize, begun: usize) -> String {
    let begun = if begun > 0 { format!(" ({begun} begun)") } else { String::new() };
    format!("{done}/{shards}{begun}")
}

#[cfg(test)]
mod tests {
    /// Breaks when hours of an interrupted training look like nothing.
    #[test]
    fn a_training_that_was_interrupted_is_seen() {
        assert_eq!([super::done(3, 4, 0), super::done(0, 1, 1)], ["3/4", "0/1 (1 begun)"]);
    }
}
