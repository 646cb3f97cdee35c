//! Figures 1, 2 and 19 of the paper and 2, 15 and 21 of the study: where `[CLS]` looks, without and with registers.
//!
//! A row is a picture. For each model: attention of `[CLS]` in the last block, mean over heads, linear and logarithmic,
//! and the norms of the patches. Protocol: `docs/protocols/attention.md`.

use super::portraits::{self, Map, Portrait, Twins, attention_words};
use super::shade::Shade;
use super::sheet::{self, Block, Tile};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::models::base;
use crate::render::number;
use crate::tables::{Context, Measured, Unit};

/// Names that ask for it. Figure 8 (top) is the same picture for several numbers of registers.
pub const NAMES: &[&str] = &["fig1", "fig2", "fig8", "fig19", "study_fig2", "study_fig15", "study_fig21"];

/// Draws the figure; none without attention maps.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let wanted = |m: &Measured, map: &Map| {
        map.is("attention", "cls", "mean") || (map.quantity == "norm" && map.site == m.subject.site)
    };
    let mut groups = portraits::twins("fig1", context, wanted)?;
    for twins in &mut groups {
        twins.retain(|(_, all)| all.iter().any(|p| p.attention("cls").is_some()));
    }
    groups.retain(|twins| !twins.is_empty());
    if groups.is_empty() {
        return Ok(None);
    }
    let mut data = portraits::data();
    for (m, portrait) in groups.iter().flatten().flat_map(|(m, all)| all.iter().map(move |p| (m, p))) {
        let maps = [portrait.attention("cls"), portrait.norm(&m.subject.site)];
        maps.into_iter().flatten().for_each(|map| portraits::put(&mut data, m.subject, portrait, map));
    }
    let blocks: Vec<Block> = groups.iter().map(block).collect();
    let sheet = sheet::draw("fig1", "Attention maps of the class token", &blocks)?;
    Ok(Some(Figure {
        id: "fig1",
        title: "Attention of [CLS] without and with registers (after Figures 1, 2 and 19 of Darcet et al.)".to_owned(),
        caption: "Attention that [CLS] pays to each patch in the last block, mean over heads, from 0 to the map's largest \
                  value (linear) and from its smallest to its largest (logarithm of the attention + 1e-6); and the L2 \
                  norm of each patch before the final LayerNorm. Under a map stand its largest value and the share of the \
                  attention that goes to patches rather than to [CLS] and registers. Every map has a scale of its own."
            .to_owned(),
        protocol: "docs/protocols/attention.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

fn block(twins: &Twins) -> Block {
    let (first, portraits) = &twins[0];
    let mut heads = vec![("picture".to_owned(), String::new())];
    for (m, _) in twins {
        let registers = panels::registers(m.subject.registers);
        heads.push(("attention".to_owned(), registers.clone()));
        heads.push(("log attention".to_owned(), registers.clone()));
        heads.push(("norm".to_owned(), registers));
    }
    let rows = portraits.iter().map(|portrait| {
        let mut row = vec![portrait.photo()];
        for (m, all) in twins {
            row.extend(tiles(m, portraits::same(all, portrait.image)));
        }
        row
    });
    Block {
        title: format!("{} on {}", base(&first.subject.model), first.subject.dataset),
        about: first.subject.preprocessing.clone(),
        cell_px: 112.0,
        rows: rows.collect(),
        heads,
        together: 1,
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
            map.tile(Shade::Log(low, high), format!("min {}", number(low, Unit::Share)))
        }),
        norm.map(|map| {
            let (low, high) = map.range();
            let words = format!("{} to {}", number(low, Unit::Share), number(high, Unit::Share));
            map.tile(Shade::Linear(low, high), words)
        }),
    ]
}
