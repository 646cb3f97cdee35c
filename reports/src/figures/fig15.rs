//! Figure 15 of the paper: the norms of `[CLS]`, of each register and of the patches as populations of their own.
//!
//! A panel is a model on a dataset; twins with and without registers stand side by side on one axis of norms.
//! Protocol: `docs/protocols/fig15.md`.

use super::fig7::rarest;
use super::histograms::{Histogram, Histograms, edges, steps};
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, colormap, histograms, panels};
use crate::error::ReportError;
use crate::tables::{Context, Measured};

type Curves = Vec<(String, Histogram)>;

/// Draws the figure; none without histograms.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut rows: Vec<Vec<(&Measured, Curves)>> = Vec::new();
    for twins in panels::twins(context) {
        let mut row = Vec::new();
        for m in twins {
            let all = Histograms::read(m.subject)?;
            let site = &m.subject.site;
            let kinds =
                all.kinds(site).into_iter().filter_map(|kind| Some((kind.to_owned(), all.get(site, kind)?.clone())));
            let curves: Curves = kinds.collect();
            if !curves.is_empty() {
                row.push((m, curves));
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
    let mut svg = Svg::new(width, height, "Distribution of norms by kind of token");
    for (row, first) in rows.iter().zip(firsts) {
        let norms = edges(row.iter().flat_map(|(_, curves)| curves.iter().map(|(_, h)| h)));
        for (i, (m, curves)) in row.iter().enumerate() {
            if let Some(norms) = norms {
                draw(&mut svg, first + i, m, curves, norms);
            }
        }
    }
    let mut data = histograms::data();
    for (m, (kind, histogram)) in rows.iter().flatten().flat_map(|(m, curves)| curves.iter().map(move |c| (m, c))) {
        histograms::put(&mut data, m.subject, &m.subject.site, kind, histogram);
    }
    Ok(Some(Figure {
        id: "fig15",
        title: "Norms of [CLS], registers and patches (after Figure 15 of Darcet et al.)".to_owned(),
        caption: "Share of the tokens of each kind by L2 norm at the site that each heading names; both \
                  axes logarithmic, 40 bins per factor of ten. Every image has one [CLS] and one of each \
                  register, so their shares rest on fewer tokens than those of patches. Registers are drawn a line's \
                  width apart, so that none hides another."
            .to_owned(),
        protocol: "docs/protocols/fig15.md",
        svg: svg.finish(),
        parts: vec![],
        png: None,
        data,
    }))
}

fn draw(svg: &mut Svg, i: usize, m: &Measured, curves: &Curves, norms: (f64, f64)) {
    let floor = panels::floor(curves.iter().map(|(_, h)| rarest(h)).fold(1.0, f64::min));
    let plot = panels::shares(i, norms, floor);
    let (x, y) = panels::corner(i);
    let title = format!("{} on {}, {}", m.subject.model, m.subject.dataset, m.subject.site);
    svg.text(x + 20.0, y + 22.0, Anchor::Start, Ink::Title, &title);
    plot.axes(svg, "norm of a token", "share of its kind");
    // Patches first, so that the thin populations lie over them.
    for (kind, histogram) in curves.iter().rev() {
        let color = colormap::of_kind(kind);
        let aside = aside_px(kind, m.subject.registers);
        let at = |(norm, share)| (plot.x.at(norm) + aside, plot.y.at(share));
        let points: Vec<(f64, f64)> = steps(histogram, floor).into_iter().map(at).collect();
        svg.area(&points, plot.top + plot.height, color);
        svg.curve(&points, color, 1.5);
    }
    let mut left = x + 20.0;
    for (kind, _) in curves.iter().take(7) {
        let label = match kind.as_str() {
            "cls" => "[CLS]".to_owned(),
            "patch" => "patches".to_owned(),
            other => other.replace("register_", "reg "),
        };
        svg.rect((left, y + 36.0), (11.0, 11.0), colormap::of_kind(kind));
        svg.text(left + 16.0, y + 45.5, Anchor::Start, Ink::Label, &label);
        left += 34.0 + 6.6 * label.chars().count() as f64;
    }
}

/// Registers fall into the same bins: each is drawn a little beside the others, all within a bin's width.
fn aside_px(kind: &str, registers: usize) -> f64 {
    const STEP_PX: f64 = 2.0;
    const ROOM_PX: f64 = 6.0;
    let Some(index) = kind.strip_prefix("register_").and_then(|n| n.parse::<usize>().ok()) else { return 0.0 };
    let steps = registers.saturating_sub(1) as f64;
    let step = if steps > 0.0 { STEP_PX.min(ROOM_PX / steps) } else { 0.0 };
    step * (index as f64 - steps / 2.0)
}

#[cfg(test)]
mod tests {
    use super::aside_px;

    #[test]
    fn registers_lie_beside_each_other_within_a_bin() {
        let four: Vec<f64> = (0..4).map(|r| aside_px(&format!("register_{r}"), 4)).collect();
        assert_eq!(four, [-3.0, -1.0, 1.0, 3.0]);
        assert!((aside_px("register_15", 16) - 3.0).abs() < 1e-9);
        assert_eq!([aside_px("register_0", 1), aside_px("cls", 4), aside_px("patch", 4)], [0.0; 3]);
    }
}
