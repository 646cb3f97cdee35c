//! `vitals report`: tables and figures of what is finished.

use std::path::PathBuf;

use super::say;
use crate::cli::StudyArgs;
use crate::failure::{Code, Failure};
use crate::study::{Built, build};

/// What a report left behind.
pub struct Written {
    /// The self-contained page.
    pub html: PathBuf,
    /// The tables in words, for the terminal.
    pub text: String,
    /// Numbers out of their truth's tolerance.
    pub broken: Vec<String>,
}

/// Writes the report of a study.
pub fn report(args: &StudyArgs) -> Result<(), Failure> {
    let built = build(args)?;
    let written = write(&built)?;
    say(&format!("{}\nReport: {}\n", written.text, written.html.display()));
    Ok(())
}

/// Writes the report of a plan, finished or not.
pub fn write(built: &Built) -> Result<Written, Failure> {
    let written = reports::write(&built.report, &built.report_dir).map_err(|e| {
        Failure::new(Code::Shards, e, built.report_dir.display(), "make the folder writable or choose another `report`")
    })?;
    let mut text = String::new();
    // The first of the paper's tables where there is one, else the vital signs; the page has them all.
    if let Some(id) = ["table1", "norms"].into_iter().find(|id| written.tables.contains(id)) {
        let path = built.report_dir.join("tables").join(format!("{id}.md"));
        text += &std::fs::read_to_string(path).unwrap_or_default().replace("<br>", " ");
    }
    for empty in &written.empty {
        text += &format!("\n{empty}: nothing was measured that it could show\n");
    }
    if written.hold + written.fail.len() > 0 {
        text += &format!("\nKnown truths: {} hold, {} fail", written.hold, written.fail.len());
        text += &written.fail.iter().map(|f| format!("\n  fails: {f}")).collect::<String>();
        text.push('\n');
    }
    if written.agree + written.differ > 0 {
        text += &format!("\nPublished numbers: {} agree, {} differ\n", written.agree, written.differ);
    }
    Ok(Written { html: written.html, text, broken: written.fail })
}
