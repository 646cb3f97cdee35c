//! Where outliers sit and who looks at them: one pass over `token_stats`, image by image.
//!
//! - **Share with its interval.** Images, not tokens, are independent: with `x_i` outliers among `n_i` patches of image i,
//!   p = Σx/Σn, and by the ratio estimator's variance over m images
//!
//!   ```text
//!   σ² = m/(m − 1) · Σ(x_i − p·n_i)² / (Σn)²,      p ± 1.96 σ, not below 0
//!   ```
//!
//! - **Where there are none**, the share of images that could still have one: 1 − 0.05^(1/m), the exact 95 % bound.
//! - **Overlap.** In an image with k outliers, the share of outliers among the k patches that [CLS] attends to most;
//!   k/n by chance. Means over the images with outliers. Equal weights are taken in order of the patches.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::store::finished_parts;
use schemas::TableError;
use schemas::tables::TokenStats;
use serde::Serialize;

/// 97.5 % quantile of the normal distribution.
const Z95: f64 = 1.959_963_985;

/// Sums over images.
#[derive(Debug, Default)]
pub struct Places {
    /// Images with patches.
    pub images: u64,
    /// Images with an outlier.
    pub images_with: u64,
    /// Patches.
    pub patches: u64,
    /// Outliers.
    pub outliers: u64,
    squares: f64,
    products: f64,
    patch_squares: f64,
    border_patches: u64,
    border_outliers: u64,
    cells: BTreeMap<[u16; 4], u64>,
    overlaps: u64,
    overlap: f64,
    chance: f64,
    /// Attention to each register, summed over images.
    registers: BTreeMap<u16, (f64, u64)>,
    image: Option<Image>,
}

/// The image whose rows are coming in.
#[derive(Debug)]
struct Image {
    index: u32,
    patches: Vec<Patch>,
}

#[derive(Debug)]
struct Patch {
    row: u16,
    col: u16,
    outlier: bool,
    attention: Option<f32>,
}

/// The place that most outliers have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Place {
    /// Patch row, from 0.
    pub row: u16,
    /// Patch column, from 0.
    pub col: u16,
    /// Rows of the grid.
    pub grid_h: u16,
    /// Columns of the grid.
    pub grid_w: u16,
    /// Share of all outliers.
    pub frac: f64,
}

impl Places {
    /// Of the finished parts in some folders, at the site that tells outliers.
    pub fn read(folders: &[PathBuf], site: &str) -> Result<Self, TableError> {
        let mut places = Self::default();
        for folder in folders {
            let parts = finished_parts(folder).map_err(|source| TableError::Io { path: folder.clone(), source })?;
            for part in parts {
                for batch in schemas::read_part_batches::<TokenStats>(&part)? {
                    places.add(&batch?, site);
                }
            }
        }
        places.finish();
        Ok(places)
    }

    /// Adds rows, which come clustered by image.
    pub fn add(&mut self, rows: &TokenStats, site: &str) {
        for i in (0..rows.image.len()).filter(|&i| *rows.site[i] == *site) {
            if self.image.as_ref().is_none_or(|image| image.index != rows.image[i]) {
                self.finish();
                self.image = Some(Image { index: rows.image[i], patches: Vec::new() });
            }
            if let ("register", Some(weight)) = (&*rows.kind[i], rows.cls_attention[i]) {
                let sum = self.registers.entry(rows.index[i]).or_default();
                *sum = (sum.0 + f64::from(weight), sum.1 + 1);
            }
            if let (Some(image), Some(row), Some(col)) = (&mut self.image, rows.row[i], rows.col[i]) {
                image.patches.push(Patch { row, col, outlier: rows.outlier[i], attention: rows.cls_attention[i] });
            }
        }
    }

    /// Ends the last image.
    pub fn finish(&mut self) {
        let Some(Image { patches, .. }) = self.image.take() else { return };
        let Some((height, width)) = patches.iter().map(|p| (p.row, p.col)).reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
        else {
            return;
        };
        let n = patches.len() as f64;
        let outliers: Vec<&Patch> = patches.iter().filter(|p| p.outlier).collect();
        let k = outliers.len();
        self.images += 1;
        self.patches += patches.len() as u64;
        self.outliers += k as u64;
        self.squares += (k * k) as f64;
        self.products += k as f64 * n;
        self.patch_squares += n * n;
        let border = |p: &Patch| p.row == 0 || p.col == 0 || p.row == height || p.col == width;
        self.border_patches += patches.iter().filter(|p| border(p)).count() as u64;
        self.border_outliers += outliers.iter().filter(|p| border(p)).count() as u64;
        for p in &outliers {
            *self.cells.entry([height + 1, width + 1, p.row, p.col]).or_default() += 1;
        }
        if k == 0 {
            return;
        }
        self.images_with += 1;
        let weights: Option<Vec<(f32, bool)>> = patches.iter().map(|p| Some((p.attention?, p.outlier))).collect();
        if let Some(mut weights) = weights {
            weights.sort_by(|a, b| b.0.total_cmp(&a.0));
            let hits = weights.iter().take(k).filter(|(_, outlier)| *outlier).count();
            self.overlaps += 1;
            self.overlap += hits as f64 / k as f64;
            self.chance += k as f64 / n;
        }
    }

    /// Share of outliers with its 95 % interval; of a single image there is none.
    pub fn share(&self) -> Option<(f64, Option<[f64; 2]>)> {
        if self.patches == 0 {
            return None;
        }
        let (m, total) = (self.images as f64, self.patches as f64);
        let p = self.outliers as f64 / total;
        let squares = (self.squares - 2.0 * p * self.products + p * p * self.patch_squares).max(0.0);
        let interval = (self.images > 1 && self.outliers > 0).then(|| {
            let half = Z95 * (m / (m - 1.0) * squares).sqrt() / total;
            [(p - half).max(0.0), (p + half).min(1.0)]
        });
        Some((p, interval))
    }

