//! Scales and ticks.

use super::svg::{Anchor, Ink, Svg};
use crate::render::number;
use crate::tables::Unit;

/// A scale from values to px.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    log: bool,
    domain: (f64, f64),
    range: (f64, f64),
}

/// A tick: where, and its label (none: a minor tick).
pub type Tick = (f64, Option<String>);

impl Scale {
    /// A linear scale.
    pub fn linear(domain: (f64, f64), range: (f64, f64)) -> Self {
        Self { log: false, domain, range }
    }

    /// A logarithmic scale; `domain` must be above 0.
    pub fn log(domain: (f64, f64), range: (f64, f64)) -> Self {
        Self { log: true, domain, range }
    }

    /// Where `x` lies, px; clamped to the range.
    pub fn at(&self, x: f64) -> f64 {
        let f = |v: f64| if self.log { v.max(f64::MIN_POSITIVE).log10() } else { v };
        let (low, high) = (f(self.domain.0), f(self.domain.1));
        let t = if high > low { (f(x) - low) / (high - low) } else { 0.5 };
        self.range.0 + t.clamp(0.0, 1.0) * (self.range.1 - self.range.0)
    }

    /// Ticks within the domain.
    pub fn ticks(&self) -> Vec<Tick> {
        if !self.log {
            return self.linear_ticks();
        }
        // Within less than an octave round numbers say more than powers do.
        let ticks = self.log_ticks();
        if ticks.iter().filter(|(_, label)| label.is_some()).count() > 1 { ticks } else { self.linear_ticks() }
    }

    fn log_ticks(&self) -> Vec<Tick> {
        let decades = (self.domain.1 / self.domain.0).log10();
        let labelled: &[i32] = match decades {
            d if d < 0.7 => &[1, 2, 3, 4, 5, 6, 7, 8, 9],
            d if d < 2.2 => &[1, 2, 5],
            _ => &[1],
        };
        let mut ticks = Vec::new();
        for exponent in self.domain.0.log10().floor() as i32..=self.domain.1.log10().ceil() as i32 {
            for digit in 1..=9 {
                let x = f64::from(digit) * 10f64.powi(exponent);
                if x < self.domain.0 * (1.0 - 1e-9) || x > self.domain.1 * (1.0 + 1e-9) {
                    continue;
                }
                ticks.push((x, labelled.contains(&digit).then(|| plain(x))));
            }
        }
        ticks
    }

    fn linear_ticks(&self) -> Vec<Tick> {
        let span = self.domain.1 - self.domain.0;
        if span <= 0.0 {
            return vec![(self.domain.0, Some(plain(self.domain.0)))];
        }
        // A little over five: headroom of 5 % above 1 must not turn steps of 0.2 into steps of 0.5.
        let rough = span / 5.3;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough).unwrap_or(power);
        let first = (self.domain.0 / step).ceil() as i64;
        let last = (self.domain.1 / step + 1e-9).floor() as i64;
        (first..=last).map(|i| (i as f64 * step, Some(plain(i as f64 * step)))).collect()
    }
}

/// A tick label without needless zeros.
fn plain(x: f64) -> String {
    let text = number(x, Unit::Number);
    match text.split_once('e') {
        Some((mantissa, exponent)) => format!("{}e{exponent}", trim(mantissa)),
        None if text.contains('.') => trim(&text).to_owned(),
        None => text,
    }
}

fn trim(decimal: &str) -> &str {
    if decimal.contains('.') { decimal.trim_end_matches('0').trim_end_matches('.') } else { decimal }
}

/// A rectangle of a drawing with two scales, px.
#[derive(Debug, Clone, Copy)]
pub struct Plot {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Horizontal scale.
    pub x: Scale,
    /// Vertical scale.
    pub y: Scale,
}

impl Plot {
    /// Draws ticks, grid and axis labels.
    pub fn axes(&self, svg: &mut Svg, x_label: &str, y_label: &str) {
        self.rows(svg, y_label);
        let bottom = self.top + self.height;
        for (value, label) in self.x.ticks() {
            let x = self.x.at(value);
            let length = if label.is_some() { 5.0 } else { 3.0 };
            svg.line("vf-axis", (x, bottom), (x, bottom + length));
            if let Some(label) = label {
                svg.text(x, bottom + 17.0, Anchor::Middle, Ink::Tick, &label);
            }
        }
        svg.text(self.left + self.width / 2.0, bottom + 34.0, Anchor::Middle, Ink::Tick, x_label);
    }

    /// Draws what a plot without a horizontal scale has: the vertical ticks, their grid and label, and the ground.
    pub fn rows(&self, svg: &mut Svg, y_label: &str) {
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        for (value, label) in self.y.ticks() {
            let y = self.y.at(value);
            if let Some(label) = label {
                svg.line("vf-grid", (self.left, y), (right, y));
                svg.text(self.left - 7.0, y + 3.5, Anchor::End, Ink::Tick, &label);
            }
        }
        svg.line("vf-axis", (self.left, bottom), (right, bottom));
        svg.text_up(self.left - 44.0, self.top + self.height / 2.0, Anchor::Middle, Ink::Tick, y_label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_even_and_clamped() {
        let s = Scale::log((1.0, 100.0), (0.0, 200.0));
        assert_eq!([s.at(1.0), s.at(10.0), s.at(100.0), s.at(1e9), s.at(0.0)], [0.0, 100.0, 200.0, 200.0, 0.0]);
        let labels: Vec<String> = s.ticks().into_iter().filter_map(|t| t.1).collect();
        assert_eq!(labels, ["1", "2", "5", "10", "20", "50", "100"]);
    }

    #[test]
    fn a_short_log_scale_has_labels_too() {
        let labels: Vec<String> =
            Scale::log((38.0, 49.0), (0.0, 1.0)).ticks().into_iter().filter_map(|t| t.1).collect();
        assert_eq!(labels, ["40", "45"]);
    }

    #[test]
    fn linear_ticks_are_round() {
        let labels =
            |a, b| Scale::linear((a, b), (0.0, 1.0)).ticks().into_iter().filter_map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(0.0, 11.0), ["0", "5", "10"]);
        assert_eq!(labels(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels(0.0, 1.05), labels(0.0, 1.0));
        assert_eq!(labels(3.0, 3.0), ["3"]);
    }
}
