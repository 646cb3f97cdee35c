//! What the tables of place and pixels share: in which ways an experiment was fitted on a subject, and which models
//! come with and without registers.

use super::{Context, Measured};
use crate::models::base;
use crate::scores::Score;

/// How the regression to row and column is called in the settings of a probe.
pub const LEAST_SQUARES: &str = "least squares, ";
/// How the regression to the row-major index is called.
pub const FLAT_INDEX: &str = "least squares to the flattened index, ";

/// Sites and settings of the position probes of one kind, in the order written.
pub fn position_fits<'a>(measured: &'a Measured, settings: &str) -> Vec<(&'a str, &'a str)> {
    let mut fits: Vec<(&str, &str)> = Vec::new();
    for score in measured.scores.iter().filter(|s| &*s.experiment == "position" && s.settings.starts_with(settings)) {
        let fit = (&*score.site, score.settings.as_str());
        if !fits.contains(&fit) {
            fits.push(fit);
        }
    }
    fits
}

/// Subjects of models that were measured both with and without registers and have a score that is wanted, a model's
/// counts of registers side by side.
pub fn families<'a, 'c>(context: &'c Context<'a>, wanted: impl Fn(&Score) -> bool) -> Vec<&'c Measured<'a>> {
    let has = |m: &&Measured| m.scores.iter().any(&wanted);
    let all: Vec<&Measured> = context.measured.iter().filter(has).collect();
    let key = |m: &Measured| (base(&m.subject.model).to_owned(), m.subject.dataset.clone());
    let both = |m: &&&Measured| {
        let of = |with: bool| all.iter().any(|o| key(o) == key(m) && (o.subject.registers > 0) == with);
        of(true) && of(false)
    };
    let mut found: Vec<&Measured> = all.iter().filter(both).copied().collect();
    let first = |m: &Measured| all.iter().position(|o| key(o) == key(m));
    found.sort_by_key(|m| (first(m), m.subject.registers));
    found
}

/// `no registers`, `1 register`, `4 registers`.
pub fn registers(count: usize) -> String {
    match count {
        0 => "no registers".to_owned(),
        1 => "1 register".to_owned(),
        n => format!("{n} registers"),
    }
}