    /// Where no image has an outlier: the largest share of such images that this leaves likely.
    pub fn images_with_at_most(&self) -> Option<f64> {
        (self.images > 0 && self.images_with == 0).then(|| 1.0 - 0.05f64.powf(1.0 / self.images as f64))
    }

    /// Share of the outliers on the border of the grid, and of all patches.
    pub fn border(&self) -> Option<[f64; 2]> {
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        (self.outliers > 0)
            .then(|| [share(self.border_outliers, self.outliers), share(self.border_patches, self.patches)])
    }

    /// The place that most outliers have; the first of several.
    pub fn commonest(&self) -> Option<Place> {
        let (cell, n) = self.cells.iter().max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.cmp(a.0)))?;
        let [grid_h, grid_w, row, col] = *cell;
        Some(Place { row, col, grid_h, grid_w, frac: *n as f64 / self.outliers as f64 })
    }

    /// Share of outliers among the patches that [CLS] attends to most, and by chance.
    pub fn overlap(&self) -> Option<[f64; 2]> {
        let mean = |sum: f64| sum / self.overlaps as f64;
        (self.overlaps > 0).then(|| [mean(self.overlap), mean(self.chance)])
    }

    /// Mean attention of [CLS] to each register, in order.
    pub fn register_attention(&self) -> Vec<f64> {
        self.registers.values().map(|(sum, n)| sum / *n as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// Images of 3×3 patches: which are outliers, and their attention.
    fn rows(images: &[(&[usize], [f32; 9])]) -> TokenStats {
        let mut t = TokenStats::default();
        let mut push = |image: u32, kind: &str, index: u16, outlier: bool, attention: f32| {
            t.image.push(image);
            t.site.push("block_7".into());
            t.kind.push(kind.into());
            t.index.push(index);
            let cell = (kind == "patch").then_some((index / 3, index % 3));
            t.row.push(cell.map(|c| c.0));
            t.col.push(cell.map(|c| c.1));
            t.norm.push(1.0);
            t.outlier.push(outlier);
            t.neighbour_cosine.push(None);
            t.neighbour_cosine_position.push(None);
            t.cls_attention.push(Some(attention));
            t.pixel_variance.push(None);
        };
        for (image, (outliers, attention)) in images.iter().enumerate() {
            push(image as u32, "cls", 0, false, 0.3);
            push(image as u32, "register", 0, false, 0.1);
            push(image as u32, "register", 1, false, 0.2 * image as f32);
            for (p, weight) in attention.iter().enumerate() {
                push(image as u32, "patch", p as u16, outliers.contains(&p), *weight);
            }
        }
        t
    }

    fn of(images: &[(&[usize], [f32; 9])]) -> Places {
        let mut places = Places::default();
        places.add(&rows(images), "block_7");
        // Another site's rows are another norm of the same tokens.
        places.add(&rows(images), "block_6");
        places.finish();
        places
    }

    const FIRST: [f32; 9] = [0.9, 0.8, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0, 0.0];

    #[test]
    fn shares_places_and_overlap_in_closed_form() {
        // Outliers: the centre and a corner; then the corner; then none.
        let places = of(&[(&[4, 0], FIRST), (&[0], FIRST), (&[], FIRST)]);
        assert_eq!((places.images, places.images_with, places.patches, places.outliers), (3, 2, 27, 3));
        let (p, interval) = places.share().unwrap();
        assert!((p - 1.0 / 9.0).abs() < 1e-12);
        // x − p·n = 1, 0, −1: σ² = 3/2 · 2 / 27².
        let half = Z95 * 3f64.sqrt() / 27.0;
        let [low, high] = interval.unwrap();
        assert!(low == 0.0 && (high - (1.0 / 9.0 + half)).abs() < 1e-12, "{low} {high}");
        // Two of three outliers on the border, where eight of nine patches lie.
        let [border, chance] = places.border().unwrap();
        assert!((border - 2.0 / 3.0).abs() < 1e-12 && (chance - 8.0 / 9.0).abs() < 1e-12);
        let place = places.commonest().unwrap();
        assert_eq!((place.row, place.col, place.grid_h, place.grid_w), (0, 0, 3, 3));
        assert!((place.frac - 2.0 / 3.0).abs() < 1e-12);
        // The two most attended are patches 0 and 1: one of two; then the one most attended: one of one. By chance,
        // the mean of 2/9 and 1/9.
        let [overlap, chance] = places.overlap().unwrap();
        assert!((overlap - 0.75).abs() < 1e-12 && (chance - 1.0 / 6.0).abs() < 1e-12);
        let registers = places.register_attention();
        assert!((registers[0] - 0.1).abs() < 1e-6 && (registers[1] - 0.2).abs() < 1e-6, "{registers:?}");
        assert_eq!(places.images_with_at_most(), None);
    }

    #[test]
    fn no_outlier_has_a_bound_and_no_place() {
        let places = of(&[(&[], FIRST), (&[], FIRST)]);
        assert_eq!(places.share(), Some((0.0, None)));
        // 0.05^(1/2): two images without one leave 78 % likely.
        assert!((places.images_with_at_most().unwrap() - (1.0 - 0.05f64.sqrt())).abs() < 1e-12);
        assert_eq!((places.border(), places.commonest(), places.overlap()), (None, None, None));
        assert_eq!(Places::default().share(), None);
        assert_eq!(Places::read(&[PathBuf::from("nowhere")], "block_7").unwrap().images, 0);
    }
}
