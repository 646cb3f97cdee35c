//! Figure 10 of the paper: at which places of the grid outliers stand.
//!
//! Share of the images whose patch at a place is an outlier under the run's policy. Protocol: `docs/protocols/grids.md`.

use schemas::Frame;

use super::fig16::{Grid, read};
use super::shade::Shade;
use super::sheet::{self, Block, Key, Tile};
use super::{Figure, panels, rasters};
use crate::error::ReportError;
use crate::models::base;
use crate::render::{grouped, number};
use crate::study::Subject;
use crate::tables::{Context, Unit};

/// The share that the paper speaks of.
const MANY_FRAC: f64 = 0.2;

/// Models that differ in registers alone, with their maps.
struct Row<'c> {
    subject: &'c Subject,
    family: usize,
    /// Number of registers and counts.
    grids: Vec<(usize, Grid)>,
}

impl Row<'_> {
    /// The largest share at any place.
    fn highest(&self) -> f64 {
        self.grids.iter().flat_map(|(_, g)| (0..g.places.len()).map(|p| g.mean(p))).fold(0.0, f64::max)
    }
}

/// Draws the figure; none without counts of outliers by place.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut data = Frame::new([
        "model",
        "dataset",
        "site",
        "grid_h",
        "grid_w",
        "row",
        "col",
        "outliers",
        "images",
        "outlier_frac",
    ]);
    let mut rows: Vec<Row> = Vec::new();
    let mut sentences = Vec::new();
    for (family, twins) in panels::twins_in_families(context) {
        let mut grids: Vec<(usize, Grid)> = Vec::new();
        for m in &twins {
            let largest = read(m.subject, "outlier", &m.subject.site)?.into_iter().max_by_key(Grid::images);
            grids.extend(largest.map(|grid| (m.subject.registers, grid)));
            let Some((_, grid)) = grids.last().filter(|(registers, _)| *registers == m.subject.registers) else {
                continue;
            };
            for (place, (sum, images)) in grid.places.iter().enumerate() {
                data.push([
                    (&m.subject.model).into(),
                    (&m.subject.dataset).into(),
                    (&grid.site).into(),
                    (grid.rows as u64).into(),
                    (grid.cols as u64).into(),
                    ((place / grid.cols) as u64).into(),
                    ((place % grid.cols) as u64).into(),
                    (*sum).into(),
                    (*images).into(),
                    grid.mean(place).into(),
                ]);
            }
            let many = (0..grid.places.len()).filter(|place| grid.mean(*place) > MANY_FRAC).count();
            let most = (0..grid.places.len()).map(|place| grid.mean(place)).fold(0.0, f64::max);
            sentences.push(format!(
                "{} on {}: at {many} of {} places more than 20 % of the images have an outlier, at most {} %",
                m.subject.model,
                m.subject.dataset,
                grid.places.len(),
                number(100.0 * most, Unit::Share)
            ));
        }
        if !grids.is_empty() {
            rows.push(Row { subject: twins[0].subject, family, grids });
        }
    }
    let blocks: Vec<Block> = rows.iter().map(|row| block(row, &rows)).collect();
    if blocks.is_empty() {
        return Ok(None);
    }
    let sheet = sheet::draw("fig10", "Share of outliers at each place of the grid", &blocks)?;
    Ok(Some(Figure {
        id: "fig10",
        title: "Where outliers stand on the grid (after Figure 10 of Darcet et al.)".to_owned(),
        caption: format!(
            "Share of the images whose patch at a place is an outlier; a model and what was changed of it share their \
             colours. {}. A map has the images of the most frequent grid \
             shape, of the first 64 shapes of each shard, which alone are counted.",
            sentences.join("; ")
        ),
        protocol: "docs/protocols/grids.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

/// The maps of a row, in the colours of its family.
fn block(row: &Row, all: &[Row]) -> Block {
    let high = all.iter().filter(|other| other.family == row.family).map(Row::highest).fold(0.0, f64::max);
    let shade = Shade::Linear(0.0, 100.0 * if high > 0.0 { high } else { 0.01 });
    let heads = row.grids.iter().map(|(registers, grid)| (panels::registers(*registers), format!("at {}", grid.site)));
    let tiles = row.grids.iter().map(|(_, grid)| {
        let color = |place: usize| shade.color((100.0 * grid.mean(place)) as f32);
        let image = rasters::heat(grid.rows, grid.cols, color);
        Some(Tile { image, patches: true, below: format!("{} images", grouped(grid.images())) })
    });
    Block {
        title: format!("{} on {}", base(&row.subject.model), row.subject.dataset),
        about: row.subject.outlier_policy.clone(),
        // Where nothing stands out there is nothing to look at.
        cell_px: if row.highest() > 0.0 { 230.0 } else { 96.0 },
        heads: heads.collect(),
        rows: vec![tiles.collect()],
        together: 1,
        bar: Some(Key::Scale(shade, "% of images with an outlier here".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a changed model has brighter colours for the same share than what it was made from.
    #[test]
    fn families_share_their_colours() {
        let subject = Subject::default();
        let row = |family, outliers| {
            let places = vec![(outliers, 100), (0.0, 100)];
            let grid = Grid { of: "outlier".to_owned(), site: "block_3".to_owned(), rows: 1, cols: 2, places };
            Row { subject: &subject, family, grids: vec![(0, grid)] }
        };
        let rows = [row(0, 40.0), row(0, 10.0), row(1, 5.0), row(2, 0.0)];
        let blocks = rows.each_ref().map(|of| block(of, &rows));
        let shade = |high| Some(Shade::Linear(0.0, high));
        let shades = blocks.each_ref().map(|b| match &b.bar {
            Some(Key::Scale(shade, _)) => Some(*shade),
            _ => None,
        });
        assert_eq!(shades, [shade(40.0), shade(40.0), shade(5.0), shade(1.0)]);
    }
}
