//! What the tables would say with another cut-off: share, precision and recall, cosine, attention, and what probes read
//! from one patch, against the norm above which a patch is called an outlier.
//!
//! Vertical lines mark the run's own cut-off, the papers' and the valley between the modes. Protocol:
//! `docs/protocols/threshold.md`.

use schemas::Frame;
use schemas::tables::Curves;

use super::axes::Scale;
use super::portraits::range;
use super::sheet::shortened;
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::parts::{Go, each_batch};
use crate::study::Subject;
use crate::tables::{Context, Measured};

/// Panels of a model: heading, axis, and its curves.
type Panel = (&'static str, &'static str, &'static [Curve]);

/// Experiment, subject, metric, legend, and what values it can have.
type Curve = (&'static str, &'static str, &'static str, &'static str, (f64, f64));

const SHARE: (f64, f64) = (0.0, 1.0);
const COSINE: (f64, f64) = (-1.0, 1.0);
const DIFFERENCE: (f64, f64) = (-2.0, 2.0);
/// Of no natural end: its axis ends where the values do.
const LENGTH: (f64, f64) = (0.0, f64::INFINITY);

const PANELS: [Panel; 8] = [
    (
        "share",
        "share",
        &[
            ("detection", "outlier", "share_frac", "of patches", SHARE),
            ("detection", "outlier", "images_with_frac", "of images, with any", SHARE),
        ],
    ),
    (
        "precision and recall",
        "share",
        &[
            ("detection", "outlier", "precision_frac", "precision", SHARE),
            ("detection", "outlier", "recall_frac", "recall", SHARE),
        ],
    ),
    (
        "similarity to neighbours",
        "mean cosine",
        &[
            ("neighbour_cosine", "outlier", "mean", "outliers", COSINE),
            ("neighbour_cosine", "normal", "mean", "the others", COSINE),
            ("neighbour_cosine", "outlier", "gap", "difference", DIFFERENCE),
        ],
    ),
    (
        "attention of [CLS]",
        "share of attention",
        &[("attention", "outlier", "mass_frac", "outliers of an image", SHARE)],
    ),
    (
        "class of the image from one patch",
        "accuracy",
        &[
            ("token_class", "outlier", "accuracy_frac", "outliers", SHARE),
            ("token_class", "normal", "accuracy_frac", "the others", SHARE),
        ],
    ),
    (
        "place of a patch",
        "top-1 accuracy",
        &[
            ("position", "outlier", "top1_frac", "outliers", SHARE),
            ("position", "normal", "top1_frac", "the others", SHARE),
        ],
    ),
    (
        "place of a patch",
        "mean distance, cells",
        &[
            ("position", "outlier", "mean_distance_cells", "outliers", LENGTH),
            ("position", "normal", "mean_distance_cells", "the others", LENGTH),
        ],
    ),
    (
        "pixels of a patch",
        "L2 error",
        &[
            ("pixels", "outlier", "l2_mean", "outliers", LENGTH),
            ("pixels", "normal", "l2_mean", "the others", LENGTH),
            ("pixels", "outlier", "blind_l2_mean", "the mean patch, on outliers", LENGTH),
        ],
    ),
];
/// Characters of a title over a panel.
const TITLE_CHARS: usize = 62;
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

impl Point {
    /// The value less and plus two standard errors, as far as there can be such values.
    fn band(&self, (least, most): (f64, f64)) -> Option<(f64, f64)> {
        let (value, twice) = (self.value?, 2.0 * self.stderr.unwrap_or(0.0));
        Some(((value - twice).max(least), (value + twice).min(most)))
    }
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
        let valued = |curve: &[&Point]| curve.iter().filter(|p| p.value.is_some()).count();
        let has = |panel: &Panel| curves(panel, &points).iter().any(|(_, curve)| valued(curve) > 1);
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
                  heading. Shaded: two standard errors over images. A line is broken where a number is undefined and where no cut-off \
                  was tried. Vertical lines: the run's own cut-off, the valley \
                  between the modes, the paper's 150 and the reproducibility study's 100, which were chosen for other \
                  models. Where a curve is flat, the choice does not matter. Probes are curves where every patch was kept."
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

/// The curves of a panel, in the panel's order, with the points of each.
fn curves<'p>(panel: &Panel, points: &'p [Point]) -> Vec<(Curve, Vec<&'p Point>)> {
    let one = |&curve: &Curve| {
        let (experiment, subject, metric, ..) = curve;
        (curve, points.iter().filter(|p| p.key == [experiment, subject, metric]).collect())
    };
    panel.2.iter().map(one).collect()
}

/// The parts of a curve without a hole: no undefined value between its points, and no stretch of norms much wider than
/// the steps in which cut-offs were tried.
fn unbroken<'p>(curve: &[&'p Point]) -> Vec<Vec<&'p Point>> {
    let step = |a: &Point, b: &Point| (b.at / a.at).ln();
    let mut steps: Vec<f64> = curve.windows(2).map(|w| step(w[0], w[1])).filter(|s| *s > 0.0).collect();
    steps.sort_by(f64::total_cmp);
    // A mark parts a step in two: the median is a whole one.
    let widest = 2.0 * steps.get(steps.len() / 2).copied().unwrap_or(f64::INFINITY);
    let mut parts: Vec<Vec<&Point>> = Vec::new();
    let mut last: Option<&Point> = None;
    for point in curve {
        match (last.filter(|last| last.value.is_some() && step(last, point) <= widest), parts.last_mut()) {
            _ if point.value.is_none() => {}
            (Some(_), Some(part)) => part.push(point),
            _ => parts.push(vec![point]),
        }
        last = Some(point);
    }
    parts
}

