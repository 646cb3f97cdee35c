//! Norms of patches after every block, as in Figure 4a of the paper: where do outliers part from the rest?
//!
//! A column of cells is the distribution after one block; the line is its median, the dashes its 99th percentile.
//! Protocol: `docs/protocols/norms.md`.

use std::collections::BTreeMap;

use super::axes::{Plot, Scale};
use super::histograms::{Histogram, Histograms, edges, quantile, total};
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, colormap, panels};
use crate::error::ReportError;
use crate::tables::{Context, Measured};

/// Shares from this up to all are coloured, on a log scale.
const FAINTEST: f64 = 1e-5;

/// Draws the figure; none without histograms of blocks.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut rows: Vec<Vec<(&Measured, Histograms)>> = Vec::new();
    for twins in panels::twins(context) {
        let mut row = Vec::new();
        for m in twins {
            let histograms = Histograms::read(m.subject)?;
            if !histograms.blocks().is_empty() {
                row.push((m, histograms));
            }
        }
        if !row.is_empty() {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let mut lines = panels::Lines::default();
    let firsts: Vec<usize> = rows.iter().map(|row| lines.row(row.len())).collect();
    let (width, height) = lines.size();
    let mut svg = Svg::new(width, height + 52.0, "Norms of patches after each block");
    for (row, first) in rows.iter().zip(firsts) {
        // One axis of norms for twins: what registers took away is then seen.
        let norms = edges(row.iter().flat_map(|(_, h)| h.blocks().into_values()));
        for (i, (m, histograms)) in row.iter().enumerate() {
            if let Some(norms) = norms {
                draw(&mut svg, first + i, m, &histograms.blocks(), norms);
            }
        }
    }
    color_bar(&mut svg, height);
    Ok(Some(Figure {
        id: "norms_by_block",
        title: "Norms of patches through the network (after Figure 4a of Darcet et al.)".to_owned(),
        caption:
            "Share of patch tokens by L2 norm after each block, before the final LayerNorm; blocks are counted from \
                  0. Solid line: median. Dashed line: 99th percentile. [CLS] and registers are not counted."
                .to_owned(),
        protocol: "docs/protocols/norms.md",
        svg: svg.finish(),
        png: None,
    }))
}

fn draw(svg: &mut Svg, i: usize, m: &Measured, blocks: &BTreeMap<usize, &Histogram>, norms: (f64, f64)) {
    let last = blocks.keys().next_back().copied().unwrap_or(0);
    // The frame of a plot of shares, with other scales in it.
    let frame = panels::shares(i, norms, FAINTEST);
    let plot = Plot {
        x: Scale::linear((-0.5, last as f64 + 0.5), (frame.left, frame.left + frame.width)),
        y: Scale::log((norms.0 / 1.1, norms.1 * 1.1), (frame.top + frame.height, frame.top)),
        ..frame
    };
    let (x, y) = panels::corner(i);
    svg.text(x + 20.0, y + 22.0, Anchor::Start, Ink::Title, &format!("{} on {}", m.subject.model, m.subject.dataset));
    svg.text(x + 20.0, y + 42.0, Anchor::Start, Ink::Tick, &panels::registers(m.subject.registers));
    plot.axes(svg, "block", "norm of a patch token");
    for (block, histogram) in blocks {
        let (left, right) = (plot.x.at(*block as f64 - 0.5), plot.x.at(*block as f64 + 0.5));
        let all = total(histogram) as f64;
        for bin in histogram.values().filter(|b| b.low > 0.0 && b.high.is_finite() && b.tokens > 0) {
            let (top, bottom) = (plot.y.at(bin.high), plot.y.at(bin.low));
            let color = colormap::hex(colormap::viridis(shade(bin.tokens as f64 / all)));
            svg.rect((left, top), (right - left, bottom - top), &color);
        }
    }
    for (q, dashes) in [(0.5, 0.0), (0.99, 4.0)] {
        let points: Vec<(f64, f64)> = blocks
            .iter()
            .filter_map(|(block, h)| Some((plot.x.at(*block as f64), plot.y.at(quantile(h, q)?))))
            .collect();
        svg.halo(&points, dashes);
    }
}

fn shade(share: f64) -> f64 {
    1.0 - share.max(FAINTEST).log10() / FAINTEST.log10()
}

fn color_bar(svg: &mut Svg, top: f64) {
    let (left, width) = (64.0, 240.0);
    let steps = 60;
    for i in 0..steps {
        let t = f64::from(i) / f64::from(steps - 1);
        let at = left + width * f64::from(i) / f64::from(steps);
        svg.rect((at, top + 8.0), (width / f64::from(steps) + 0.3, 10.0), &colormap::hex(colormap::viridis(t)));
    }
    let scale = Scale::log((FAINTEST, 1.0), (left, left + width));
    for (value, label) in scale.ticks() {
        if let Some(label) = label {
            svg.text(scale.at(value), top + 32.0, Anchor::Middle, Ink::Tick, &label);
        }
    }
    svg.text(left + width + 16.0, top + 17.0, Anchor::Start, Ink::Tick, "share of patches in a bin");
}

#[cfg(test)]
mod tests {
    use super::shade;

    #[test]
    fn shades_are_even_in_the_logarithm() {
        assert!((shade(1.0) - 1.0).abs() < 1e-12);
        assert!(shade(1e-5).abs() < 1e-12 && shade(0.0).abs() < 1e-12);
        assert!((shade(10f64.powf(-2.5)) - 0.5).abs() < 1e-12);
    }
}
