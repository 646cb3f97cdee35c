//! One row per image: name, label, size.

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
        let entry = view.manifest.entries.get(view.index);
        let label = entry.and_then(|e| e.label);
        let class = label.and_then(|l| view.manifest.classes.get(l as usize));
        let t = &mut rows.images;
        t.image.push(view.index as u32);
        t.name.push(entry.map_or("", |e| e.name.as_str()).into());
        t.label.push(label.map(|l| l as i32));
        t.class.push(class.map(|c| c.as_str().into()));
        t.width_px.push(view.source_px.1 as u32);
        t.height_px.push(view.source_px.0 as u32);
        t.grid_h.push(view.layout().grid_h as u16);
        t.grid_w.push(view.layout().grid_w as u16);
    }
}
