//! Figure 8 (bottom) of the paper: what a number of registers does to each task.
//!
//! Models of one study that differ in their registers alone, whatever their number: a panel for each task, a point for each
//! number of registers. A point is the mean over the tasks that all of these models were measured on, with
//!
//! ```text
//! stderr = √(Σ stderrᵢ²) / k
//! ```
//!
//! Protocol: `docs/protocols/fig8.md`.

use schemas::Frame;

use super::axes::Scale;
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, colormap, panels};
use crate::error::ReportError;
use crate::models::base;
use crate::scores::Score;
use crate::tables::heads::{BEST, is_head};
use crate::tables::{Context, Measured};

/// A task: name in the data, title of its panel, label of its axis, experiment, metric, factor, which subjects count.
struct Task {
    id: &'static str,
    title: &'static str,
    axis: &'static str,
    experiment: &'static str,
    metric: &'static str,
    factor: f64,
    counts: fn(&str) -> bool,
}

const TASKS: [Task; 7] = [
    Task {
        id: "linear_eval",
        title: "classes, linear head",
        axis: "top-1, %",
        experiment: "linear_eval",
        metric: "accuracy_frac",
        factor: 100.0,
        counts: |of| of == BEST,
    },
    Task {
        id: "segmentation",
        title: "segmentation",
        axis: "mIoU, %",
        experiment: "segmentation",
        metric: "miou_frac",
        factor: 100.0,
        counts: is_head,
    },
    Task {
        id: "depth",
        title: "depth",
        axis: "RMSE, m (less is better)",
        experiment: "depth",
        metric: "rmse_m",
        factor: 1.0,
        counts: is_head,
    },
    Task {
        id: "corloc",
        title: "object discovery, best bias",
        axis: "CorLoc, %",
        experiment: "corloc",
        metric: "best_corloc_frac",
        factor: 100.0,
        counts: |_| true,
    },
    Task {
        id: "knn",
        title: "classes, 20 neighbours",
        axis: "top-1, %",
        experiment: "knn",
        metric: "accuracy_frac_k20",
        factor: 100.0,
        counts: |of| of == "cls",
    },
    Task {
        id: "zero_shot",
        title: "classes, zero-shot",
        axis: "top-1, %",
        experiment: "zero_shot",
        metric: "accuracy_frac",
        factor: 100.0,
        counts: |_| true,
    },
    Task {
        id: "token_class",
        title: "classes from [CLS], logistic",
        axis: "accuracy, %",
        experiment: "token_class",
        metric: "accuracy_frac",
        factor: 100.0,
        counts: |of| of == "cls",
    },
];

const COLOR: &str = "#3b76c0";

/// Half of an error bar's end, and of a point, px.
const END_PX: f64 = 4.0;
const POINT_PX: f64 = 3.0;

/// What has to be the same for a number to be of the same task.
type Key<'a> = [&'a str; 5];

/// A number of registers with what was measured: value and standard error, in the task's unit.
type Point = (usize, f64, Option<f64>);

/// The points of one task and the keys whose mean they are.
#[derive(Debug, PartialEq)]
struct Curve<'a> {
    keys: Vec<Key<'a>>,
    points: Vec<Point>,
}

/// Draws the figure; none unless models with two numbers of registers have a task in common.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut data = Frame::new([
        "model",
        "task",
        "dataset",
        "head",
        "site",
        "preprocessing",
        "settings",
        "metric",
        "registers",
        "value",
        "stderr",
    ]);
    let mut lines = panels::Lines::default();
    let mut drawn: Vec<(usize, &str, &Task, Curve)> = Vec::new();
    for family in families(context) {
        let curves: Vec<(&Task, Curve)> = TASKS.iter().filter_map(|task| Some((task, curve(task, &family)?))).collect();
        if curves.is_empty() {
            continue;
        }
        let name = base(&family[0].subject.model);
        let first = lines.row(curves.len());
        for (i, (task, curve)) in curves.into_iter().enumerate() {
            put(&mut data, name, task, &family, &curve);
            drawn.push((first + i, name, task, curve));
        }
    }
    if drawn.is_empty() {
        return Ok(None);
    }
    let (width, height) = lines.size();
    let mut svg = Svg::new(width, height, "Performance against the number of registers");
    for (i, name, task, curve) in &drawn {
        draw(&mut svg, *i, name, task, curve);
    }
    Ok(Some(Figure {
        id: "fig8",
        title: "Registers against performance (after Figure 8 of Darcet et al.)".to_owned(),
        caption: "Each point is a model with so many registers: its number on a task, or the mean over the tasks in the heading \
                  that all of these models share. Bars: two standard errors over images, of one training each; how much another \
                  training would differ they do not say. Bars that overlap do not show that two models are alike: the table \
                  `pairs` compares them image by image. The paper's axes, for DINOv2 ViT-L/14 of the authors' own training: \
                  84.4 to 84.8 % (ImageNet), 66.0 to 66.8 (average of segmentation tasks), 2.73 to 2.85 (average of depth \
                  tasks); which tasks it averages it does not say."
            .to_owned(),
        protocol: "docs/protocols/fig8.md",
        svg: svg.finish(),
        parts: vec![],
        png: None,
        data,
    }))
}

