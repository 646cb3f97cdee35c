//! Figure 13 of the paper: the steps of LOST on pictured images, models with and without registers one under another.
//!
//! Protocol: `docs/protocols/table3.md`.

use super::lost::{self, Choice};
use super::portraits;
use super::sheet::{self, Block, Tile};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::models::base;
use crate::tables::table3::is_tokencut;
use crate::tables::{Context, Measured};

/// A subject with what is shown of it: a row of tiles for each pictured image.
type Shown<'a, 'b> = (&'b Measured<'a>, Choice, Vec<(u32, Vec<Option<Tile>>)>);

/// Draws the figure; none without discovered objects.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let mut data = portraits::data();
    let mut blocks = Vec::new();
    for twins in panels::twins(context) {
        let mut found: Vec<Shown> = Vec::new();
        for m in twins {
            let portraits = lost::portraits("fig13", m.subject)?;
            let Some(choice) = lost::choice(m, &portraits, |site| !is_tokencut(site)) else { continue };
            let steps = lost::steps(m.subject, &portraits, &choice)?;
            let objects = lost::objects(m.subject, &portraits)?;
            let mut rows = Vec::new();
            for ((portrait, steps), objects) in portraits.iter().zip(steps).zip(&objects) {
                let Some(steps) = steps else { continue };
                for map in [&steps.degree, &steps.expansion] {
                    portraits::put(&mut data, m.subject, portrait, map);
                }
                let box_tile = steps.box_tile(portrait, objects);
                let row = vec![portrait.photo(), Some(steps.degree_tile()), Some(steps.expansion_tile()), box_tile];
                rows.push((portrait.image, row));
            }
            if !rows.is_empty() {
                found.push((m, choice, rows));
            }
        }
        blocks.extend(block(&found));
    }
    if blocks.is_empty() {
        return Ok(None);
    }
    let sheet = sheet::draw("fig13", "Steps of object discovery", &blocks)?;
    Ok(Some(Figure {
        id: "fig13",
        title: "How LOST finds an object (after Figure 13 of Darcet et al.)".to_owned(),
        caption: "From left to right: the picture; inverse degree, bright where a patch resembles few others, with the seed \
                  framed in red; how much each patch resembles those that the box grows from, above 0 in red, below in blue; \
                  the discovered box in red and the annotated ones in white. Features and bias are those that found most \
                  objects of the dataset."
            .to_owned(),
        protocol: "docs/protocols/table3.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

/// A model's pictures, each through the twins.
fn block(found: &[Shown]) -> Option<Block> {
    let (first, _, pictures) = found.first()?;
    let mut rows = Vec::new();
    for (image, _) in pictures {
        for (m, _, all) in found {
            let Some((_, row)) = all.iter().find(|(other, _)| other == image) else { continue };
            let mut row = row.clone();
            if let (Some(Some(photo)), true) = (row.first_mut(), found.len() > 1) {
                photo.below = panels::registers(m.subject.registers);
            }
            rows.push(row);
        }
    }
    let about = found.iter().map(|(m, choice, _)| {
        let words = lost::words(choice);
        if found.len() > 1 { format!("{}: {words}", panels::registers(m.subject.registers)) } else { words }
    });
    Some(Block {
        title: format!("{} on {}", base(&first.subject.model), first.subject.dataset),
        about: about.collect::<Vec<_>>().join(" · "),
        cell_px: 150.0,
        heads: ["picture", "inverse degree", "expansion", "box"].map(|h| (h.to_owned(), String::new())).to_vec(),
        rows,
        together: found.len(),
        bar: None,
    })
}
