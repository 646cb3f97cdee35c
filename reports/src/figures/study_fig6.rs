//! Figure 6 of the study: similarity to the neighbours of the 5 % of the largest norms of each image.
//!
//! As Figure 5a of the paper, with the study's rule for what stands out, which names some patches in any model.
//! Protocol: `docs/protocols/fig5a.md`.

use super::Figure;
use super::fig5a::{Drawing, Rule, draw};
use crate::error::ReportError;
use crate::tables::Context;
use crate::tables::fig5a::wrapped;

/// Share of the patches of an image.
const TOP_FRAC: f64 = 0.05;

/// Draws the figure; none without cosines.
pub fn build(context: &Context) -> Result<Option<Figure>, ReportError> {
    let Some(Drawing { svg, data, as_run }) = draw(context, Rule::TopFrac(TOP_FRAC))? else { return Ok(None) };
    Ok(Some(Figure {
        id: "study_fig6",
        title: "Similarity to their neighbours of the 5 % of the largest norms (after Figure 6 of the study)"
            .to_owned(),
        caption: format!(
            "As the figure before it, but outliers are the 5 % of the patches of each image that have the largest norm at \
             the site in its heading, whatever their norm is. The study takes one image.{}{}",
            as_run_words(&as_run),
            match wrapped(context) {
                none if none.is_empty() => " Neighbours are those on the grid; its DeiT-III code takes them in \
                                            flattened order."
                    .to_owned(),
                some => some,
            }
        ),
        protocol: "docs/protocols/fig5a.md",
        svg,
        parts: vec![],
        png: None,
        data,
    }))
}

/// A sentence on panels that show nothing new.
fn as_run_words(as_run: &[String]) -> String {
    match as_run {
        [] => String::new(),
        same => format!(
            " Of {} the run's own rule took the very same patches, so that the panel is that of Figure 5a.",
            same.join(" and of ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::as_run_words;

    #[test]
    fn panels_that_repeat_are_named() {
        assert_eq!(as_run_words(&[]), "");
        let words = as_run_words(&["a on b".to_owned(), "c on d".to_owned()]);
        assert!(words.starts_with(" Of a on b and of c on d the run's own rule"), "{words}");
    }
}