/// Models that differ in their registers alone, on whatever dataset; nothing was changed while they ran.
fn families<'a, 'c>(context: &'c Context<'a>) -> Vec<Vec<&'c Measured<'a>>> {
    let mut families: Vec<Vec<&Measured>> = Vec::new();
    for m in context.measured.iter().filter(|m| m.subject.change.is_empty()) {
        let same = |family: &&mut Vec<&Measured>| {
            let s = family[0].subject;
            base(&s.model) == base(&m.subject.model) && s.precision == m.subject.precision
        };
        match families.iter_mut().find(same) {
            Some(family) => family.push(m),
            None => families.push(vec![m]),
        }
    }
    families
}

/// Every number of a task with its key and number of registers, the first of each.
fn numbers<'c>(task: &Task, family: &[&'c Measured]) -> Vec<(Key<'c>, usize, &'c Score)> {
    let mut found: Vec<(Key, usize, &Score)> = Vec::new();
    for m in family {
        let of = m.scores.iter().filter(|s| &*s.experiment == task.experiment && &*s.metric == task.metric);
        for score in of.filter(|s| (task.counts)(&s.subject) && s.value.is_some()) {
            let key = [&*m.subject.dataset, &score.subject, &score.site, &m.subject.preprocessing, &score.settings];
            if !found.iter().any(|(k, r, _)| *k == key && *r == m.subject.registers) {
                found.push((key, m.subject.registers, score));
            }
        }
    }
    found
}

/// The mean over the keys that every number of registers has; where there is none, the key that most of them have.
fn curve<'c>(task: &Task, family: &[&'c Measured]) -> Option<Curve<'c>> {
    let found = numbers(task, family);
    let mut counts: Vec<usize> = found.iter().map(|(_, r, _)| *r).collect();
    counts.sort_unstable();
    counts.dedup();
    let mut keys: Vec<Key> = Vec::new();
    for (key, ..) in &found {
        if !keys.contains(key) {
            keys.push(*key);
        }
    }
    let of = |key: &Key| found.iter().filter(|(k, ..)| k == key).count();
    let shared: Vec<Key> = keys.iter().copied().filter(|key| of(key) == counts.len()).collect();
    let keys = if shared.is_empty() {
        // The first of equals.
        vec![keys.into_iter().reduce(|best, key| if of(&key) > of(&best) { key } else { best })?]
    } else {
        shared
    };
    let mean = |registers: usize| {
        let scores = keys.iter().map(|key| found.iter().find(|(k, r, _)| k == key && *r == registers).map(|f| f.2));
        let scores: Vec<&Score> = scores.collect::<Option<_>>()?;
        let k = scores.len() as f64;
        let value: f64 = scores.iter().filter_map(|s| s.value).sum::<f64>() / k;
        let errors: Option<Vec<f64>> = scores.iter().map(|s| s.stderr).collect();
        let stderr = errors.map(|all| all.iter().map(|e| e * e).sum::<f64>().sqrt() / k);
        Some((registers, task.factor * value, stderr.map(|e| task.factor * e)))
    };
    let points: Vec<Point> = counts.into_iter().filter_map(mean).collect();
    (points.len() > 1).then_some(Curve { keys, points })
}

fn put(data: &mut Frame, name: &str, task: &Task, family: &[&Measured], curve: &Curve) {
    for (key, registers, score) in numbers(task, family).into_iter().filter(|(key, ..)| curve.keys.contains(key)) {
        let value = [score.value, score.stderr].map(|v| v.map(|v| task.factor * v));
        row(data, (name, task), key, registers, value);
    }
    for (registers, value, stderr) in curve.points.iter().filter(|_| curve.keys.len() > 1) {
        let mean = format!("mean of {}", curve.keys.len());
        row(data, (name, task), [&mean, "", "", "", ""], *registers, [Some(*value), *stderr]);
    }
}

fn row(data: &mut Frame, (name, task): (&str, &Task), key: Key, registers: usize, [value, stderr]: [Option<f64>; 2]) {
    let [dataset, head, site, preprocessing, settings] = key;
    data.push([
        name.into(),
        task.id.into(),
        dataset.into(),
        head.into(),
        site.into(),
        preprocessing.into(),
        settings.into(),
        task.metric.into(),
        (registers as u64).into(),
        value.into(),
        stderr.into(),
    ]);
}

