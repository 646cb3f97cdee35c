//! Figures 5 and 20 of the study: are the patches of the largest norm those that `[CLS]` attends to most?
//!
//! Drawn on the norm map: the n patches of the largest norm and the n of the largest attention, n = 5 % of the patches, as
//! in the study. By chance n²/N of them would coincide. Protocol: `docs/protocols/correspondence.md`.

use super::portraits::{self, Family, Map, Portrait};
use super::shade::Shade;
use super::sheet::{self, Block, Tile};
use super::{Figure, rasters};
use crate::error::ReportError;
use crate::models::base;
use crate::tables::{Context, Measured};

/// Names that ask for it.
pub const NAMES: &[&str] = &["correspondence", "study_fig5", "study_fig20"];

/// Share of the patches on each side.
const TOP_FRAC: f64 = 0.05;
/// Frame of a patch among the largest norms.
const BY_NORM: [u8; 3] = [0xff, 0x2d, 0x55];
/// Frame of a patch among the largest attentions.
const BY_ATTENTION: [u8; 3] = [0xff, 0xff, 0xff];

/// How many of the largest norms are also among the largest attentions.
#[derive(Debug, Clone, PartialEq)]
struct Overlap {
    by_norm: Vec<usize>,
    by_attention: Vec<usize>,
    /// Patches in both.
    both: usize,
    /// Share of n that chance would put in both, n/N.
    chance_frac: f64,
}

impl Overlap {
    fn of(norm: &Map, attention: &Map) -> Option<Self> {
        let all = norm.values.len();
        if norm.grid != attention.grid || all == 0 {
            return None;
        }
        let n = ((TOP_FRAC * all as f64).round() as usize).max(1);
        let (by_norm, by_attention) = (norm.top(n), attention.top(n));
        let both = by_norm.iter().filter(|patch| by_attention.contains(patch)).count();
        Some(Self { both, chance_frac: n as f64 / all as f64, by_norm, by_attention })
    }

    fn frac(&self) -> f64 {
        self.both as f64 / self.by_norm.len() as f64
    }
}

/// Draws the figure; none without norm and attention maps of one grid.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let wanted = |m: &Measured, map: &Map| {
        map.is("attention", "cls", "mean") || (map.quantity == "norm" && map.site == m.subject.site)
    };
    let mut groups = portraits::families("correspondence", context, wanted)?;
    portraits::retain(&mut groups, |m, all| all.iter().any(|p| overlap(m, p).is_some()));
    if groups.is_empty() {
        return Ok(None);
    }
    let mut data = portraits::data();
    let mut sentences = Vec::new();
    for (m, all) in groups.iter().flatten().flatten() {
        for portrait in all {
            let maps = [portrait.norm(&m.subject.site), portrait.attention("cls")];
            maps.into_iter().flatten().for_each(|map| portraits::put(&mut data, m.subject, portrait, map));
        }
        let found: Vec<Overlap> = all.iter().filter_map(|p| overlap(m, p)).collect();
        let mean = |of: fn(&Overlap) -> f64| 100.0 * found.iter().map(of).sum::<f64>() / found.len().max(1) as f64;
        sentences.push(format!(
            "{} on {}: {:.0} % coincide, {:.0} % by chance",
            m.subject.model,
            m.subject.dataset,
            mean(Overlap::frac),
            mean(|o| o.chance_frac)
        ));
    }
    let blocks: Vec<Block> = groups.iter().map(block).collect();
    let sheet = sheet::draw("correspondence", "Patches of large norm and of large attention", &blocks)?;
    Ok(Some(Figure {
        id: "correspondence",
        title: "Large norms and large attention (after Figures 5 and 20 of the reproducibility study)".to_owned(),
        caption: format!(
            "Norms of the patches; framed in red the 5 % of the largest norm, in white (within) the 5 % that [CLS] attends \
             to most, mean over heads, both at the sites in the headings (attention_0 is the first block). Over the pictures shown: {}. The table of the same name has the \
             number over all images.{}",
            sentences.join("; "),
            portraits::changed_words(&groups)
        ),
        protocol: "docs/protocols/correspondence.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

fn overlap(m: &Measured, portrait: &Portrait) -> Option<Overlap> {
    Overlap::of(portrait.norm(&m.subject.site)?, portrait.attention("cls")?)
}

fn block(family: &Family) -> Block {
    let (first, portraits) = &family[0][0];
    let members = portraits::members(family);
    let mut heads = vec![("picture".to_owned(), String::new())];
    heads.extend(members.iter().map(|(variant, m, all)| {
        let attention = all.iter().find_map(|p| p.attention("cls")).map_or("", |map| &map.site);
        (variant.clone(), format!("{}, {attention}", m.subject.site))
    }));
    let rows = portraits.iter().map(|portrait| {
        let cell = |(_, m, all): &portraits::Member| tile(m, portraits::same(all, portrait.image)?);
        std::iter::once(portrait.photo()).chain(members.iter().map(cell)).collect()
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

fn tile(m: &Measured, portrait: &Portrait) -> Option<Tile> {
    let norm = portrait.norm(&m.subject.site)?;
    let found = overlap(m, portrait)?;
    let (low, high) = norm.range();
    let words = format!("{} of {} in both", found.both, found.by_norm.len());
    let mut tile = norm.tile(Shade::Linear(low, high), words);
    for patch in &found.by_norm {
        rasters::frame(&mut tile.image, norm.grid, *patch, 0, BY_NORM);
    }
    let inset = u32::from(rasters::patch_px(norm.grid.0, norm.grid.1) > 3);
    for patch in &found.by_attention {
        rasters::frame(&mut tile.image, norm.grid, *patch, inset, BY_ATTENTION);
    }
    Some(tile)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn map(values: Vec<f32>) -> Map {
        Map {
            quantity: "norm".into(),
            site: "block_1".into(),
            of: "patch".into(),
            part: String::new(),
            grid: (4, 10),
            share: None,
            values,
        }
    }

    /// Two of 40 patches are 5 %; one of the two largest is shared. Breaks when ranks or the chance are wrong.
    #[test]
    fn overlap_in_closed_form() {
        let norms = map((0_u8..40).map(f32::from).collect());
        let mut attention = vec![0.0; 40];
        attention[39] = 0.5;
        attention[0] = 0.4;
        let found = Overlap::of(&norms, &map(attention)).unwrap();
        assert_eq!((found.by_norm.clone(), found.by_attention.clone()), (vec![39, 38], vec![39, 0]));
        assert_eq!((found.both, found.frac(), found.chance_frac), (1, 0.5, 0.05));
        let other = Map { grid: (5, 8), ..map(vec![0.0; 40]) };
        assert_eq!(Overlap::of(&norms, &other), None);
    }
}
