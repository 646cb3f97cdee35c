//! What every format shares: how a number is printed, in which order the parts of a cell stand, and footnotes.
//!
//! Names of files, classes and tensors come from outside. [`legible`] takes from them what no format can show
//! (control characters, and the marks that reorder text); each renderer then escapes for its own grammar.

pub mod csv;
pub mod html;
pub mod latex;
pub mod markdown;
pub mod pictures;

use crate::figures::Figure;
use crate::study::Study;
use crate::tables::{Cell, Group, Spread, Table, Unit, Value};
use crate::verdict::Verdict;

/// Where the paper is found.
pub(crate) const PAPER_URL: &str = "https://arxiv.org/abs/2309.16588";

/// Everything that a report shows.
pub struct Report<'a> {
    /// The study.
    pub study: &'a Study,
    /// The answers, one sentence per model and dataset.
    pub sentences: Vec<String>,
    /// How many numbers agree with what is published or known, in words; empty where nothing is.
    pub totals: Vec<String>,
    /// What was measured.
    pub subjects: Table,
    /// Tables, in order.
    pub tables: Vec<Table>,
    /// Figures, in order.
    pub figures: Vec<Figure>,
}

/// A number as printed: per cent with one decimal, four significant digits, or whole with separators.
pub fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Percent => format!("{value:.1}"),
        Unit::Hundredths => format!("{value:.2}"),
        Unit::Share if vanishing(value) => "< 0.001".to_owned(),
        Unit::Share => significant(value, 3),
        Unit::Count if value.fract() == 0.0 && (0.0..1e15).contains(&value) => grouped(value as u64),
        _ => significant(value, 4),
    }
}

/// A share that is not zero but would need an exponent.
fn vanishing(percent: f64) -> bool {
    percent > 0.0 && percent < 1e-3
}

fn significant(value: f64, digits: i32) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e6).contains(&size) && size.is_finite() {
        format!("{value:.*e}", (digits - 1).max(0) as usize)
    } else {
        let decimals = (digits - 1 - size.log10().floor() as i32).max(0);
        format!("{value:.*}", decimals as usize)
    }
}

