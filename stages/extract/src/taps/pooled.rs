//! Whole-image vectors: CLS and the mean of the patches (registers excluded) at chosen sites.
//!
//! DINOv2's linear evaluation reads CLS of the last n blocks through the final norm (PROTOCOLS §5.1); the logistic
//! evaluation reads `final` alone (§4.7); the study reads the last block before the norm (§4.8).

use vit::{Layout, Request, SiteData};

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
            let norm = |token: &[f32]| if pool.normed { view.final_norm.apply(token) } else { token.to_vec() };
            let mean = mean_patch(data, prefix, norm);
            let cls = norm(data.row(0));
            for (what, vector) in [("cls", &cls), ("mean_patch", &mean)] {
                t.image.push(view.index as u32);
                t.site.push(label.clone());
                t.pool.push(what.into());
                t.vector.push(vector);
            }
        }
    }
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
