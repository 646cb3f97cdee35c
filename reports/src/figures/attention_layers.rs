//! Figures 13, 14, 18 and 19 of the study: how attention changes from block to block.
//!
//! A row is a token (`[CLS]`, a register, a patch, an outlier) of the first picture, a column a block; mean over heads,
//! linear from 0 to the largest value of each map. Protocol: `docs/protocols/attention.md`.

use super::fig9::{kinds, label};
use super::portraits::{self, Map, Portrait};
use super::shade::{Shade, end};
use super::sheet::{self, Block, Tile};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::tables::{Context, Measured};

/// Names that ask for it.
pub const NAMES: &[&str] = &["attention_layers", "study_fig13", "study_fig14", "study_fig18", "study_fig19"];

/// Blocks in a line.
const IN_LINE: usize = 8;

/// Draws the figure; none where fewer than two blocks were kept.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let wanted = |_: &Measured, map: &Map| map.quantity == "attention" && map.part == "mean";
    let mut subjects: Vec<(&Measured, Vec<Portrait>)> =
        portraits::twins("attention_layers", context, wanted)?.into_iter().flatten().collect();
    for (_, all) in &mut subjects {
        all.retain(|portrait| blocks_of(portrait).len() > 1);
        all.truncate(1);
    }
    subjects.retain(|(_, all)| !all.is_empty());
    if subjects.is_empty() {
        return Ok(None);
    }
    let mut data = portraits::data();
    for (m, portrait) in subjects.iter().flat_map(|(m, all)| all.iter().map(move |p| (m, p))) {
        portrait.maps.iter().for_each(|map| portraits::put(&mut data, m.subject, portrait, map));
    }
    let blocks: Vec<Block> = subjects.iter().flat_map(|(m, all)| all.iter().map(|p| block(m, p))).collect();
    let sheet = sheet::draw("attention_layers", "Attention maps by block", &blocks)?;
    Ok(Some(Figure {
        id: "attention_layers",
        title: "Attention from block to block (after Figures 18 and 19 of the reproducibility study)".to_owned(),
        caption:
            "Attention that a token pays to the patches in each block that was kept, mean over heads, from 0 to the \
                  map's largest value; blocks are counted from 0. Patch: the middle one; outlier: the patch of the \
                  largest norm. Under a map: block and largest value."
                .to_owned(),
        protocol: "docs/protocols/attention.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

fn blocks_of(portrait: &Portrait) -> Vec<usize> {
    let mut blocks: Vec<usize> = portrait.maps.iter().filter_map(Map::block).collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks
}

fn block(m: &Measured, portrait: &Portrait) -> Block {
    let mut rows: Vec<Vec<Option<Tile>>> = vec![vec![portrait.photo()]];
    for kind in kinds(std::iter::once(portrait)) {
        let mut maps: Vec<&Map> = portrait.maps.iter().filter(|map| map.of == kind).collect();
        maps.sort_by_key(|map| map.block());
        let tiles = maps.iter().map(|map| {
            let at = map.block().map_or_else(|| map.site.clone(), |b| format!("block {b}"));
            let words = format!("{at}: {}", end(map.range().1));
            (map.tile(Shade::Linear(0.0, map.range().1), words), kind.as_str())
        });
        let tiles: Vec<(Tile, &str)> = tiles.collect();
        for line in tiles.chunks(IN_LINE) {
            rows.push(line.iter().map(|(tile, _)| Some(tile.clone())).collect());
        }
    }
    let named: Vec<String> = kinds(std::iter::once(portrait)).iter().map(|kind| label(kind)).collect();
    Block {
        title: format!("{} on {}", m.subject.model, m.subject.dataset),
        about: format!("{}; from top to bottom: {}", panels::registers(m.subject.registers), named.join(", ")),
        cell_px: 112.0,
        rows,
        heads: vec![],
        together: 1,
        bar: None,
    }
}
