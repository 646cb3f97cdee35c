//! What trained dense heads say of the first test images: the photograph, its annotation, and a prediction for each model
//! and head. A head that was trained as a control is called one.
//!
//! Under a prediction stands what of this image is right: the share of scored pixels, or the root mean square error of
//! the depths. Protocols: `docs/protocols/segmentation.md`, `docs/protocols/depth.md`.

use std::path::Path;

use image::RgbImage;
use schemas::tables::{Pictures, Predictions};
use schemas::{Frame, Table as _};

use super::portraits::{self, PICTURES, Portrait};
use super::shade::Shade;
use super::sheet::{self, Block, Key, Tile};
use super::{Figure, colormap, panels, rasters, training};
use crate::error::ReportError;
use crate::models::base;
use crate::parts::{Go, each_batch};
use crate::render::number;
use crate::scores;
use crate::study::Subject;
use crate::tables::heads::class_name;
use crate::tables::{Context, Measured, Unit};

/// How the kind of an annotation begins.
const TRUTH: &str = "truth_";
/// What is not scored.
const IGNORED: u8 = 255;
/// Classes with a name under the heading.
const MOST_NAMES: usize = 32;

/// One map of one image.
#[derive(Debug, Clone, PartialEq)]
enum Cells {
    /// A class for each pixel.
    Segments(Vec<u8>),
    /// m for each pixel, NaN where unknown.
    Depth(Vec<f32>),
}

#[derive(Debug, Clone, PartialEq)]
struct Map {
    image: u32,
    head: String,
    truth: bool,
    size: (usize, usize),
    cells: Cells,
}

/// The maps of one run of heads of one subject.
struct Run<'a, 'c> {
    measured: &'c Measured<'a>,
    settings: &'c str,
    control: bool,
    maps: Vec<Map>,
}

