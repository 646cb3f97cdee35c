//! What the tables would say with another cut-off: share, precision and recall, cosine, attention against the norm above
//! which a patch is called an outlier.
//!
//! Vertical lines mark the run's own cut-off, the papers' and the valley between the modes. Protocol:
//! `docs/protocols/threshold.md`.

use schemas::Frame;
use schemas::tables::Curves;

use super::axes::Scale;
use super::sheet::shortened;
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::parts::{Go, each_batch};
use crate::study::Subject;
use crate::tables::{Context, Measured};

/// Panels of a model: heading, axis, and its curves as (experiment, subject, metric, legend).
type Panel = (&'static str, &'static str, &'static [(&'static str, &'static str, &'static str, &'static str)]);

const PANELS: [Panel; 4] = [
    (
        "share",
        "share",
        &[
            ("detection", "outlier", "share_frac", "of patches"),
            ("detection", "outlier", "images_with_frac", "of images, with any"),
        ],
    ),
    (
        "precision and recall",
        "share",
        &[("detection", "outlier", "precision_frac", "precision"), ("detection", "outlier", "recall_frac", "recall")],
    ),
    (
        "similarity to neighbours",
        "mean cosine",
        &[
            ("neighbour_cosine", "outlier", "mean", "outliers"),
            ("neighbour_cosine", "normal", "mean", "the others"),
            ("neighbour_cosine", "outlier", "gap", "difference"),
        ],
    ),
    ("attention of [CLS]", "share of attention", &[("attention", "outlier", "mass_frac", "outliers of an image")]),
];
const COLORS: [&str; 3] = ["#d9682b", "#3b76c0", "#2f9c7c"];

/// One value.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    key: [String; 3],
    at: f64,
    mark: String,
    value: Option<f64>,
    stderr: Option<f64>,
}

/// Draws the figure; none without curves against the cut-off.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut data = Frame::new([
        "model",
        "dataset",
        "experiment",
        "subject",
        "site",
        "knob",
        "at",
        "mark",
        "metric",
        "value",
        "stderr",
        "n",
    ]);
    let mut lines = panels::Lines::default();
    let mut drawn: Vec<(usize, &Measured, Panel, Vec<Point>)> = Vec::new();
    for m in &context.measured {
        let points = read(m.subject, &mut data)?;
        let has = |panel: &Panel| curves(panel, &points).iter().any(|(_, curve)| curve.len() > 1);
        let shown: Vec<Panel> = PANELS.iter().filter(|panel| has(panel)).copied().collect();
        let first = if shown.is_empty() { 0 } else { lines.row(shown.len()) };
        drawn.extend(shown.into_iter().enumerate().map(|(i, panel)| (first + i, m, panel, points.clone())));
    }
    if drawn.is_empty() {
        return Ok(None);
    }
    let (width, height) = lines.size();
    let mut svg = Svg::new(width, height, "Results against the cut-off");
    for (i, m, panel, points) in &drawn {
        draw(&mut svg, *i, m, panel, points);
    }
    Ok(Some(Figure {
        id: "threshold",
        title: "Results against the cut-off".to_owned(),
        caption: "Every outlier result as a function of the norm above which a patch is called an outlier, at the site in the \
                  heading. Shaded: two standard errors over images. Vertical lines: the run's own cut-off, the valley \
                  between the modes, the paper's 150 and the reproducibility study's 100, which were chosen for other \
                  models. Where a curve is flat, the choice does not matter."
            .to_owned(),
        protocol: "docs/protocols/threshold.md",
        svg: svg.finish(),
        parts: vec![],
        png: None,
        data,
    }))
}

/// The points against the cut-off; the data get those of every knob.
fn read(subject: &Subject, data: &mut Frame) -> Result<Vec<Point>, ReportError> {
    let mut points = Vec::new();
    each_batch::<Curves>(subject, |batch| {
        for i in (0..batch.at.len()).filter(|&i| matches!(&*batch.knob[i], "cutoff" | "top_frac")) {
            data.push([
                (&subject.model).into(),
                (&subject.dataset).into(),
                (&*batch.experiment[i]).into(),
                (&*batch.subject[i]).into(),
                (&*batch.site[i]).into(),
                (&*batch.knob[i]).into(),
                batch.at[i].into(),
                (&*batch.mark[i]).into(),
                (&*batch.metric[i]).into(),
                batch.value[i].into(),
                batch.stderr[i].into(),
                batch.n[i].into(),
            ]);
            if &*batch.knob[i] == "cutoff" && batch.at[i] > 0.0 && batch.at[i].is_finite() {
                points.push(Point {
                    key: [&batch.experiment[i], &batch.subject[i], &batch.metric[i]].map(ToString::to_string),
                    at: batch.at[i],
                    mark: batch.mark[i].to_string(),
                    value: batch.value[i].filter(|v| v.is_finite()),
                    stderr: batch.stderr[i].filter(|v| v.is_finite()),
                });
            }
        }
        Ok(Go::On)
    })?;
    points.sort_by(|a, b| a.at.total_cmp(&b.at));
    Ok(points)
}

