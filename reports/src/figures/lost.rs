//! The steps of LOST on the pictured images: degrees, seed, expansion and box, as the figures of object discovery show
//! them.

use image::{Rgb, RgbImage};
use schemas::tables::{Boxes, Objects};

use super::portraits::{self, Map, Portrait};
use super::rasters;
use super::shade::Shade;
use super::sheet::Tile;
use crate::error::ReportError;
use crate::parts::{Go, each_batch};
use crate::study::Subject;
use crate::tables::Measured;

/// Colour of the seed and of the discovered box.
const OURS: [u8; 3] = [0xff, 0x3b, 0x30];
/// Colour of annotated objects.
const DRAWN: [u8; 3] = [0xff, 0xff, 0xff];

/// Which features, under which bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Site, such as `key_11`.
    pub site: String,
    /// `raw` or `l2`.
    pub features: String,
    /// Bias.
    pub bias: f64,
}

/// One pictured image with the steps under one choice.
#[derive(Debug, Clone)]
pub struct Steps {
    /// Degree of each patch.
    pub degree: Map,
    /// Resemblance of each patch to those that the box grows from.
    pub expansion: Map,
    /// The box, px; none where the seed is not part of its mask.
    pub found: Option<[f64; 4]>,
    /// The seed, where there is a box.
    pub seed: Option<usize>,
}

/// The pictured images of a discovery with all their maps: the folders of its own maps and photographs.
pub fn portraits(figure: &'static str, subject: &Subject) -> Result<Vec<Portrait>, ReportError> {
    let mut own = subject.clone();
    for (table, of_lost) in [("maps", "lost_maps"), ("pictures", "lost_pictures")] {
        own.tables.insert(table.to_owned(), subject.tables.get(of_lost).cloned().unwrap_or_default());
    }
    portraits::read(figure, &own, |map| map.quantity.starts_with("lost_"))
}

/// What the figures show of a subject: the features that found most objects, under the bias that did; without annotated
/// objects the first there are, with a bias of 0.
pub fn choice(m: &Measured, portraits: &[Portrait], wanted: impl Fn(&str) -> bool) -> Option<Choice> {
    let shares = m.scores.iter().filter(|s| &*s.experiment == "corloc" && wanted(&s.site));
    let shares = shares.filter(|s| matches!(&*s.metric, "corloc_frac" | "best_corloc_frac") && s.value.is_some());
    // The first of equals.
    let best = shares.reduce(|best, s| if s.value > best.value { s } else { best });
    if let Some(best) = best {
        let bias = match &*best.metric {
            "best_corloc_frac" => m.scores.at("corloc", &best.subject, "best_bias", &best.site)?.value?,
            _ => 0.0,
        };
        return Some(Choice { site: best.site.to_string(), features: best.subject.to_string(), bias });
    }
    let all = || portraits.iter().flat_map(|p| &p.maps).filter(|map| wanted(&map.site));
    let first = all().find(|map| bias_of(map) == Some(0.0)).or_else(|| all().next())?;
    Some(Choice { site: first.site.clone(), features: first.of.clone(), bias: bias_of(first)? })
}

fn bias_of(map: &Map) -> Option<f64> {
    map.part.parse().ok()
}

/// The steps of each portrait under a choice, where it has them.
pub fn steps(subject: &Subject, portraits: &[Portrait], choice: &Choice) -> Result<Vec<Option<Steps>>, ReportError> {
    let map = |portrait: &Portrait, quantity: &str| {
        let is = |map: &&Map| {
            map.quantity == quantity
                && map.site == choice.site
                && map.of == choice.features
                && bias_of(map) == Some(choice.bias)
        };
        portrait.maps.iter().find(is).cloned()
    };
    let mut all: Vec<Option<Steps>> = portraits
        .iter()
        .map(|p| {
            let (degree, expansion) = (map(p, "lost_degree")?, map(p, "lost_expansion")?);
            Some(Steps { degree, expansion, found: None, seed: None })
        })
        .collect();
    let last = portraits.iter().map(|p| p.image).max().unwrap_or(0);
    each_batch::<Boxes>(subject, |batch| {
        for i in 0..batch.image.len() {
            let same = *batch.site[i] == *choice.site
                && batch.l2[i] == (choice.features == "l2")
                && batch.bias[i] == choice.bias;
            let at = portraits.iter().position(|p| p.image == batch.image[i]);
            if let Some(Some(steps)) = at.filter(|_| same).and_then(|at| all.get_mut(at)) {
                steps.found = Some([batch.x0[i], batch.y0[i], batch.x1[i], batch.y1[i]].map(f64::from));
                steps.seed = Some(batch.seed[i] as usize);
            }
        }
        // Images come in order.
        Ok(if batch.image.last().is_some_and(|&image| image > last) { Go::Stop } else { Go::On })
    })?;
    Ok(all)
}

