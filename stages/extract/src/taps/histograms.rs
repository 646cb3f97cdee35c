//! Histograms of token norms at every site: CLS, each register and patches apart.
//!
//! Log bins: `b = ⌊40·log₁₀ norm⌋`, forty a decade (each 5.9 % wide); linear bins: `b = ⌊norm⌋`. Counts of shards add,
//! so any number of images costs kilobytes. Norms are of block outputs before the final LayerNorm (paper, Fig. 3, 4, 15).

use std::collections::BTreeMap;

use schemas::tables::NormHistograms;
use vit::{Layout, Request, Site, TokenKind};

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
    let sites = Site::all(params.model.depth).into_iter().filter(|site| site.has_tokens()).collect();
    Some(Box::new(HistogramTap { sites }))
}

impl Tap for HistogramTap {
    fn request(&self, _: Layout, want: &mut Request) {
        want.norms.extend(&self.sites);
    }

    // Counted here, on many threads; the one that writes adds a count per bin instead of one per token.
    fn rows(&self, view: &View<'_>, rows: &mut Rows) {
        let layout = view.layout();
        for (&site, norms) in &view.trace.norms {
            // `patch_embed` has no CLS and no registers.
            let missing = layout.tokens() - norms.len();
            let mut start = 0;
            while start < norms.len() {
                let (kind, index) = layout.kind(start + missing);
                let end = if kind == TokenKind::Patch { norms.len() } else { start + 1 };
                let register = if kind == TokenKind::Register { index } else { 0 };
                rows.histograms.push(((site, kind, register), bins(&norms[start..end])));
                start = end;
            }
        }
    }
}

/// Site, kind, number of the register (else 0).
pub type Subject = (Site, TokenKind, usize);
/// Bins of one image with their counts, log and linear. A bin may come more than once; counts add.
pub type Bins = [Vec<(i32, u32)>; 2];

/// Bins of some norms, as runs in ascending order: as few as there are bins, however far apart they lie.
fn bins(norms: &[f32]) -> Bins {
    let mut norms = norms.to_vec();
    norms.sort_unstable_by(f32::total_cmp);
    let runs = |bin: fn(f32) -> i32| {
        let mut runs: Vec<(i32, u32)> = Vec::new();
        for b in norms.iter().map(|&norm| bin(norm)) {
            match runs.last_mut() {
                Some((last, tokens)) if *last == b => *tokens += 1,
                _ => runs.push((b, 1)),
            }
        }
        runs
    };
    [runs(|norm| (norm.max(SMALLEST).log10() * BINS_PER_DECADE).floor() as i32), runs(|norm| norm.floor() as i32)]
}

/// Counts of one shard.
#[derive(Default)]
pub struct Histograms {
    /// Bin → tokens, on both scales.
    counts: BTreeMap<Subject, [BTreeMap<i32, u64>; 2]>,
}

impl Histograms {
    /// Adds the tokens of one image.
    pub fn add(&mut self, image: &[(Subject, Bins)]) {
        for (subject, scales) in image {
            for (counts, bins) in self.counts.entry(*subject).or_default().iter_mut().zip(scales) {
                for &(bin, tokens) in bins {
                    *counts.entry(bin).or_default() += u64::from(tokens);
                }
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
                    t.high.push(edge(bin.saturating_add(1)));
                    t.tokens.push(tokens);
                }
            }
        }
        t
    }
}
