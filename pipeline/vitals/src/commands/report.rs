//! `vitals report`: tables and figures of what is finished.

use std::path::PathBuf;

use super::{columns, report_failure, say};
use crate::cli::StudyArgs;
use crate::failure::{Code, Failure};
use crate::study::{Access, Built, build};

/// What a report left behind.
pub struct Written {
    /// The self-contained page.
    pub html: PathBuf,
    /// The answers in words, for the terminal.
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
    let steps = &built.plan.steps;
    let missing: usize = steps.iter().map(|step| step.missing(&built.store).count()).sum();
    let total: usize = steps.iter().map(|step| step.shards.len()).sum();
    let missing = (missing > 0).then_some((missing as u64, total as u64));
    let study = reports::Study { missing, ..built.report.clone() };
    let written =
        reports::write(&study, &built.report_dir).map_err(|e| report_failure(&e, built.report_dir.display()))?;
    let text = in_words(&written);
    Ok(Written { html: written.html, text, hold: written.hold, broken: written.fail, untested: written.untested })
}

/// The answers first, the numbers behind them last.
fn in_words(written: &reports::ReportWritten) -> String {
    let mut text = String::new();
    for line in written.unfinished.iter().chain(&written.sentences) {
        text += &format!("{line}\n");
    }
    let (hold, fail, untested) = (written.hold, written.fail.len(), written.untested.len());
    if hold + fail + untested > 0 {
        text += &format!("Known truths: {hold} hold, {fail} fail");
        if untested > 0 {
            text += &format!(", {untested} were not measured");
        }
        text += &written.fail.iter().map(|f| format!("\n  fails: {f}")).collect::<String>();
        text.push('\n');
    }
    if written.agree + written.differ > 0 {
        text += &format!("Published numbers: {} agree, {} differ\n", written.agree, written.differ);
    }
    for empty in &written.empty {
        text += &format!("{empty}: nothing was measured that it could show\n");
    }
    if !written.overview.is_empty() {
        text += &format!("\n{}", columns(&written.overview));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_gets_answers_then_truths_then_one_aligned_table() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let written = reports::ReportWritten {
            unfinished: Some("Unfinished: 1 of 9 shards is missing.".to_owned()),
            sentences: vec!["m on d: no outliers found.".to_owned()],
            overview: vec![row(["model", "largest"]), row(["my_long_model", "1.40 ×"])],
            hold: 2,
            fail: vec!["m on d: recall".to_owned()],
            ..reports::ReportWritten::default()
        };
        let wanted = "Unfinished: 1 of 9 shards is missing.\n\
                      m on d: no outliers found.\n\
                      Known truths: 2 hold, 1 fail\n  fails: m on d: recall\n\n\
                      model          largest\n\
                      my_long_model  1.40 ×\n";
        assert_eq!(in_words(&written), wanted);
    }

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
