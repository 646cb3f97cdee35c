//! Where panels stand: models with and without registers side by side, two columns.

use super::axes::{Plot, Scale};
use crate::models::base;
use crate::study::Subject;
use crate::tables::{Context, Measured};

/// Outer size of a panel, px.
pub const PANEL: (f64, f64) = (500.0, 320.0);
/// Room for labels around a plot: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 62.0, 18.0, 48.0);
/// Columns of panels.
pub const COLUMNS: usize = 2;

/// Subjects that differ in their registers alone, fewest first; in the order of the study.
pub fn twins<'a, 'b>(context: &'b Context<'a>) -> Vec<Vec<&'b Measured<'a>>> {
    rows(context.measured.iter())
}

/// The same, each a column with the same weights changed while they ran after it. What was changed of a model that is
/// not in the study stands alone.
pub fn families<'a, 'b>(context: &'b Context<'a>) -> Vec<Vec<Vec<&'b Measured<'a>>>> {
    let plain = |m: &Measured| context.measured.iter().find(|p| is_plain(p.subject, m.subject));
    let mut families: Vec<Vec<Vec<&Measured>>> = rows(context.measured.iter().filter(|m| plain(m).is_none()))
        .into_iter()
        .map(|row| row.into_iter().map(|m| vec![m]).collect())
        .collect();
    for m in &context.measured {
        let Some(plain) = plain(m) else { continue };
        if let Some(column) = families.iter_mut().flatten().find(|column| std::ptr::eq(column[0], plain)) {
            column.push(m);
        }
    }
    families
}

/// [`twins`], each with the number of its family: what was changed has that of what it was made from, to share its scales.
pub fn twins_in_families<'a, 'b>(context: &'b Context<'a>) -> Vec<(usize, Vec<&'b Measured<'a>>)> {
    let families = families(context);
    let has = |family: &Vec<Vec<&Measured>>, m: &Measured| family.iter().flatten().any(|other| std::ptr::eq(*other, m));
    let number = |m: &Measured| families.iter().position(|family| has(family, m)).unwrap_or(families.len());
    twins(context).into_iter().map(|row| (number(row[0]), row)).collect()
}

/// Whether `plain` is what was changed to make `changed`.
fn is_plain(plain: &Subject, changed: &Subject) -> bool {
    plain.change.is_empty()
        && !changed.change.is_empty()
        && plain.weights_digest == changed.weights_digest
        && plain.registers + changed.appended_registers == changed.registers
        && plain.dataset == changed.dataset
        && plain.preprocessing == changed.preprocessing
        && plain.precision == changed.precision
}

/// What tells a member of a family from the others: `4 registers`, or the rest of a changed model's name.
pub fn variant(plain: &Subject, subject: &Subject) -> String {
    if subject.change.is_empty() {
        return registers(subject.registers);
    }
    let rest = subject.model.strip_prefix(plain.model.as_str()).map(|rest| rest.trim_start_matches(['-', '_']));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(&subject.model).to_owned()
}

fn rows<'a: 'b, 'b>(measured: impl Iterator<Item = &'b Measured<'a>>) -> Vec<Vec<&'b Measured<'a>>> {
    let mut rows: Vec<Vec<&Measured>> = Vec::new();
    for m in measured {
        let same = |row: &&mut Vec<&Measured>| {
            let s = row[0].subject;
            base(&s.model) == base(&m.subject.model)
                && s.dataset == m.subject.dataset
                && s.preprocessing == m.subject.preprocessing
                && s.precision == m.subject.precision
                && s.change == m.subject.change
                && row.iter().all(|other| other.subject.registers != m.subject.registers)
        };
        match rows.iter_mut().find(same) {
            Some(row) => row.push(m),
            None => rows.push(vec![m]),
        }
    }
    for row in &mut rows {
        row.sort_by_key(|m| m.subject.registers);
    }
    rows
}

/// Where panels of several rows stand: each row starts a line, and goes on in the next when it is longer than one.
#[derive(Debug, Default)]
pub struct Lines {
    taken: usize,
    widest: usize,
    alone: Option<usize>,
}

impl Lines {
    /// Takes room for a row of `panels`; gives the number of its first panel.
    pub fn row(&mut self, panels: usize) -> usize {
        self.alone = None;
        let first = self.taken * COLUMNS;
        self.taken += panels.div_ceil(COLUMNS);
        self.widest = self.widest.max(panels.min(COLUMNS));
        first
    }

    /// Takes room for one panel that belongs to no row: beside the one before, if that stands alone too.
    pub fn single(&mut self) -> usize {
        if let Some(before) = self.alone.take() {
            self.widest = self.widest.max(before % COLUMNS + 2);
            return before + 1;
        }
        let first = self.row(1);
        self.alone = Some(first);
        first
    }

    /// Size of the drawing.
    pub fn size(&self) -> (f64, f64) {
        (PANEL.0 * self.widest.max(1) as f64, PANEL.1 * self.taken as f64)
    }
}

