//! Where panels stand: models with and without registers side by side, two columns.

use super::axes::{Plot, Scale};
use crate::models::base;
use crate::tables::{Context, Measured};

/// Outer size of a panel, px.
pub const PANEL: (f64, f64) = (500.0, 320.0);
/// Room for labels around a plot: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 62.0, 18.0, 48.0);
/// Columns of panels.
pub const COLUMNS: usize = 2;

/// Subjects that differ in their registers alone, fewest first; in the order of the study.
pub fn twins<'a, 'b>(context: &'b Context<'a>) -> Vec<Vec<&'b Measured<'a>>> {
    let mut rows: Vec<Vec<&Measured>> = Vec::new();
    for m in &context.measured {
        let same = |row: &&mut Vec<&Measured>| {
            let s = row[0].subject;
            base(&s.model) == base(&m.subject.model)
                && s.dataset == m.subject.dataset
                && s.preprocessing == m.subject.preprocessing
                && s.precision == m.subject.precision
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
    lines: usize,
    widest: usize,
}

impl Lines {
    /// Takes room for a row of `panels`; gives the number of its first panel.
    pub fn row(&mut self, panels: usize) -> usize {
        let first = self.lines * COLUMNS;
        self.lines += panels.div_ceil(COLUMNS);
        self.widest = self.widest.max(panels.min(COLUMNS));
        first
    }

    /// Size of the drawing.
    pub fn size(&self) -> (f64, f64) {
        (PANEL.0 * self.widest.max(1) as f64, PANEL.1 * self.lines as f64)
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
    use super::*;

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
