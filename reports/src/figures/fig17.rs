//! Figure 17 of the paper: the first three principal components of the patches as red, green and blue.
//!
//! Each component is divided by its own standard deviation; −2.3σ is dark, 2.3σ is bright, as the paper's first author
//! has it in later code. Protocol: `docs/protocols/components.md`.

use super::portraits::{self, Map, Portrait};
use super::sheet::{self, Block, Tile};
use super::{Figure, fig20, rasters};
use crate::error::ReportError;
use crate::tables::{Context, Measured};

/// Largest value shown, in standard deviations.
const REACH: f32 = 2.3;

/// Draws the figure; none without three components.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let wanted = |_: &Measured, map: &Map| map.quantity == "component";
    let mut groups = portraits::families("fig17", context, wanted)?;
    portraits::retain(&mut groups, |_, all| {
        all.iter().any(|p| tile(p, "image").or_else(|| tile(p, "joint")).is_some())
    });
    if groups.is_empty() {
        return Ok(None);
    }
    let mut data = portraits::data();
    for (m, portrait) in groups.iter().flatten().flatten().flat_map(|(m, all)| all.iter().map(move |p| (m, p))) {
        portrait.maps.iter().for_each(|map| portraits::put(&mut data, m.subject, portrait, map));
    }
    let blocks: Vec<Block> = groups.iter().map(|family| fig20::block(family, tile)).collect();
    let sheet = sheet::draw("fig17", "Three principal components in colours", &blocks)?;
    Ok(Some(Figure {
        id: "fig17",
        title: "First three principal components of the patches (after Figure 17 of Darcet et al.)".to_owned(),
        caption: format!(
            "The first three principal components of the patch features as red, green and blue, each divided by its \
                  standard deviation and shown from −2.3σ to 2.3σ. Image: a basis of the picture's own patches; joint: \
                  one basis for all pictures. Signs make the skewness positive. Under a map: the share of the variance of \
                  the three.{}",
            portraits::changed_words(&groups)
        ),
        protocol: "docs/protocols/components.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}

/// Three components in colours with their share of the variance.
pub(super) fn tile(portrait: &Portrait, basis: &str) -> Option<Tile> {
    let maps = [portrait.component(basis, 0)?, portrait.component(basis, 1)?, portrait.component(basis, 2)?];
    let (rows, cols) = maps[0].grid;
    if maps.iter().any(|map| map.grid != (rows, cols)) {
        return None;
    }
    let image = rasters::heat(rows, cols, |i| maps.map(|map| bright(map.values[i])));
    let share: Option<f64> = maps.iter().map(|map| map.share).sum();
    let below = share.map_or_else(String::new, |share| format!("{:.1} % of variance", 100.0 * share));
    Some(Tile { image, patches: true, below })
}

fn bright(value: f32) -> u8 {
    (127.5 + 127.5 * (value / REACH).clamp(-1.0, 1.0)).round() as u8
}

#[cfg(test)]
mod tests {
    use super::bright;

    #[test]
    fn brightness_is_even_and_clamped() {
        assert_eq!([bright(-9.0), bright(-2.3), bright(0.0), bright(2.3), bright(9.0)], [0, 0, 128, 255, 255]);
        assert_eq!(bright(f32::NAN), 0);
    }
}