/// Size of a drawing of `panels` panels.
pub fn size(panels: usize) -> (f64, f64) {
    let columns = panels.clamp(1, COLUMNS);
    (PANEL.0 * columns as f64, PANEL.1 * panels.div_ceil(COLUMNS).max(1) as f64)
}

/// Top left of panel `i`.
pub fn corner(i: usize) -> (f64, f64) {
    (PANEL.0 * (i % COLUMNS) as f64, PANEL.1 * (i / COLUMNS) as f64)
}

/// The plot inside panel `i`; each scale is made from the px that it covers.
pub fn plot(i: usize, x: impl Fn((f64, f64)) -> Scale, y: impl Fn((f64, f64)) -> Scale) -> Plot {
    let (corner_x, corner_y) = corner(i);
    let (left, top) = (corner_x + MARGIN.0, corner_y + MARGIN.1);
    let (width, height) = (PANEL.0 - MARGIN.0 - MARGIN.2, PANEL.1 - MARGIN.1 - MARGIN.3);
    Plot { left, top, width, height, x: x((left, left + width)), y: y((top + height, top)) }
}

/// The plot inside panel `i`: norms across, shares (log) upwards.
pub fn shares(i: usize, norms: (f64, f64), floor: f64) -> Plot {
    // A tenth of a margin on a log axis keeps the outermost bins off the frame.
    plot(i, |range| Scale::log((norms.0 / 1.1, norms.1 * 1.1), range), |range| Scale::log((floor, 1.0), range))
}

/// The lowest share that a plot must show: a decade below the rarest bin, at most 1e-2.
pub fn floor(rarest: f64) -> f64 {
    if rarest <= 0.0 || !rarest.is_finite() {
        return 1e-2;
    }
    10f64.powf(rarest.log10().floor()).min(1e-2)
}

/// `model on dataset`.
pub fn name(m: &Measured) -> String {
    format!("{} on {}", m.subject.model, m.subject.dataset)
}

/// `4 registers`.
pub fn registers(count: usize) -> String {
    match count {
        0 => "no registers".to_owned(),
        1 => "1 register".to_owned(),
        n => format!("{n} registers"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::study::Study;

    fn subject(model: &str, registers: usize, change: &str) -> Subject {
        Subject {
            model: model.to_owned(),
            weights_digest: "d".to_owned(),
            registers,
            change: change.to_owned(),
            ..Subject::default()
        }
    }

    /// Breaks when a changed model stands apart from its weights, under those of another number of registers, or as a
    /// twin that was trained so.
    #[test]
    fn changed_models_stand_with_what_was_changed() {
        let appended = Subject { appended_registers: 1, ..subject("m-test-time-reg1", 1, "1 test-time register") };
        let orphan = Subject { weights_digest: "e".to_owned(), ..subject("m_reg2", 2, "zeroed") };
        let study = Study {
            subjects: vec![
                subject("m-edited", 0, "zeroed"),
                subject("m", 0, ""),
                subject("m_reg4", 4, ""),
                appended,
                subject("four", 4, "zeroed"),
                orphan,
            ],
            ..Study::default()
        };
        let context = Context::read(&study).unwrap();
        let names: Vec<Vec<Vec<&str>>> = families(&context)
            .iter()
            .map(|f| f.iter().map(|column| column.iter().map(|m| m.subject.model.as_str()).collect()).collect())
            .collect();
        assert_eq!(
            names,
            [vec![vec!["m", "m-edited", "m-test-time-reg1"], vec!["m_reg4", "four"]], vec![vec!["m_reg2"]]]
        );
        let of = |i: usize| variant(&study.subjects[1], &study.subjects[i]);
        assert_eq!([1, 2, 0, 3, 4].map(of), ["no registers", "4 registers", "edited", "test-time-reg1", "four"]);
        let rows = twins_in_families(&context);
        let rows: Vec<(usize, &str)> = rows.iter().map(|(n, row)| (*n, row[0].subject.model.as_str())).collect();
        assert_eq!(rows, [(0, "m-edited"), (0, "m"), (0, "m-test-time-reg1"), (0, "four"), (1, "m_reg2")]);
        assert!(twins(&context).iter().all(|row| row.iter().all(|m| m.subject.change == row[0].subject.change)));
    }

    #[test]
    fn a_row_starts_a_line() {
        let mut lines = Lines::default();
        assert_eq!([lines.row(1), lines.row(3), lines.row(2)], [0, 2, 6]);
        assert_eq!(lines.size(), (2.0 * PANEL.0, 4.0 * PANEL.1));
    }

    #[test]
    fn floors_are_powers_of_ten_below_the_rarest() {
        assert!((floor(3e-5) - 1e-5).abs() < 1e-12);
        assert!((floor(0.9) - 1e-2).abs() < 1e-12);
        assert!((floor(0.0) - 1e-2).abs() < 1e-12);
    }
}
