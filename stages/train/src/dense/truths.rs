//! What people annotated, as a head learns it or is judged by it.

use schemas::tables::TruthMaps;

use super::error::DenseError;
use super::labels::NONE;
use super::recipe::{Recipe, Task};

/// A map of one image or view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Truth {
    pub image: u32,
    pub height: usize,
    pub width: usize,
    pub cells: Cells,
}

/// Its values, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cells {
    /// Classes; [`NONE`] where there is none.
    Classes(Vec<u8>),
    /// Metres; 0 where unknown.
    Depths(Vec<f32>),
}

impl Truth {
    /// A row as the recipe sees it.
    pub(crate) fn of_row(table: &TruthMaps, row: usize, recipe: &Recipe) -> Result<Self, DenseError> {
        let (image, bytes) = (table.image[row], &table.cells[row]);
        let (height, width) = (table.height[row] as usize, table.width[row] as usize);
        let damaged = |why: String| DenseError::Shape { image, what: "the truth", why };
        let pixels = height.checked_mul(width).filter(|&n| n > 0);
        let each = if matches!(recipe.task, Task::Segments(_)) { 1 } else { 2 };
        if pixels.and_then(|n| n.checked_mul(each)) != Some(bytes.len()) {
            return Err(damaged(format!("{} bytes for {height}x{width} pixels", bytes.len())));
        }
        let cells = match &recipe.task {
            Task::Segments(task) => Cells::Classes(task.labels.apply(bytes).map_err(|label| DenseError::Label {
                image,
                label,
                classes: task.labels.classes,
            })?),
            Task::Depth(_) => {
                let scale = table.scale[row].filter(|s| *s > 0.0 && s.is_finite());
                let scale = scale.ok_or_else(|| damaged("depth without a scale".into()))?;
                let value = |pair: &[u8]| (f64::from(u16::from_le_bytes([pair[0], pair[1]])) * scale) as f32;
                Cells::Depths(bytes.chunks_exact(2).map(value).collect())
            }
        };
        Ok(Self { image, height, width, cells })
    }

    /// Left and right exchanged.
    pub(crate) fn mirrored(mut self) -> Self {
        match &mut self.cells {
            Cells::Classes(all) => all.chunks_exact_mut(self.width).for_each(<[u8]>::reverse),
            Cells::Depths(all) => all.chunks_exact_mut(self.width).for_each(<[f32]>::reverse),
        }
        self
    }

    /// Pixels that say something.
    pub(crate) fn known(&self) -> u64 {
        match &self.cells {
            Cells::Classes(all) => all.iter().filter(|&&c| c != NONE).count() as u64,
            Cells::Depths(all) => all.iter().filter(|&&d| d > 0.0).count() as u64,
        }
    }
}

/// What a whole run's truths say: the answer that needs no picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Prior {
    /// Pixels of each class.
    Classes(Vec<u64>),
    /// Sum and number of known depths.
    Depths { sum: f64, pixels: u64 },
}

impl Prior {
    pub(crate) fn new(recipe: &Recipe) -> Self {
        match &recipe.task {
            Task::Segments(task) => Self::Classes(vec![0; usize::from(task.labels.classes)]),
            Task::Depth(_) => Self::Depths { sum: 0.0, pixels: 0 },
        }
    }

    pub(crate) fn count(&mut self, truth: &Truth) {
        match (self, &truth.cells) {
            (Self::Classes(counts), Cells::Classes(all)) => {
                for &class in all.iter().filter(|&&c| c != NONE) {
                    counts[usize::from(class)] += 1;
                }
            }
            (Self::Depths { sum, pixels }, Cells::Depths(all)) => {
                for &depth in all.iter().filter(|&&d| d > 0.0) {
                    *sum += f64::from(depth);
                    *pixels += 1;
                }
            }
            _ => {}
        }
    }

    /// The commonest class, the first of several.
    pub(crate) fn majority(&self) -> u8 {
        match self {
            Self::Classes(counts) => {
                let best = counts.iter().enumerate().max_by_key(|&(class, n)| (n, usize::MAX - class));
                best.map_or(0, |(class, _)| class as u8)
            }
            Self::Depths { .. } => 0,
        }
    }

    /// The mean depth.
    pub(crate) fn mean_depth(&self) -> f32 {
        match self {
            Self::Depths { sum, pixels } if *pixels > 0 => (sum / *pixels as f64) as f32,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
pub(crate) mod made {
    //! Rows of `truth_maps` for tests.

    use super::TruthMaps;

    pub(crate) fn push(table: &mut TruthMaps, key: (u32, Option<u16>), kind: &str, size: (u32, u32), cells: Vec<u8>) {
        table.image.push(key.0);
        table.view.push(key.1);
        table.kind.push(kind.into());
        table.height.push(size.0);
        table.width.push(size.1);
        table.scale.push((kind == "depth").then_some(0.001));
        table.cells.push(cells);
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::LabelMap;
    use super::*;

    fn read(kind: &str, size: (u32, u32), cells: Vec<u8>, scale: Option<f64>) -> Result<Truth, DenseError> {
        let mut table = TruthMaps::default();
        made::push(&mut table, (7, None), kind, size, cells);
        table.scale[0] = scale;
        let labels = LabelMap { reduce_zero: true, classes: 2, ignore: vec![] };
        let recipe = if kind == "depth" { Recipe::nyu_linear() } else { Recipe::cells(labels) };
        Truth::of_row(&table, 0, &recipe)
    }

    #[test]
    fn maps_are_read_mirrored_and_counted() -> Result<(), DenseError> {
        let truth = read("segments", (2, 2), vec![0, 1, 2, 2], None)?;
        assert_eq!(truth.cells, Cells::Classes(vec![NONE, 0, 1, 1]));
        assert_eq!(truth.known(), 3);
        let mut prior = Prior::Classes(vec![0; 2]);
        prior.count(&truth);
        assert_eq!((prior.majority(), Prior::Classes(vec![2, 2]).majority()), (1, 0));
        assert_eq!(truth.mirrored().cells, Cells::Classes(vec![0, NONE, 1, 1]));
        let depth = read("depth", (1, 2), vec![0, 0, 0xd0, 7], Some(0.001))?;
        assert_eq!(depth.cells, Cells::Depths(vec![0.0, 2.0]));
        let mut prior = Prior::Depths { sum: 0.0, pixels: 0 };
        prior.count(&depth);
        assert_eq!((prior.mean_depth(), depth.known()), (2.0, 1));
        Ok(())
    }

    #[test]
    fn damaged_maps_are_refused() {
        for (size, cells) in [((2, 2), vec![1; 3]), ((0, 0), vec![]), ((u32::MAX, u32::MAX), vec![1])] {
            assert!(matches!(read("segments", size, cells, None), Err(DenseError::Shape { image: 7, .. })));
        }
        assert_eq!(read("segments", (1, 1), vec![3], None), Err(DenseError::Label { image: 7, label: 3, classes: 2 }));
        for scale in [None, Some(0.0), Some(f64::NAN)] {
            assert!(matches!(read("depth", (1, 1), vec![1, 0], scale), Err(DenseError::Shape { .. })));
        }
    }
}
