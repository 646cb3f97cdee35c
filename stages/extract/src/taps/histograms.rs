//! Histograms of token norms at every site: CLS, each register and patches apart.
//!
//! Log bins: `b = ⌊40·log₁₀ norm⌋`, forty a decade (each 5.9 % wide); linear bins: `b = ⌊norm⌋`. Counts of shards add,
//! so any number of images costs kilobytes. Norms are of block outputs before the final LayerNorm (paper, Fig. 3, 4, 15).

use std::collections::BTreeMap;

use schemas::tables::NormHistograms;
use vit::{Request, Site, TokenKind};

use super::{Rows, Tap, View};
use crate::params::ExtractParams;

/// Log bins per decade.
pub const BINS_PER_DECADE: f32 = 40.0;
/// Norms below this share one log bin; a token of zero length has to lie somewhere.
const SMALLEST: f32 = 1e-6;

struct HistogramTap {
    sites: Vec<Site>,
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of every tap")]
pub(super) fn tap(params: &ExtractParams) -> Option<Box<dyn Tap>> {
    let tokens = |s: &Site| !matches!(s, Site::Attention(_) | Site::ClsAttention(_));
    Some(Box::new(HistogramTap { sites: Site::all(params.model.depth).into_iter().filter(tokens).collect() }))
}

impl Tap for HistogramTap {
    fn request(&self, want: &mut Request) {
        want.norms.extend(&self.sites);
    }

    // The norms travel with the rows; they are counted where the shard's rows meet.
    fn rows(&self, _: &View<'_>, _: &mut Rows) {}
}

/// Counts of one shard.
#[derive(Default)]
pub struct Histograms {
    /// (site, register number or CLS or patch) → bin → tokens, on both scales.
    counts: BTreeMap<(Site, TokenKind, usize), [BTreeMap<i32, u64>; 2]>,
}

impl Histograms {
    /// Adds the tokens of one image.
    pub fn add(&mut self, rows: &Rows) {
        let Some(layout) = rows.layout else { return };
        for (site, norms) in &rows.norms {
            // `patch_embed` has no CLS and no registers.
            let missing = layout.tokens() - norms.len();
            let mut start = 0;
            while start < norms.len() {
                let (kind, index) = layout.kind(start + missing);
                let end = if kind == TokenKind::Patch { norms.len() } else { start + 1 };
                let register = if kind == TokenKind::Register { index } else { 0 };
                let [log, linear] = self.counts.entry((*site, kind, register)).or_default();
                for &norm in &norms[start..end] {
                    *log.entry((norm.max(SMALLEST).log10() * BINS_PER_DECADE).floor() as i32).or_default() += 1;
                    *linear.entry(norm.floor() as i32).or_default() += 1;
                }
                start = end;
            }
        }
    }

    /// The counts as rows.
    pub fn table(&self) -> NormHistograms {
        let mut t = NormHistograms::default();
        for ((site, kind, register), scales) in &self.counts {
            let site: schemas::Name = site.to_string().into();
            let kind: schemas::Name = match kind {
                TokenKind::Cls => "cls".into(),
                TokenKind::Register => format!("register_{register}").into(),
                TokenKind::Patch => "patch".into(),
            };
            for (scale, bins) in ["log", "linear"].into_iter().zip(scales) {
                let scale: schemas::Name = scale.into();
                let edge = |bin: i32| match &*scale {
                    "log" => 10f32.powf(bin as f32 / BINS_PER_DECADE),
                    _ => bin as f32,
                };
                for (&bin, &tokens) in bins {
                    t.site.push(site.clone());
                    t.kind.push(kind.clone());
                    t.scale.push(scale.clone());
                    t.bin.push(bin);
                    t.low.push(edge(bin));
                    t.high.push(edge(bin + 1));
                    t.tokens.push(tokens);
                }
            }
        }
        t
    }
}
