//! Windows that cover a scaled image, the last of each row and column moved back inside.
//!
//! ```text
//! n = ⌈max(length − window, 0) / stride⌉ + 1      end = min(i · stride + window, length)      start = max(end − window, 0)
//! ```
//!
//! An image smaller than a window has one, which is smaller too. Source: mmseg 0.x `EncoderDecoder.slide_inference`.

use super::input::Cut;
use super::plane::nearest;
use super::{Place, View, ViewError, ViewSpec, check_area};
use crate::preprocess::Resize;
use crate::resize::{PlanarRows, resize_window};
use crate::source::DenseTruth;

/// Where the windows along one side start, and how long they are.
fn along(length: usize, window_px: usize, stride_px: usize) -> (usize, impl Iterator<Item = usize> + Clone) {
    let count = length.saturating_sub(window_px).div_ceil(stride_px) + 1;
    let side = window_px.min(length);
    (side, (0..count).map(move |place| (place * stride_px + window_px).min(length) - side))
}

impl ViewSpec {
    pub(super) fn windows(
        &self,
        image: &impl PlanarRows,
        truth: Option<&DenseTruth>,
        short_side_px: usize,
        window_px: usize,
        stride_px: usize,
    ) -> Result<Vec<View>, ViewError> {
        let (height, width) = image.size();
        let (rows, columns) = Resize::ShortSide(short_side_px).size(height, width, self.filter);
        let view = (window_px.min(rows), window_px.min(columns));
        check_area((height, width), (rows, columns), self.count(height, width), view)?;
        // Bytes of the whole scaled image: a fraction of its windows as floats.
        let whole = resize_window(image, (rows, columns), self.filter, 0..rows, 0..columns);
        let (view_h, tops) = along(rows, window_px, stride_px);
        let (view_w, lefts) = along(columns, window_px, stride_px);
        let places = tops.flat_map(|y0| lefts.clone().map(move |x0| (y0, x0)));
        let views = places.map(|(y0, x0)| {
            let place = Place {
                scaled_h: rows as u32,
                scaled_w: columns as u32,
                y0: y0 as u32,
                x0: x0 as u32,
                view_h: view_h as u32,
                view_w: view_w as u32,
                ..Place::default()
            };
            let (ys, xs) = (y0..y0 + view_h, x0..x0 + view_w);
            let truth = truth.map(|truth| {
                let ys = nearest(height, rows, self.filter, ys.clone());
                truth.picked(&ys, &nearest(width, columns, self.filter, xs.clone()), (view_h, view_w))
            });
            self.view(Cut { bytes: whole.cut(ys, xs), place, truth })
        });
        Ok(views.collect())
    }
}
