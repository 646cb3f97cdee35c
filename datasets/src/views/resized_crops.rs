//! torchvision's `RandomResizedCrop` and `RandomHorizontalFlip`.
//!
//! ```text
//! A ~ U(.08, 1) · H W      log ρ ~ U(log ¾, log 4/3)      w = rint(√(A ρ))      h = rint(√(A / ρ))      place uniform
//! ```
//!
//! drawn ten times at most until the rectangle fits; then the largest centred one whose shape is allowed. It is cut first
//! and resized after, so no pixel outside bleeds in. Source: torchvision `transforms/transforms.py`.

use std::ops::Range;

use super::input::Cut;
use super::plane::nearest;
use super::{Place, View, ViewError, ViewSpec, check_area};
use crate::resize::{PlanarRows, resize_window};
use crate::source::DenseTruth;
use crate::synthetic::random::SplitMix64;

const AREA: [f64; 2] = [0.08, 1.0];
const SHAPE: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];
const TRIES: usize = 10;

/// Part of an image, as an image.
struct Part<'a, P> {
    whole: &'a P,
    ys: Range<usize>,
    xs: Range<usize>,
}

impl<P: PlanarRows> PlanarRows for Part<'_, P> {
    fn size(&self) -> (usize, usize) {
        (self.ys.len(), self.xs.len())
    }

    /// Rows past the last are the whole image's, which no one looks at.
    fn block(&self, first: usize, columns: Range<usize>, planes: &mut [u8]) {
        self.whole.block(self.ys.start + first, self.xs.start + columns.start..self.xs.start + columns.end, planes);
    }
}

impl ViewSpec {
    pub(super) fn resized_crops(
        &self,
        image: &impl PlanarRows,
        truth: Option<&DenseTruth>,
        count: u16,
        size_px: usize,
        stream: impl Fn(u16) -> SplitMix64,
    ) -> Result<Vec<View>, ViewError> {
        let (height, width) = image.size();
        check_area((height, width), (height, width), usize::from(count), (size_px, size_px))?;
        let views = (0..count).map(|view| {
            let mut random = stream(view);
            let (ys, xs) = rectangle(&mut random, height, width);
            let mirrored = random.chance(0.5);
            let part = Part { whole: image, ys: ys.clone(), xs: xs.clone() };
            let bytes = resize_window(&part, (size_px, size_px), self.filter, 0..size_px, 0..size_px);
            let truth = truth.map(|truth| {
                let along = |range: &Range<usize>| -> Vec<usize> {
                    let picks = nearest(range.len(), size_px, self.filter, 0..size_px);
                    picks.into_iter().map(|pick| range.start + pick).collect()
                };
                let (ys, mut xs) = (along(&ys), along(&xs));
                if mirrored {
                    xs.reverse();
                }
                truth.picked(&ys, &xs, (size_px, size_px))
            });
            let scaled = |length: usize, part: &Range<usize>| (length * size_px).div_ceil(part.len()) as u32;
            let place = Place {
                scaled_h: scaled(height, &ys),
                scaled_w: scaled(width, &xs),
                y0: (ys.start * size_px / ys.len()) as u32,
                x0: (xs.start * size_px / xs.len()) as u32,
                view_h: size_px as u32,
                view_w: size_px as u32,
                mirrored,
                ..Place::default()
            };
            self.view(Cut { bytes, place, truth })
        });
        Ok(views.collect())
    }
}

/// Rows and columns to cut.
fn rectangle(random: &mut SplitMix64, height: usize, width: usize) -> (Range<usize>, Range<usize>) {
    let area = height as f64 * width as f64;
    for _ in 0..TRIES {
        let target = area * random.between(AREA[0], AREA[1]);
        let shape = libm::exp(random.between(libm::log(SHAPE[0]), libm::log(SHAPE[1])));
        let w = (target * shape).sqrt().round_ties_even() as usize;
        let h = (target / shape).sqrt().round_ties_even() as usize;
        if (1..=height).contains(&h) && (1..=width).contains(&w) {
            let y0 = random.below((height - h) as u64 + 1) as usize;
            let x0 = random.below((width - w) as u64 + 1) as usize;
            return (y0..y0 + h, x0..x0 + w);
        }
    }
    let shape = width as f64 / height as f64;
    let (h, w) = if shape < SHAPE[0] {
        ((width as f64 / SHAPE[0]).round_ties_even() as usize, width)
    } else if shape > SHAPE[1] {
        (height, (height as f64 * SHAPE[1]).round_ties_even() as usize)
    } else {
        (height, width)
    };
    let (y0, x0) = ((height - h) / 2, (width - w) / 2);
    (y0..y0 + h, x0..x0 + w)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No rectangle of 8 % of a strip fits it: the fallback is its middle. Breaks if sides are exchanged.
    #[test]
    fn a_strip_is_cut_in_its_middle() {
        for seed in 0..50 {
            assert_eq!(rectangle(&mut SplitMix64::new(seed), 3, 1000), (0..3, 498..502));
            assert_eq!(rectangle(&mut SplitMix64::new(seed), 1000, 3), (498..502, 0..3));
        }
    }

    /// Means over many draws: area (.08 + 1)/2 of the image less what does not fit, shape symmetrical about 1.
    #[test]
    fn areas_and_shapes_are_those_of_torchvision() {
        let (mut areas, mut wide) = (0.0, 0);
        let n = 20_000;
        for seed in 0..n {
            let (ys, xs) = rectangle(&mut SplitMix64::new(seed), 400, 400);
            assert!(ys.end <= 400 && xs.end <= 400);
            let (area, shape) = ((ys.len() * xs.len()) as f64 / 160_000.0, xs.len() as f64 / ys.len() as f64);
            assert!((0.079..=1.0).contains(&area) && (0.73..1.37).contains(&shape), "{ys:?} {xs:?}");
            areas += area;
            wide += usize::from(xs.len() > ys.len());
        }
        let mean = areas / n as f64;
        // torchvision 0.29 over 100,000 draws: 0.4785.
        assert!((mean - 0.4785).abs() < 0.01, "{mean}");
        assert!((wide as f64 / n as f64 - 0.5).abs() < 0.02, "{wide}");
    }
}
