//! Figure 9 of the paper and 8 of the study: attention of `[CLS]` beside that of each register, a patch and an outlier.
//!
//! The last block that was kept, mean over heads, linear from 0 to the largest value of each map. Protocol: `docs/protocols/attention.md`.

use super::portraits::{self, Map, Member, Portrait, Twins, attention_words};
use super::shade::Shade;
use super::sheet::{self, Block, Tile};
use super::{Figure, panels};
use crate::error::ReportError;
use crate::tables::{Context, Measured};

/// Registers shown.
const REGISTERS: usize = 16;

/// Draws the figure; none without attention maps of more than `[CLS]`.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let wanted = |_: &Measured, map: &Map| map.quantity == "attention" && map.part == "mean";
    let mut families = portraits::families("fig9", context, wanted)?;
    portraits::retain(&mut families, |_, all| all.iter().flat_map(|p| &p.maps).any(|map| map.of != "cls"));
    if families.is_empty() {
        return Ok(None);
    }
    let mut data = portraits::data();
    let mut blocks = Vec::new();
    for column in families.iter().flatten() {
        let kinds = kinds(column.iter().flat_map(|(_, all)| all));
        for (m, portrait) in column.iter().flat_map(|(m, all)| all.iter().map(move |p| (m, p))) {
            let maps = kinds.iter().filter_map(|of| portrait.attention(of));
            maps.for_each(|map| portraits::put(&mut data, m.subject, portrait, map));
        }
        blocks.push(block(column, &kinds));
    }
    let sheet = sheet::draw("fig9", "Attention maps by token", &blocks)?;
    Ok(Some(Figure {
        id: "fig9",
        title: "Attention of [CLS], registers and patches (after Figure 9 of Darcet et al.)".to_owned(),
        caption: format!(
            "Attention that the token in each heading pays to the patches, mean over heads, from 0 to the map's \
                  largest value, in the block under each model (attention_0 is the first). Patch: the middle one; outlier: the patch of the largest norm. Under a map: its \
                  largest value and the share of the attention that goes to patches.{}",
            portraits::changed_words(&families)
        ),
        protocol: "docs/protocols/attention.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

/// Whose attention there is: CLS, registers in order, the middle patch, the outlier.
pub(super) fn kinds<'p>(portraits: impl Iterator<Item = &'p Portrait>) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for map in portraits.flat_map(|p| &p.maps) {
        if !kinds.contains(&map.of) {
            kinds.push(map.of.clone());
        }
    }
    kinds.sort_by_key(|kind| rank(kind));
    kinds.retain(|kind| rank(kind).0 != 1 || rank(kind).1 < REGISTERS);
    kinds
}

/// The order in which tokens are shown.
pub(super) fn rank(kind: &str) -> (usize, usize) {
    let register = kind.strip_prefix("register_").map(|n| n.parse().unwrap_or(usize::MAX));
    match (kind, register) {
        ("cls", _) => (0, 0),
        (_, Some(index)) => (1, index),
        ("patch", _) => (2, 0),
        _ => (3, 0),
    }
}

/// How a token is called in a heading.
pub(super) fn label(kind: &str) -> String {
    match kind {
        "cls" => "[CLS]".to_owned(),
        other => other.replace('_', " "),
    }
}

/// A model with the same weights changed while they ran: under each picture of the plain one those of the others.
fn block(column: &Twins, kinds: &[String]) -> Block {
    let (m, portraits) = &column[0];
    let members = portraits::members_of(column);
    let mut heads = vec![("picture".to_owned(), String::new())];
    heads.extend(kinds.iter().map(|kind| (label(kind), String::new())));
    let row = |(variant, _, all): &Member, image: u32| {
        let portrait = portraits::same(all, image)?;
        let cell = |kind: &String| {
            let map = portrait.attention(kind)?;
            Some(map.tile(Shade::Linear(0.0, map.range().1), attention_words(map)))
        };
        let photo = portrait.photo().map(|tile| match members.len() {
            1 => tile,
            _ => Tile { below: variant.clone(), ..tile },
        });
        Some(std::iter::once(photo).chain(kinds.iter().map(cell)).collect::<Vec<_>>())
    };
    let rows = portraits.iter().flat_map(|portrait| members.iter().filter_map(|one| row(one, portrait.image)));
    Block {
        title: format!("{} on {}", m.subject.model, m.subject.dataset),
        about: format!("{}; {}", panels::registers(m.subject.registers), portraits::sites(m, portraits)),
        cell_px: 124.0,
        rows: rows.collect(),
        heads,
        together: members.len(),
        bar: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_in_the_order_of_their_numbers() {
        let mut kinds = ["outlier", "register_10", "patch", "register_9", "cls"];
        kinds.sort_by_key(|kind| rank(kind));
        assert_eq!(kinds, ["cls", "register_9", "register_10", "patch", "outlier"]);
    }
}
