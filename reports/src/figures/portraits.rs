//! The pictured images of a subject with their maps: norms, attention, principal components.
//!
//! A portrait is a photograph as the model saw it and every map of it that a figure asks for. Two passes of one subject
//! may picture the same image at two sizes; a map goes with the largest picture of its own shape.

use image::RgbImage;
use schemas::Frame;
use schemas::tables::{Maps, Pictures};

use super::shade::{Shade, end};
use super::sheet::Tile;
use super::{panels, rasters};
use crate::error::ReportError;
use crate::parts::{Go, each_batch};
use crate::study::Subject;
use crate::tables::{Context, Measured};

/// Pictured images of a figure.
pub const PICTURES: usize = 6;

/// One map of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// `norm`, `attention` or `component`.
    pub quantity: String,
    /// Site.
    pub site: String,
    /// Whose, or which basis.
    pub of: String,
    /// Head, way of averaging, or component.
    pub part: String,
    /// Rows and columns of patches.
    pub grid: (usize, usize),
    /// Share that goes to patches, or share of the variance.
    pub share: Option<f64>,
    /// Row-major.
    pub values: Vec<f32>,
}

impl Map {
    /// Whether it is the map of this name.
    pub fn is(&self, quantity: &str, of: &str, part: &str) -> bool {
        self.quantity == quantity && self.of == of && self.part == part
    }

    /// Number of the block of an attention or norm map.
    pub fn block(&self) -> Option<usize> {
        self.site.rsplit_once('_')?.1.parse().ok()
    }

    /// Smallest and largest finite value.
    pub fn range(&self) -> (f64, f64) {
        range(self.values.iter().map(|v| f64::from(*v)))
    }

    /// The patches of the `n` largest values, largest first; ties in order of place.
    pub fn top(&self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        order.sort_by(|a, b| self.values[*b].total_cmp(&self.values[*a]).then(a.cmp(b)));
        order.truncate(n);
        order
    }

    /// The map in colours, with words under it.
    pub fn tile(&self, shade: Shade, below: String) -> Tile {
        let (rows, cols) = self.grid;
        Tile { image: rasters::heat(rows, cols, |i| shade.color(self.values[i])), patches: true, below }
    }
}

/// Smallest and largest of the finite values; (0, 1) without any.
pub fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let found = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if found.0 <= found.1 { found } else { (0.0, 1.0) }
}

/// One image with its maps.
#[derive(Debug, Clone, PartialEq)]
pub struct Portrait {
    /// Image index.
    pub image: u32,
    /// Its name.
    pub name: String,
    /// The photograph, where it was kept.
    pub photo: Option<RgbImage>,
    /// Maps, in the order of the table.
    pub maps: Vec<Map>,
}

impl Portrait {
    /// The photograph with its name under it.
    pub fn photo(&self) -> Option<Tile> {
        let image = rasters::thumbnail(self.photo.as_ref()?);
        Some(Tile { image, patches: false, below: file_name(&self.name).to_owned() })
    }

    /// The map of CLS (or another token) in the last block that has one, mean over heads.
    pub fn attention(&self, of: &str) -> Option<&Map> {
        self.maps.iter().filter(|m| m.is("attention", of, "mean")).max_by_key(|m| m.block())
    }

    /// The norm map at a site.
    pub fn norm(&self, site: &str) -> Option<&Map> {
        self.maps.iter().find(|m| m.quantity == "norm" && m.site == site)
    }

    /// A principal component of one image or of all pictured images.
    pub fn component(&self, basis: &str, index: usize) -> Option<&Map> {
        self.maps.iter().find(|m| m.is("component", basis, &index.to_string()))
    }
}

/// A subject's portraits, first images first.
pub fn read(
    figure: &'static str,
    subject: &Subject,
    wanted: impl Fn(&Map) -> bool,
) -> Result<Vec<Portrait>, ReportError> {
    let mut portraits: Vec<Portrait> = Vec::new();
    each_batch::<Maps>(subject, |batch| {
        for i in 0..batch.image.len() {
            let grid = (usize::from(batch.grid_h[i]), usize::from(batch.grid_w[i]));
            let map = Map {
                quantity: batch.quantity[i].to_string(),
                site: batch.site[i].to_string(),
                of: batch.of[i].to_string(),
                part: batch.part[i].to_string(),
                grid,
                share: batch.share_frac[i].map(f64::from),
                values: vec![],
            };
            if !wanted(&map) {
                continue;
            }
            let (found, wanted) = (batch.cells[i].len(), grid.0 * grid.1);
            if found != wanted || wanted == 0 {
                return Err(ReportError::MapSize { figure, image: batch.image[i], found, wanted });
            }
            let map = Map { values: batch.cells[i].clone(), ..map };
            let image = batch.image[i];
            match portraits.iter().position(|p| p.image == image) {
                Some(at) => portraits[at].maps.push(map),
                None if portraits.len() < PICTURES => {
                    portraits.push(Portrait { image, name: format!("image {image}"), photo: None, maps: vec![map] });
                }
                None => {}
            }
        }
        Ok(Go::On)
    })?;
    photographs(figure, subject, &mut portraits)?;
    Ok(portraits)
}

