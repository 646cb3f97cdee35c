//! Norms of patches before and after the final `LayerNorm`, side by side: the study reads some models on one side and
//! some on the other.
//!
//! Left: the output of the last block that ran. Right: `final`. Each panel has its own axis. Protocol: `docs/protocols/pre_post_norm.md`.

use super::histograms::{self, Histogram, Histograms, edges, quantile, steps};
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, colormap, panels};
use crate::error::ReportError;
use crate::render::number;
use crate::tables::{Context, Measured, Unit};

struct Pair<'c> {
    measured: &'c Measured<'c>,
    sides: [(String, Histogram); 2],
}

/// Draws the figure; none without histograms of both sites.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut pairs: Vec<Pair> = Vec::new();
    for m in panels::twins(context).into_iter().flatten() {
        let all = Histograms::read(m.subject)?;
        let Some(last) = all.blocks().keys().next_back().map(|block| format!("block_{block}")) else { continue };
        if let (Some(before), Some(after)) = (all.get(&last, "patch"), all.get("final", "patch")) {
            let sides = [(last.clone(), before.clone()), ("final".to_owned(), after.clone())];
            pairs.push(Pair { measured: m, sides });
        }
    }
    if pairs.is_empty() {
        return Ok(None);
    }
    let mut data = histograms::data();
    let (width, height) = panels::size(2 * pairs.len());
    let mut svg = Svg::new(width, height, "Norms of patches before and after the final LayerNorm");
    for (row, pair) in pairs.iter().enumerate() {
        for (side, (site, histogram)) in pair.sides.iter().enumerate() {
            draw(&mut svg, 2 * row + side, pair.measured, site, histogram);
            histograms::put(&mut data, pair.measured.subject, site, "patch", histogram);
        }
    }
    Ok(Some(Figure {
        id: "pre_post_norm",
        title: "Norms of patches before and after the final LayerNorm".to_owned(),
        caption: "Share of patch tokens by L2 norm at the block output that each heading names (left) and after the \
                  final LayerNorm (right), which gives all tokens about the same norm; both axes logarithmic. Cut-offs such as 150 or 100 \
                  mean something on the left only. The reproducibility study reads DINO on the right and the other models \
                  on the left."
            .to_owned(),
        protocol: "docs/protocols/pre_post_norm.md",
        svg: svg.finish(),
        parts: vec![],
        png: None,
        data,
    }))
}

fn draw(svg: &mut Svg, i: usize, m: &Measured, site: &str, histogram: &Histogram) {
    let Some(norms) = edges([histogram]) else { return };
    let floor = panels::floor(super::fig7::rarest(histogram));
    let plot = panels::shares(i, norms, floor);
    let (x, y) = panels::corner(i);
    svg.text(x + 20.0, y + 22.0, Anchor::Start, Ink::Title, &format!("{}, {site}", panels::name(m)));
    let ends = quantile(histogram, 0.5).zip(quantile(histogram, 0.99));
    let words = ends.map_or_else(String::new, |(median, high)| {
        format!(
            "median {}, 99th percentile {} ({:.2} ×)",
            number(median, Unit::Share),
            number(high, Unit::Share),
            high / median
        )
    });
    svg.text(x + 20.0, y + 42.0, Anchor::Start, Ink::Tick, &words);
    plot.axes(svg, "norm of a patch token", "share of patches");
    let color = colormap::of_registers(m.subject.registers);
    let points: Vec<(f64, f64)> =
        steps(histogram, floor).into_iter().map(|(norm, share)| (plot.x.at(norm), plot.y.at(share))).collect();
    svg.area(&points, plot.top + plot.height, color);
    svg.curve(&points, color, 1.6);
}
