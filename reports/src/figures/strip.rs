//! The image strip: for each picture and model the photograph, norms, attention, first component and three components
//! side by side; under a model its twins, and the same weights changed while they ran. Protocol: `docs/protocols/attention.md`.

use super::portraits::{self, Family, Map, Portrait};
use super::sheet::{self, Block, Tile};
use super::{Figure, fig1, fig17, fig20, panels};
use crate::error::ReportError;
use crate::models::base;
use crate::tables::{Context, Measured};

/// Draws the strip; none without maps.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let wanted = |m: &Measured, map: &Map| match map.quantity.as_str() {
        "norm" => map.site == m.subject.site,
        "attention" => map.of == "cls" && map.part == "mean",
        _ => true,
    };
    let groups = portraits::families("strip", context, wanted)?;
    if groups.is_empty() {
        return Ok(None);
    }
    let mut data = portraits::data();
    for (m, portrait) in groups.iter().flatten().flatten().flat_map(|(m, all)| all.iter().map(move |p| (m, p))) {
        let basis = basis(portrait);
        let maps = [portrait.norm(&m.subject.site), portrait.attention("cls")];
        let components = (0..3).map(|i| portrait.component(basis, i));
        maps.into_iter()
            .chain(components)
            .flatten()
            .for_each(|map| portraits::put(&mut data, m.subject, portrait, map));
    }
    let blocks: Vec<Block> = groups.iter().map(block).collect();
    let sheet = sheet::draw("strip", "Pictures with maps of norms, attention and components", &blocks)?;
    Ok(Some(Figure {
        id: "strip",
        title: "Every picture through every model".to_owned(),
        caption: format!(
            "From left to right: the picture as the model saw it; L2 norms of its patches; attention of [CLS], mean over \
             heads, linear from 0 and logarithmic; the first principal component of its patches, divided by its standard \
             deviation, from −3σ (blue) over 0 (white) to 3σ (red); the first three components as red, green and blue \
             from −2.3σ to 2.3σ. The heading has the sites (attention_0 is the first block). Norms and attention have a \
             scale of their own in each map.{}",
            portraits::changed_words(&groups)
        ),
        protocol: "docs/protocols/attention.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

/// A basis of the picture's own patches shows more of it than one shared by all.
fn basis(portrait: &Portrait) -> &'static str {
    if portrait.component("image", 0).is_some() { "image" } else { "joint" }
}

fn block(family: &Family) -> Block {
    let (first, portraits) = &family[0][0];
    let members = family.iter().map(Vec::len).sum();
    let heads = ["picture", "norm", "attention", "log attention", "1st component", "3 components"];
    let mut rows: Vec<Vec<Option<Tile>>> = Vec::new();
    for portrait in portraits {
        for (plain, (m, all)) in family.iter().flat_map(|column| column.iter().map(|one| (column[0].0, one))) {
            let Some(portrait) = portraits::same(all, portrait.image) else { continue };
            let [attention, log, norm] = fig1::tiles(m, Some(portrait));
            let basis = basis(portrait);
            let photo = portrait.photo().map(|tile| match members {
                1 => tile,
                _ => Tile { below: panels::variant(plain.subject, m.subject), ..tile },
            });
            rows.push(vec![photo, norm, attention, log, fig20::tile(portrait, basis), fig17::tile(portrait, basis)]);
        }
    }
    Block {
        title: format!("{} on {}", base(&first.subject.model), first.subject.dataset),
        about: format!("{}; {}", first.subject.seen_as(), portraits::sites(first, portraits)),
        cell_px: 126.0,
        heads: heads.map(|head| (head.to_owned(), String::new())).to_vec(),
        rows,
        together: members,
        bar: None,
    }
}
