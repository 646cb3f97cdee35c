//! Figure 4c of the paper: the norms of patches in each model of the study. Outliers come with size.
//!
//! A column is a model: the distribution of the norms at the site where outliers are told, the median (solid) and the
//! largest bin (dash). Protocol: `docs/protocols/norms.md`.

use super::axes::{Plot, Scale};
use super::fig4a::{color_bar, shade};
use super::histograms::{self, Histogram, Histograms, edges, quantile, total};
use super::sheet::shortened;
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, colormap};
use crate::error::ReportError;
use crate::render::number;
use crate::tables::{Context, Measured, Unit};

/// Width of a column, px, and room at its sides.
const COLUMN_PX: (f64, f64) = (112.0, 12.0);
/// Height of a dataset's plot, px, and of the words under it.
const PLOT_PX: (f64, f64) = (250.0, 62.0);
const LEFT_PX: f64 = 64.0;
const TOP_PX: f64 = 40.0;

type Column<'c> = (&'c Measured<'c>, Histogram);

/// Draws the figure; none where no dataset has two models.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut datasets: Vec<(&str, Vec<Column>)> = Vec::new();
    for m in &context.measured {
        let all = Histograms::read(m.subject)?;
        let Some(histogram) = all.get(&m.subject.site, "patch") else { continue };
        let column = (m, histogram.clone());
        match datasets.iter_mut().find(|(dataset, _)| *dataset == m.subject.dataset) {
            Some((_, columns)) => columns.push(column),
            None => datasets.push((&m.subject.dataset, vec![column])),
        }
    }
    datasets.retain(|(_, columns)| columns.len() > 1);
    if datasets.is_empty() {
        return Ok(None);
    }
    let most = datasets.iter().map(|(_, columns)| columns.len()).max().unwrap_or(1);
    let block = TOP_PX + PLOT_PX.0 + PLOT_PX.1;
    let width = (LEFT_PX + most as f64 * COLUMN_PX.0 + 18.0).max(480.0);
    let height = block * datasets.len() as f64;
    let mut svg = Svg::new(width, height + 52.0, "Norms of patches by model");
    let mut data = histograms::data();
    for (i, (dataset, columns)) in datasets.iter().enumerate() {
        draw(&mut svg, block * i as f64, dataset, columns);
        for (m, histogram) in columns {
            histograms::put(&mut data, m.subject, &m.subject.site, "patch", histogram);
        }
    }
    color_bar(&mut svg, height);
    Ok(Some(Figure {
        id: "fig4c",
        title: "Norms of patches in each model (after Figure 4c of Darcet et al.)".to_owned(),
        caption: "Share of patch tokens by L2 norm at the site under each model. Solid line: \
                  median; above each column: upper edge of the highest bin. The paper finds outliers in DINOv2 models from \
                  ViT-L upwards."
            .to_owned(),
        protocol: "docs/protocols/norms.md",
        svg: svg.finish(),
        parts: vec![],
        png: None,
        data,
    }))
}

fn draw(svg: &mut Svg, top: f64, dataset: &str, columns: &[Column]) {
    let Some(norms) = edges(columns.iter().map(|(_, h)| h)) else { return };
    let width = columns.len() as f64 * COLUMN_PX.0;
    let top = top + TOP_PX;
    let plot = Plot {
        left: LEFT_PX,
        top,
        width,
        height: PLOT_PX.0,
        x: Scale::linear((0.0, columns.len() as f64), (LEFT_PX, LEFT_PX + width)),
        y: Scale::log((norms.0 / 1.1, norms.1 * 1.25), (top + PLOT_PX.0, top)),
    };
    svg.text(20.0, top - 18.0, Anchor::Start, Ink::Title, dataset);
    plot.rows(svg, "norm of a patch token");
    for (i, (m, histogram)) in columns.iter().enumerate() {
        let left = plot.x.at(i as f64) + COLUMN_PX.1;
        let inner = COLUMN_PX.0 - 2.0 * COLUMN_PX.1;
        let all = total(histogram).max(1) as f64;
        let mut highest = 0.0_f64;
        for bin in histogram.values().filter(|b| b.low > 0.0 && b.high.is_finite() && b.tokens > 0) {
            let (above, below) = (plot.y.at(bin.high), plot.y.at(bin.low));
            let color = colormap::hex(colormap::viridis(shade(bin.tokens as f64 / all)));
            svg.rect((left, above), (inner, below - above), &color);
            highest = highest.max(bin.high);
        }
        if let Some(median) = quantile(histogram, 0.5) {
            let y = plot.y.at(median);
            svg.halo(&[(left, y), (left + inner, y)], 0.0);
        }
        let middle = left + inner / 2.0;
        let words = format!("up to {}", number(highest, Unit::Share));
        svg.text(middle, plot.y.at(highest) - 5.0, Anchor::Middle, Ink::Tick, &words);
        let bottom = top + PLOT_PX.0;
        svg.text(middle, bottom + 17.0, Anchor::Middle, Ink::Label, &shortened(&m.subject.model, 17));
        svg.text(middle, bottom + 33.0, Anchor::Middle, Ink::Tick, &m.subject.site);
    }
}
