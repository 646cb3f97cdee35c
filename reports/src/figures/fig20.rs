//! Figure 20 of the paper: the first principal component of the patches of each picture.
//!
//! A component is divided by its standard deviation σ and shown from −3σ to 3σ; its sign makes its skewness positive.
//! Protocol: `docs/protocols/components.md`.

use super::Figure;
use super::portraits::{self, Family, Map, Portrait};
use super::shade::Shade;
use super::sheet::{self, Block, Key, Tile};
use crate::error::ReportError;
use crate::models::base;
use crate::tables::{Context, Measured};

/// Largest value shown, in standard deviations.
const REACH: f64 = 3.0;

/// Draws the figure; none without components.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let wanted = |_: &Measured, map: &Map| map.quantity == "component" && map.part == "0";
    let groups = portraits::families("fig20", context, wanted)?;
    if groups.is_empty() {
        return Ok(None);
    }
    let mut data = portraits::data();
    for (m, portrait) in groups.iter().flatten().flatten().flat_map(|(m, all)| all.iter().map(move |p| (m, p))) {
        portrait.maps.iter().for_each(|map| portraits::put(&mut data, m.subject, portrait, map));
    }
    let mut blocks: Vec<Block> = groups.iter().map(|family| block(family, tile)).collect();
    for block in &mut blocks {
        block.bar = Some(Key::Scale(Shade::Signed(REACH), "standard deviations".to_owned()));
    }
    let sheet = sheet::draw("fig20", "First principal components", &blocks)?;
    Ok(Some(Figure {
        id: "fig20",
        title: "First principal component of the patches (after Figure 20 of Darcet et al.)".to_owned(),
        caption: format!(
            "First principal component of the patch features at the site beside each heading, divided by its \
                  standard deviation; the colours cover −3σ to 3σ, as the paper's do. Image: a basis of the picture's own \
                  patches; joint: one basis for all pictures of the row of models. The sign makes the skewness positive. \
                  Under a map: its share of the variance.{}",
            portraits::changed_words(&groups)
        ),
        protocol: "docs/protocols/components.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

/// A block of pictures and, for each model and basis, what `tile` makes of a portrait; a changed model after its plain one.
pub(super) fn block(family: &Family, tile: impl Fn(&Portrait, &str) -> Option<Tile>) -> Block {
    let (first, portraits) = &family[0][0];
    let members = portraits::members(family);
    let mut heads = vec![("picture".to_owned(), String::new())];
    let mut columns: Vec<(usize, &str)> = Vec::new();
    for (i, (variant, _, all)) in members.iter().enumerate() {
        for basis in ["image", "joint"] {
            let Some(map) = all.iter().find_map(|p| p.component(basis, 0)) else { continue };
            heads.push((variant.clone(), format!("{basis}, {}", map.site)));
            columns.push((i, basis));
        }
    }
    let rows = portraits.iter().map(|portrait| {
        let cell = |(i, basis): &(usize, &str)| {
            portraits::same(members[*i].2, portrait.image).and_then(|portrait| tile(portrait, basis))
        };
        std::iter::once(portrait.photo()).chain(columns.iter().map(cell)).collect()
    });
    Block {
        title: format!("{} on {}", base(&first.subject.model), first.subject.dataset),
        about: first.subject.seen_as().to_owned(),
        cell_px: 126.0,
        rows: rows.collect(),
        heads,
        together: 1,
        bar: None,
    }
}

/// The first component with its share of the variance.
pub(super) fn tile(portrait: &Portrait, basis: &str) -> Option<Tile> {
    let map = portrait.component(basis, 0)?;
    let words = map.share.map_or_else(String::new, |share| format!("{:.1} % of variance", 100.0 * share));
    Some(map.tile(Shade::Signed(REACH), words))
}
