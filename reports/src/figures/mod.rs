//! The papers' figures, drawn from our tables as SVG: what a figure is, and the list of those that exist.

pub mod attention_layers;
pub mod axes;
pub mod bicubic;
pub mod colormap;
pub mod corloc;
pub mod correspondence;
pub mod dense_strip;
pub mod density;
pub mod fig1;
pub mod fig10;
pub mod fig11;
pub mod fig12;
pub mod fig13;
pub mod fig14;
pub mod fig15;
pub mod fig16;
pub mod fig17;
pub mod fig18;
pub mod fig20;
pub mod fig21;
pub mod fig3;
pub mod fig4a;
pub mod fig4c;
pub mod fig5a;
pub mod fig7;
pub mod fig8;
pub mod fig9;
pub mod flops;
pub mod histograms;
mod lost;
pub mod panels;
pub mod portraits;
pub mod pre_post_norm;
pub mod rasters;
pub mod shade;
pub mod sheet;
pub mod strip;
pub mod study_fig6;
pub mod svg;
pub mod threshold;
pub mod training;

use schemas::Frame;

use crate::error::ReportError;
use crate::tables::Context;

/// A figure that a report can have.
pub struct Entry {
    /// Name of its files.
    pub id: &'static str,
    /// Names in `wanted` that ask for it; those of the study are `study_fig2` and so on.
    pub asked_by: &'static [&'static str],
    /// Makes it; none where the subjects have not what it needs.
    pub build: fn(&Context) -> Result<Option<Figure>, ReportError>,
}

/// Every figure, in the order of a report.
pub const FIGURES: &[Entry] = &[
    Entry { id: "strip", asked_by: &["strip"], build: strip::build },
    Entry { id: "fig1", asked_by: fig1::NAMES, build: fig1::build },
    Entry { id: "fig3", asked_by: fig3::NAMES, build: fig3::build },
    Entry { id: "fig4a", asked_by: fig4a::NAMES, build: fig4a::build },
    Entry { id: "fig4c", asked_by: &["fig4c"], build: fig4c::build },
    Entry { id: "fig5a", asked_by: &["fig5a"], build: fig5a::build },
    Entry { id: "study_fig6", asked_by: &["study_fig6"], build: study_fig6::build },
    Entry { id: "fig7", asked_by: &["fig7", "study_fig3"], build: fig7::build },
    Entry { id: "fig8", asked_by: &["fig8"], build: fig8::build },
    Entry { id: "fig9", asked_by: &["fig9", "study_fig8"], build: fig9::build },
    Entry { id: "fig10", asked_by: &["fig10"], build: fig10::build },
    Entry { id: "fig11", asked_by: &["fig11"], build: fig11::build },
    Entry { id: "fig12", asked_by: &["fig12"], build: fig12::build },
    Entry { id: "fig13", asked_by: &["fig13"], build: fig13::build },
    Entry { id: "fig14", asked_by: &["fig14"], build: fig14::build },
    Entry { id: "corloc", asked_by: &["corloc"], build: corloc::build },
    Entry { id: "dense_strip", asked_by: &["dense_strip"], build: dense_strip::build },
    Entry { id: "training", asked_by: &["training"], build: training::build },
    Entry { id: "fig15", asked_by: &["fig15"], build: fig15::build },
    Entry { id: "fig16", asked_by: &["fig16"], build: fig16::build },
    Entry { id: "fig17", asked_by: &["fig17"], build: fig17::build },
    Entry { id: "fig18", asked_by: &["fig18"], build: fig18::build },
    Entry { id: "fig20", asked_by: &["fig20"], build: fig20::build },
    Entry { id: "fig21", asked_by: &["fig21"], build: fig21::build },
    Entry { id: "attention_layers", asked_by: attention_layers::NAMES, build: attention_layers::build },
    Entry { id: "correspondence", asked_by: correspondence::NAMES, build: correspondence::build },
    Entry { id: "pre_post_norm", asked_by: &["pre_post_norm"], build: pre_post_norm::build },
    Entry { id: "threshold", asked_by: &["threshold"], build: threshold::build },
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
    /// The same drawing in several, where it may be longer than a printed page; else empty.
    pub parts: Vec<String>,
    /// Its raster part, where it has one.
    pub png: Option<Vec<u8>>,
    /// The numbers that it shows.
    pub data: Frame,
}
