//! Figure 6 of the study: similarity to the neighbours of the 5 % of the largest norms of each image.
//!
//! As Figure 5a of the paper, with the study's rule for what stands out, which names some patches in any model.
//! Protocol: `docs/protocols/fig5a.md`.

use super::Figure;
use super::fig5a::{Rule, draw};
use crate::error::ReportError;
use crate::tables::Context;

/// Share of the patches of an image.
const TOP_FRAC: f64 = 0.05;

/// Draws the figure; none without cosines.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let Some((svg, data)) = draw(context, Rule::TopFrac(TOP_FRAC))? else { return Ok(None) };
    Ok(Some(Figure {
        id: "study_fig6",
        title: "Similarity to their neighbours of the 5 % of the largest norms (after Figure 6 of the study)".to_owned(),
        caption: "As the figure before it, but outliers are the 5 % of the patches of each image that have the largest norm, \
                  whatever their norm is. The study takes one image and, for DeiT-III, neighbours in flattened order, so \
                  that the end of a row meets the start of the next; the neighbours here are those that the run asked for."
            .to_owned(),
        protocol: "docs/protocols/fig5a.md",
        svg,
        parts: vec![],
        png: None,
        data,
    }))
}