/// The curves of a panel with their legends, in the panel's order.
fn curves<'p>(panel: &Panel, points: &'p [Point]) -> Vec<(&'static str, Vec<&'p Point>)> {
    let one = |&(experiment, subject, metric, legend): &(&str, &str, &str, &'static str)| {
        let is = |p: &&Point| p.key == [experiment, subject, metric] && p.value.is_some();
        (legend, points.iter().filter(is).collect())
    };
    panel.2.iter().map(one).collect()
}

/// Places with a mark, each once.
fn marks(points: &[Point]) -> Vec<(f64, &str)> {
    let mut marks: Vec<(f64, &str)> = Vec::new();
    for point in points.iter().filter(|p| !p.mark.is_empty()) {
        if marks.iter().all(|(at, _)| *at != point.at) {
            marks.push((point.at, &point.mark));
        }
    }
    marks
}

fn draw(svg: &mut Svg, i: usize, m: &Measured, panel: &Panel, points: &[Point]) {
    let curves = curves(panel, points);
    let (low, high) = super::portraits::range(points.iter().map(|p| p.at));
    let values = || curves.iter().flat_map(|(_, curve)| curve.iter().filter_map(|p| p.value));
    let bottom = values().fold(0.0, f64::min);
    let top = values().fold(0.0, f64::max);
    let top = if top > bottom { top } else { bottom + 1.0 };
    let plot = panels::plot(
        i,
        |range| Scale::log((low, high.max(low * 1.01)), range),
        |range| Scale::linear((bottom, bottom + 1.04 * (top - bottom)), range),
    );
    let (x, y) = panels::corner(i);
    let title = format!("{}, {}: {}", panels::name(m), m.subject.site, panel.0);
    svg.text(x + 20.0, y + 18.0, Anchor::Start, Ink::Title, &shortened(&title, 60));
    plot.axes(svg, "cut-off, norm", panel.1);
    let mut last = (f64::NEG_INFINITY, false);
    for (at, mark) in marks(points) {
        let across = plot.x.at(at);
        svg.line("vf-cut", (across, plot.top), (across, plot.top + plot.height));
        // Where marks stand close to each other, their names take turns in height.
        let lower = across - last.0 < 8.0 * mark.chars().count() as f64 && !last.1;
        let up = if lower { plot.top + 11.0 } else { plot.top - 4.0 };
        svg.text(across, up, Anchor::Middle, Ink::Tick, mark);
        last = (across, lower);
    }
    let mut left = x + 20.0;
    for ((legend, curve), color) in curves.iter().zip(COLORS) {
        if curve.is_empty() {
            continue;
        }
        let at = |p: &Point, shift: f64| {
            (plot.x.at(p.at), plot.y.at(p.value.unwrap_or(0.0) + shift * p.stderr.unwrap_or(0.0)))
        };
        let upper = curve.iter().map(|p| at(p, 2.0));
        let band: Vec<(f64, f64)> = upper.chain(curve.iter().rev().map(|p| at(p, -2.0))).collect();
        svg.shape(&band, color);
        let line: Vec<(f64, f64)> = curve.iter().map(|p| at(p, 0.0)).collect();
        svg.curve(&line, color, 1.7);
        svg.rect((left, y + 32.0), (11.0, 11.0), color);
        svg.text(left + 17.0, y + 41.5, Anchor::Start, Ink::Label, legend);
        left += 40.0 + 6.6 * legend.chars().count() as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(metric: &str, at: f64, mark: &str, value: Option<f64>) -> Point {
        let key = ["detection", "outlier", metric].map(str::to_owned);
        Point { key, at, mark: mark.to_owned(), value, stderr: None }
    }

    /// Breaks when an undefined value becomes a zero, or a mark is drawn once per metric.
    #[test]
    fn undefined_values_are_gaps_and_marks_are_drawn_once() {
        let points = [
            point("precision_frac", 10.0, "", Some(0.5)),
            point("precision_frac", 150.0, "paper", None),
            point("recall_frac", 150.0, "paper", Some(0.1)),
        ];
        let found: Vec<(&str, usize)> = curves(&PANELS[1], &points).iter().map(|(l, c)| (*l, c.len())).collect();
        assert_eq!(found, [("precision", 1), ("recall", 1)]);
        assert_eq!(marks(&points), [(150.0, "paper")]);
    }
}
