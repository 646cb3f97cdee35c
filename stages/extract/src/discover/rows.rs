//! Rows of `boxes`, `objects` and `maps` of one image. `TokenCut`'s have `+tokencut` after their site and a bias of 0.

use std::collections::BTreeMap;

use datasets::Truth;
use schemas::tables::{Boxes, Maps, Objects};
use vit::{Layout, Site, SiteData};

use super::DiscoverParams;
use super::lost::{Discovery, Gram, PatchBox};
use crate::portray::patches_of;
use crate::prepare::{Skip, non_finite};

/// An image, and where its maps go if it is pictured.
pub(super) struct Pictured<'a> {
    /// Index in the dataset.
    pub index: usize,
    /// How its tokens lie.
    pub layout: Layout,
    /// Side of a patch.
    pub patch_px: usize,
    /// Rows and columns of the file, without padding.
    pub size_px: (usize, usize),
    /// Its maps.
    pub maps: Option<&'a mut Maps>,
}

/// Boxes of every site, normalisation and bias.
pub(super) fn boxes(
    t: &mut Boxes,
    mut image: Pictured<'_>,
    sites: &BTreeMap<Site, SiteData>,
    params: &DiscoverParams,
) -> Result<(), Skip> {
    for site in &params.sites {
        // A block that an edit leaves out has no keys.
        let Some(data) = sites.get(site) else { continue };
        let features = patches_of(data, image.layout);
        let gram = |l2| Gram::of(features, data.shape[1], l2).ok_or_else(|| non_finite(*site));
        let label = site.to_string();
        let mut cosines = None;
        for (l2, biases) in params.sweeps() {
            let gram = gram(l2)?;
            for &bias in biases {
                let found = gram.discover(image.layout.grid_w, bias as f32, params.k_patches as usize);
                let Some(found) = found else { continue };
                rows(t, &mut image, (&label, l2, bias), &found);
            }
            cosines = l2.then_some(gram);
        }
        let Some(tau) = params.tokencut_tau else { continue };
        let cosines = cosines.map_or_else(|| gram(true), Ok)?;
        if let Some(found) = cosines.cut(image.layout.grid_w, tau as f32) {
            rows(t, &mut image, (&format!("{label}{CUT}"), true, 0.0), &found);
        }
    }
    Ok(())
}

/// What follows the name of the site where a box is `TokenCut`'s.
pub(super) const CUT: &str = "+tokencut";

/// Site or method, whether features were divided by their lengths, bias.
type Kind<'a> = (&'a str, bool, f64);

/// The box of one discovery, if there is one, and its maps.
fn rows(t: &mut Boxes, image: &mut Pictured<'_>, kind: Kind<'_>, found: &Discovery) {
    if let Some(area) = found.area {
        put(t, image, kind, found, area);
    }
    map(image, kind, "lost_degree", found);
    map(image, kind, "lost_expansion", found);
}

fn put(t: &mut Boxes, image: &Pictured<'_>, (site, l2, bias): Kind<'_>, found: &Discovery, area: PatchBox) {
    let px = |patches: usize| patches * image.patch_px;
    let (height, width) = image.size_px;
    t.image.push(image.index as u32);
    t.site.push(site.into());
    t.l2.push(l2);
    t.bias.push(bias);
    t.seed.push(found.seed as u32);
    t.degree.push(found.degrees[found.seed]);
    t.similar.push(found.similar as u32);
    t.x0.push(px(area.x0) as f32);
    t.y0.push(px(area.y0) as f32);
    // The upper ends alone are cut at the image, as the reference does.
    t.x1.push(px(area.x1).min(width) as f32);
    t.y1.push(px(area.y1).min(height) as f32);
}

fn map(image: &mut Pictured<'_>, (site, l2, bias): Kind<'_>, quantity: &str, found: &Discovery) {
    let Some(t) = image.maps.as_deref_mut() else { return };
    t.image.push(image.index as u32);
    t.quantity.push(quantity.into());
    t.site.push(site.into());
    t.of.push(if l2 { "l2" } else { "raw" }.into());
    t.part.push(bias.to_string().into());
    t.patch.push(Some(found.seed as u32));
    t.grid_h.push(image.layout.grid_h as u16);
    t.grid_w.push(image.layout.grid_w as u16);
    t.share_frac.push(None);
    t.cells.push(match quantity {
        "lost_degree" => found.degrees.iter().map(|&d| d as f32).collect(),
        _ => found.expansion.iter().map(|&m| m as f32).collect(),
    });
}

/// The boxes that are known of an image.
pub(super) fn annotated(t: &mut Objects, index: usize, truth: Truth) {
    for object in truth.boxes {
        t.image.push(index as u32);
        t.class.push(object.class.unwrap_or_default().into());
        t.x0.push(object.area.x0 as f32);
        t.y0.push(object.area.y0 as f32);
        t.x1.push(object.area.x1 as f32);
        t.y1.push(object.area.y1 as f32);
        t.difficult.push(object.difficult);
        t.truncated.push(object.truncated);
        t.crowd.push(object.crowd);
    }
}