fn draw(svg: &mut Svg, i: usize, name: &str, task: &Task, curve: &Curve) {
    let reach = |p: &Point| 2.0 * p.2.unwrap_or(0.0);
    let low = curve.points.iter().map(|p| p.1 - reach(p)).fold(f64::INFINITY, f64::min);
    let high = curve.points.iter().map(|p| p.1 + reach(p)).fold(f64::NEG_INFINITY, f64::max);
    let margin = if high > low { 0.08 * (high - low) } else { 0.05 * low.abs().max(1e-6) };
    let most = curve.points.iter().map(|p| p.0).max().unwrap_or(1) as f64;
    let plot = panels::plot(
        i,
        |range| Scale::linear((-0.04 * most, 1.04 * most), range),
        |range| Scale::linear((low - margin, high + margin), range),
    );
    let (x, y) = panels::corner(i);
    let title = super::sheet::shortened(&format!("{name}: {}", task.title), 60);
    svg.text(x + 20.0, y + 22.0, Anchor::Start, Ink::Title, &title);
    let tasks = match curve.keys.as_slice() {
        [one] => format!("on {}", one[0]),
        several => {
            let mut names: Vec<&str> = several.iter().map(|key| key[0]).collect();
            names.dedup();
            format!("mean of {} on {}", several.len(), names.join(", "))
        }
    };
    svg.text(x + 20.0, y + 42.0, Anchor::Start, Ink::Tick, &super::sheet::shortened(&tasks, 70));
    plot.axes(svg, "registers", task.axis);
    let at = |registers: usize, value: f64| (plot.x.at(registers as f64), plot.y.at(value));
    svg.curve(&curve.points.iter().map(|p| at(p.0, p.1)).collect::<Vec<_>>(), COLOR, 1.7);
    for (registers, value, stderr) in &curve.points {
        let (px, py) = at(*registers, *value);
        if let Some(stderr) = stderr {
            let ends = [-2.0, 2.0].map(|z| at(*registers, value + z * stderr));
            svg.curve(&ends, COLOR, 1.2);
            for (_, end) in ends {
                svg.curve(&[(px - END_PX, end), (px + END_PX, end)], COLOR, 1.2);
            }
        }
        let (corner, side) = ((px - POINT_PX, py - POINT_PX), (2.0 * POINT_PX, 2.0 * POINT_PX));
        svg.rect(corner, side, colormap::of_registers(*registers));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use super::*;
    use crate::study::Subject;

    fn score(subject: &str, value: f64, stderr: Option<f64>) -> Score {
        Score {
            experiment: "segmentation".into(),
            subject: subject.into(),
            site: "final".into(),
            metric: "miou_frac".into(),
            value: Some(value),
            std: None,
            stderr,
            n: 10,
            draws: 1,
            images_without: 0,
            note: String::new(),
            settings: String::new(),
        }
    }

    fn measured(subject: &Subject, scores: Vec<Score>) -> Measured<'_> {
        Measured {
            subject,
            scores: scores.into_iter().collect(),
            images: None,
            skipped: BTreeMap::new(),
            calibrations: vec![],
            curves: schemas::tables::Curves::default(),
        }
    }

    fn subject(registers: usize, dataset: &str) -> Subject {
        Subject { model: format!("m_reg{registers}"), registers, dataset: dataset.to_owned(), ..Subject::default() }
    }

    /// Breaks when a task that one model lacks enters the mean of the others, a class is taken for a head, or errors add
    /// instead of their squares.
    #[test]
    fn only_shared_tasks_are_averaged() {
        let subjects = [subject(0, "a"), subject(0, "b"), subject(4, "a"), subject(4, "b"), subject(4, "c")];
        let values = [0.2, 0.4, 0.5, 0.7, 0.9];
        let all: Vec<Measured> = subjects
            .iter()
            .zip(values)
            .map(|(s, v)| {
                let error = if s.dataset == "a" { 0.03 } else { 0.04 };
                measured(s, vec![score("linear", v, Some(error)), score("class_sky", 1.0, None)])
            })
            .collect();
        let family: Vec<&Measured> = all.iter().collect();
        let found = curve(&TASKS[1], &family).unwrap();
        assert_eq!(found.keys.iter().map(|k| k[0]).collect::<Vec<_>>(), ["a", "b"]);
        let close =
            |p: &Point, r: usize, v: f64| p.0 == r && (p.1 - v).abs() < 1e-9 && (p.2.unwrap() - 2.5).abs() < 1e-9;
        assert!(close(&found.points[0], 0, 30.0) && close(&found.points[1], 4, 60.0), "{:?}", found.points);
        // Another task of theirs was not measured, and one number of registers is no curve.
        assert_eq!(curve(&TASKS[2], &family), None);
        assert_eq!(curve(&TASKS[1], &family[2..]), None);
        // Without a task that all share, the one that most have.
        let apart = [family[0], family[3], family[4]];
        assert_eq!(curve(&TASKS[1], &apart), None);
        let third = subject(8, "b");
        let third = measured(&third, vec![score("linear", 0.8, None)]);
        let apart = [family[0], family[3], &third];
        let found = curve(&TASKS[1], &apart).unwrap();
        assert_eq!((found.keys[0][0], found.points.len(), found.points[1].2), ("b", 2, None));
    }
}
