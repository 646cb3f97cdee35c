//! Random crops for training depth heads: border off, perhaps turned, cut, flipped, recoloured.
//!
//! ```text
//! angle ~ U(−a, a) with probability ½      y0 ~ U{0 ‥ H − h}      flip with probability ½
//! colour, with probability ½: clip(p^γ · β · c_channel, 0, 255),  γ ~ U(.9, 1.1),  β ~ U(.75, 1.25),  c ~ U(.9, 1.1)
//! ```
//!
//! A picture smaller than the crop is taken whole. The toolbox flips before it cuts, which draws from the same
//! distribution. Colours are not rounded to bytes. Source: the MDE toolbox, `depth/datasets/pipelines/transforms.py`
//! (`NYUCrop`, `RandomRotate`, `RandomCrop`, `ColorAug`), with DINOv2's published NYU configurations.

use super::input::Cut;
use super::rotation::Turn;
use super::{DepthCrops, Place, View, ViewError, ViewSpec, check_area, stream};
use crate::preprocess::tables;
use crate::resize::{PlanarRows, resize_window};
use crate::source::DenseTruth;
use crate::synthetic::random::SplitMix64;

const GAMMA: [f64; 2] = [0.9, 1.1];
const BRIGHTNESS: [f64; 2] = [0.75, 1.25];
const BALANCE: [f64; 2] = [0.9, 1.1];

impl ViewSpec {
    pub(super) fn depth_crops(
        &self,
        image: &impl PlanarRows,
        truth: Option<&DenseTruth>,
        crops: &DepthCrops,
        index: usize,
    ) -> Result<Vec<View>, ViewError> {
        let (height, width) = image.size();
        let (rows, columns) = (crops.rows[0]..crops.rows[1].min(height), crops.columns[0]..crops.columns[1].min(width));
        if rows.is_empty() || columns.is_empty() {
            let (row, column) = (crops.rows[0], crops.columns[0]);
            return Err(ViewError::TooSmall { height, width, row, column });
        }
        let view = (crops.height_px.min(rows.len()), crops.width_px.min(columns.len()));
        check_area((height, width), (height, width), usize::from(crops.count), view)?;
        check_area((height, width), (height, width), 1, (rows.len(), columns.len()))?;
        let bytes = resize_window(image, (height, width), self.filter, rows.clone(), columns.clone());
        let truth = truth.map(|truth| {
            let (ys, xs): (Vec<_>, Vec<_>) = (rows.clone().collect(), columns.clone().collect());
            truth.picked(&ys, &xs, (ys.len(), xs.len()))
        });
        let views = (0..crops.count).map(|view_index| {
            let mut random = stream(crops.seed, index, view_index);
            let turns = random.chance(0.5);
            let degrees = random.between(-crops.max_degrees, crops.max_degrees);
            let turn = turns.then(|| Turn::new(rows.len(), columns.len(), degrees));
            let (view_h, view_w) = view;
            let top = random.below((rows.len() - view_h) as u64 + 1) as usize;
            let left = random.below((columns.len() - view_w) as u64 + 1) as usize;
            let mirrored = random.chance(0.5);
            let recolours = crops.colour && random.chance(0.5);
            let tables =
                if recolours { recoloured(&mut random, self.mean, self.std) } else { tables(self.mean, self.std) };
            let (ys, xs) = (top..top + view_h, left..left + view_w);
            let cut = |truth: &DenseTruth| {
                let mut xs: Vec<usize> = xs.clone().collect();
                if mirrored {
                    xs.reverse();
                }
                truth.picked(&ys.clone().collect::<Vec<_>>(), &xs, view)
            };
            let truth = match &turn {
                Some(turn) => truth.as_ref().map(|truth| cut(&turn.truth(truth))),
                None => truth.as_ref().map(cut),
            };
            let bytes = match &turn {
                Some(turn) => turn.pixels(&bytes).cut(ys.clone(), xs.clone()),
                None => bytes.cut(ys.clone(), xs.clone()),
            };
            let place = Place {
                scaled_h: height as u32,
                scaled_w: width as u32,
                y0: (rows.start + top) as u32,
                x0: (columns.start + left) as u32,
                view_h: view_h as u32,
                view_w: view_w as u32,
                mirrored,
                ..Place::default()
            };
            self.view_through(Cut { bytes, place, truth }, &tables)
        });
        Ok(views.collect())
    }
}

/// What every byte of a channel becomes once recoloured and normalised.
fn recoloured(random: &mut SplitMix64, mean: [f32; 3], std: [f32; 3]) -> [[f32; 256]; 3] {
    let gamma = random.between(GAMMA[0], GAMMA[1]);
    let brightness = random.between(BRIGHTNESS[0], BRIGHTNESS[1]);
    let balance: [f64; 3] = std::array::from_fn(|_| random.between(BALANCE[0], BALANCE[1]));
    std::array::from_fn(|channel| {
        std::array::from_fn(|byte| {
            let level = (libm::pow(byte as f64, gamma) * brightness * balance[channel]).clamp(0.0, 255.0);
            (level as f32 / 255.0 - mean[channel]) / std[channel]
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At γ, β, c within their ranges, 255 becomes at least 255^.9 · .75 · .9 = 98.9, 0 stays 0, nothing passes 1.
    #[test]
    fn recolouring_stays_in_its_range_and_keeps_black() {
        for seed in 0..200 {
            for table in recoloured(&mut SplitMix64::new(seed), [0.0; 3], [1.0; 3]) {
                assert_eq!(table[0], 0.0);
                assert!((98.9 / 255.0..=1.0).contains(&table[255]), "{}", table[255]);
                assert!(table.is_sorted());
            }
        }
    }
}