fn photographs(figure: &'static str, subject: &Subject, portraits: &mut [Portrait]) -> Result<(), ReportError> {
    if portraits.is_empty() {
        return Ok(());
    }
    each_batch::<Pictures>(subject, |batch| {
        for i in 0..batch.image.len() {
            let Some(portrait) = portraits.iter_mut().find(|p| p.image == batch.image[i]) else { continue };
            let photo = picture(figure, &batch, i)?;
            let shape = portrait.maps.first().map_or(1.0, |m| m.grid.1 as f64 / m.grid.0 as f64);
            let misfit = |p: &RgbImage| (f64::from(p.width()) / f64::from(p.height()) / shape).ln().abs();
            let better = portrait.photo.as_ref().is_none_or(|old| {
                let (old_misfit, new_misfit) = (misfit(old), misfit(&photo));
                new_misfit < old_misfit - 0.01 || (new_misfit < old_misfit + 0.01 && photo.width() > old.width())
            });
            if better {
                portrait.photo = Some(photo);
            }
            portrait.name = batch.name[i].to_string();
        }
        Ok(Go::On)
    })
}

/// Picture `i` of a batch.
pub fn picture(figure: &'static str, batch: &Pictures, i: usize) -> Result<RgbImage, ReportError> {
    let (w, h) = (batch.width_px[i], batch.height_px[i]);
    let (found, wanted) = (batch.rgb[i].len(), w as usize * h as usize * 3);
    RgbImage::from_raw(w, h, batch.rgb[i].clone())
        .filter(|_| w > 0 && h > 0 && found == wanted)
        .ok_or_else(|| ReportError::PictureSize { figure, name: batch.name[i].to_string(), found, wanted })
}

/// Subjects with their portraits, which are twins: models that differ in registers alone.
pub type Twins<'a, 'b> = Vec<(&'b Measured<'a>, Vec<Portrait>)>;

/// Portraits of every subject that has any, twins together.
pub fn twins<'a, 'b>(
    figure: &'static str,
    context: &'b Context<'a>,
    wanted: impl Fn(&Measured, &Map) -> bool,
) -> Result<Vec<Twins<'a, 'b>>, ReportError> {
    let mut all = Vec::new();
    for row in panels::twins(context) {
        let mut twins = Vec::new();
        for m in row {
            let portraits = read(figure, m.subject, |map| wanted(m, map))?;
            if !portraits.is_empty() {
                twins.push((m, portraits));
            }
        }
        if !twins.is_empty() {
            all.push(twins);
        }
    }
    Ok(all)
}

/// Twins as columns, each with the same weights changed while they ran after it.
pub type Family<'a, 'b> = Vec<Twins<'a, 'b>>;

/// Portraits of every subject that has any, families together whose maps are of the same sites: a model whose last blocks
/// were left out has its attention from another block than its plain twin.
pub fn families<'a, 'b>(
    figure: &'static str,
    context: &'b Context<'a>,
    wanted: impl Fn(&Measured, &Map) -> bool,
) -> Result<Vec<Family<'a, 'b>>, ReportError> {
    let mut all = Vec::new();
    for family in panels::families(context) {
        // Sites, the last column that was begun, columns.
        let mut alike: Vec<(String, usize, Family)> = Vec::new();
        for (column, m) in
            family.into_iter().enumerate().flat_map(|(i, column)| column.into_iter().map(move |m| (i, m)))
        {
            let portraits = read(figure, m.subject, |map| wanted(m, map))?;
            if portraits.is_empty() {
                continue;
            }
            let sites = sites(m, &portraits);
            match alike.iter_mut().find(|(of, _, _)| *of == sites) {
                Some((_, last, columns)) => {
                    let begun = std::mem::replace(last, column) == column;
                    match columns.last_mut().filter(|_| begun) {
                        Some(twins) => twins.push((m, portraits)),
                        None => columns.push(vec![(m, portraits)]),
                    }
                }
                None => alike.push((sites, column, vec![vec![(m, portraits)]])),
            }
        }
        all.extend(alike.into_iter().map(|(_, _, columns)| columns));
    }
    Ok(all)
}

/// A member of a family: what tells it from the others, itself, its portraits.
pub type Member<'a, 'b, 'p> = (String, &'b Measured<'a>, &'p [Portrait]);

/// Every member, column by column: a changed model after its plain one.
pub fn members<'a, 'b, 'p>(family: &'p Family<'a, 'b>) -> Vec<Member<'a, 'b, 'p>> {
    family.iter().flat_map(|column| members_of(column)).collect()
}

/// The members of one column.
pub fn members_of<'a, 'b, 'p>(column: &'p Twins<'a, 'b>) -> Vec<Member<'a, 'b, 'p>> {
    let variant =
        |m: &Measured| column.first().map_or_else(String::new, |(p, _)| panels::variant(p.subject, m.subject));
    column.iter().map(|(m, all)| (variant(m), *m, all.as_slice())).collect()
}

