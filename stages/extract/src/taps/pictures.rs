//! The first images of a run as the model saw them, so that a report can lay norms over pixels.

use vit::Request;

use super::{Rows, Tap, View};
use crate::params::ExtractParams;

struct PicturesTap {
    images: u32,
}

pub(super) fn tap(params: &ExtractParams) -> Option<Box<dyn Tap>> {
    (params.pictures > 0).then(|| Box::new(PicturesTap { images: params.pictures }) as _)
}

impl Tap for PicturesTap {
    fn request(&self, _: &mut Request) {}

    fn rows(&self, view: &View<'_>, rows: &mut Rows) {
        if view.index >= self.images as usize {
            return;
        }
        let (mean, std) = (view.params.preprocess.mean, view.params.preprocess.std);
        let n = view.pixels.height * view.pixels.width;
        let rgb = (0..n)
            .flat_map(|i| (0..3).map(move |c| (c, i)))
            .map(|(c, i)| ((view.pixels.data[c * n + i] * std[c] + mean[c]) * 255.0).round().clamp(0.0, 255.0) as u8)
            .collect();
        let t = &mut rows.pictures;
        t.image.push(view.index as u32);
        t.name.push(view.manifest.entries.get(view.index).map_or("", |e| e.name.as_str()).into());
        t.width_px.push(view.pixels.width as u32);
        t.height_px.push(view.pixels.height as u32);
        t.rgb.push(rgb);
    }
}