/// Places of some curves with a mark, each once, from left to right.
fn marks<'p>(curves: &[(Curve, Vec<&'p Point>)]) -> Vec<(f64, &'p str)> {
    let mut marks: Vec<(f64, &str)> = Vec::new();
    for point in curves.iter().flat_map(|(_, curve)| curve).filter(|p| !p.mark.is_empty()) {
        if marks.iter().all(|(at, _)| *at != point.at) {
            marks.push((point.at, &point.mark));
        }
    }
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    marks
}

/// Where the vertical axis of some curves ends. Shares and cosines end at 1, so that axes beside and under each other
/// have the same ticks; lengths where they do.
fn ends(curves: &[(Curve, Vec<&Point>)]) -> (f64, f64) {
    let lowest = curves.iter().flat_map(|(_, curve)| curve.iter().filter_map(|p| p.value)).fold(0.0, f64::min);
    let length = curves.iter().any(|((.., possible), _)| possible.1.is_infinite());
    let upper = curves.iter().flat_map(|(_, curve)| curve.iter().filter_map(|p| Some(p.band(LENGTH)?.1)));
    let top = if length { upper.fold(0.0, f64::max) } else { 1.0 };
    // Of no error at all there is no scale.
    (lowest, 1.04 * if top > 0.0 { top } else { 1.0 })
}

