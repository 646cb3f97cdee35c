//! Figure 3 of the paper: pictures, and under each the norms of its patches in every model.
//!
//! A row of maps is a model, with a colour scale of its own from the smallest to the largest norm in the row: models
//! differ in scale by more than outliers do within one. Protocol: `docs/protocols/fig3.md`.

use std::collections::BTreeMap;

use image::{Rgb, RgbImage, imageops};
use schemas::Frame;
use schemas::tables::{Pictures, TokenStats};

use super::axes::Scale;
use super::portraits::{PICTURES, file_name, picture};
use super::rasters::{png, thumbnail};
use super::sheet::shortened;
use super::svg::{Anchor, Ink, Svg};
use super::{Figure, colormap, panels};
use crate::error::ReportError;
use crate::parts::{Go, each_batch};
use crate::render::number;
use crate::study::Subject;
use crate::tables::{Context, Unit};

/// Names that ask for it.
pub const NAMES: &[&str] = &["fig3", "study_fig9", "study_fig16", "study_fig17"];

/// Room of the names at the left, px.
const NAMES_PX: f64 = 168.0;
/// Room of the colour scale at the right, px.
const BAR_PX: f64 = 84.0;
/// Width of a picture, px, and the space after it.
const CELL_PX: (f64, f64) = (126.0, 10.0);
/// Side of a patch in the raster of a map, px: viewers that smooth pictures then keep patches square.
const PATCH_PX: u32 = 8;
/// Frame of an outlier.
const OUTLIER: [u8; 3] = [0xff, 0x2d, 0x55];

/// The norms of one picture's patches.
#[derive(Debug, Clone, Default, PartialEq)]
struct NormMap {
    /// (row, column) → (norm, outlier).
    patches: BTreeMap<(u16, u16), (f32, bool)>,
}

struct Maps<'a> {
    subject: &'a Subject,
    maps: Vec<NormMap>,
}

struct Block<'a> {
    dataset: &'a str,
    pictures: Vec<(u32, String, RgbImage)>,
    rows: Vec<Maps<'a>>,
}

/// Draws the figure; none without pictures and their norms.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut blocks: Vec<Block> = Vec::new();
    for m in panels::twins(context).into_iter().flatten() {
        let pictures = pictures(m.subject)?;
        let maps = norm_maps(m.subject, &pictures)?;
        if maps.iter().all(|map| map.patches.is_empty()) {
            continue;
        }
        let row = Maps { subject: m.subject, maps };
        let same = |b: &&mut Block| b.dataset == m.subject.dataset && b.pictures == pictures;
        match blocks.iter_mut().find(same) {
            Some(block) => block.rows.push(row),
            None => blocks.push(Block { dataset: &m.subject.dataset, pictures, rows: vec![row] }),
        }
    }
    if blocks.is_empty() {
        return Ok(None);
    }
    let heights: Vec<f64> = blocks.iter().map(block_height).collect();
    let columns = blocks.iter().map(|b| b.pictures.len()).max().unwrap_or(1);
    let width = NAMES_PX + columns as f64 * (CELL_PX.0 + CELL_PX.1) + BAR_PX;
    let mut svg = Svg::new(width, heights.iter().sum(), "Maps of patch norms");
    let mut top = 0.0;
    let mut rasters = Vec::new();
    for (block, height) in blocks.iter().zip(&heights) {
        rasters.push(draw(&mut svg, block, top)?);
        top += height;
    }
    Ok(Some(Figure {
        id: "fig3",
        title: "Norms of patches on pictures (after Figure 3 of Darcet et al.)".to_owned(),
        caption: format!(
            "Pictures as the model saw them, and the L2 norm of each patch token at the site named beside each row. \
             Every row has a colour scale of its own. Framed: patches that the row's policy calls \
             outliers.{}",
            shares(context)
        ),
        protocol: "docs/protocols/fig3.md",
        svg: svg.finish(),
        parts: vec![],
        png: Some(png("fig3", &stacked(&rasters))?),
        data: data(&blocks),
    }))
}