/// So many significant digits without an exponent.
pub(crate) fn plainly(value: f64, digits: i32) -> String {
    let decimals = (f64::from(digits - 1) - value.abs().log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{value:.decimals$}")
}

/// `12345` → `12,345`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Foreign text with line breaks as spaces, and everything that is invisible or reorders its neighbours replaced.
pub fn legible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => '\u{fffd}',
            c if c.is_control() || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The parts of a cell, in the order in which every format shows them.
pub(crate) struct Shown {
    /// Our number or text; empty where there is none.
    pub main: String,
    /// What stands behind ±.
    pub spread: Option<String>,
    /// `n 400`, `12 without`.
    pub small: Vec<String>,
    /// Footnotes of our number.
    pub notes: Vec<usize>,
    /// Numbers beside ours.
    pub beside: Vec<ShownBeside>,
}

/// A number beside ours.
pub(crate) struct ShownBeside {
    pub who: &'static str,
    pub text: String,
    /// None: not comparable (the footnote says why) or not measured.
    pub verdict: Option<Verdict>,
    /// Footnote that says why not.
    pub note: Option<usize>,
}

/// The footnotes of a table, numbered from 1 in the order in which a reader meets them.
pub(crate) struct Footnotes(pub Vec<String>);

impl Footnotes {
    pub fn of(table: &Table) -> Self {
        let mut notes: Vec<String> = Vec::new();
        for (_, _, _, cell) in table.cells() {
            let reasons = cell.beside.iter().filter_map(|b| match &b.verdict {
                Verdict::NotComparable(why) => Some(why),
                _ => None,
            });
            for note in cell.notes.iter().chain(reasons) {
                if !notes.contains(note) {
                    notes.push(note.clone());
                }
            }
        }
        Self(notes)
    }

    fn mark(&self, note: &str) -> Option<usize> {
        self.0.iter().position(|n| n == note).map(|i| i + 1)
    }
}

pub(crate) fn shown(cell: &Cell, spread: Spread, footnotes: &Footnotes) -> Shown {
    let beside = cell.beside.iter().map(|b| ShownBeside {
        who: b.who,
        text: b.text.clone(),
        verdict: match &b.verdict {
            Verdict::NotComparable(_) => None,
            // A published number without ours is a row of the published table; an untested truth is a gap of ours.
            Verdict::NotMeasured if b.who != "truth" => None,
            other => Some(other.clone()),
        },
        note: match &b.verdict {
            Verdict::NotComparable(why) => footnotes.mark(why),
            _ => None,
        },
    });
    let mut shown = Shown {
        main: cell.text.clone(),
        spread: None,
        small: vec![],
        notes: cell.notes.iter().filter_map(|n| footnotes.mark(n)).collect(),
        beside: beside.collect(),
    };
    if let Some(value) = &cell.ours {
        shown.main = number(value.value, value.unit);
        shown.spread = spread_of(value, spread);
        // A count is its own n.
        if value.unit != Unit::Count {
            shown.small.push(format!("n {}", grouped(value.n)));
        }
        if value.draws > 1 {
            shown.small.push(format!("{} draws", value.draws));
        }
        if value.images_without > 0 {
            shown.small.push(format!("{} images without", grouped(u64::from(value.images_without))));
        }
    } else if cell.text.is_empty() && (!cell.notes.is_empty() || !cell.beside.is_empty()) {
        "—".clone_into(&mut shown.main);
    }
    shown
}

fn spread_of(value: &Value, spread: Spread) -> Option<String> {
    let x = match spread {
        Spread::StdErr => value.stderr,
        Spread::Draws => value.std,
        Spread::DrawsOrStdErr => value.std.or(value.stderr),
    }?;
    // An error of 0 would say that some images tell everything: none of them was a hit, say. A footnote has the bound.
    if x == 0.0 {
        return None;
    }
    Some(match value.unit {
        Unit::Percent | Unit::Hundredths => number(x, value.unit),
        Unit::Share if vanishing(value.value) => return None,
        Unit::Share if vanishing(x) => "< 0.001".to_owned(),
        // Beside a number without an exponent.
        _ if (1e-6..1e-3).contains(&x) && value.value.abs() >= 1e-3 => plainly(x, 2),
        _ => significant(x, 2),
    })
}

/// The heading of a group with its weights.
pub(crate) fn group_heading(group: &Group) -> Option<(String, Option<&'static str>, String)> {
    let provenance = group.provenance.map(crate::study::Provenance::label);
    let provenance = provenance.filter(|p| *p != group.label);
    (!group.label.is_empty()).then(|| (group.label.clone(), provenance, group.about.join(" · ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits() {
        for (value, text) in [
            (46.1, "46.10"),
            (120.31, "120.3"),
            (0.748, "0.7480"),
            (0.0, "0"),
            (3.0, "3.000"),
            (-2.5, "-2.500"),
            (12345.6, "12346"),
            (0.00012, "1.200e-4"),
        ] {
            assert_eq!(number(value, Unit::Number), text);
        }
        assert_eq!([plainly(0.000_351, 2), plainly(0.00451, 3), plainly(120.0, 2)], ["0.00035", "0.00451", "120"]);
        assert_eq!(number(95.63, Unit::Percent), "95.6");
        assert_eq!(number(41.488, Unit::Hundredths), "41.49");
        assert_eq!(number(3.0, Unit::Count), "3");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(number(2.371, Unit::Share), "2.37");
        assert_eq!(number(100.0, Unit::Share), "100");
        assert_eq!(number(2.7e-11, Unit::Share), "< 0.001");
        assert_eq!(number(f64::NAN, Unit::Number), "NaN");
    }

    /// Breaks when 0 of 5 images are told as 0.0 ± 0.0, or when a mean over tries has the error over images.
    #[test]
    fn none_and_all_have_no_error_of_nothing() {
        let of =
            |value: f64, unit| Value { value, std: None, stderr: Some(0.0), n: 5, draws: 1, images_without: 0, unit };
        let said = |value: &Value, spread| spread_of(value, spread);
        assert_eq!([0.0, 50.0, 100.0].map(|v| said(&of(v, Unit::Percent), Spread::StdErr)), [None, None, None]);
        assert_eq!(said(&of(0.0, Unit::Number), Spread::StdErr), None);
        let tries = Value { std: Some(3.0), draws: 5, ..of(50.0, Unit::Percent) };
        assert_eq!(said(&tries, Spread::DrawsOrStdErr).as_deref(), Some("3.0"));
        let once = Value { stderr: Some(2.0), ..of(50.0, Unit::Percent) };
        assert_eq!(said(&once, Spread::DrawsOrStdErr).as_deref(), Some("2.0"));
    }

    #[test]
    fn nothing_invisible_survives() {
        assert_eq!(legible("a\u{202e}b\0c\nd\u{200b}"), "a\u{fffd}b\u{fffd}c d\u{fffd}");
        assert_eq!(legible("Müller ± 3 狗"), "Müller ± 3 狗");
    }
}
