//! Figures 1, 2 and 19 of the paper and 2, 15 and 21 of the study: where `[CLS]` looks, without and with registers.
//!
//! A row is a picture. For each model: attention of `[CLS]` in the last block that was kept, mean over heads, linear and
//! logarithmic, and the norms of the patches; under it the same model changed while it ran. Protocol: `docs/protocols/attention.md`.

use super::portraits::{self, Family, Map, Portrait, attention_words};
use super::shade::{Shade, end};
use super::sheet::{self, Block, Tile};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::models::base;
use crate::render::number;
use crate::tables::{Context, Measured, Unit};

/// Names that ask for it; Figure 8 (top) is the same picture for several numbers of registers.
pub const NAMES: &[&str] = &["fig1", "fig2", "fig19", "study_fig2", "study_fig15", "study_fig21"];

/// Draws the figure; none without attention maps.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let wanted = |m: &Measured, map: &Map| {
        map.is("attention", "cls", "mean") || (map.quantity == "norm" && map.site == m.subject.site)
    };
    let mut groups = portraits::families("fig1", context, wanted)?;
    portraits::retain(&mut groups, |_, all| all.iter().any(|p| p.attention("cls").is_some()));
    if groups.is_empty() {
        return Ok(None);
    }
    let mut data = portraits::data();
    for (m, portrait) in groups.iter().flatten().flatten().flat_map(|(m, all)| all.iter().map(move |p| (m, p))) {
        let maps = [portrait.attention("cls"), portrait.norm(&m.subject.site)];
        maps.into_iter().flatten().for_each(|map| portraits::put(&mut data, m.subject, portrait, map));
    }
    let blocks: Vec<Block> = groups.iter().map(block).collect();
    let sheet = sheet::draw("fig1", "Attention maps of the class token", &blocks)?;
    Ok(Some(Figure {
        id: "fig1",
        title: "Attention of [CLS] without and with registers (after Figures 1, 2 and 19 of Darcet et al.)".to_owned(),
        caption: format!(
            "Attention that [CLS] pays to each patch in the block in the heading (attention_0 is the first), mean over \
             heads, from 0 to the map's largest value (linear) and from its smallest to its largest (logarithm of the \
             attention + 1e-6); and the L2 norm of each patch at the site in the heading. Under a map stand its largest \
             value and the share of the attention that goes to patches rather than to [CLS] and registers. Every map \
             has a scale of its own.{}",
            portraits::changed_words(&groups)
        ),
        protocol: "docs/protocols/attention.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

fn block(family: &Family) -> Block {
    let (first, portraits) = &family[0][0];
    let mut heads = vec![("picture".to_owned(), String::new())];
    for column in family {
        let variant = panels::variant(first.subject, column[0].0.subject);
        heads.extend(["attention", "log attention", "norm"].map(|map| (map.to_owned(), variant.clone())));
    }
    let mut rows = Vec::new();
    for portrait in portraits {
        let mut row = vec![portrait.photo()];
        for column in family {
            let (m, all) = &column[0];
            row.extend(tiles(m, portraits::same(all, portrait.image)));
        }
        rows.push(row);
        for (i, column) in family.iter().enumerate() {
            for (m, all) in &column[1..] {
                let changed = portraits::same(all, portrait.image);
                let below = panels::variant(column[0].0.subject, m.subject);
                let mut row = vec![changed.and_then(Portrait::photo).map(|tile| Tile { below, ..tile })];
                row.extend(std::iter::repeat_n(None, 3 * i));
                row.extend(tiles(m, changed));
                rows.push(row);
            }
        }
    }
    Block {
        title: format!("{} on {}", base(&first.subject.model), first.subject.dataset),
        about: format!("{}; {}", first.subject.seen_as(), portraits::sites(first, portraits)),
        cell_px: 124.0,
        rows,
        heads,
        together: 1 + family.iter().map(|column| column.len() - 1).sum::<usize>(),
        bar: None,
    }
}

/// Attention, its logarithm, and norms.
pub(super) fn tiles(m: &Measured, portrait: Option<&Portrait>) -> [Option<Tile>; 3] {
    let attention = portrait.and_then(|p| p.attention("cls"));
    let norm = portrait.and_then(|p| p.norm(&m.subject.site));
    [
        attention.map(|map| map.tile(Shade::Linear(0.0, map.range().1), attention_words(map))),
        attention.map(|map| {
            let (low, high) = map.range();
            map.tile(Shade::Log(low, high), format!("min {}", end(low)))
        }),
        norm.map(|map| {
            let (low, high) = map.range();
            let words = format!("{} to {}", number(low, Unit::Share), number(high, Unit::Share));
            map.tile(Shade::Linear(low, high), words)
        }),
    ]
}
