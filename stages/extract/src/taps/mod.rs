//! Taps: each reads one pass of one image and fills the rows of its table. Many taps share one pass.

mod grids;
mod histograms;
pub(crate) mod images;
pub(crate) mod pictures;
pub(crate) mod pooled;
mod sample;
mod stats;
#[cfg(test)]
mod tests;

use datasets::Manifest;
use schemas::tables::{Images, Pictures, Pooled, TokenPixels, TokenStats, TokenVectors};
use vit::{FinalNorm, Layout, Pixels, Request, Trace};

pub(crate) use grids::middle_patch;
pub use grids::{GridSums, Places};
pub use histograms::Histograms;

use crate::params::ExtractParams;
use crate::pipeline::Encoded;
use crate::prepare::{Skip, non_finite};

/// One image as a tap sees it.
pub struct View<'a> {
    /// Index in the dataset.
    pub index: usize,
    /// Parameters of the run.
    pub params: &'a ExtractParams,
    /// Names and labels.
    pub manifest: &'a Manifest,
    /// What the model saw.
    pub pixels: &'a Pixels,
    /// Size before resizing, rows and columns, px.
    pub source_px: (usize, usize),
    /// The pass.
    pub trace: &'a Trace,
    /// The model's final LayerNorm.
    pub final_norm: &'a FinalNorm,
    /// Patches that the policy calls outliers, row-major.
    pub outlier: Vec<bool>,
}

impl<'a> View<'a> {
    /// Checks that every norm is a number, then tells outliers.
    pub fn new(
        params: &'a ExtractParams,
        manifest: &'a Manifest,
        final_norm: &'a FinalNorm,
        cutoff: Option<f32>,
        encoded: &'a Encoded<'a>,
    ) -> Result<Self, Skip> {
        let trace = &encoded.pass;
        for (site, norms) in &trace.norms {
            if !norms.iter().all(|n| n.is_finite()) {
                return Err(non_finite(*site));
            }
        }
        let patches = trace.norms.get(&params.outlier_site).map_or(&[][..], |n| &n[trace.layout.prefix()..]);
        Ok(Self {
            index: encoded.index,
            params,
            manifest,
            pixels: &encoded.prepared.pixels,
            source_px: encoded.prepared.source_px,
            trace,
            final_norm,
            outlier: params.outliers.mark(patches, cutoff),
        })
    }

    /// How the tokens lie.
    pub fn layout(&self) -> Layout {
        self.trace.layout
    }

    /// Norms of all tokens at the site that tells outliers.
    pub fn outlier_norms(&self) -> &[f32] {
        self.trace.norms.get(&self.params.outlier_site).map_or(&[], Vec::as_slice)
    }

    /// Row and column of a patch.
    pub fn cell(&self, patch: usize) -> (u16, u16) {
        let w = self.layout().grid_w;
        ((patch / w) as u16, (patch % w) as u16)
    }

    /// Normalised pixels of a patch, `[3, p, p]`.
    pub fn patch_pixels(&self, patch: usize) -> Vec<f32> {
        let p = self.params.model.patch_px;
        let (row, col) = self.cell(patch);
        let (y0, x0) = (row as usize * p, col as usize * p);
        let (h, w) = (self.pixels.height, self.pixels.width);
        (0..3)
            .flat_map(|c| (0..p).map(move |y| c * h * w + (y0 + y) * w + x0))
            .flat_map(|start| self.pixels.data[start..start + p].iter().copied())
            .collect()
    }
}

/// What the taps make of one image.
#[derive(Default)]
pub struct Rows {
    /// `images`
    pub images: Images,
    /// `token_stats`
    pub token_stats: TokenStats,
    /// `token_vectors`
    pub token_vectors: TokenVectors,
    /// `token_pixels`
    pub token_pixels: TokenPixels,
    /// `pooled`
    pub pooled: Pooled,
    /// `pictures`
    pub pictures: Pictures,
    /// Counts for `norm_histograms`, which has its rows when the shard is over.
    pub histograms: Vec<(histograms::Subject, histograms::Bins)>,
    /// Values for `grids`, which has its rows when the shard is over.
    pub places: Places,
}

/// Something that reads passes.
pub trait Tap: Send + Sync {
    /// Adds what it must see of an image of this layout to what the pass keeps.
    fn request(&self, layout: Layout, want: &mut Request);
    /// Fills its rows.
    fn rows(&self, view: &View<'_>, rows: &mut Rows);
}

/// Makes a tap for a run, or nothing when the run does not ask for it.
type Make = fn(&ExtractParams) -> Option<Box<dyn Tap>>;

/// Every tap.
const TAPS: &[Make] = &[images::tap, stats::tap, histograms::tap, sample::tap, pooled::tap, pictures::tap, grids::tap];

/// The taps of a run.
pub fn taps_of(params: &ExtractParams) -> Vec<Box<dyn Tap>> {
    TAPS.iter().filter_map(|make| make(params)).collect()
}