fn draw(svg: &mut Svg, i: usize, m: &Measured, panel: &Panel, points: &[Point]) {
    let curves = curves(panel, points);
    let (low, high) = range(points.iter().map(|p| p.at));
    let (bottom, top) = ends(&curves);
    let plot = panels::plot(
        i,
        |range| Scale::log((low, high.max(low * 1.01)), range),
        |range| Scale::linear((bottom, top), range),
    );
    let (x, y) = panels::corner(i);
    svg.text(x + 20.0, y + 15.0, Anchor::Start, Ink::Title, &shortened(&panels::name(m), TITLE_CHARS));
    svg.text(x + 20.0, y + 30.0, Anchor::Start, Ink::Label, &format!("{}: {}", m.subject.site, panel.0));
    plot.axes(svg, "cut-off, norm", panel.1);
    let mut last = (f64::NEG_INFINITY, false);
    for (at, mark) in marks(&curves) {
        let across = plot.x.at(at);
        svg.line("vf-cut", (across, plot.top), (across, plot.top + plot.height));
        // Where marks stand close to each other, their names take turns in height.
        let lower = across - last.0 < 8.0 * mark.chars().count() as f64 && !last.1;
        let up = if lower { plot.top + 11.0 } else { plot.top - 4.0 };
        svg.text(across, up, Anchor::Middle, Ink::Tick, mark);
        last = (across, lower);
    }
    let mut left = x + 20.0;
    for (((.., legend, possible), curve), color) in curves.iter().zip(COLORS) {
        if curve.iter().all(|p| p.value.is_none()) {
            continue;
        }
        for part in unbroken(curve) {
            let at = |value: fn((f64, f64)) -> f64| {
                let point = move |p: &&Point| Some((plot.x.at(p.at), plot.y.at(value(p.band(*possible)?))));
                part.iter().filter_map(point).collect::<Vec<_>>()
            };
            let (mut band, upper) = (at(|band| band.0), at(|band| band.1));
            band.extend(upper.into_iter().rev());
            svg.shape(&band, color);
            let line: Vec<(f64, f64)> =
                part.iter().filter_map(|p| Some((plot.x.at(p.at), plot.y.at(p.value?)))).collect();
            match line[..] {
                // A line of one point would not be seen.
                [(x, y)] => svg.rect((x - 1.5, y - 1.5), (3.0, 3.0), color),
                _ => svg.curve(&line, color, 1.7),
            }
        }
        svg.rect((left, y + 37.0), (11.0, 11.0), color);
        svg.text(left + 17.0, y + 46.5, Anchor::Start, Ink::Label, legend);
        left += 40.0 + 6.6 * legend.chars().count() as f64;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
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
            point("precision_frac", 100.0, "", Some(0.5)),
            point("precision_frac", 150.0, "paper", None),
            point("recall_frac", 150.0, "paper", Some(0.1)),
        ];
        let found: Vec<(&str, usize)> = curves(&PANELS[1], &points).iter().map(|(l, c)| (l.3, c.len())).collect();
        assert_eq!(found, [("precision", 3), ("recall", 1)]);
        let parts = |points: &[&Point]| unbroken(points).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(parts(&curves(&PANELS[1], &points)[0].1), [2]);
        assert_eq!(marks(&curves(&PANELS[1], &points)), [(150.0, "paper")]);
    }

    /// Breaks when an error of several units is cut at 1, or a share's axis follows its values.
    #[test]
    fn axes_of_lengths_end_where_the_values_do() {
        let of = |experiment: &str, metric: &str, value| Point {
            key: [experiment, "outlier", metric].map(str::to_owned),
            ..point(metric, 10.0, "run", Some(value))
        };
        let points =
            [of("pixels", "l2_mean", 12.5), of("pixels", "blind_l2_mean", 25.0), of("position", "top1_frac", 0.2)];
        let panel = |heading: &str, axis: &str| PANELS.iter().find(|p| (p.0, p.1) == (heading, axis)).unwrap();
        assert_eq!(ends(&curves(panel("pixels of a patch", "L2 error"), &points)), (0.0, 26.0));
        assert_eq!(ends(&curves(panel("place of a patch", "top-1 accuracy"), &points)), (0.0, 1.04));
        assert_eq!(ends(&curves(panel("place of a patch", "mean distance, cells"), &points)), (0.0, 1.04));
    }

    /// The cut-off of the run stands where the panel's own numbers were taken. Breaks when one panel has another's marks.
    #[test]
    fn a_panel_has_the_marks_of_its_curves() {
        let probe =
            Point { key: ["position", "outlier", "top1_frac"].map(str::to_owned), ..point("", 52.0, "run", Some(0.5)) };
        let points = [point("share_frac", 50.0, "run", Some(0.1)), probe];
        assert_eq!(marks(&curves(&PANELS[0], &points)), [(50.0, "run")]);
        assert_eq!(marks(&curves(&PANELS[5], &points)), [(52.0, "run")]);
    }

    /// Breaks when a line runs over an undefined value or over norms at which nothing was tried.
    #[test]
    fn lines_are_broken_at_holes() {
        let at = |at: f64, value| point("recall_frac", at, "", value);
        // Steps of a factor of 2; a mark between two of them; 16 to 128 was not tried.
        let places = [1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 128.0].map(|x| at(x, Some(0.5)));
        let parts = |points: &[Point]| {
            let parts = unbroken(&points.iter().collect::<Vec<_>>());
            parts.iter().map(|part| part.iter().map(|p| p.at).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(parts(&places), [vec![1.0, 2.0, 3.0, 4.0, 8.0, 16.0], vec![128.0]]);
        let undefined = [at(1.0, Some(0.5)), at(2.0, None), at(4.0, Some(0.5)), at(8.0, Some(0.5))];
        assert_eq!(parts(&undefined), [vec![1.0], vec![4.0, 8.0]]);
        assert!(parts(&[at(1.0, None)]).is_empty() && parts(&[]).is_empty());
    }

    /// Breaks when a band has shares above 1 or below 0.
    #[test]
    fn bands_end_where_values_do() {
        let wide = |value| Point { stderr: Some(0.1), ..point("share_frac", 1.0, "", value) };
        let close = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 1e-12 && (b - d).abs() < 1e-12;
        assert!(close(wide(Some(0.95)).band(SHARE).unwrap(), (0.75, 1.0)));
        assert!(close(wide(Some(0.05)).band(SHARE).unwrap(), (0.0, 0.25)));
        assert!(close(wide(Some(0.95)).band(COSINE).unwrap(), (0.75, 1.0)));
        assert!(close(wide(Some(0.95)).band(DIFFERENCE).unwrap(), (0.75, 1.15)));
        assert_eq!(wide(None).band(SHARE), None);
    }
}
