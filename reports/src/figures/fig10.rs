//! Figure 10 of the paper: at which places of the grid outliers stand.
//!
//! Share of the images whose patch at a place is an outlier under the run's policy. Protocol: `docs/protocols/grids.md`.

use schemas::Frame;

use super::fig16::{Grid, read};
use super::shade::Shade;
use super::sheet::{self, Block, Tile};
use super::{Figure, panels, rasters};
use crate::error::ReportError;
use crate::models::base;
use crate::render::{grouped, number};
use crate::tables::{Context, Unit};

/// The share that the paper speaks of.
const MANY_FRAC: f64 = 0.2;

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
    let mut blocks = Vec::new();
    let mut sentences = Vec::new();
    for twins in panels::twins(context) {
        let mut row: Vec<(usize, Grid)> = Vec::new();
        for m in &twins {
            let largest = read(m.subject, "outlier", &m.subject.site)?.into_iter().max_by_key(Grid::images);
            row.extend(largest.map(|grid| (m.subject.registers, grid)));
            let Some((_, grid)) = row.last().filter(|(registers, _)| *registers == m.subject.registers) else {
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
        if row.is_empty() {
            continue;
        }
        let subject = twins[0].subject;
        let high = row.iter().flat_map(|(_, g)| (0..g.places.len()).map(|p| g.mean(p))).fold(0.0, f64::max);
        let shade = Shade::Linear(0.0, 100.0 * if high > 0.0 { high } else { 0.01 });
        let heads = row.iter().map(|(registers, grid)| (panels::registers(*registers), format!("at {}", grid.site)));
        let tiles = row.iter().map(|(_, grid)| {
            let color = |place: usize| shade.color((100.0 * grid.mean(place)) as f32);
            let image = rasters::heat(grid.rows, grid.cols, color);
            Some(Tile { image, patches: true, below: format!("{} images", grouped(grid.images())) })
        });
        blocks.push(Block {
            title: format!("{} on {}", base(&subject.model), subject.dataset),
            about: subject.outlier_policy.clone(),
            // Where nothing stands out there is nothing to look at.
            cell_px: if high > 0.0 { 230.0 } else { 96.0 },
            heads: heads.collect(),
            rows: vec![tiles.collect()],
            together: 1,
            bar: Some((shade, "% of images with an outlier here".to_owned())),
        });
    }
    if blocks.is_empty() {
        return Ok(None);
    }
    let sheet = sheet::draw("fig10", "Share of outliers at each place of the grid", &blocks)?;
    Ok(Some(Figure {
        id: "fig10",
        title: "Where outliers stand on the grid (after Figure 10 of Darcet et al.)".to_owned(),
        caption: format!(
            "Share of the images whose patch at a place is an outlier. {}. Images of other grid shapes than the most \
             frequent one are in none of the maps.",
            sentences.join("; ")
        ),
        protocol: "docs/protocols/grids.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}