/// Annotated objects of each portrait, px.
pub fn objects(subject: &Subject, portraits: &[Portrait]) -> Result<Vec<Vec<[f64; 4]>>, ReportError> {
    let mut all = vec![Vec::new(); portraits.len()];
    let last = portraits.iter().map(|p| p.image).max().unwrap_or(0);
    each_batch::<Objects>(subject, |batch| {
        for i in (0..batch.image.len()).filter(|&i| !batch.crowd[i]) {
            if let Some(at) = portraits.iter().position(|p| p.image == batch.image[i]) {
                all[at].push([batch.x0[i], batch.y0[i], batch.x1[i], batch.y1[i]].map(f64::from));
            }
        }
        Ok(if batch.image.last().is_some_and(|&image| image > last) { Go::Stop } else { Go::On })
    })?;
    Ok(all)
}

impl Steps {
    /// Degrees, low ones bright, with the seed framed.
    pub fn degree_tile(&self) -> Tile {
        let (low, high) = self.degree.range();
        let bright = |i: usize| Shade::Linear(0.0, high - low).color((high - f64::from(self.degree.values[i])) as f32);
        let (rows, cols) = self.degree.grid;
        let mut image = rasters::heat(rows, cols, bright);
        if let Some(seed) = self.seed {
            rasters::frame(&mut image, self.degree.grid, seed, 0, OURS);
        }
        Tile { image, patches: true, below: format!("degree {low:.0} to {high:.0}") }
    }

    /// The expansion: white at the threshold, red above.
    pub fn expansion_tile(&self) -> Tile {
        let (low, high) = self.expansion.range();
        let mut tile = self.expansion.tile(Shade::Signed(low.abs().max(high.abs())), String::new());
        if let Some(seed) = self.seed {
            rasters::frame(&mut tile.image, self.expansion.grid, seed, 0, OURS);
        }
        let above = self.expansion.values.iter().filter(|v| **v > 0.0).count();
        tile.below = format!("{above} of {} above 0", self.expansion.values.len());
        tile
    }

    /// The photograph with the box, and with those that people drew.
    pub fn box_tile(&self, portrait: &Portrait, objects: &[[f64; 4]]) -> Option<Tile> {
        let photo = portrait.photo.as_ref()?;
        let mut image = rasters::thumbnail(photo);
        let scale = f64::from(image.width()) / f64::from(photo.width().max(1));
        for object in objects {
            outline(&mut image, *object, scale, DRAWN);
        }
        if let Some(found) = self.found {
            outline(&mut image, found, scale, OURS);
        }
        let below = if self.found.is_some() { String::new() } else { "no box".to_owned() };
        Some(Tile { image, patches: false, below })
    }
}

/// Two px of a frame just within a box.
fn outline(image: &mut RgbImage, [x0, y0, x1, y1]: [f64; 4], scale: f64, color: [u8; 3]) {
    let px = |v: f64, most: u32| (v * scale).round().clamp(0.0, f64::from(most)) as u32;
    let (width, height) = image.dimensions();
    let (left, right, top, bottom) = (px(x0, width), px(x1, width), px(y0, height), px(y1, height));
    for y in top..bottom {
        for x in left..right {
            if x < left + 2 || y < top + 2 || x + 2 >= right || y + 2 >= bottom {
                image.put_pixel(x, y, Rgb(color));
            }
        }
    }
}

/// `keys of block 11, divided by their length, bias −0.8`.
pub fn words(choice: &Choice) -> String {
    let (kind, block) = choice.site.rsplit_once('_').unwrap_or((&choice.site, ""));
    let kind = match kind {
        "query" => "queries",
        "key" => "keys",
        "value" => "values",
        other => other,
    };
    let lengths = if choice.features == "l2" { "divided by their length" } else { "as they are" };
    format!("{kind} of block {block}, {lengths}, bias {}", choice.bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a box is drawn outside the picture, at another scale, or filled.
    #[test]
    fn outlines_stay_within_their_box() {
        let mut image = RgbImage::new(20, 10);
        outline(&mut image, [8.0, 0.0, 400.0, 12.0], 0.5, [1, 2, 3]);
        let drawn = |x, y| image.get_pixel(x, y).0 == [1, 2, 3];
        assert!(drawn(4, 0) && drawn(19, 5) && drawn(4, 5) && drawn(10, 1) && drawn(10, 4));
        assert!(!drawn(3, 0) && !drawn(4, 6) && !drawn(10, 2) && !drawn(10, 3));
    }

    #[test]
    fn choices_are_told_in_words() {
        let choice = Choice { site: "query_7".into(), features: "l2".into(), bias: -0.4 };
        assert_eq!(words(&choice), "queries of block 7, divided by their length, bias -0.4");
    }
}