/// The share of outliers of each model over all images, with its 95 % interval.
fn shares(context: &Context) -> String {
    let mut sentences = Vec::new();
    for m in &context.measured {
        let Some(score) = m.scores.at("detection", "outlier", "share_frac", &m.subject.site) else { continue };
        let Some(share) = score.value.map(|v| 100.0 * v) else { continue };
        let interval = score.stderr.map_or_else(String::new, |e| {
            let (low, high) = ((share - 196.0 * e).max(0.0), (share + 196.0 * e).min(100.0));
            format!(" (95 % interval {} to {})", number(low, Unit::Share), number(high, Unit::Share))
        });
        sentences.push(format!("{}: {} %{interval}", panels::name(m), number(share, Unit::Share)));
    }
    if sentences.is_empty() {
        return String::new();
    }
    format!(" Outliers among the patches of all images: {}.", sentences.join("; "))
}

fn data(blocks: &[Block]) -> Frame {
    let mut data = Frame::new(["model", "dataset", "site", "image", "name", "row", "col", "norm", "outlier"]);
    for block in blocks {
        for row in &block.rows {
            for ((image, name, _), map) in block.pictures.iter().zip(&row.maps) {
                for ((patch_row, col), (norm, outlier)) in &map.patches {
                    data.push([
                        (&row.subject.model).into(),
                        block.dataset.into(),
                        (&row.subject.site).into(),
                        u64::from(*image).into(),
                        name.into(),
                        u64::from(*patch_row).into(),
                        u64::from(*col).into(),
                        f64::from(*norm).into(),
                        u64::from(*outlier).into(),
                    ]);
                }
            }
        }
    }
    data
}

fn pictures(subject: &Subject) -> Result<Vec<(u32, String, RgbImage)>, ReportError> {
    let mut pictures: Vec<(u32, String, RgbImage)> = Vec::new();
    each_batch::<Pictures>(subject, |batch| {
        for i in 0..batch.image.len() {
            if pictures.len() == PICTURES {
                return Ok(Go::Stop);
            }
            // Another pass may have pictured the same images at another size.
            if pictures.iter().all(|(image, _, _)| *image != batch.image[i]) {
                pictures.push((batch.image[i], batch.name[i].to_string(), picture("fig3", &batch, i)?));
            }
        }
        Ok(Go::On)
    })?;
    Ok(pictures)
}

/// The norms of the pictures' patches. Tokens lie clustered by image in dataset order and pictures are the first images,
/// so that reading stops soon after the last of them.
fn norm_maps(subject: &Subject, pictures: &[(u32, String, RgbImage)]) -> Result<Vec<NormMap>, ReportError> {
    let mut maps = vec![NormMap::default(); pictures.len()];
    if pictures.is_empty() {
        return Ok(maps);
    }
    let last = pictures.iter().map(|(image, _, _)| *image).max().unwrap_or(0);
    each_batch::<TokenStats>(subject, |batch| {
        for i in 0..batch.image.len() {
            if *batch.site[i] != *subject.site || &*batch.kind[i] != "patch" {
                continue;
            }
            let at = pictures.iter().position(|(image, _, _)| *image == batch.image[i]);
            if let (Some(at), Some(row), Some(col)) = (at, batch.row[i], batch.col[i]) {
                maps[at].patches.insert((row, col), (batch.norm[i], batch.outlier[i]));
            }
        }
        let past = batch.image.iter().all(|image| *image > last);
        Ok(if past { Go::Stop } else { Go::On })
    })?;
    Ok(maps)
}

fn cell_height(block: &Block) -> f64 {
    let tallest =
        block.pictures.iter().map(|(_, _, p)| f64::from(p.height()) / f64::from(p.width())).fold(0.0, f64::max);
    CELL_PX.0 * tallest.clamp(0.2, 3.0)
}

