//! What the first pass over `token_stats` collects.
//!
//! Rows come clustered by image and, within an image, by site. Norms are collected per site and kind; cosine,
//! attention and detection belong to the token, so they are taken at one site, the one that tells outliers.

use std::collections::BTreeMap;

use schemas::Name;
use schemas::tables::TokenStats;

use crate::clusters::{Clusters, Contrast, Estimate};
use crate::distribution::Distribution;
use crate::ranks::{descending, overlap, spearman};
use crate::resample::Resamples;

/// Values of one kind, and how they lie in images.
#[derive(Default)]
pub struct Sample {
    /// The values.
    pub values: Distribution,
    clusters: Clusters<2>,
}

impl Sample {
    fn add(&mut self, image: u32, value: f32) {
        self.values.add(value);
        self.clusters.add(image, [f64::from(value), 1.0]);
    }

    /// Standard error of the mean, images taken as independent.
    pub fn stderr(&self) -> Option<f64> {
        self.clusters.ratio()?.stderr
    }
}

/// Where the neighbours are compared, and what may be said of the two kinds there.
pub const PLACES: [&str; 2] = ["patch_embed", "with_position"];

/// How many of the largest norms are compared with as many of the most attended patches.
pub const TOPS: [&str; 3] = ["outlier", "top_10", "top_5_percent"];

/// Everything collected.
#[derive(Default)]
pub struct Tally {
    /// (site, kind) → norms; kinds `cls`, `register_0` …, `patch`, `normal`, `outlier`.
    pub norms: BTreeMap<(Name, Name), Sample>,
    /// (`patch_embed` or `with_position`, kind) → mean cosine to the neighbours.
    pub cosine: BTreeMap<(&'static str, &'static str), Sample>,
    /// The same of outliers against normal patches, in the order of [`PLACES`].
    pub contrast: [Contrast; 2],
    /// Kind → attention that CLS pays to all tokens of the kind, one value per image.
    pub attention: BTreeMap<&'static str, Clusters<2>>,
    /// Images, images without outliers, images whose most attended patch is an outlier.
    pub images: u64,
    /// Images in which no patch is an outlier.
    pub images_without: u64,
    /// Among images with outliers: those whose most attended patch is one.
    pub argmax_outlier: u64,
    /// Outliers among the patches of an image.
    pub share: Clusters<2>,
    /// Flat patches among the outliers whose pixels are known.
    pub precision: Clusters<2>,
    /// Outliers among the flat patches.
    pub recall: Clusters<2>,
    /// Overlap of largest norms and most attended patches, and what chance would give, in the order of [`TOPS`].
    pub overlap: [(Clusters<2>, Clusters<2>); 3],
    /// Rank correlation of norm and attention.
    pub rank_correlation: Clusters<2>,
    /// Norms of every block in resamples of the images.
    pub resamples: Resamples,
    /// Largest norm of a normal patch and smallest of an outlier: a single cut-off lies between them.
    pub between: (Option<f32>, Option<f32>),
    current: Option<Image>,
}

/// What a pass must know of the run.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Site that tells outliers.
    pub site: &'a str,
    /// Pixel variance under which a patch is known to hold nothing.
    pub flat_below: Option<f64>,
    /// Blocks of the model.
    pub depth: usize,
}

/// The image whose rows are coming in.
struct Image {
    index: u32,
    attention: BTreeMap<&'static str, f64>,
    outliers: usize,
    most_attended: Option<(f32, bool)>,
    norms: Vec<f32>,
    attended: Vec<f32>,
}

