//! How heads were trained: loss against step, a curve for each head.
//!
//! A panel is one training: the heads of one run on one subject. Losses that span more than a factor of ten are on a
//! logarithmic axis. The heads in colour are those that are named, the same in the panels of twins. Protocol: `docs/protocols/training.md`.

use std::path::{Path, PathBuf};

use schemas::tables::Losses;
use schemas::{Frame, Table as _};

use super::axes::Scale;
use super::portraits::range;
use super::sheet::shortened;
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::parts::whole;
use crate::scores;
use crate::study::Subject;
use crate::tables::{Context, Measured};

const COLORS: [&str; 5] = ["#3b76c0", "#d9682b", "#2f9c7c", "#8f62b5", "#c8527a"];
/// Of heads beyond the named ones.
const OTHERS: &str = "#8a919c";
/// Where names begin in a panel.
const LEGEND_PX: f64 = 20.0;
/// Points of a drawn curve; all are in the data.
const MOST_POINTS: usize = 400;

/// One head: name and (step, loss), in order of step.
type Curve = (String, Vec<(f64, f64)>);

/// Smallest and largest loss of a row of panels.
type Range = (f64, f64);

/// One training of one subject.
struct Panel<'a, 'c> {
    measured: &'c Measured<'a>,
    settings: &'c str,
    control: bool,
    curves: Vec<Curve>,
}

/// One training of twins, with the heads that are in colour and named, and the range of all losses.
struct Line<'a, 'c> {
    panels: Vec<Panel<'a, 'c>>,
    named: Vec<String>,
    losses: Range,
}

/// Draws the figure; none without losses.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut data =
        Frame::new(["model", "dataset", "training", "settings", "control", "head", "step", "loss", "learning_rate"]);
    let mut lines = panels::Lines::default();
    let mut drawn: Vec<(usize, Line)> = Vec::new();
    for twins in panels::twins(context) {
        let mut trainings: Vec<Vec<Panel>> = Vec::new();
        for m in twins {
            let folders = m.subject.tables.get(Losses::NAME).map_or(&[][..], Vec::as_slice);
            for (i, folder) in folders.iter().enumerate() {
                let losses = read(m.subject, folder)?;
                let settings = trained(m.subject, folder);
                let control = scores::is_control(m.subject, folder)?;
                let panel = Panel { measured: m, settings, control, curves: curves(&losses) };
                put(&mut data, &panel, i, &losses);
                if panel.curves.iter().any(|(_, places)| places.len() > 1) {
                    trainings.resize_with(trainings.len().max(i + 1), Vec::new);
                    trainings[i].push(panel);
                }
            }
        }
        // The same training of twins is side by side, on the same axes.
        for panels in trainings.into_iter().filter(|training| !training.is_empty()) {
            let losses = panels.iter().flat_map(|p| &p.curves).flat_map(|(_, places)| places).map(|place| place.1);
            let losses = range(losses);
            let first = if panels.len() == 1 { lines.single() } else { lines.row(panels.len()) };
            let named = named(panels.iter().map(|p| &p.curves[..]));
            drawn.push((first, Line { panels, named, losses }));
        }
    }
    if drawn.is_empty() {
        return Ok(None);
    }
    let (width, height) = lines.size();
    let mut svg = Svg::new(width, height, "Loss against steps of training");
    for (first, line) in &drawn {
        for (i, panel) in line.panels.iter().enumerate() {
            draw(&mut svg, first + i, panel, line);
        }
    }
    Ok(Some(Figure {
        id: "training",
        title: "How the heads were trained".to_owned(),
        caption: "Training loss against steps, a curve for each head; each point is the mean since the one before. Where more \
                  heads were trained at once than there is room to name, those of the lowest last loss are named and in \
                  colour, and the others grey. A control learned from truths that were exchanged. A loss says nothing of \
                  test images."
            .to_owned(),
        protocol: "docs/protocols/training.md",
        svg: svg.finish(),
        parts: vec![],
        png: None,
        data,
    }))
}

