//! Whole-image vectors: CLS and the mean of the patches (registers excluded) at chosen sites.
//!
//! DINOv2's linear evaluation reads CLS of the last n blocks through the final norm (`docs/protocols/linear_eval.md`); the logistic
//! evaluation reads `final` alone (§4.7); the study reads the last block before the norm (§4.8).

use vit::{FinalNorm, Layout, Request, SiteData};

use super::{Rows, Tap, View};
use crate::params::{ExtractParams, PoolSite};

struct PooledTap {
    sites: Vec<PoolSite>,
}

pub(super) fn tap(params: &ExtractParams) -> Option<Box<dyn Tap>> {
    (!params.pooled.is_empty()).then(|| Box::new(PooledTap { sites: params.pooled.clone() }) as _)
}

impl Tap for PooledTap {
    fn request(&self, _: Layout, want: &mut Request) {
        for pool in &self.sites {
            want.full.insert(pool.site);
        }
    }

    fn rows(&self, view: &View<'_>, rows: &mut Rows) {
        let prefix = view.layout().prefix();
        let t = &mut rows.pooled;
        for pool in &self.sites {
            let Some(data) = view.trace.full.get(&pool.site) else { continue };
            let label: schemas::Name = pool.label().into();
            for (what, vector) in vectors(data, prefix, pool.normed.then_some(view.final_norm)) {
                t.image.push(view.index as u32);
                t.site.push(label.clone());
                t.pool.push(what.into());
                t.vector.push(&vector);
            }
        }
    }
}

/// CLS and the mean patch, each token through the norm if there is one.
pub(crate) fn vectors(data: &SiteData, prefix: usize, norm: Option<&FinalNorm>) -> [(&'static str, Vec<f32>); 2] {
    let normed = |token: &[f32]| norm.map_or_else(|| token.to_vec(), |norm| norm.apply(token));
    [("cls", normed(data.row(0))), ("mean_patch", mean_patch(data, prefix, normed))]
}

/// Mean over the patches of `norm(token)`, `[D]`.
pub(super) fn mean_patch(data: &SiteData, prefix: usize, norm: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
    let (n, d) = (data.shape[0], data.shape[1]);
    let mut sum = vec![0.0f64; d];
    for token in prefix..n {
        for (s, x) in sum.iter_mut().zip(norm(data.row(token))) {
            *s += f64::from(x);
        }
    }
    sum.into_iter().map(|s| (s / (n - prefix) as f64) as f32).collect()
}