fn block_height(block: &Block) -> f64 {
    let row = cell_height(block) + 30.0;
    34.0 + row * (block.rows.len() + 1) as f64
}

/// Draws one dataset's block; gives its raster back.
fn draw(svg: &mut Svg, block: &Block, top: f64) -> Result<RgbImage, ReportError> {
    let height = cell_height(block);
    svg.text(16.0, top + 24.0, Anchor::Start, Ink::Title, block.dataset);
    let mut y = top + 34.0;
    let mut rows: Vec<Vec<RgbImage>> = vec![vec![]];
    for (i, (_, name, picture)) in block.pictures.iter().enumerate() {
        let size = fitted(picture, height);
        svg.picture((column_left(i), y), size, &png("fig3", &thumbnail(picture))?, name, false);
        svg.text(column_left(i), y + height + 13.0, Anchor::Start, Ink::Tick, &shortened(file_name(name), NAME_CHARS));
        rows[0].push(picture.clone());
    }
    svg.text(16.0, y + 16.0, Anchor::Start, Ink::Label, "picture");
    for row in &block.rows {
        y += height + 30.0;
        let scale = range(row);
        svg.text(16.0, y + 16.0, Anchor::Start, Ink::Label, &shortened(&row.subject.model, MODEL_CHARS));
        svg.text(16.0, y + 33.0, Anchor::Start, Ink::Tick, &panels::registers(row.subject.registers));
        svg.text(16.0, y + 49.0, Anchor::Start, Ink::Tick, &format!("at {}", row.subject.site));
        let mut rasters = Vec::new();
        for (i, map) in row.maps.iter().enumerate() {
            let size = fitted(&block.pictures[i].2, height);
            let raster = map.raster(scale);
            let outliers = map.patches.values().filter(|(_, outlier)| *outlier).count();
            svg.picture((column_left(i), y), size, &png("fig3", &raster)?, &block.pictures[i].1, true);
            let largest = map.patches.values().map(|(norm, _)| f64::from(*norm)).fold(0.0, f64::max);
            let below = match outliers {
                0 => format!("max {}", number(largest, Unit::Number)),
                1 => format!("max {} · 1 outlier", number(largest, Unit::Number)),
                n => format!("max {} · {n} outliers", number(largest, Unit::Number)),
            };
            svg.text(column_left(i), y + height + 13.0, Anchor::Start, Ink::Tick, &below);
            rasters.push(raster);
        }
        bar(svg, column_left(block.pictures.len()) + 4.0, y, height, scale);
        rows.push(rasters);
    }
    Ok(grid(&rows))
}

fn column_left(i: usize) -> f64 {
    NAMES_PX + i as f64 * (CELL_PX.0 + CELL_PX.1)
}

fn fitted(picture: &RgbImage, height: f64) -> (f64, f64) {
    let (w, h) = (f64::from(picture.width()), f64::from(picture.height()));
    let scale = (CELL_PX.0 / w).min(height / h);
    (w * scale, h * scale)
}

/// Characters of a tick label that fit over a picture.
const NAME_CHARS: usize = 17;
/// Characters of a model's name that fit beside its maps.
const MODEL_CHARS: usize = 20;

