//! Vectors of sampled tokens: CLS and registers of every image; per draw one random outlier and one random normal patch.
//!
//! "For each image in a classification dataset … we choose a single token at random, either high-norm or normal" (paper,
//! §2.1). Each draw is independent, so the spread over draws is the standard deviation of Table 6. An image without
//! outliers has no outlier row; the probes count such images. `every_patch` keeps all patches instead, each once: the
//! probes of place and pixels then learn from all of an image, at the size of all of it.

use vit::{Layout, Request, Site};

use super::{Rows, Tap, View};
use crate::params::ExtractParams;
use crate::random::{Purpose, choose};

struct SampleTap {
    sites: Vec<Site>,
    draws: u16,
    every_patch: bool,
    seed: u64,
}

pub(super) fn tap(params: &ExtractParams) -> Option<Box<dyn Tap>> {
    let &ExtractParams { draws, every_patch, seed, .. } = params;
    let sites = params.vector_sites.clone();
    (!sites.is_empty()).then(|| Box::new(SampleTap { sites, draws, every_patch, seed }) as _)
}

struct Sample {
    kind: &'static str,
    index: usize,
    token: usize,
    cell: Option<(u16, u16)>,
    draw: u16,
}

impl SampleTap {
    fn samples(&self, view: &View<'_>) -> Vec<Sample> {
        let layout = view.layout();
        let prefix = |kind, index, token| Sample { kind, index, token, cell: None, draw: 0 };
        let mut samples = vec![prefix("cls", 0, 0)];
        samples.extend((0..layout.registers).map(|r| prefix("register", r, 1 + r)));
        for (kind, purpose, wanted) in [("normal", Purpose::Normal, false), ("outlier", Purpose::Outlier, true)] {
            let patches: Vec<usize> = (0..layout.patches()).filter(|&p| view.outlier[p] == wanted).collect();
            if patches.is_empty() {
                continue;
            }
            let draws = if self.every_patch { patches.len() as u16 } else { self.draws };
            for draw in 0..draws {
                let drawn = || choose(self.seed, view.index as u64, u64::from(draw), purpose, patches.len());
                let index = patches[if self.every_patch { usize::from(draw) } else { drawn() }];
                samples.push(Sample {
                    kind,
                    index,
                    token: layout.prefix() + index,
                    cell: Some(view.cell(index)),
                    draw,
                });
            }
        }
        samples
    }
}

impl Tap for SampleTap {
    fn request(&self, _: Layout, want: &mut Request) {
        want.full.extend(&self.sites);
    }

    fn rows(&self, view: &View<'_>, rows: &mut Rows) {
        let samples = self.samples(view);
        let norms = view.outlier_norms();
        let t = &mut rows.token_vectors;
        for site in &self.sites {
            let Some(data) = view.trace.full.get(site) else { continue };
            let name: schemas::Name = site.to_string().into();
            for s in &samples {
                t.image.push(view.index as u32);
                t.site.push(name.clone());
                t.kind.push(s.kind.into());
                t.index.push(s.index as u16);
                t.row.push(s.cell.map(|c| c.0));
                t.col.push(s.cell.map(|c| c.1));
                t.draw.push(s.draw);
                t.norm.push(norms[s.token]);
                t.vector.push(data.row(s.token));
            }
        }
        for s in samples.iter().filter(|s| s.cell.is_some()) {
            let t = &mut rows.token_pixels;
            t.image.push(view.index as u32);
            t.kind.push(s.kind.into());
            t.index.push(s.index as u16);
            t.draw.push(s.draw);
            t.pixels.push(&view.patch_pixels(s.index));
        }
    }
}
