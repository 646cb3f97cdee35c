//! Figure 18 of the paper: attention of `[CLS]` in the last block that was kept, each head apart.
//!
//! Linear from 0 to the largest value of each map; after the heads their mean and, as the study has it, the root of the
//! sum of their squares. Protocol: `docs/protocols/attention.md`.

use super::portraits::{self, Map, Portrait};
use super::shade::{Shade, end};
use super::sheet::{self, Block, Tile};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::tables::{Context, Measured};

/// Pictures shown: a row each has up to 24 heads.
const SHOWN: usize = 3;
/// What is made of all heads: their mean, and the study's root of the sum of squares.
const SUMMARIES: [&str; 2] = ["mean", "l2"];
/// Maps in a line.
const IN_LINE: usize = 8;

/// Draws the figure; none without maps of heads.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let wanted = |_: &Measured, map: &Map| {
        map.quantity == "attention"
            && map.of == "cls"
            && (SUMMARIES.contains(&map.part.as_str()) || head(map).is_some())
    };
    let mut subjects: Vec<(&Measured, Vec<Portrait>)> =
        portraits::twins("fig18", context, wanted)?.into_iter().flatten().collect();
    for (_, all) in &mut subjects {
        all.retain(|portrait| portrait.maps.iter().any(|map| head(map).is_some()));
        all.truncate(SHOWN);
    }
    subjects.retain(|(_, all)| !all.is_empty());
    if subjects.is_empty() {
        return Ok(None);
    }
    let mut data = portraits::data();
    for (m, portrait) in subjects.iter().flat_map(|(m, all)| all.iter().map(move |p| (m, p))) {
        for map in heads(portrait) {
            portraits::put(&mut data, m.subject, portrait, map);
        }
    }
    let blocks: Vec<Block> = subjects.iter().map(|(m, all)| block(m, all)).collect();
    let sheet = sheet::draw("fig18", "Attention maps by head", &blocks)?;
    Ok(Some(Figure {
        id: "fig18",
        title: "Attention of [CLS] by head (after Figure 18 of Darcet et al.)".to_owned(),
        caption: "Attention that [CLS] pays to each patch in the block under each model (attention_0 is the first), one map per \
                  head, each from 0 to its largest value; then the mean over heads, and l2, the root of the sum of squares over heads. Under a map: the head and \
                  the largest value."
            .to_owned(),
        protocol: "docs/protocols/attention.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

fn head(map: &Map) -> Option<usize> {
    map.part.strip_prefix("head_")?.parse().ok()
}

/// The heads of the last block that was kept in order, then what is made of them all.
fn heads(portrait: &Portrait) -> Vec<&Map> {
    let last = portrait.maps.iter().filter_map(Map::block).max();
    let mut maps: Vec<&Map> = portrait.maps.iter().filter(|map| map.block() == last).collect();
    let summary = |map: &Map| SUMMARIES.iter().position(|part| *part == map.part).unwrap_or(0);
    maps.sort_by_key(|map| (head(map).unwrap_or(usize::MAX), summary(map)));
    maps
}

fn block(m: &Measured, portraits: &[Portrait]) -> Block {
    let mut rows: Vec<Vec<Option<Tile>>> = Vec::new();
    for portrait in portraits {
        let tiles: Vec<Tile> = heads(portrait)
            .into_iter()
            .map(|map| {
                let name = head(map).map_or_else(|| map.part.clone(), |h| format!("head {h}"));
                let largest = end(map.range().1);
                map.tile(Shade::Linear(0.0, map.range().1), format!("{name}: {largest}"))
            })
            .collect();
        for (line, tiles) in tiles.chunks(IN_LINE).enumerate() {
            let photo = if line == 0 { portrait.photo() } else { None };
            rows.push(std::iter::once(photo).chain(tiles.iter().cloned().map(Some)).collect());
        }
    }
    Block {
        title: format!("{} on {}", m.subject.model, m.subject.dataset),
        about: format!("{}; {}", panels::registers(m.subject.registers), portraits::sites(m, portraits)),
        cell_px: 112.0,
        rows,
        heads: vec![],
        together: 1,
        bar: None,
    }
}
