//! Figure 14 of the paper: the seed expansion from keys, queries and values of the last block, and from its output.
//!
//! Each kind of features has the bias that found most objects with it. Protocol: `docs/protocols/table3.md`.

use super::lost;
use super::portraits;
use super::sheet::{self, Block, Tile};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::tables::{Context, Measured};

/// Features with their headings.
const FEATURES: [(&str, &str); 4] =
    [("query", "queries"), ("key", "keys"), ("value", "values"), ("block", "output of the block")];

/// Draws the figure; none without two kinds of features of one model.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut data = portraits::data();
    let mut blocks = Vec::new();
    for m in panels::twins(context).into_iter().flatten() {
        let portraits = lost::portraits("fig14", m.subject)?;
        let last = portraits.iter().flat_map(|p| &p.maps).filter_map(portraits::Map::block).max();
        let mut columns: Vec<(String, String, Vec<Option<Tile>>)> = Vec::new();
        for (kind, heading) in FEATURES {
            let site = last.map(|block| format!("{kind}_{block}")).unwrap_or_default();
            let there = portraits.iter().flat_map(|p| &p.maps).any(|map| map.site == site);
            let choice = if there { lost::choice(m, &portraits, |s| s == site) } else { None };
            let Some(choice) = choice else { continue };
            let steps = lost::steps(m.subject, &portraits, &choice)?;
            for (portrait, steps) in portraits.iter().zip(&steps) {
                if let Some(steps) = steps {
                    portraits::put(&mut data, m.subject, portrait, &steps.expansion);
                }
            }
            let tiles = steps.iter().map(|steps| steps.as_ref().map(lost::Steps::expansion_tile)).collect();
            let lengths = if choice.features == "l2" { "L2, " } else { "" };
            columns.push((heading.to_owned(), format!("{lengths}bias {}", choice.bias), tiles));
        }
        if columns.len() > 1 {
            blocks.push(block(m, &portraits, columns));
        }
    }
    if blocks.is_empty() {
        return Ok(None);
    }
    let sheet = sheet::draw("fig14", "Seed expansion by kind of features", &blocks)?;
    Ok(Some(Figure {
        id: "fig14",
        title: "Seed expansion from queries, keys and values (after Figure 14 of Darcet et al.)".to_owned(),
        caption: "How much each patch resembles those that the box grows from, above 0 in red and below in blue, with the seed \
                  framed, for each kind of features of the last block under the bias that found most objects with it."
            .to_owned(),
        protocol: "docs/protocols/table3.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

fn block(m: &Measured, portraits: &[portraits::Portrait], columns: Vec<(String, String, Vec<Option<Tile>>)>) -> Block {
    let mut rows: Vec<Vec<Option<Tile>>> = portraits.iter().map(|p| vec![p.photo()]).collect();
    let mut heads = vec![("picture".to_owned(), String::new())];
    for (heading, second, tiles) in columns {
        heads.push((heading, second));
        for (row, tile) in rows.iter_mut().zip(tiles) {
            row.push(tile);
        }
    }
    Block {
        title: panels::name(m),
        about: panels::registers(m.subject.registers),
        cell_px: 130.0,
        heads,
        rows,
        together: 1,
        bar: None,
    }
}
