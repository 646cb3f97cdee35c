//! Figure 5a of the paper: are outliers patches that resemble their neighbours?
//!
//! Density of the mean cosine of a patch with its 2 to 4 existing neighbours right after the patch embedding, outliers and
//! the others apart. Protocol: `docs/protocols/fig5a.md`.

use schemas::Frame;
use schemas::tables::TokenStats;

use super::axes::Scale;
use super::density::Values;
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::parts::{Go, each_batch};
use crate::render::grouped;
use crate::study::Subject;
use crate::tables::fig5a::wrapped;
use crate::tables::{Context, Measured};

/// Images read, at most: a density of half a million patches does not change with more.
const IMAGES: usize = 2000;
/// Patches kept of one image's grid, at most.
const MOST_PATCHES: usize = 1 << 16;

/// Densities above this make their axis logarithmic, from the faintest that is then drawn.
const SPIKE: f64 = 30.0;
const FAINTEST: f64 = 0.01;

/// Where cosines are taken: without and with position embedding.
const PLACES: [&str; 2] = ["patch_embed", "with_position"];

/// Which patches stand out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// Those that the run's policy calls outliers.
    Run,
    /// The largest norms of each image, this share of its patches.
    TopFrac(f64),
}

/// One patch: norm, outlier, cosine at each place.
type Patch = (f32, bool, [Option<f32>; 2]);

/// Values of those that stand out and of the others, at each place.
#[derive(Debug, Default)]
pub(super) struct Cosines {
    places: [[Values; 2]; 2],
    images: usize,
    /// Patches that the rule and the run call differently.
    differ: u64,
}

impl Cosines {
    fn add(&mut self, patches: &mut [Patch], rule: Rule) {
        if let Rule::TopFrac(frac) = rule {
            let n = ((frac * patches.len() as f64).round() as usize).max(1);
            patches.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (rank, patch) in patches.iter_mut().enumerate() {
                self.differ += u64::from(patch.1 != (rank < n));
                patch.1 = rank < n;
            }
        }
        self.images += usize::from(!patches.is_empty());
        for (_, outlier, cosines) in patches.iter() {
            for (place, cosine) in self.places.iter_mut().zip(cosines) {
                if let Some(cosine) = cosine {
                    place[usize::from(*outlier)].add(*cosine);
                }
            }
        }
    }

    fn read(subject: &Subject, rule: Rule) -> Result<Self, ReportError> {
        let mut all = Self::default();
        let mut open: Option<u32> = None;
        let mut patches: Vec<Patch> = Vec::new();
        each_batch::<TokenStats>(subject, |batch| {
            for i in 0..batch.image.len() {
                if *batch.site[i] != *subject.site || &*batch.kind[i] != "patch" {
                    continue;
                }
                if open != Some(batch.image[i]) {
                    open = Some(batch.image[i]);
                    all.add(&mut patches, rule);
                    patches.clear();
                    if all.images == IMAGES {
                        return Ok(Go::Stop);
                    }
                }
                if patches.len() < MOST_PATCHES {
                    let cosines = [batch.neighbour_cosine[i], batch.neighbour_cosine_position[i]];
                    patches.push((batch.norm[i], batch.outlier[i], cosines));
                }
            }
            Ok(Go::On)
        })?;
        all.add(&mut patches, rule);
        Ok(all)
    }
}

/// Draws the figure; none without cosines.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let Some(Drawing { svg, data, .. }) = draw(context, Rule::Run)? else { return Ok(None) };
    Ok(Some(Figure {
        id: "fig5a",
        title: "Similarity of patches to their neighbours (after Figure 5a of Darcet et al.)".to_owned(),
        caption: format!(
            "Density of the mean cosine of a patch with its direct neighbours right after the patch embedding, \
             without (solid) and with (dashed) position embedding, of outliers and of the other patches of the first \
             {} images; outliers are told at the site in each heading. Legends have the mean without position \
             embedding. Gaussian kernel, half of Scott's width, reflected at ±1; the axis is logarithmic where a density exceeds {SPIKE}.{}",
            grouped(IMAGES as u64),
            wrapped(context)
        ),
        protocol: "docs/protocols/fig5a.md",
        svg,
        parts: vec![],
        png: None,
        data,
    }))
}

/// The drawing and its numbers.
pub(super) struct Drawing {
    pub svg: String,
    pub data: Frame,
    /// Panels, `model on dataset`, in which the rule takes the very patches that the run calls outliers.
    pub as_run: Vec<String>,
}

