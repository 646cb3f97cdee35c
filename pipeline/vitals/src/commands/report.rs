//! `vitals report`: tables and figures of what is finished.

use std::path::PathBuf;

use super::{report_failure, say};
use crate::cli::StudyArgs;
use crate::failure::{Code, Failure};
use crate::study::{Access, Built, build};

/// What a report left behind.
pub struct Written {
    /// The self-contained page.
    pub html: PathBuf,
    /// The tables in words, for the terminal.
    pub text: String,
    /// Numbers that are in their truth's tolerance.
    pub hold: usize,
    /// Numbers out of it.
    pub broken: Vec<String>,
    /// Numbers with a truth that were not measured.
    pub untested: Vec<String>,
}

impl Written {
    /// Fails unless there are truths, each was measured, and each holds.
    pub fn check(&self) -> Result<(), Failure> {
        let fail = |what: String, fix| Err(Failure::new(Code::Tolerance, what, self.html.display(), fix));
        if !self.broken.is_empty() {
            let (n, names) = (self.broken.len(), self.broken.join("; "));
            return fail(
                format!("{n} of the numbers with a known truth are out of tolerance: {names}"),
                "open the report",
            );
        }
        if !self.untested.is_empty() {
            let (n, names) = (self.untested.len(), self.untested.join("; "));
            let what = format!("{n} of the numbers with a known truth were not measured: {names}");
            return fail(what, "add the probes that measure them to the study");
        }
        if self.hold == 0 {
            let what = "no number of this study has a known truth, so there is nothing to check".to_owned();
            return fail(what, "run without --check, or add the model `planted`");
        }
        Ok(())
    }
}

/// Writes the report of a study.
pub fn report(args: &StudyArgs) -> Result<(), Failure> {
    let built = build(args, Access::Look)?;
    let written = write(&built)?;
    say(&format!("{}\nReport: {}\n", written.text, written.html.display()))
}

/// Writes the report of a plan, finished or not.
pub fn write(built: &Built) -> Result<Written, Failure> {
    let written =
        reports::write(&built.report, &built.report_dir).map_err(|e| report_failure(&e, built.report_dir.display()))?;
    let mut text = String::new();
    // The first of the paper's tables where there is one, else the vital signs; the page has them all.
    if let Some(id) = ["table1", "norms"].into_iter().find(|id| written.tables.contains(id)) {
        let path = built.report_dir.join("tables").join(format!("{id}.md"));
        text += &std::fs::read_to_string(path).unwrap_or_default().replace("<br>", " ");
    }
    for empty in &written.empty {
        text += &format!("\n{empty}: nothing was measured that it could show\n");
    }
    if written.hold + written.fail.len() + written.untested.len() > 0 {
        let (hold, fail, untested) = (written.hold, written.fail.len(), written.untested.len());
        text += &format!("\nKnown truths: {hold} hold, {fail} fail");
        if untested > 0 {
            text += &format!(", {untested} were not measured");
        }
        text += &written.fail.iter().map(|f| format!("\n  fails: {f}")).collect::<String>();
        text.push('\n');
    }
    if written.agree + written.differ > 0 {
        text += &format!("\nPublished numbers: {} agree, {} differ\n", written.agree, written.differ);
    }
    Ok(Written { html: written.html, text, hold: written.hold, broken: written.fail, untested: written.untested })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_needs_truths_that_were_measured_and_hold() {
        let of = |hold, broken: &[&str], untested: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
            let written = Written {
                html: PathBuf::new(),
                text: String::new(),
                hold,
                broken: names(broken),
                untested: names(untested),
            };
            written.check().map_err(|e| (e.code(), format!("{e:?}")))
        };
        assert!(of(3, &[], &[]).is_ok());
        for (failed, name) in [
            (of(3, &["norm_ratio"], &[]), "norm_ratio"),
            (of(3, &[], &["recall_frac"]), "recall_frac"),
            (of(0, &[], &[]), "nothing to check"),
        ] {
            assert!(failed.is_err_and(|(code, text)| code == 6 && text.contains(name)), "{name}");
        }
    }
}
