//! What one pass over `token_stats` collects.
//!
//! Rows come clustered by image and, within an image, by site. Norms are collected per site and kind; cosine,
//! attention and detection belong to the token, so they are taken at one site, the one that tells outliers.

use std::collections::BTreeMap;

use schemas::Name;
use schemas::tables::TokenStats;

use crate::distribution::Distribution;

/// Everything collected.
#[derive(Default)]
pub struct Tally {
    /// (site, kind) → norms; kinds `cls`, `register_0` …, `patch`, `normal`, `outlier`.
    pub norms: BTreeMap<(Name, Name), Distribution>,
    /// (`patch_embed` or `with_position`, kind) → mean cosine to the neighbours.
    pub cosine: BTreeMap<(&'static str, &'static str), Distribution>,
    /// Kind → attention that CLS pays to all tokens of the kind, one value per image.
    pub attention: BTreeMap<&'static str, Distribution>,
    /// Images, images without outliers, images whose most attended patch is an outlier.
    pub images: u64,
    /// Images in which no patch is an outlier.
    pub images_without: u64,
    /// Among images with outliers: those whose most attended patch is one.
    pub argmax_outlier: u64,
    /// Patches: outlier and flat, outlier and not flat, not outlier and flat.
    pub detection: [u64; 3],
    current: Option<Image>,
}

/// The image whose rows are coming in.
struct Image {
    index: u32,
    attention: BTreeMap<&'static str, f32>,
    outliers: u64,
    most_attended: Option<(f32, bool)>,
}

impl Tally {
    /// Adds rows. `site` is the one that tells outliers; `flat_below` is the pixel variance under which a patch is
    /// known to hold nothing.
    pub fn add(&mut self, rows: &TokenStats, site: &str, flat_below: Option<f64>) {
        for i in 0..rows.image.len() {
            let patch = &*rows.kind[i] == "patch";
            let outlier = rows.outlier[i];
            let kind: Name = match &*rows.kind[i] {
                "register" => format!("register_{}", rows.index[i]).into(),
                _ => rows.kind[i].clone(),
            };
            self.norm(&rows.site[i], kind, rows.norm[i]);
            if patch {
                self.norm(&rows.site[i], if outlier { "outlier" } else { "normal" }.into(), rows.norm[i]);
            }
            if *rows.site[i] == *site {
                self.token(rows, i, patch, outlier, flat_below);
            }
        }
    }

    /// Ends the last image.
    pub fn finish(&mut self) {
        let Some(image) = self.current.take() else { return };
        self.images += 1;
        if image.outliers == 0 {
            self.images_without += 1;
        } else if image.most_attended.is_some_and(|(_, outlier)| outlier) {
            self.argmax_outlier += 1;
        }
        for (kind, mass) in image.attention {
            if kind != "outlier" || image.outliers > 0 {
                self.attention.entry(kind).or_default().add(mass);
            }
        }
    }

    fn norm(&mut self, site: &Name, kind: Name, norm: f32) {
        self.norms.entry((site.clone(), kind)).or_default().add(norm);
    }

    fn token(&mut self, rows: &TokenStats, i: usize, patch: bool, outlier: bool, flat_below: Option<f64>) {
        if self.current.as_ref().is_none_or(|c| c.index != rows.image[i]) {
            self.finish();
            let index = rows.image[i];
            self.current = Some(Image { index, attention: BTreeMap::new(), outliers: 0, most_attended: None });
        }
        let kind = match (&*rows.kind[i], outlier) {
            ("cls", _) => "cls",
            ("register", _) => "register",
            (_, true) => "outlier",
            (_, false) => "normal",
        };
        if let (Some(image), Some(weight)) = (&mut self.current, rows.cls_attention[i]) {
            *image.attention.entry(kind).or_default() += weight;
            if patch && image.most_attended.is_none_or(|(most, _)| weight > most) {
                image.most_attended = Some((weight, outlier));
            }
        }
        if !patch {
            return;
        }
        if let (true, Some(image)) = (outlier, &mut self.current) {
            image.outliers += 1;
        }
        for (at, cosine) in
            [("patch_embed", rows.neighbour_cosine[i]), ("with_position", rows.neighbour_cosine_position[i])]
        {
            if let Some(cosine) = cosine {
                self.cosine.entry((at, "patch")).or_default().add(cosine);
                self.cosine.entry((at, kind)).or_default().add(cosine);
            }
        }
        if let (Some(limit), Some(variance)) = (flat_below, rows.pixel_variance[i]) {
            let flat = f64::from(variance) < limit;
            match (outlier, flat) {
                (true, true) => self.detection[0] += 1,
                (true, false) => self.detection[1] += 1,
                (false, true) => self.detection[2] += 1,
                (false, false) => {}
            }
        }
    }
}