/// Draws a panel for each model; none without cosines.
pub(super) fn draw(context: &Context, rule: Rule) -> Result<Option<Drawing>, ReportError> {
    let mut rows: Vec<Vec<(&Measured, Cosines)>> = Vec::new();
    for twins in panels::twins(context) {
        let mut row = Vec::new();
        for m in twins {
            let cosines = Cosines::read(m.subject, rule)?;
            if cosines.places.iter().flatten().any(|values| values.n() > 0) {
                row.push((m, cosines));
            }
        }
        if !row.is_empty() {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let mut data = Frame::new(["model", "dataset", "at", "kind", "patches", "mean", "cosine", "density"]);
    let mut lines = panels::Lines::default();
    let firsts: Vec<usize> = rows.iter().map(|row| lines.row(row.len())).collect();
    let (width, height) = lines.size();
    let mut svg = Svg::new(width, height, "Density of cosine similarity to neighbouring patches");
    for (row, first) in rows.iter().zip(firsts) {
        for (i, (m, cosines)) in row.iter().enumerate() {
            panel(&mut svg, &mut data, first + i, (m, cosines));
        }
    }
    let same = rows.iter().flatten().filter(|(_, cosines)| cosines.differ == 0);
    let as_run = same.map(|(m, _)| panels::name(m)).collect();
    Ok(Some(Drawing { svg: svg.finish(), data, as_run }))
}

fn panel(svg: &mut Svg, data: &mut Frame, i: usize, (m, cosines): (&Measured, &Cosines)) {
    const KINDS: [(&str, &str); 2] = [("normal", "#3b76c0"), ("outlier", "#d9682b")];
    let curves: Vec<_> = (0..2)
        .flat_map(|place| (0..2).map(move |kind| (place, kind)))
        .map(|(place, kind)| (place, kind, cosines.places[place][kind].curve()))
        .collect();
    let points = || curves.iter().flat_map(|(_, _, curve)| curve);
    let low = points().map(|p| p.0).fold(1.0, f64::min);
    let high = points().map(|p| p.1).fold(0.0, f64::max);
    let upwards = |range| match high {
        // A spike would flatten everything else.
        high if high > SPIKE => Scale::log((FAINTEST, 1.3 * high), range),
        high => Scale::linear((0.0, 1.05 * high), range),
    };
    let plot = panels::plot(i, |range| Scale::linear((low, 1.0), range), upwards);
    let (x, y) = panels::corner(i);
    let title = format!("{}, {}", panels::name(m), m.subject.site);
    svg.text(x + 20.0, y + 22.0, Anchor::Start, Ink::Title, &title);
    plot.axes(svg, "mean cosine with the neighbours", "density");
    for (place, kind, curve) in &curves {
        let values = &cosines.places[*place][*kind];
        let (name, color) = KINDS[*kind];
        let path: Vec<(f64, f64)> = curve.iter().map(|(a, b)| (plot.x.at(*a), plot.y.at(*b))).collect();
        if *place == 0 {
            svg.area(&path, plot.top + plot.height, color);
            svg.curve(&path, color, 1.7);
        } else {
            svg.dashes(&path, color, 1.3);
        }
        for (cosine, density) in curve {
            data.push([
                (&m.subject.model).into(),
                (&m.subject.dataset).into(),
                PLACES[*place].into(),
                name.into(),
                values.n().into(),
                values.mean().into(),
                (*cosine).into(),
                (*density).into(),
            ]);
        }
    }
    let mut left = x + 20.0;
    for (kind, (name, color)) in KINDS.iter().enumerate() {
        let values = &cosines.places[0][kind];
        let words = match values.n() {
            0 => format!("no {name} patch"),
            n => format!("{name}: {:.3} (n {})", values.mean(), grouped(n)),
        };
        svg.rect((left, y + 36.0), (11.0, 11.0), color);
        svg.text(left + 17.0, y + 45.5, Anchor::Start, Ink::Label, &words);
        left += 40.0 + 6.6 * words.chars().count() as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when the study's share is taken over all images rather than within each.
    #[test]
    fn the_study_takes_a_share_of_each_image() {
        let image = |norms: [f32; 4]| norms.map(|norm| (norm, false, [Some(norm / 100.0), None])).to_vec();
        let mut all = Cosines::default();
        all.add(&mut image([1.0, 2.0, 3.0, 4.0]), Rule::TopFrac(0.25));
        all.add(&mut image([50.0, 40.0, 30.0, 20.0]), Rule::TopFrac(0.25));
        let [normal, outliers] = &all.places[0];
        assert_eq!((outliers.n(), normal.n(), all.images), (2, 6, 2));
        assert!((outliers.mean() - 0.27).abs() < 1e-6, "{}", outliers.mean());
        assert_eq!(all.places[1][1].n(), 0);
        // The run called none of them outliers.
        assert_eq!(all.differ, 2);
        let mut as_run = Cosines::default();
        as_run.add(&mut [(2.0, true, [None; 2]), (1.0, false, [None; 2])], Rule::TopFrac(0.5));
        assert_eq!(as_run.differ, 0);
    }
}
