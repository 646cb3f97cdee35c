//! The whole image as one view, and mirrored as a second one.

use super::input::Cut;
use super::plane::nearest;
use super::{Place, View, ViewError, ViewSpec, check_area};
use crate::preprocess::Resize;
use crate::resize::{PlanarRows, resize_window};
use crate::source::DenseTruth;

impl ViewSpec {
    pub(super) fn whole(
        &self,
        image: &impl PlanarRows,
        truth: Option<&DenseTruth>,
        resize: Resize,
        mirror: bool,
    ) -> Result<Vec<View>, ViewError> {
        let (height, width) = image.size();
        let (rows, columns) = resize.size(height, width, self.filter);
        check_area((height, width), (rows, columns), 1 + usize::from(mirror), (rows, columns))?;
        let bytes = resize_window(image, (rows, columns), self.filter, 0..rows, 0..columns);
        let ys = nearest(height, rows, self.filter, 0..rows);
        let mut xs = nearest(width, columns, self.filter, 0..columns);
        let mut views = Vec::with_capacity(2);
        for mirrored in [false, true].into_iter().take(1 + usize::from(mirror)) {
            let place = Place {
                scaled_h: rows as u32,
                scaled_w: columns as u32,
                view_h: rows as u32,
                view_w: columns as u32,
                mirrored,
                ..Place::default()
            };
            let truth = truth.map(|truth| truth.picked(&ys, &xs, (rows, columns)));
            views.push(self.view(Cut { bytes: bytes.clone(), place, truth }));
            xs.reverse();
        }
        Ok(views)
    }
}
