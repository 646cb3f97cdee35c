//! Figure 4a of the paper and 4 of the study: norms of patches after every block. Where do outliers part from the rest?
//!
//! A column of cells is the distribution after one block; the line is its median, the dashes its 99th percentile. The
//! onset block is marked where outliers were found. Protocol: `docs/protocols/norms.md`.

use std::collections::BTreeMap;

use schemas::Frame;

use super::axes::Scale;
use super::histograms::{Histogram, Histograms, edges, quantile, total};
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, colormap, panels};
use crate::error::ReportError;
use crate::tables::{Context, Measured};

/// Names that ask for it.
pub const NAMES: &[&str] = &["fig4a", "norms_by_block", "norms", "study_fig4"];

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
    let all = || rows.iter().flatten();
    let onsets: Vec<String> =
        all().filter_map(|(m, _)| Some(format!("{}: {}", panels::name(m), onset(m)?.words))).collect();
    let onsets = if onsets.is_empty() { String::new() } else { format!(" Dotted: onset. {}.", onsets.join("; ")) };
    let mut data = Frame::new(["model", "dataset", "block", "low", "high", "tokens"]);
    for (m, histograms) in all() {
        for (block, bin) in histograms.blocks().into_iter().flat_map(|(b, h)| h.values().map(move |bin| (b, bin))) {
            data.push([
                (&m.subject.model).into(),
                (&m.subject.dataset).into(),
                (block as u64).into(),
                bin.low.into(),
                bin.high.into(),
                bin.tokens.into(),
            ]);
        }
    }
    Ok(Some(Figure {
        id: "fig4a",
        title: "Norms of patches through the network (after Figure 4a of Darcet et al.)".to_owned(),
        caption: format!(
            "Share of patch tokens by L2 norm after each block, before the final LayerNorm; blocks are counted from 0. \
             Solid line: median. Dashed line: 99th percentile. [CLS] and registers are not counted.{onsets}"
        ),
        protocol: "docs/protocols/norms.md",
        svg: svg.finish(),
        parts: vec![],
        png: None,
        data,
    }))
}

/// The first block with outliers, and how sure it is.
struct Onset {
    block: f64,
    words: String,
}

/// The onset, where the run found outliers at all.
fn onset(m: &Measured) -> Option<Onset> {
    let value = |metric: &str, site: &str| m.scores.at("detection", "outlier", metric, site).and_then(|s| s.value);
    value("share_frac", &m.subject.site).filter(|share| *share > 0.0)?;
    let block = value("onset_block", "all blocks")?;
    let ends = value("onset_p5_block", "all blocks").zip(value("onset_p95_block", "all blocks"));
    let words = match ends {
        Some((low, high)) => format!("block {block} ({low} to {high} in 90 % of the resamples of images)"),
        None => format!("block {block}"),
    };
    Some(Onset { block, words })
}

fn draw(svg: &mut Svg, i: usize, m: &Measured, blocks: &BTreeMap<usize, &Histogram>, norms: (f64, f64)) {
    let last = blocks.keys().next_back().copied().unwrap_or(0);
    let blocks_across = |range| Scale::linear((-0.5, last as f64 + 0.5), range);
    let plot = panels::plot(i, blocks_across, |range| Scale::log((norms.0 / 1.1, norms.1 * 1.1), range));
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
    if let Some(onset) = onset(m) {
        let at = plot.x.at(onset.block - 0.5);
        svg.halo(&[(at, plot.top), (at, plot.top + plot.height)], 1.5);
        let words = format!("onset: block {}", onset.block);
        svg.text(at + 4.0, plot.top - 5.0, Anchor::Middle, Ink::Tick, &words);
    }
    for (q, dashes) in [(0.5, 0.0), (0.99, 4.0)] {
        let points: Vec<(f64, f64)> = blocks
            .iter()
            .filter_map(|(block, h)| Some((plot.x.at(*block as f64), plot.y.at(quantile(h, q)?))))
            .collect();
        svg.halo(&points, dashes);
    }
}

pub(super) fn shade(share: f64) -> f64 {
    1.0 - share.max(FAINTEST).log10() / FAINTEST.log10()
}

pub(super) fn color_bar(svg: &mut Svg, top: f64) {
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