/// The losses in one folder.
fn read(subject: &Subject, folder: &Path) -> Result<Losses, ReportError> {
    let tables = [(Losses::NAME.to_owned(), vec![folder.to_owned()])].into();
    whole(&Subject { tables, ..subject.clone() })
}

/// How the heads of a run were trained, in words: what is known of the scores of the same run.
pub(super) fn trained<'a>(subject: &'a Subject, folder: &Path) -> &'a str {
    let same = |scores: &&PathBuf| scores.file_name() == folder.file_name();
    subject.settings.keys().find(same).and_then(|scores| subject.settings.get(scores)).map_or("", String::as_str)
}

fn put(data: &mut Frame, panel: &Panel, training: usize, losses: &Losses) {
    let subject = panel.measured.subject;
    for i in 0..losses.step.len() {
        data.push([
            (&subject.model).into(),
            (&subject.dataset).into(),
            (training as u64).into(),
            panel.settings.into(),
            if panel.control { "control" } else { "" }.into(),
            (&*losses.head[i]).into(),
            losses.step[i].into(),
            losses.loss[i].into(),
            losses.learning_rate[i].into(),
        ]);
    }
}

/// The curve of each head, lowest last loss first.
fn curves(losses: &Losses) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for i in 0..losses.step.len() {
        let place = (losses.step[i] as f64, losses.loss[i]);
        match curves.iter_mut().find(|(head, _)| **head == *losses.head[i]) {
            Some((_, places)) => places.push(place),
            None => curves.push((losses.head[i].to_string(), vec![place])),
        }
    }
    for (_, places) in &mut curves {
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    // NaN, a head that diverged, is last.
    curves.sort_by(|a, b| last(a).total_cmp(&last(b)));
    curves
}

fn last((_, places): &Curve) -> f64 {
    places.last().map_or(f64::NAN, |place| if place.1.is_nan() { f64::NAN } else { place.1 })
}

/// The heads that there is room to name, lowest last loss first; of twins the lowest of the sum. Some diverged: they are
/// last.
fn named<'c>(panels: impl Iterator<Item = &'c [Curve]>) -> Vec<String> {
    let mut sums: Vec<(&str, f64)> = Vec::new();
    for curve in panels.flatten() {
        match sums.iter_mut().find(|(head, _)| *head == curve.0) {
            Some((_, sum)) => *sum += last(curve),
            None => sums.push((&curve.0, last(curve))),
        }
    }
    sums.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut left = LEGEND_PX;
    let fits = |head: &&str| {
        left += name_px(head);
        left <= panels::PANEL.0
    };
    sums.into_iter().map(|(head, _)| head).take(COLORS.len()).take_while(fits).map(str::to_owned).collect()
}

/// A name as it is drawn.
fn shown(head: &str) -> String {
    shortened(head, 26)
}

/// Room for a name with its colour.
fn name_px(head: &str) -> f64 {
    30.0 + 6.6 * shown(head).chars().count() as f64
}

fn draw(svg: &mut Svg, i: usize, panel: &Panel, line: &Line) {
    let Panel { measured, settings, control, curves } = panel;
    let (low, high) = line.losses;
    let color = |head: &str| line.named.iter().position(|named| named == head).and_then(|n| COLORS.get(n));
    let steps = range(curves.iter().flat_map(|(_, places)| places).map(|place| place.0));
    let log = low > 0.0 && high > 10.0 * low;
    let scale = |range: (f64, f64)| {
        if log { Scale::log((low, high), range) } else { Scale::linear((low.min(0.0), high), range) }
    };
    let plot = panels::plot(i, |range| Scale::linear((0.0, steps.1), range), scale);
    let (x, y) = panels::corner(i);
    let control = if *control { "control: " } else { "" };
    let title = shortened(&format!("{control}{}", panels::name(measured)), 60);
    svg.text(x + 20.0, y + 16.0, Anchor::Start, Ink::Title, &title);
    svg.text(x + 20.0, y + 32.0, Anchor::Start, Ink::Tick, &clauses(settings, 72));
    plot.axes(svg, "step", if log { "loss (log)" } else { "loss" });
    // Drawn from the last, so that the best lies on top.
    let (named, others): (Vec<&Curve>, Vec<&Curve>) = curves.iter().partition(|(head, _)| color(head).is_some());
    for (head, places) in named.into_iter().chain(others).rev() {
        let every = places.len().div_ceil(MOST_POINTS).max(1);
        let shown = places.iter().enumerate().filter(|(i, _)| i % every == 0 || i + 1 == places.len());
        let finite = shown.map(|(_, place)| place).filter(|place| place.1.is_finite());
        let points: Vec<(f64, f64)> = finite.map(|place| (plot.x.at(place.0), plot.y.at(place.1))).collect();
        match color(head) {
            Some(color) => svg.curve(&points, color, 1.6),
            None => svg.curve(&points, OTHERS, 0.6),
        }
    }
    let mut left = x + LEGEND_PX;
    for (head, color) in line.named.iter().zip(COLORS) {
        svg.rect((left, y + 42.0), (11.0, 11.0), color);
        svg.text(left + 17.0, y + 51.5, Anchor::Start, Ink::Label, &shown(head));
        left += name_px(head);
    }
}

