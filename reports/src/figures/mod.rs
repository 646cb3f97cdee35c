//! The paper's figures, drawn from our tables as SVG: what a figure is, and the list of those that exist.

pub mod axes;
pub mod colormap;
pub mod fig15;
pub mod fig3;
pub mod fig7;
pub mod histograms;
pub mod norms_by_block;
pub mod panels;
pub mod svg;

use crate::error::ReportError;
use crate::tables::Context;

/// A figure that a report can have.
pub struct Entry {
    /// Name of its files.
    pub id: &'static str,
    /// Names in `wanted` that ask for it.
    pub asked_by: &'static [&'static str],
    /// Makes it; none where the subjects have not what it needs.
    pub build: fn(&Context) -> Result<Option<Figure>, ReportError>,
}

/// Every figure, in the order of a report.
pub const FIGURES: &[Entry] = &[
    Entry { id: "fig3", asked_by: &["fig3"], build: fig3::build },
    Entry { id: "fig7", asked_by: &["fig7"], build: fig7::build },
    Entry { id: "fig15", asked_by: &["fig15"], build: fig15::build },
    Entry { id: "norms_by_block", asked_by: &["norms_by_block", "norms"], build: norms_by_block::build },
];

/// A figure, ready for any renderer.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Name of its files.
    pub id: &'static str,
    /// Title.
    pub title: String,
    /// What is shown, at which site, in which units.
    pub caption: String,
    /// Page that says how it is made.
    pub protocol: &'static str,
    /// The drawing.
    pub svg: String,
    /// Its raster part, where it has one.
    pub png: Option<Vec<u8>>,
}