/// Draws the figure; none without predictions.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut data = Frame::new([
        "model", "dataset", "image", "name", "settings", "head", "control", "kind", "pixels", "metric", "value",
    ]);
    let mut blocks = Vec::new();
    for twins in panels::twins(context) {
        let mut runs: Vec<Run> = Vec::new();
        for measured in twins {
            for folder in measured.subject.tables.get(Predictions::NAME).into_iter().flatten() {
                let settings = training::trained(measured.subject, folder);
                let control = scores::is_control(measured.subject, folder)?;
                runs.push(Run { measured, settings, control, maps: read(measured.subject, folder)? });
            }
        }
        for segments in [true, false] {
            let mut own: Vec<Run> = Vec::new();
            for run in &runs {
                let of_kind = |map: &&Map| matches!(map.cells, Cells::Segments(_)) == segments;
                let maps: Vec<Map> = run.maps.iter().filter(of_kind).cloned().collect();
                if !maps.is_empty() {
                    own.push(Run { maps, ..*run });
                }
            }
            if !own.is_empty() {
                blocks.push(block(&own, &mut data)?);
            }
        }
    }
    if blocks.is_empty() {
        return Ok(None);
    }
    let sheet = sheet::draw("dense_strip", "Pictures, annotations and predictions", &blocks)?;
    Ok(Some(Figure {
        id: "dense_strip",
        title: "Segments and depths of test images".to_owned(),
        caption: "The first test images: the picture, its annotation (of generated scenes: what was drawn), and what each \
                  trained head says; a control learned from truths that were exchanged. What is not scored is pale. \
                  Depths of a block share one scale; grey is unknown. \
                  Under a prediction: the share of this image's scored pixels that are right, or its root mean square error (of \
                  generated scenes in their own unit)."
            .to_owned(),
        protocol: "docs/protocols/segmentation.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

/// The maps in one folder, of the first images.
fn read(subject: &Subject, folder: &Path) -> Result<Vec<Map>, ReportError> {
    let tables = [(Predictions::NAME.to_owned(), vec![folder.to_owned()])].into();
    let mut images: Vec<u32> = Vec::new();
    let mut maps = Vec::new();
    each_batch::<Predictions>(&Subject { tables, ..subject.clone() }, |batch| {
        for i in 0..batch.image.len() {
            let image = batch.image[i];
            if !images.contains(&image) {
                if images.len() == PICTURES {
                    continue;
                }
                images.push(image);
            }
            maps.extend(map(&batch, i)?);
        }
        Ok(Go::On)
    })?;
    Ok(maps)
}

/// Row `i`; none of a kind that this report does not know.
fn map(batch: &Predictions, i: usize) -> Result<Option<Map>, ReportError> {
    let kind: &str = &batch.kind[i];
    let truth = kind.starts_with(TRUTH);
    let bytes = match kind.trim_start_matches(TRUTH) {
        "segments" => 1,
        "depth" => 2,
        _ => return Ok(None),
    };
    let size = (batch.height[i] as usize, batch.width[i] as usize);
    let (found, wanted) = (batch.cells[i].len(), size.0.saturating_mul(size.1).saturating_mul(bytes));
    if found != wanted || wanted == 0 {
        return Err(ReportError::MapSize { figure: "dense_strip", image: batch.image[i], found, wanted });
    }
    let cells = if bytes == 1 {
        Cells::Segments(batch.cells[i].clone())
    } else {
        let scale = batch.scale[i].unwrap_or(1.0);
        let value = |pair: &[u8]| match u16::from_le_bytes([pair[0], pair[1]]) {
            0 => f32::NAN,
            cell => (scale * f64::from(cell)) as f32,
        };
        Cells::Depth(batch.cells[i].chunks_exact(2).map(value).collect())
    };
    Ok(Some(Map { image: batch.image[i], head: batch.head[i].to_string(), truth, size, cells }))
}

/// The photographs of the images that have maps, each in the shape of its map.
fn photographs(subject: &Subject, maps: &[Map]) -> Result<Vec<Portrait>, ReportError> {
    let mut portraits: Vec<(f64, Portrait)> = Vec::new();
    for map in maps {
        if portraits.iter().all(|(_, p)| p.image != map.image) {
            let name = format!("image {}", map.image);
            let shape = map.size.1 as f64 / map.size.0.max(1) as f64;
            portraits.push((shape, Portrait { image: map.image, name, photo: None, maps: vec![] }));
        }
    }
    // Those of the pass that made the features; other passes may have cut the images.
    let of_pass = |table: &str| subject.tables.get(table).filter(|folders| !folders.is_empty());
    let folders = of_pass("dense_pictures").or_else(|| of_pass(Pictures::NAME)).cloned().unwrap_or_default();
    let tables = [(Pictures::NAME.to_owned(), folders)].into();
    each_batch::<Pictures>(&Subject { tables, ..subject.clone() }, |batch| {
        for i in 0..batch.image.len() {
            let Some((shape, portrait)) = portraits.iter_mut().find(|(_, p)| p.image == batch.image[i]) else {
                continue;
            };
            let photo = portraits::picture("dense_strip", &batch, i)?;
            let misfit = |p: &RgbImage| (f64::from(p.width()) / f64::from(p.height()) / *shape).ln().abs();
            if portrait.photo.as_ref().is_none_or(|old| misfit(&photo) < misfit(old)) {
                portrait.photo = Some(photo);
            }
            portrait.name = batch.name[i].to_string();
        }
        Ok(Go::On)
    })?;
    Ok(portraits.into_iter().map(|(_, portrait)| portrait).collect())
}

/// Runs of twins on one dataset with maps of one kind: a row for each image, a column for each head of each run.
fn block(runs: &[Run], data: &mut Frame) -> Result<Block, ReportError> {
    let first = runs[0].measured.subject;
    let shade = shade(runs);
    let mut heads = vec![("picture".to_owned(), String::new()), ("annotated".to_owned(), String::new())];
    let mut columns: Vec<(&Run, &str)> = Vec::new();
    for run in runs {
        for map in run.maps.iter().filter(|map| !map.truth) {
            if !columns.iter().any(|(other, head)| std::ptr::eq(*other, run) && *head == map.head) {
                let head = if run.control { format!("control, {}", map.head) } else { map.head.clone() };
                heads.push((panels::registers(run.measured.subject.registers), head));
                columns.push((run, &map.head));
            }
        }
    }
    let mut rows = Vec::new();
    for portrait in photographs(first, &runs[0].maps)? {
        let truth = |run: &Run| run.maps.iter().find(|map| map.truth && map.image == portrait.image).cloned();
        let annotated = truth(&runs[0]).map(|map| tile(&map, shade, String::new()));
        let mut row = vec![portrait.photo(), annotated];
        for (run, head) in &columns {
            let says = run.maps.iter().find(|map| !map.truth && map.head == *head && map.image == portrait.image);
            row.push(says.map(|map| {
                let found = truth(run).and_then(|truth| judged(&truth, map));
                put(data, run, (&portrait, map), found);
                tile(map, shade, found.map_or_else(String::new, Judged::words))
            }));
        }
        rows.push(row);
    }
    let settings = runs.iter().map(|run| run.settings);
    let mut settings: Vec<&str> = settings.filter(|words| !words.is_empty()).collect();
    settings.dedup();
    Ok(Block {
        title: format!("{} on {}", base(&first.model), first.dataset),
        about: sheet::shortened(&settings.join(" · "), 110),
        cell_px: 150.0,
        heads,
        rows,
        together: 1,
        bar: Some(key(runs, shade)),
    })
}

/// The scale that the depths of a block share.
fn shade(runs: &[Run]) -> Shade {
    let depths = runs.iter().flat_map(|run| &run.maps).filter_map(|map| match &map.cells {
        Cells::Depth(values) => Some(values.iter().map(|v| f64::from(*v))),
        Cells::Segments(_) => None,
    });
    let (low, high) = portraits::range(depths.flatten());
    Shade::Linear(low, high)
}

fn key(runs: &[Run], shade: Shade) -> Key {
    let maps = || runs.iter().flat_map(|run| &run.maps);
    if maps().any(|map| matches!(map.cells, Cells::Depth(_))) {
        return Key::Scale(shade, "depth, m (generated scenes: in their unit)".to_owned());
    }
    let mut pixels = [0_u64; 256];
    for map in maps() {
        if let Cells::Segments(cells) = &map.cells {
            for cell in cells {
                pixels[usize::from(*cell)] += 1;
            }
        }
    }
    let mut shown: Vec<u8> = (0..=IGNORED).filter(|class| pixels[usize::from(*class)] > 0).collect();
    shown.sort_by_key(|class| (std::cmp::Reverse(pixels[usize::from(*class)]), *class));
    shown.truncate(MOST_NAMES);
    shown.sort_unstable();
    let names = names(runs[0].measured);
    let name = |class: u8| match (class, names.get(usize::from(class))) {
        (IGNORED, _) => "not scored".to_owned(),
        (_, Some(name)) if name.bytes().all(|b| b.is_ascii_digit()) => format!("class {name}"),
        (_, Some(name)) => name.clone(),
        (_, None) => format!("class {class}"),
    };
    Key::Names(shown.into_iter().map(|class| (colormap::of_class(class), name(class))).collect())
}

/// Names of the classes by number: the classes of the first training that has scores of them, which are in that order.
fn names(measured: &Measured) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for score in measured.scores.iter().filter(|s| &*s.experiment == "segmentation" && &*s.metric == "iou_frac") {
        let Some(name) = class_name(&score.subject) else { continue };
        if names.iter().any(|known| known == name) {
            break;
        }
        names.push(name.to_owned());
    }
    names
}

fn tile(map: &Map, shade: Shade, below: String) -> Tile {
    let image = match &map.cells {
        Cells::Segments(cells) => rasters::pixels(map.size, |i| colormap::of_class(cells[i])),
        Cells::Depth(values) => rasters::pixels(map.size, |i| shade.color(values[i])),
    };
    Tile { image, patches: true, below }
}

/// What of one image a prediction has right.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Judged {
    /// Share of so many scored pixels.
    Right(f64, u64),
    /// Root mean square error over so many pixels of known depth.
    Rmse(f64, u64),
}

impl Judged {
    fn words(self) -> String {
        match self {
            Self::Right(frac, _) => format!("{:.1} % right", 100.0 * frac),
            Self::Rmse(error, _) => format!("RMSE {} m", number(error, Unit::Share)),
        }
    }
}

/// None where nothing is scored, or the two are of different sizes or kinds.
fn judged(truth: &Map, map: &Map) -> Option<Judged> {
    if truth.size != map.size {
        return None;
    }
    match (&truth.cells, &map.cells) {
        (Cells::Segments(truth), Cells::Segments(cells)) => {
            let scored = || truth.iter().zip(cells).filter(|(t, _)| **t != IGNORED);
            let (right, all) = (scored().filter(|(t, c)| t == c).count(), scored().count());
            (all > 0).then(|| Judged::Right(right as f64 / all as f64, all as u64))
        }
        (Cells::Depth(truth), Cells::Depth(cells)) => {
            let squares = truth.iter().zip(cells).map(|(t, c)| (f64::from(*t) - f64::from(*c)).powi(2));
            let known: Vec<f64> = squares.filter(|square| !square.is_nan()).collect();
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            (!known.is_empty()).then(|| Judged::Rmse(mean.sqrt(), known.len() as u64))
        }
        _ => None,
    }
}

fn put(data: &mut Frame, run: &Run, (portrait, map): (&Portrait, &Map), found: Option<Judged>) {
    let subject = run.measured.subject;
    let (kind, metric) = match map.cells {
        Cells::Segments(_) => ("segments", "accuracy_frac"),
        Cells::Depth(_) => ("depth", "rmse_m"),
    };
    let (value, pixels) = match found {
        Some(Judged::Right(value, pixels) | Judged::Rmse(value, pixels)) => (Some(value), Some(pixels)),
        None => (None, None),
    };
    data.push([
        (&subject.model).into(),
        (&subject.dataset).into(),
        u64::from(portrait.image).into(),
        (&portrait.name).into(),
        run.settings.into(),
        (&map.head).into(),
        if run.control { "control" } else { "" }.into(),
        kind.into(),
        pixels.into(),
        metric.into(),
        value.into(),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(truth: bool, cells: Cells) -> Map {
        Map { image: 0, head: "linear".to_owned(), truth, size: (1, 4), cells }
    }

    /// Breaks when what is not scored counts, or an unknown depth is taken for 0 m.
    #[test]
    fn only_what_is_known_is_judged() {
        let segments = |cells: [u8; 4]| of(false, Cells::Segments(cells.into()));
        assert_eq!(judged(&segments([1, 2, 255, 255]), &segments([1, 1, 7, 255])), Some(Judged::Right(0.5, 2)));
        assert_eq!(judged(&segments([255; 4]), &segments([0; 4])), None);
        let depth = |cells: [f32; 4]| of(false, Cells::Depth(cells.into()));
        let found = judged(&depth([1.0, 2.0, f32::NAN, 4.0]), &depth([1.0, 5.0, 9.0, 8.0]));
        assert_eq!(found, Some(Judged::Rmse((25.0_f64 / 3.0).sqrt(), 3)));
        assert_eq!(found.map(Judged::words), Some("RMSE 2.89 m".to_owned()));
        let other = Map { size: (2, 2), ..segments([0; 4]) };
        assert_eq!(judged(&other, &segments([0; 4])), None);
        assert_eq!(judged(&depth([1.0; 4]), &segments([0; 4])), None);
    }

    /// Breaks when a map that was cut short is drawn, or a cell's unit is forgotten.
    #[test]
    fn rows_are_read_in_their_unit() {
        let mut t = Predictions::default();
        for (kind, cells) in [("truth_depth", vec![0, 0, 4, 1]), ("segments", vec![3]), ("new", vec![])] {
            t.image.push(7);
            t.head.push("linear".into());
            t.kind.push(kind.into());
            t.height.push(1);
            t.width.push(2);
            t.scale.push(Some(0.5));
            t.cells.push(cells);
        }
        let found = map(&t, 0).ok().flatten();
        let Some(Map { truth: true, cells: Cells::Depth(values), .. }) = found else { panic!("{found:?}") };
        assert!(values[0].is_nan() && values[1] == 130.0, "{values:?}");
        assert!(matches!(map(&t, 1), Err(ReportError::MapSize { found: 1, wanted: 2, .. })));
        assert!(matches!(map(&t, 2), Ok(None)));
    }
}
