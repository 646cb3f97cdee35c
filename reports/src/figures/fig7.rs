//! Figure 7 of the paper: do registers take the outliers out of the norms of the patches?
//!
//! A panel is a model, a curve is a number of registers: the share of patch tokens in each of 40 bins a decade.
//! Protocol: `docs/protocols/fig7.md`.

use super::histograms::{Histogram, Histograms, edges, steps, total};
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, colormap, histograms, panels};
use crate::error::ReportError;
use crate::models::base;
use crate::tables::{Context, Measured};

struct Panel<'c> {
    title: String,
    family: usize,
    curves: Vec<(&'c Measured<'c>, Histogram)>,
}

/// Draws the figure; none without histograms.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut drawn: Vec<Panel> = Vec::new();
    for (family, row) in panels::twins_in_families(context) {
        let mut curves = Vec::new();
        for m in &row {
            if let Some(h) = Histograms::read(m.subject)?.get(&m.subject.site, "patch") {
                curves.push((*m, h.clone()));
            }
        }
        if !curves.is_empty() {
            let subject = row[0].subject;
            drawn.push(Panel { title: format!("{} on {}", base(&subject.model), subject.dataset), family, curves });
        }
    }
    if drawn.is_empty() {
        return Ok(None);
    }
    let (width, height) = panels::size(drawn.len());
    let mut svg = Svg::new(width, height, "Distribution of patch norms without and with registers");
    let mut cut = false;
    for (i, panel) in drawn.iter().enumerate() {
        let family: Vec<&Panel> = drawn.iter().filter(|other| other.family == panel.family).collect();
        cut |= draw(&mut svg, i, panel, &family);
    }
    let mut data = histograms::data();
    for (m, histogram) in drawn.iter().flat_map(|panel| &panel.curves) {
        histograms::put(&mut data, m.subject, &m.subject.site, "patch", histogram);
    }
    Ok(Some(Figure {
        id: "fig7",
        title: "Norms of patches without and with registers (after Figure 7 of Darcet et al.)".to_owned(),
        caption: format!(
            "Share of patch tokens by L2 norm at the site that each legend names; both axes logarithmic, 40 bins \
             per factor of ten. [CLS] and registers are not counted. A model and what was changed of it share their \
             axes.{}",
            if cut {
                " Dashed: the cut-off that a calibration pass found, above which a patch is called an outlier."
            } else {
                ""
            }
        ),
        protocol: "docs/protocols/fig7.md",
        svg: svg.finish(),
        parts: vec![],
        png: None,
        data,
    }))
}

/// Draws a panel on the axes of its family; says whether a cut-off was drawn.
fn draw(svg: &mut Svg, i: usize, panel: &Panel, family: &[&Panel]) -> bool {
    let histograms = || family.iter().flat_map(|panel| &panel.curves).map(|(_, h)| h);
    let Some(norms) = edges(histograms()) else { return false };
    let mut cut = false;
    let rarest = histograms().map(rarest).fold(1.0, f64::min);
    let floor = panels::floor(rarest);
    let plot = panels::shares(i, norms, floor);
    let (x, y) = panels::corner(i);
    svg.text(x + 20.0, y + 22.0, Anchor::Start, Ink::Title, &panel.title);
    plot.axes(svg, "norm of a patch token", "share of patches");
    for (n, (m, histogram)) in panel.curves.iter().enumerate() {
        let color = colormap::of_registers(m.subject.registers);
        let points: Vec<(f64, f64)> =
            steps(histogram, floor).into_iter().map(|(norm, share)| (plot.x.at(norm), plot.y.at(share))).collect();
        svg.area(&points, plot.top + plot.height, color);
        svg.curve(&points, color, 1.6);
        if let Some(cutoff) = m.calibration().and_then(|c| c.cutoff).filter(|c| *c > norms.0 && *c < norms.1) {
            let at = plot.x.at(cutoff);
            svg.line("vf-cut", (at, plot.top), (at, plot.top + plot.height));
            cut = true;
        }
        let left = x + 20.0 + 230.0 * n as f64;
        svg.rect((left, y + 36.0), (11.0, 11.0), color);
        let legend = format!("{}, {}", panels::registers(m.subject.registers), m.subject.site);
        svg.text(left + 17.0, y + 45.5, Anchor::Start, Ink::Label, &legend);
    }
    cut
}

/// Share of the rarest non-empty bin.
pub(super) fn rarest(histogram: &Histogram) -> f64 {
    let least = histogram.values().map(|b| b.tokens).filter(|t| *t > 0).min().unwrap_or(0);
    least as f64 / total(histogram).max(1) as f64
}
