//! Figure 11 of the paper: unit gradients sent back through a bicubic resize of a 16 × 16 grid to 7 × 7.
//!
//! The gradient of a place is `g[row]·g[column]`, g the column sums of the resizing matrix. Needs no model. Protocol:
//! `docs/protocols/interpolation.md`.

use schemas::Frame;

use super::bicubic::{Resize, column_sums};
use super::portraits::range;
use super::shade::Shade;
use super::sheet::{self, Block, Key, Tile};
use super::{Figure, rasters};
use crate::error::ReportError;
use crate::tables::Context;

/// Grid of the positions, and of a local crop (98 px of 14 px patches).
const GRIDS: (usize, usize) = (16, 7);

const RULES: [(Resize, &str, &str, &str); 3] = [
    (Resize::Plain, "plain", "no antialiasing", "size given"),
    (Resize::Offset, "offset", "no antialiasing", "factor 7.1/16: DINOv2"),
    (Resize::Antialias, "antialias", "antialiased", "with registers"),
];

/// Draws the figure; always possible.
pub fn build(_: &Context) -> Result<Option<Figure>, ReportError> {
    let mut data = Frame::new(["rule", "row", "col", "gradient", "row_sum", "col_sum"]);
    let mut maps = Vec::new();
    for (resize, rule, _, _) in RULES {
        let sums = column_sums(GRIDS.0, GRIDS.1, resize);
        for (row, a) in sums.iter().enumerate() {
            for (col, b) in sums.iter().enumerate() {
                data.push([
                    rule.into(),
                    (row as u64).into(),
                    (col as u64).into(),
                    (a * b).into(),
                    (*a).into(),
                    (*b).into(),
                ]);
            }
        }
        maps.push(sums.iter().flat_map(|a| sums.iter().map(move |b| a * b)).collect::<Vec<f64>>());
    }
    let (low, high) = range(maps.iter().flatten().copied());
    let shade = Shade::Linear(low, high);
    let tiles = maps.iter().map(|map| {
        let image = rasters::heat(GRIDS.0, GRIDS.0, |place| shade.color(map[place] as f32));
        let (low, high) = range(map.iter().copied());
        Some(Tile { image, patches: true, below: format!("{low:.3} to {high:.3}") })
    });
    let block = Block {
        title: "16 × 16 positions resized to 7 × 7".to_owned(),
        about: "gradient at each position for a gradient of 1 at every output".to_owned(),
        cell_px: 220.0,
        heads: RULES.map(|(_, _, first, second)| (first.to_owned(), second.to_owned())).to_vec(),
        rows: vec![tiles.collect()],
        together: 1,
        bar: Some(Key::Scale(shade, "gradient".to_owned())),
    };
    let sheet = sheet::draw("fig11", "Gradients through bicubic interpolation", &[block])?;
    Ok(Some(Figure {
        id: "fig11",
        title: "Unit gradients through a bicubic resize (after Figure 11 of Darcet et al.)".to_owned(),
        caption: "What each of 16 × 16 learned positions receives when a local crop of 7 × 7 patches sends a gradient of 1 \
                  from every patch. Without antialiasing some rows and columns receive next to nothing or less than \
                  nothing and others almost all: the stripes in which the paper finds outliers. Computed from PyTorch's \
                  formulae; no model is involved."
            .to_owned(),
        protocol: "docs/protocols/interpolation.md",
        svg: sheet.whole,
        parts: sheet.parts,
        png: None,
        data,
    }))
}