/// Keeps the members that are wanted, and what is not empty without the others.
pub fn retain(families: &mut Vec<Family>, wanted: impl Fn(&Measured, &[Portrait]) -> bool) {
    for family in &mut *families {
        for column in &mut *family {
            column.retain(|(m, all)| wanted(m, all));
        }
        family.retain(|column| !column.is_empty());
    }
    families.retain(|family| !family.is_empty());
}

/// Where the maps of some portraits are from: `attention_11, norms at block_11, components at final`.
pub fn sites(m: &Measured, portraits: &[Portrait]) -> String {
    let component =
        |p: &Portrait| ["image", "joint"].into_iter().find_map(|basis| Some(p.component(basis, 0)?.site.clone()));
    let norm = |p: &Portrait| p.norm(&m.subject.site).map(|map| map.site.clone());
    // All tokens' maps are kept of the same blocks.
    let attention = |p: &Portrait| {
        let maps = p.maps.iter().filter(|map| map.quantity == "attention");
        maps.max_by_key(|map| map.block()).map(|map| map.site.clone())
    };
    let found = [
        portraits.iter().find_map(attention),
        portraits.iter().find_map(norm).map(|site| format!("norms at {site}")),
        portraits.iter().find_map(component).map(|site| format!("components at {site}")),
    ];
    found.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A sentence after a caption where a family has changed members.
pub fn changed_words(families: &[Family]) -> &'static str {
    if families.iter().flatten().any(|column| column.len() > 1) {
        " A model that was changed while it ran stands beside or under what was changed; the table of changes says how."
    } else {
        ""
    }
}

/// The portrait of the same image in another list.
pub fn same(portraits: &[Portrait], image: u32) -> Option<&Portrait> {
    portraits.iter().find(|p| p.image == image)
}

/// Columns of the data of a figure made of maps: a row per map, its values row-major in one field.
pub fn data() -> Frame {
    Frame::new([
        "model",
        "dataset",
        "image",
        "name",
        "quantity",
        "site",
        "of",
        "part",
        "grid_h",
        "grid_w",
        "share_frac",
        "cells",
    ])
}

/// Adds a map to the data of a figure.
pub fn put(data: &mut Frame, subject: &Subject, portrait: &Portrait, map: &Map) {
    data.push([
        (&subject.model).into(),
        (&subject.dataset).into(),
        u64::from(portrait.image).into(),
        (&portrait.name).into(),
        (&map.quantity).into(),
        (&map.site).into(),
        (&map.of).into(),
        (&map.part).into(),
        (map.grid.0 as u64).into(),
        (map.grid.1 as u64).into(),
        map.share.into(),
        map.values.as_slice().into(),
    ]);
}

/// `max 0.0080 · 63 %`: the largest value of an attention map and what of the attention goes to patches.
pub fn attention_words(map: &Map) -> String {
    let largest = end(map.range().1);
    match map.share {
        Some(share) => format!("max {largest} · {share:.0} %", share = 100.0 * share),
        None => format!("max {largest}"),
    }
}

/// The last part of a path.
pub fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::super::sheet::{room, shortened};
    use super::*;

    fn map(values: &[f32]) -> Map {
        Map {
            quantity: "attention".into(),
            site: "attention_11".into(),
            of: "cls".into(),
            part: "mean".into(),
            grid: (1, values.len()),
            share: Some(0.634),
            values: values.to_vec(),
        }
    }

    #[test]
    fn the_largest_come_first_and_ties_keep_their_place() {
        assert_eq!(map(&[0.1, 0.3, 0.2, 0.3]).top(3), [1, 3, 2]);
        assert_eq!(map(&[0.1]).top(5), [0]);
    }

    #[test]
    fn ranges_leave_out_what_is_not_finite() {
        assert_eq!(map(&[f32::NAN, 2.0, -1.0, f32::INFINITY]).range(), (-1.0, 2.0));
        assert_eq!(map(&[f32::NAN]).range(), (0.0, 1.0));
    }

    #[test]
    fn words_say_what_patches_get() {
        assert_eq!(map(&[0.25, 0.125]).block(), Some(11));
        assert_eq!(attention_words(&map(&[0.25, 0.125])), "max 0.25 · 63 %");
    }

    /// Breaks when a line of numbers is longer than the cells of its figures can show.
    #[test]
    fn no_number_is_cut() {
        let whole = |words: &str, cell_px| assert_eq!(shortened(words, room(cell_px)), words, "{cell_px} px");
        for largest in [0.008_03_f32, 0.000_812_3, 1.234e-12, 0.999_9, 0.099_96] {
            // Figures 1 and 9; 16; 18; attention by block, of 40.
            whole(&attention_words(&Map { share: Some(1.0), ..map(&[largest, 0.0]) }), 124.0);
            let largest = end(f64::from(largest));
            whole(&format!("{largest} to {largest}"), 126.0);
            whole(&format!("head 23: {largest}"), 112.0);
            whole(&format!("block 39: {largest}"), 112.0);
        }
    }
}
