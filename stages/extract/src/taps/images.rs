//! One row per image: name, label, size.

use datasets::Manifest;
use schemas::tables::Images;
use vit::{Layout, Request};

use super::{Rows, Tap, View};
use crate::params::ExtractParams;

struct ImagesTap;

#[expect(clippy::unnecessary_wraps, reason = "the signature of every tap")]
pub(super) fn tap(_: &ExtractParams) -> Option<Box<dyn Tap>> {
    Some(Box::new(ImagesTap))
}

impl Tap for ImagesTap {
    fn request(&self, _: Layout, _: &mut Request) {}

    fn rows(&self, view: &View<'_>, rows: &mut Rows) {
        push(&mut rows.images, view.index, view.manifest, view.source_px, view.layout());
    }
}

/// The row of an image of `source_px` rows and columns that was encoded like this.
pub(crate) fn push(t: &mut Images, index: usize, manifest: &Manifest, source_px: (usize, usize), layout: Layout) {
    let entry = manifest.entries.get(index);
    let label = entry.and_then(|e| e.label);
    let class = label.and_then(|l| manifest.classes.get(l as usize));
    t.image.push(index as u32);
    t.name.push(entry.map_or("", |e| e.name.as_str()).into());
    t.label.push(label.map(|l| l as i32));
    t.class.push(class.map(|c| c.as_str().into()));
    t.width_px.push(source_px.1 as u32);
    t.height_px.push(source_px.0 as u32);
    t.grid_h.push(layout.grid_h as u16);
    t.grid_w.push(layout.grid_w as u16);
}
