//! Where outliers sit and how much of [CLS]'s attention each register draws: one pass over `token_stats`, image by image.
//! Shares, their errors and the overlap of norm and attention are scores.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::store::finished_parts;
use schemas::TableError;
use schemas::tables::TokenStats;
use serde::Serialize;

/// Sums over images.
#[derive(Debug, Default)]
pub struct Places {
    patches: u64,
    outliers: u64,
    border_patches: u64,
    border_outliers: u64,
    cells: BTreeMap<[u16; 4], u64>,
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
                image.patches.push(Patch { row, col, outlier: rows.outlier[i] });
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
        let outliers: Vec<&Patch> = patches.iter().filter(|p| p.outlier).collect();
        self.patches += patches.len() as u64;
        self.outliers += outliers.len() as u64;
        let border = |p: &Patch| p.row == 0 || p.col == 0 || p.row == height || p.col == width;
        self.border_patches += patches.iter().filter(|p| border(p)).count() as u64;
        self.border_outliers += outliers.iter().filter(|p| border(p)).count() as u64;
        for p in &outliers {
            *self.cells.entry([height + 1, width + 1, p.row, p.col]).or_default() += 1;
        }
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

    /// Mean attention of [CLS] to each register, in order.
    pub fn register_attention(&self) -> Vec<f64> {
        self.registers.values().map(|(sum, n)| sum / *n as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// Images of 3×3 patches: which are outliers.
    fn rows(images: &[&[u16]]) -> TokenStats {
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
        for (image, outliers) in images.iter().enumerate() {
            push(image as u32, "cls", 0, false, 0.3);
            push(image as u32, "register", 0, false, 0.1);
            push(image as u32, "register", 1, false, 0.2 * image as f32);
            for p in 0..9 {
                push(image as u32, "patch", p, outliers.contains(&p), 0.0);
            }
        }
        t
    }

    fn of(images: &[&[u16]]) -> Places {
        let mut places = Places::default();
        places.add(&rows(images), "block_7");
        // Another site's rows are another norm of the same tokens.
        places.add(&rows(images), "block_6");
        places.finish();
        places
    }

    #[test]
    fn places_and_registers_in_closed_form() {
        // Outliers: the centre and a corner; then the corner; then none.
        let places = of(&[&[4, 0], &[0], &[]]);
        // Two of three outliers on the border, where eight of nine patches lie.
        let [border, chance] = places.border().unwrap();
        assert!((border - 2.0 / 3.0).abs() < 1e-12 && (chance - 8.0 / 9.0).abs() < 1e-12);
        let place = places.commonest().unwrap();
        assert_eq!((place.row, place.col, place.grid_h, place.grid_w), (0, 0, 3, 3));
        assert!((place.frac - 2.0 / 3.0).abs() < 1e-12);
        let registers = places.register_attention();
        assert!((registers[0] - 0.1).abs() < 1e-6 && (registers[1] - 0.2).abs() < 1e-6, "{registers:?}");
    }

    #[test]
    fn no_outlier_has_no_place() {
        let places = of(&[&[], &[]]);
        assert_eq!((places.border(), places.commonest()), (None, None));
        let nowhere = Places::read(&[PathBuf::from("nowhere")], "block_7").unwrap();
        assert_eq!((nowhere.border(), nowhere.register_attention().len()), (None, 0));
    }
}
