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

/// Places of the picture along a side, for the answers that know nothing but the place.
pub(crate) const PLACES: usize = 32;

/// What a whole run's truths say at each of 32×32 places of the picture: answers that need no picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Prior {
    /// Pixels of each class: `[places, classes]`.
    Classes { classes: usize, pixels: Vec<u64> },
    /// Sum and number of known depths: `[places]`.
    Depths { sum: Vec<f64>, pixels: Vec<u64> },
}

impl Prior {
    pub(crate) fn new(recipe: &Recipe) -> Self {
        let places = PLACES * PLACES;
        match &recipe.task {
            Task::Segments(task) => {
                let classes = usize::from(task.labels.classes);
                Self::Classes { classes, pixels: vec![0; places * classes] }
            }
            Task::Depth(_) => Self::Depths { sum: vec![0.0; places], pixels: vec![0; places] },
        }
    }

    pub(crate) fn count(&mut self, truth: &Truth) {
        let places = places(truth, PLACES);
        match (self, &truth.cells) {
            (Self::Classes { classes, pixels }, Cells::Classes(all)) => {
                for (&class, place) in all.iter().zip(places).filter(|(c, _)| **c != NONE) {
                    pixels[place * *classes + usize::from(class)] += 1;
                }
            }
            (Self::Depths { sum, pixels }, Cells::Depths(all)) => {
                for (&depth, place) in all.iter().zip(places).filter(|(d, _)| **d > 0.0) {
                    sum[place] += f64::from(depth);
                    pixels[place] += 1;
                }
            }
            _ => {}
        }
    }

    /// One answer for everywhere: the commonest class, the first of several, or the mean depth.
    pub(crate) fn everywhere(&self) -> Cells {
        match self {
            Self::Classes { classes, pixels } => {
                let of = |class: usize| pixels.iter().skip(class).step_by(*classes).sum::<u64>();
                Cells::Classes(vec![commonest((0..*classes).map(of))])
            }
            Self::Depths { sum, pixels } => {
                let n = pixels.iter().sum::<u64>();
                Cells::Depths(vec![(sum.iter().sum::<f64>() / n.max(1) as f64) as f32])
            }
        }
    }

    /// The same for each place by itself; the one for everywhere where nothing is known of a place.
    pub(crate) fn by_place(&self) -> Cells {
        match (self, self.everywhere()) {
            (Self::Classes { classes, pixels }, Cells::Classes(all)) => {
                let own = |place: &[u64]| {
                    if place.iter().any(|&n| n > 0) { commonest(place.iter().copied()) } else { all[0] }
                };
                Cells::Classes(pixels.chunks_exact(*classes).map(own).collect())
            }
            (Self::Depths { sum, pixels }, Cells::Depths(all)) => {
                let own = |(&sum, &n): (&f64, &u64)| if n > 0 { (sum / n as f64) as f32 } else { all[0] };
                Cells::Depths(sum.iter().zip(pixels).map(own).collect())
            }
            (_, all) => all,
        }
    }
}

/// The place of each pixel, row-major, where a side has so many.
pub(crate) fn places(truth: &Truth, side: usize) -> impl Iterator<Item = usize> + use<> {
    let (height, width) = (truth.height, truth.width);
    let columns: Vec<usize> = (0..width).map(|x| x * side / width).collect();
    (0..height).flat_map(move |y| {
        let row = y * side / height * side;
        columns.clone().into_iter().map(move |column| row + column)
    })
}

/// The first of the largest.
fn commonest(counts: impl Iterator<Item = u64>) -> u8 {
    let best = counts.enumerate().max_by_key(|&(class, n)| (n, usize::MAX - class));
    best.map_or(0, |(class, _)| class as u8)
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
        assert_eq!(truth.mirrored().cells, Cells::Classes(vec![0, NONE, 1, 1]));
        let depth = read("depth", (1, 2), vec![0, 0, 0xd0, 7], Some(0.001))?;
        assert_eq!(depth.cells, Cells::Depths(vec![0.0, 2.0]));
        assert_eq!(depth.known(), 1);
        Ok(())
    }

    /// Two maps of 2×2 pixels, so that the four quarters of the picture have two pixels each: quarter 3 is never labelled and
    /// takes what is commonest everywhere. Breaks when rows and columns, or places and classes, change places.
    #[test]
    fn what_is_common_is_counted_everywhere_and_by_place() -> Result<(), DenseError> {
        let (mut classes, mut depths) = (
            Prior::new(&Recipe::cells(LabelMap { reduce_zero: true, classes: 2, ignore: vec![] })),
            Prior::new(&Recipe::nyu_linear()),
        );
        for cells in [vec![1, 2, 2, 0], vec![1, 2, 1, 0]] {
            classes.count(&read("segments", (2, 2), cells, None)?);
        }
        for cells in [vec![1, 0, 2, 0, 0, 0, 0, 0], vec![3, 0, 2, 0, 6, 0, 0, 0]] {
            depths.count(&read("depth", (2, 2), cells, Some(1.0))?);
        }
        // The two classes have three pixels each: the first wins.
        assert_eq!(
            (classes.everywhere(), depths.everywhere()),
            (Cells::Classes(vec![0]), Cells::Depths(vec![14.0 / 5.0]))
        );
        let quarters = [0, PLACES / 2, PLACES * PLACES / 2, PLACES * PLACES / 2 + PLACES / 2];
        let (Cells::Classes(classes), Cells::Depths(depths)) = (classes.by_place(), depths.by_place()) else {
            return Err(DenseError::Nothing("kinds"));
        };
        assert_eq!(quarters.map(|at| classes[at]), [0, 1, 0, 0]);
        assert_eq!(quarters.map(|at| depths[at]), [2.0, 2.0, 6.0, 14.0 / 5.0]);
        assert_eq!((classes.len(), depths.len()), (PLACES * PLACES, PLACES * PLACES));
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