/// Smallest and largest norm of a row.
fn range(row: &Maps) -> (f64, f64) {
    let norms = row.maps.iter().flat_map(|m| m.patches.values()).map(|(n, _)| f64::from(*n)).filter(|n| n.is_finite());
    let (low, high) = norms.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), n| (l.min(n), h.max(n)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

fn bar(svg: &mut Svg, left: f64, top: f64, height: f64, (low, high): (f64, f64)) {
    let steps = 40;
    let step = height / f64::from(steps);
    for i in 0..steps {
        let t = 1.0 - f64::from(i) / f64::from(steps - 1);
        let color = colormap::hex(colormap::viridis(t));
        svg.rect((left, top + f64::from(i) * step), (10.0, step + 0.3), &color);
    }
    let scale = Scale::linear((low, high), (top + height, top));
    for (value, label) in scale.ticks() {
        if let Some(label) = label {
            svg.text(left + 15.0, scale.at(value) + 3.5, Anchor::Start, Ink::Tick, &label);
        }
    }
}

impl NormMap {
    /// The map in colours, [`PATCH_PX`] px a patch; outliers are framed.
    fn raster(&self, (low, high): (f64, f64)) -> RgbImage {
        let rows = self.patches.keys().map(|(row, _)| u32::from(*row) + 1).max().unwrap_or(1);
        let cols = self.patches.keys().map(|(_, col)| u32::from(*col) + 1).max().unwrap_or(1);
        let mut image = RgbImage::from_pixel(cols * PATCH_PX, rows * PATCH_PX, Rgb([0x80; 3]));
        for ((row, col), (norm, outlier)) in &self.patches {
            let t = if high > low { (f64::from(*norm) - low) / (high - low) } else { 0.0 };
            let color = Rgb(colormap::viridis(t));
            for y in 0..PATCH_PX {
                for x in 0..PATCH_PX {
                    let edge = x == 0 || y == 0 || x == PATCH_PX - 1 || y == PATCH_PX - 1;
                    let color = if *outlier && edge { Rgb(OUTLIER) } else { color };
                    image.put_pixel(u32::from(*col) * PATCH_PX + x, u32::from(*row) * PATCH_PX + y, color);
                }
            }
        }
        image
    }
}

/// Rows of pictures of any size as one raster, each scaled to the size of the first row's largest, without smoothing.
fn grid(rows: &[Vec<RgbImage>]) -> RgbImage {
    const GAP: u32 = 8;
    let side = |f: fn(&RgbImage) -> u32| rows[0].iter().map(f).max().unwrap_or(1);
    let (w, h) = (side(RgbImage::width), side(RgbImage::height));
    let columns = rows.iter().map(Vec::len).max().unwrap_or(1) as u32;
    let mut out = RgbImage::from_pixel(columns * (w + GAP) + GAP, rows.len() as u32 * (h + GAP) + GAP, Rgb([0xff; 3]));
    for (r, row) in rows.iter().enumerate() {
        for (c, picture) in row.iter().enumerate() {
            let (like_w, like_h) = rows[0].get(c).map_or((w, h), RgbImage::dimensions);
            let scaled = imageops::resize(picture, like_w, like_h, imageops::FilterType::Nearest);
            let (x, y) = (c as u32 * (w + GAP) + GAP, r as u32 * (h + GAP) + GAP);
            imageops::replace(&mut out, &scaled, i64::from(x), i64::from(y));
        }
    }
    out
}

fn stacked(rasters: &[RgbImage]) -> RgbImage {
    let width = rasters.iter().map(RgbImage::width).max().unwrap_or(1);
    let height = rasters.iter().map(RgbImage::height).sum();
    let mut out = RgbImage::from_pixel(width, height, Rgb([0xff; 3]));
    let mut y = 0;
    for raster in rasters {
        imageops::replace(&mut out, raster, 0, y);
        y += i64::from(raster.height());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_four_patches_in_closed_form() {
        let map = NormMap { patches: [((0, 0), (1.0, false)), ((0, 1), (2.0, false)), ((1, 0), (3.0, true))].into() };
        let image = map.raster((1.0, 3.0));
        assert_eq!(image.dimensions(), (16, 16));
        let middle = |row: u32, col: u32| image.get_pixel(col * 8 + 4, row * 8 + 4).0;
        assert_eq!(middle(0, 0), colormap::viridis(0.0));
        assert_eq!(middle(0, 1), colormap::viridis(0.5));
        assert_eq!(middle(1, 0), colormap::viridis(1.0));
        // A patch that no row of the table gave is grey, not the lowest norm.
        assert_eq!(middle(1, 1), [0x80; 3]);
        assert_eq!(image.get_pixel(0, 8).0, OUTLIER);
        assert_eq!(image.get_pixel(0, 0).0, colormap::viridis(0.0));
    }
}