/// Words that fit: whole clauses from the front, or what there is of the first. The data has all of them.
fn clauses(text: &str, room: usize) -> String {
    let fits = |end: usize| text[..end].chars().count() <= room;
    let ends = text.match_indices(", ").map(|(at, _)| at).chain([text.len()]);
    ends.filter(|&end| fits(end)).last().map_or_else(|| shortened(text, room), |end| text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a subtitle is cut in the middle of a clause, or runs over its panel.
    #[test]
    fn subtitles_end_with_a_clause() {
        let text = "52 heads, 20 epochs of 128, é of the images held out";
        assert_eq!(clauses(text, 80), text);
        assert_eq!(clauses(text, 30), "52 heads, 20 epochs of 128");
        assert_eq!(clauses(text, 8), "52 heads");
        assert_eq!(clauses(text, 5), "52…ut");
        assert_eq!(clauses("", 5), "");
    }

    /// Of 52 heads, those in colour are those that are named, and of twins they are the same. Breaks when a curve is in colour
    /// without a name, or one colour is two heads.
    #[test]
    fn as_many_are_in_colour_as_there_is_room_to_name() {
        let curve = |head: String, loss: f64| (head, vec![(1.0, loss)]);
        let twin = |way: f64| -> Vec<Curve> {
            (0..52).map(|i| curve(format!("blocks{i:02}-avgpool-lr0.01"), 1.0 + way * f64::from(i))).collect()
        };
        // 23 letters: 30 + 6.6 · 23 = 181.8 px, of which two fit beside 20 px in 500.
        let found = named([&twin(1.0)[..]].into_iter());
        assert_eq!(found, ["blocks00-avgpool-lr0.01", "blocks01-avgpool-lr0.01"]);
        // The last is the best of one, and of both together: 52 − 3 · 51.
        let both = [twin(1.0), twin(-3.0)];
        let found = named(both.iter().map(|curves| &curves[..]));
        assert_eq!(found, ["blocks51-avgpool-lr0.01", "blocks50-avgpool-lr0.01"]);
        let short: Vec<Curve> = (0..9).map(|i| curve(i.to_string(), f64::from(i))).collect();
        assert_eq!(named([&short[..]].into_iter()).len(), COLORS.len());
        assert_eq!(named([&[curve("a".to_owned(), f64::NAN), curve("b".to_owned(), 9.0)][..]].into_iter())[0], "b");
    }

    /// Breaks when steps of several shards mix, or a head that diverged is called the best.
    #[test]
    fn the_lowest_last_loss_comes_first() {
        let mut losses = Losses::default();
        for (head, step, loss) in
            [("a", 2, 0.5), ("b", 1, 3.0), ("c", 1, 9.0), ("a", 1, 2.0), ("b", 2, 0.1), ("c", 2, f64::NAN)]
        {
            losses.head.push(head.into());
            losses.step.push(step);
            losses.loss.push(loss);
            losses.learning_rate.push(0.1);
        }
        let found = curves(&losses);
        assert_eq!(found.iter().map(|(head, _)| head.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(found[1].1, [(1.0, 2.0), (2.0, 0.5)]);
    }
}