impl Tally {
    /// Adds rows.
    pub fn add(&mut self, rows: &TokenStats, look: Look<'_>) {
        for i in 0..rows.image.len() {
            let (image, norm, outlier) = (rows.image[i], rows.norm[i], rows.outlier[i]);
            let patch = &*rows.kind[i] == "patch";
            let kind: Name = match &*rows.kind[i] {
                "register" => format!("register_{}", rows.index[i]).into(),
                _ => rows.kind[i].clone(),
            };
            self.norm(image, &rows.site[i], kind, norm);
            if patch {
                self.norm(image, &rows.site[i], if outlier { "outlier" } else { "normal" }.into(), norm);
                if let Some(block) = rows.site[i].strip_prefix("block_").and_then(|b| b.parse().ok()) {
                    self.resamples.add(image, block, norm, look.depth);
                }
            }
            if *rows.site[i] == *look.site {
                self.token(rows, i, patch, outlier, look.flat_below);
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
        self.ranks(&image);
        for (kind, mass) in image.attention {
            if kind != "outlier" || image.outliers > 0 {
                self.attention.entry(kind).or_default().add(image.index, [mass, 1.0]);
            }
        }
    }

    fn ranks(&mut self, image: &Image) {
        let n = image.norms.len();
        if n == 0 || image.attended.len() != n {
            return;
        }
        let (by_norm, by_attention) = (descending(&image.norms), descending(&image.attended));
        let five_percent = ((n as f64 * 0.05).round() as usize).max(1);
        for ((found, chance), top) in self.overlap.iter_mut().zip([image.outliers, 10, five_percent]) {
            if let Some(both) = overlap(&by_norm, &by_attention, top) {
                found.add(image.index, [both, 1.0]);
                chance.add(image.index, [top as f64 / n as f64, 1.0]);
            }
        }
        if let Some(r) = spearman(&image.norms, &by_norm, &image.attended, &by_attention) {
            self.rank_correlation.add(image.index, [r, 1.0]);
        }
    }

    fn norm(&mut self, image: u32, site: &Name, kind: Name, norm: f32) {
        self.norms.entry((site.clone(), kind)).or_default().add(image, norm);
    }

    fn token(&mut self, rows: &TokenStats, i: usize, patch: bool, outlier: bool, flat_below: Option<f64>) {
        let index = rows.image[i];
        if self.current.as_ref().is_none_or(|c| c.index != index) {
            self.finish();
            let (attention, norms, attended) = (BTreeMap::new(), Vec::new(), Vec::new());
            self.current = Some(Image { index, attention, outliers: 0, most_attended: None, norms, attended });
        }
        let Some(image) = &mut self.current else { return };
        let kind = match (&*rows.kind[i], outlier) {
            ("cls", _) => "cls",
            ("register", _) => "register",
            (_, true) => "outlier",
            (_, false) => "normal",
        };
        if let Some(weight) = rows.cls_attention[i] {
            *image.attention.entry(kind).or_default() += f64::from(weight);
            if patch {
                image.attended.push(weight);
                if image.most_attended.is_none_or(|(most, _)| weight > most) {
                    image.most_attended = Some((weight, outlier));
                }
            }
        }
        if !patch {
            return;
        }
        let norm = rows.norm[i];
        image.norms.push(norm);
        image.outliers += usize::from(outlier);
        let hit = |yes: bool| f64::from(u8::from(yes));
        self.share.add(index, [hit(outlier), 1.0]);
        let (largest_normal, smallest_outlier) = &mut self.between;
        if outlier {
            *smallest_outlier = Some(smallest_outlier.map_or(norm, |x| x.min(norm)));
        } else {
            *largest_normal = Some(largest_normal.map_or(norm, |x| x.max(norm)));
        }
        let cosines = [rows.neighbour_cosine[i], rows.neighbour_cosine_position[i]];
        for ((at, contrast), cosine) in PLACES.into_iter().zip(&mut self.contrast).zip(cosines) {
            if let Some(cosine) = cosine {
                self.cosine.entry((at, "patch")).or_default().add(index, cosine);
                self.cosine.entry((at, kind)).or_default().add(index, cosine);
                contrast.add(index, outlier, f64::from(cosine));
            }
        }
        if let (Some(limit), Some(variance)) = (flat_below, rows.pixel_variance[i]) {
            let flat = f64::from(variance) < limit;
            self.precision.add(index, [hit(outlier && flat), hit(outlier)]);
            self.recall.add(index, [hit(outlier && flat), hit(flat)]);
        }
    }

    /// The cut-off of the run as far as its outliers tell: the middle, in logarithms, of the gap between the largest
    /// normal and the smallest outlying norm. None where norms overlap (a rule per image) or nothing is an outlier.
    pub fn run_cutoff(&self) -> Option<f64> {
        let (low, high) = (f64::from(self.between.0?), f64::from(self.between.1?));
        (0.0 < low && low < high).then(|| (low * high).sqrt())
    }

    /// Overlap with the attention and its chance, where it was measured.
    pub fn overlaps(&self) -> impl Iterator<Item = (&'static str, Estimate, Estimate, u64)> {
        TOPS.into_iter()
            .zip(&self.overlap)
            .filter_map(|(top, (found, chance))| Some((top, found.ratio()?, chance.ratio()?, found.images())))
    }
}
