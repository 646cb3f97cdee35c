//! CorLoc against the bias of the Gram matrix: the whole curve of every sweep, not its best place alone.
//!
//! The paper added a bias by hand and does not give it. Protocol: `docs/protocols/table3.md`.

use schemas::Frame;

use super::axes::Scale;
use super::panels;
use super::sheet::shortened;
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, portraits};
use crate::error::ReportError;
use crate::tables::{Context, Measured};

const COLORS: [&str; 6] = ["#d9682b", "#3b76c0", "#2f9c7c", "#8f62b5", "#c8527a", "#8a919c"];
/// Curves of a panel.
const MOST: usize = 6;

/// One place: bias, share, standard error.
type Place = (f64, f64, f64);

/// Curves of one panel: site and places, in the order of the table.
type Curves = Vec<(String, Vec<Place>)>;

/// Draws the figure; none without a sweep of the bias.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut data = Frame::new(["model", "dataset", "features", "site", "bias", "metric", "value", "stderr", "n"]);
    let mut lines = panels::Lines::default();
    let mut drawn: Vec<(usize, &Measured, &str, Curves)> = Vec::new();
    for m in &context.measured {
        put(&mut data, m);
        let shown: Vec<(&str, Curves)> = ["raw", "l2"].map(|of| (of, curves(m, of))).into();
        let shown: Vec<(&str, Curves)> = shown.into_iter().filter(|(_, all)| !all.is_empty()).collect();
        let first = if shown.is_empty() { 0 } else { lines.row(shown.len()) };
        drawn.extend(shown.into_iter().enumerate().map(|(i, (features, all))| (first + i, m, features, all)));
    }
    if drawn.is_empty() {
        return Ok(None);
    }
    let (width, height) = lines.size();
    let mut svg = Svg::new(width, height, "CorLoc against the bias");
    for (i, m, features, curves) in &drawn {
        draw(&mut svg, *i, m, features, curves);
    }
    Ok(Some(Figure {
        id: "corloc",
        title: "CorLoc against the bias of the Gram matrix".to_owned(),
        caption: "Share of the images whose discovered box overlaps with an annotated object by half or more, for every bias, \
                  by site of the features. Shaded: two standard errors over images. Images without a box count as \
                  missed."
            .to_owned(),
        protocol: "docs/protocols/table3.md",
        svg: svg.finish(),
        parts: vec![],
        png: None,
        data,
    }))
}

fn put(data: &mut Frame, m: &Measured) {
    let (s, c) = (m.subject, &m.curves);
    for i in (0..c.at.len()).filter(|&i| &*c.knob[i] == "bias") {
        data.push([
            (&s.model).into(),
            (&s.dataset).into(),
            (&*c.subject[i]).into(),
            (&*c.site[i]).into(),
            c.at[i].into(),
            (&*c.metric[i]).into(),
            c.value[i].into(),
            c.stderr[i].into(),
            c.n[i].into(),
        ]);
    }
}

/// Curves of more than one place, biases ascending.
fn curves(m: &Measured, features: &str) -> Curves {
    let c = &m.curves;
    let mut all = Curves::new();
    for i in 0..c.at.len() {
        let is = (&*c.knob[i], &*c.metric[i], &*c.subject[i]) == ("bias", "corloc_frac", features);
        let Some(value) = c.value[i].filter(|v| is && v.is_finite()) else { continue };
        let place = (c.at[i], value, c.stderr[i].filter(|e| e.is_finite()).unwrap_or(0.0));
        match all.iter_mut().find(|(site, _)| **site == *c.site[i]) {
            Some((_, places)) => places.push(place),
            None => all.push((c.site[i].to_string(), vec![place])),
        }
    }
    for (_, places) in &mut all {
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    all.retain(|(_, places)| places.len() > 1);
    all.truncate(MOST);
    all
}

fn draw(svg: &mut Svg, i: usize, m: &Measured, features: &str, curves: &Curves) {
    let places = || curves.iter().flat_map(|(_, places)| places);
    let (low, high) = portraits::range(places().map(|p| p.0));
    let top = places().map(|p| p.1 + 2.0 * p.2).fold(0.05, f64::max).min(1.0);
    let plot = panels::plot(i, |range| Scale::linear((low, high), range), |range| Scale::linear((0.0, top), range));
    let (x, y) = panels::corner(i);
    svg.text(x + 20.0, y + 18.0, Anchor::Start, Ink::Title, &shortened(&panels::name(m), 60));
    let lengths = if features == "l2" { "divided by their length" } else { "as they are" };
    plot.axes(svg, &format!("bias, features {lengths}"), "CorLoc");
    let mut left = x + 20.0;
    for ((site, places), color) in curves.iter().zip(COLORS) {
        let at = |p: &Place, shift: f64| (plot.x.at(p.0), plot.y.at((p.1 + shift * p.2).max(0.0)));
        let band = places.iter().map(|p| at(p, 2.0)).chain(places.iter().rev().map(|p| at(p, -2.0)));
        svg.shape(&band.collect::<Vec<_>>(), color);
        svg.curve(&places.iter().map(|p| at(p, 0.0)).collect::<Vec<_>>(), color, 1.7);
        svg.rect((left, y + 32.0), (11.0, 11.0), color);
        svg.text(left + 17.0, y + 41.5, Anchor::Start, Ink::Label, site);
        left += 40.0 + 6.6 * site.chars().count() as f64;
    }
}
