//! Figure 21 of the paper: maps of the norms of patches on various images, without and with registers.
//!
//! A column is a model at one site; before and after the final `LayerNorm` stand beside each other where both were kept.
//! Protocol: `docs/protocols/fig3.md`.

use super::Figure;
use super::portraits::{self, Family, Map, Portrait, range};
use super::shade::Shade;
use super::sheet::{self, Block};
use crate::error::ReportError;
use crate::models::base;
use crate::render::number;
use crate::tables::{Context, Measured, Unit};

/// Draws the figure; none without norm maps.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let wanted = |_: &Measured, map: &Map| map.quantity == "norm";
    let groups = portraits::families("fig21", context, wanted)?;
    if groups.is_empty() {
        return Ok(None);
    }
    let mut data = portraits::data();
    for (m, portrait) in groups.iter().flatten().flatten().flat_map(|(m, all)| all.iter().map(move |p| (m, p))) {
        portrait.maps.iter().for_each(|map| portraits::put(&mut data, m.subject, portrait, map));
    }
    let blocks: Vec<Block> = groups.iter().map(block).collect();
    let sheet = sheet::draw("fig21", "Maps of patch norms", &blocks)?;
    Ok(Some(Figure {
        id: "fig21",
        title: "Norms of patches on various images (after Figure 21 of Darcet et al.)".to_owned(),
        caption: format!(
            "L2 norm of each patch token at the site in its column's heading. A column has one scale, given in its \
                  heading; under a map stands its largest norm. Final: after the final LayerNorm, every other site \
                  before it: outliers that stand out before it need not do so after it.{}",
            portraits::changed_words(&groups)
        ),
        protocol: "docs/protocols/fig3.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

fn sites(portraits: &[Portrait]) -> Vec<String> {
    let mut sites: Vec<String> = Vec::new();
    for map in portraits.iter().flat_map(|p| &p.maps) {
        if !sites.contains(&map.site) {
            sites.push(map.site.clone());
        }
    }
    sites
}

fn block(family: &Family) -> Block {
    let (first, portraits) = &family[0][0];
    let members = portraits::members(family);
    let mut heads = vec![("picture".to_owned(), String::new())];
    let mut columns = Vec::new();
    for (i, (variant, _, all)) in members.iter().enumerate() {
        for site in sites(all) {
            let values = all.iter().filter_map(|p| p.norm(&site)).flat_map(|map| &map.values);
            let scale = range(values.map(|v| f64::from(*v)));
            let ends = format!("{} to {}", number(scale.0, Unit::Share), number(scale.1, Unit::Share));
            heads.push((format!("{variant}, {site}"), ends));
            columns.push((i, site, scale));
        }
    }
    let rows = portraits.iter().map(|portrait| {
        let cell = |(i, site, (low, high)): &(usize, String, (f64, f64))| {
            let map = portraits::same(members[*i].2, portrait.image)?.norm(site)?;
            Some(map.tile(Shade::Linear(*low, *high), format!("max {}", number(map.range().1, Unit::Share))))
        };
        std::iter::once(portrait.photo()).chain(columns.iter().map(cell)).collect()
    });
    Block {
        title: format!("{} on {}", base(&first.subject.model), first.subject.dataset),
        about: first.subject.seen_as().to_owned(),
        cell_px: 150.0,
        rows: rows.collect(),
        heads,
        together: 1,
        bar: None,
    }
}
