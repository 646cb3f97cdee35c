//! The first images of a run as the model saw them, so that a report can lay norms over pixels.

use datasets::Manifest;
use schemas::tables::Pictures;
use vit::{Layout, Pixels, Request};

use super::{Rows, Tap, View};
use crate::params::ExtractParams;

struct PicturesTap {
    images: u32,
}

pub(super) fn tap(params: &ExtractParams) -> Option<Box<dyn Tap>> {
    (params.pictures > 0).then(|| Box::new(PicturesTap { images: params.pictures }) as _)
}

impl Tap for PicturesTap {
    fn request(&self, _: Layout, _: &mut Request) {}

    fn rows(&self, view: &View<'_>, rows: &mut Rows) {
        if view.index < self.images as usize {
            let preprocess = &view.params.preprocess;
            push(&mut rows.pictures, view.index, view.manifest, view.pixels, preprocess.mean, preprocess.std);
        }
    }
}

/// One row: normalised pixels back to bytes.
pub(crate) fn push(
    t: &mut Pictures,
    index: usize,
    manifest: &Manifest,
    pixels: &Pixels,
    mean: [f32; 3],
    std: [f32; 3],
) {
    let n = pixels.height * pixels.width;
    let rgb = (0..n)
        .flat_map(|i| (0..3).map(move |c| (c, i)))
        .map(|(c, i)| ((pixels.data[c * n + i] * std[c] + mean[c]) * 255.0).round().clamp(0.0, 255.0) as u8)
        .collect();
    t.image.push(index as u32);
    t.name.push(manifest.entries.get(index).map_or("", |e| e.name.as_str()).into());
    t.width_px.push(pixels.width as u32);
    t.height_px.push(pixels.height as u32);
    t.rgb.push(rgb);
}
