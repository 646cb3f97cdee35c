//! Figure 16 of the paper: the mean attention map of `[CLS]`, each register and one patch.
//!
//! Attention in the block that the heading names, mean over heads and over images, at each place of the grid. Protocol:
//! `docs/protocols/grids.md`.

use std::collections::BTreeMap;

use schemas::Frame;
use schemas::tables::Grids;

use super::fig9::{label, rank};
use super::portraits::range;
use super::shade::{Shade, end};
use super::sheet::{self, Block, Tile};
use super::{Figure, panels, rasters};
use crate::error::ReportError;
use crate::parts::{Go, each_batch};
use crate::render::grouped;
use crate::study::Subject;
use crate::tables::Context;

/// Sums at each place of a grid over the shards of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    pub of: String,
    pub site: String,
    pub rows: usize,
    pub cols: usize,
    /// Sum and images, row-major.
    pub places: Vec<(f64, u64)>,
}

impl Grid {
    /// Mean over images; 0 where there is none.
    pub fn mean(&self, place: usize) -> f64 {
        let (sum, images) = self.places[place];
        if images > 0 { sum / images as f64 } else { 0.0 }
    }

    /// Images behind the map.
    pub fn images(&self) -> u64 {
        self.places.iter().map(|(_, images)| *images).max().unwrap_or(0)
    }
}

/// Grids of one quantity; `site` may be empty for any. A grid without all its places is no grid.
pub(super) fn read(subject: &Subject, quantity: &str, site: &str) -> Result<Vec<Grid>, ReportError> {
    type Key = (String, String, u16, u16);
    type Places = BTreeMap<(u16, u16), (f64, u64)>;
    let mut grids: BTreeMap<Key, Places> = BTreeMap::new();
    each_batch::<Grids>(subject, |batch| {
        for i in 0..batch.quantity.len() {
            let (h, w) = (batch.grid_h[i], batch.grid_w[i]);
            let (row, col) = (batch.row[i], batch.col[i]);
            if &*batch.quantity[i] != quantity || !(site.is_empty() || *batch.site[i] == *site) || row >= h || col >= w
            {
                continue;
            }
            let key = (batch.of[i].to_string(), batch.site[i].to_string(), h, w);
            let (sum, images) = grids.entry(key).or_default().entry((row, col)).or_default();
            *sum += batch.sum[i];
            *images = images.saturating_add(batch.images[i]);
        }
        Ok(Go::On)
    })?;
    let grid = |((of, site, rows, cols), places): (Key, Places)| {
        let (rows, cols) = (usize::from(rows), usize::from(cols));
        let whole = places.len() == rows * cols;
        whole.then(|| Grid { of, site, rows, cols, places: places.into_values().collect() })
    };
    Ok(grids.into_iter().filter_map(grid).collect())
}

/// The grids of the shape that most images have, in the order of tokens.
fn most_frequent(grids: Vec<Grid>) -> Vec<Grid> {
    let shape = grids.iter().max_by_key(|g| g.images()).map(|g| (g.rows, g.cols));
    let mut kept: Vec<Grid> = grids.into_iter().filter(|g| Some((g.rows, g.cols)) == shape).collect();
    kept.sort_by_key(|g| rank(&g.of));
    kept
}

/// Draws the figure; none without sums of attention by place.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut data =
        Frame::new(["model", "dataset", "site", "of", "grid_h", "grid_w", "row", "col", "images", "mean_attention"]);
    let mut blocks = Vec::new();
    for m in panels::twins(context).into_iter().flatten() {
        let grids = most_frequent(read(m.subject, "attention", "")?);
        if grids.is_empty() {
            continue;
        }
        for (grid, place) in grids.iter().flat_map(|g| (0..g.places.len()).map(move |p| (g, p))) {
            data.push([
                (&m.subject.model).into(),
                (&m.subject.dataset).into(),
                (&grid.site).into(),
                (&grid.of).into(),
                (grid.rows as u64).into(),
                (grid.cols as u64).into(),
                ((place / grid.cols) as u64).into(),
                ((place % grid.cols) as u64).into(),
                grid.places[place].1.into(),
                grid.mean(place).into(),
            ]);
        }
        let tiles = grids.iter().map(|grid| {
            let (low, high) = range((0..grid.places.len()).map(|p| grid.mean(p)));
            let shade = Shade::Linear(low, high);
            let image = rasters::heat(grid.rows, grid.cols, |place| shade.color(grid.mean(place) as f32));
            let below = format!("{} to {}", end(low), end(high));
            Some(Tile { image, patches: true, below })
        });
        let images = grids.iter().map(Grid::images).max().unwrap_or(0);
        blocks.push(Block {
            title: format!("{} on {}", m.subject.model, m.subject.dataset),
            about: format!("{} images, {}", grouped(images), grids[0].site),
            cell_px: 126.0,
            heads: grids.iter().map(|grid| (label(&grid.of), String::new())).collect(),
            rows: vec![tiles.collect()],
            together: 1,
            bar: None,
        });
    }
    if blocks.is_empty() {
        return Ok(None);
    }
    let sheet = sheet::draw("fig16", "Mean attention at each place of the grid", &blocks)?;
    Ok(Some(Figure {
        id: "fig16",
        title: "Positional focus of [CLS], registers and a patch (after Figure 16 of Darcet et al.)".to_owned(),
        caption:
            "Attention that each token pays to each place of the grid in the block in the heading (attention_0 is the \
                  first), mean over heads and over the images of the most frequent grid shape, of the first 64 shapes \
                  of each shard. Patch: the middle one of the grid. Each map covers its smallest to its largest value, \
                  which stand under it."
                .to_owned(),
        protocol: "docs/protocols/grids.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_most_images_is_shown_and_means_are_per_image() {
        let grid = |of: &str, rows, images| Grid {
            of: of.to_owned(),
            site: "attention_3".to_owned(),
            rows,
            cols: 1,
            places: vec![(3.0, images); rows],
        };
        let kept = most_frequent(vec![grid("patch", 2, 9), grid("cls", 1, 12), grid("cls", 2, 20)]);
        assert_eq!(kept.iter().map(|g| (g.of.as_str(), g.rows)).collect::<Vec<_>>(), [("cls", 2), ("patch", 2)]);
        assert!((kept[1].mean(0) - 3.0 / 9.0).abs() < 1e-12);
        assert_eq!(grid("cls", 1, 0).mean(0), 0.0);
    }
}
