//! Random crops for training segmentation heads: scaled by a random ratio, cut, flipped, distorted in colour, padded.
//!
//! ```text
//! short side ⌊s · r⌋, r ~ U(ratio)      y0 ~ U{0 ‥ max(H − c, 0)}      x0 alike
//! redrawn while the most frequent class holds ≥ max_class_frac of the labelled pixels or is the only one: ten times at most
//! flip with probability ½
//! ```
//!
//! The tenth redraw is kept whatever it shows. Source: mmseg 0.x `datasets/pipelines/transforms.py` (`Resize`,
//! `RandomCrop`, `RandomFlip`, `Pad`), with DINOv2's published ADE20K configurations.

use super::input::Cut;
use super::photometric::distort;
use super::plane::nearest;
use super::{Crops, Place, View, ViewError, ViewSpec, check_area, stream};
use crate::preprocess::Resize;
use crate::resize::{PlanarRows, resize_window};
use crate::source::DenseTruth;

/// Redraws of a place that one class fills.
const TRIES: usize = 10;

impl ViewSpec {
    pub(super) fn segment_crops(
        &self,
        image: &impl PlanarRows,
        truth: Option<&DenseTruth>,
        crops: &Crops,
        index: usize,
    ) -> Result<Vec<View>, ViewError> {
        (0..crops.count).map(|view| self.segment_crop(image, truth, crops, index, view)).collect()
    }

    fn segment_crop(
        &self,
        image: &impl PlanarRows,
        truth: Option<&DenseTruth>,
        crops: &Crops,
        index: usize,
        view: u16,
    ) -> Result<View, ViewError> {
        let (height, width) = image.size();
        let mut random = stream(crops.seed, index, view);
        let ratio = random.between(crops.ratio[0], crops.ratio[1]);
        let short_side_px = ((crops.short_side_px as f64 * ratio) as usize).max(1);
        let (rows, columns) = Resize::ShortSide(short_side_px).size(height, width, self.filter);
        let side = crops.crop_px;
        check_area((height, width), (rows, columns), usize::from(crops.count), (side, side))?;
        let (cut_h, cut_w) = (side.min(rows), side.min(columns));
        let all_ys = nearest(height, rows, self.filter, 0..rows);
        let all_xs = nearest(width, columns, self.filter, 0..columns);
        let mut draw = || {
            let y0 = random.below((rows - cut_h) as u64 + 1) as usize;
            (y0, random.below((columns - cut_w) as u64 + 1) as usize)
        };
        let (mut y0, mut x0) = draw();
        if let Some((segments, stride)) = truth.and_then(|truth| Some((truth.segments.as_ref()?, truth.width)))
            && crops.max_class_frac < 1.0
        {
            let varied = |y0: usize, x0: usize| {
                let (ys, xs) = (&all_ys[y0..y0 + cut_h], &all_xs[x0..x0 + cut_w]);
                no_class_fills(segments, stride, ys, xs, crops)
            };
            for _ in 0..TRIES {
                if varied(y0, x0) {
                    break;
                }
                (y0, x0) = draw();
            }
        }
        let mirrored = random.chance(0.5);
        let mut bytes = resize_window(image, (rows, columns), self.filter, y0..y0 + cut_h, x0..x0 + cut_w);
        if crops.photometric {
            distort(&mut bytes, &mut random);
        }
        let truth = truth.map(|truth| {
            let mut xs = all_xs[x0..x0 + cut_w].to_vec();
            if mirrored {
                xs.reverse();
            }
            truth.picked(&all_ys[y0..y0 + cut_h], &xs, (side, side))
        });
        let place = Place {
            scaled_h: rows as u32,
            scaled_w: columns as u32,
            y0: y0 as u32,
            x0: x0 as u32,
            view_h: side as u32,
            view_w: side as u32,
            mirrored,
            ..Place::default()
        };
        Ok(self.view(Cut { bytes, place, truth }))
    }
}

/// Whether more than one class is there, and none holds the share that is too much.
fn no_class_fills(segments: &[u8], stride: usize, ys: &[usize], xs: &[usize], crops: &Crops) -> bool {
    let mut counts = [0_u64; 256];
    for &y in ys {
        let row = &segments[y * stride..(y + 1) * stride];
        for &x in xs {
            counts[usize::from(row[x])] += 1;
        }
    }
    for &label in &crops.ignore {
        counts[usize::from(label)] = 0;
    }
    let present = counts.iter().filter(|&&count| count > 0).count();
    let (most, total) = (counts.iter().max().copied().unwrap_or(0), counts.iter().sum::<u64>());
    present > 1 && (most as f64 / total as f64) < crops.max_class_frac
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks if ignored labels count, if a lone class passes, or if the share is compared with ≤.
    #[test]
    fn one_class_may_fill_less_than_three_quarters_of_what_is_labelled() {
        let crops = Crops::dinov2(1, 0, vec![0, 255]);
        let varied = |labels: [u8; 8]| no_class_fills(&labels, 4, &[0, 1], &[0, 1, 2, 3], &crops);
        assert!(varied([1, 1, 1, 1, 1, 2, 2, 2]));
        assert!(!varied([1, 1, 1, 1, 1, 1, 2, 2]));
        assert!(!varied([1, 1, 1, 2, 0, 0, 255, 255]));
        assert!(varied([1, 1, 2, 2, 0, 0, 0, 0]));
        assert!(!varied([5, 5, 5, 5, 5, 0, 0, 255]));
        assert!(!varied([0, 0, 0, 0, 255, 255, 255, 255]));
    }
}
