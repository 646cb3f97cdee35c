//! One narrow row per token at the chosen sites.
//!
//! - Neighbour cosine: mean of cos(x, y) over the 2 to 4 patches y that share an edge with x, at `patch_embed` and at
//!   `with_position`. The paper's Fig. 5a says "right after the patch embedding layer" and leaves positions open; the
//!   study's code has no positions. Both are written. The study's DeiT-III program wraps around instead: every patch has
//!   four neighbours in the flattened grid, of which those beyond a border lie elsewhere; a switch.
//! - CLS attention: softmax weight of the last block from CLS to the token, mean over heads.
//! - Pixel variance: of (R+G+B)/3 in [0, 1] units over the patch. Low: a redundant patch.

use vit::{Layout, Request, Site, SiteData, TokenKind};

use super::{Rows, Tap, View};
use crate::params::ExtractParams;

struct StatsTap {
    sites: Vec<Site>,
    attention: Site,
}

pub(super) fn tap(params: &ExtractParams) -> Option<Box<dyn Tap>> {
    let attention = Site::ClsAttention(params.model.depth as u16 - 1);
    (!params.stats_sites.is_empty()).then(|| Box::new(StatsTap { sites: params.stats_sites.clone(), attention }) as _)
}

impl Tap for StatsTap {
    fn request(&self, _: Layout, want: &mut Request) {
        want.norms.extend(&self.sites);
        want.full.extend([Site::PatchEmbed, Site::WithPosition, self.attention]);
    }

    fn rows(&self, view: &View<'_>, rows: &mut Rows) {
        let layout = view.layout();
        let cosine = |site: Site, skip: usize| {
            let grid = (layout.grid_h, layout.grid_w);
            view.trace.full.get(&site).map(|s| neighbour_cosine(s, skip, grid, view.params.wrapped_neighbours))
        };
        let plain = cosine(Site::PatchEmbed, 0);
        let positioned = cosine(Site::WithPosition, layout.prefix());
        let attention = view.trace.full.get(&self.attention).map(mean_over_heads);
        let variance: Vec<f32> = (0..layout.patches()).map(|p| pixel_variance(view, p)).collect();
        let names: [schemas::Name; 3] = ["cls".into(), "register".into(), "patch".into()];
        let t = &mut rows.token_stats;
        for site in &self.sites {
            let name: schemas::Name = site.to_string().into();
            let Some(norms) = view.trace.norms.get(site) else { continue };
            let missing = layout.tokens() - norms.len();
            for (i, &norm) in norms.iter().enumerate() {
                let n = i + missing;
                let (kind, index) = layout.kind(n);
                let patch = (kind == TokenKind::Patch).then_some(index);
                let cell = patch.map(|p| view.cell(p));
                t.image.push(view.index as u32);
                t.site.push(name.clone());
                t.kind.push(names[kind as usize].clone());
                t.index.push(index as u16);
                t.row.push(cell.map(|c| c.0));
                t.col.push(cell.map(|c| c.1));
                t.norm.push(norm);
                t.outlier.push(patch.is_some_and(|p| view.outlier[p]));
                t.neighbour_cosine.push(patch.and_then(|p| plain.as_ref().map(|c| c[p])));
                t.neighbour_cosine_position.push(patch.and_then(|p| positioned.as_ref().map(|c| c[p])));
                t.cls_attention.push(attention.as_ref().map(|a| a[n]));
                t.pixel_variance.push(patch.map(|p| variance[p]));
            }
        }
    }
}

/// Mean cosine of each patch to its existing neighbours; `site` is `[skip + gh·gw, D]`. A lone patch has cosine 1.
pub(super) fn neighbour_cosine(
    site: &SiteData,
    skip: usize,
    (grid_h, grid_w): (usize, usize),
    wrapped: bool,
) -> Vec<f32> {
    let patches = grid_h * grid_w;
    let row = |p: usize| site.row(skip + p);
    let norm: Vec<f64> = (0..patches).map(|p| dot(row(p), row(p)).sqrt().max(1e-12)).collect();
    let mut sum = vec![0.0; patches];
    let mut count = vec![0u8; patches];
    for p in 0..patches {
        let right = (wrapped || p % grid_w + 1 < grid_w).then_some((p + 1) % patches);
        let below = (wrapped || p + grid_w < patches).then_some((p + grid_w) % patches);
        for q in [right, below].into_iter().flatten() {
            let cosine = dot(row(p), row(q)) / (norm[p] * norm[q]);
            for i in [p, q] {
                sum[i] += cosine;
                count[i] += 1;
            }
        }
    }
    sum.iter().zip(&count).map(|(&s, &c)| if c == 0 { 1.0 } else { (s / f64::from(c)) as f32 }).collect()
}

/// Σ aᵢ·bᵢ, products in f32, sums in f64 in eight lanes: one running sum would wait for itself at every term.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (x, y) in a.iter().zip(b) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += f64::from(x * y);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| f64::from(x * y)).sum();
    lanes.iter().sum::<f64>() + rest
}

/// `[heads, N]` → `[N]`
fn mean_over_heads(attention: &SiteData) -> Vec<f32> {
    let (heads, n) = (attention.shape[0], attention.shape[1]);
    (0..n).map(|i| (0..heads).map(|h| attention.data[h * n + i]).sum::<f32>() / heads as f32).collect()
}

fn pixel_variance(view: &View<'_>, patch: usize) -> f32 {
    let pixels = view.patch_pixels(patch);
    let n = pixels.len() / 3;
    let (mean, std) = (view.params.preprocess.mean, view.params.preprocess.std);
    let luminance: Vec<f64> =
        (0..n).map(|i| (0..3).map(|c| f64::from(pixels[c * n + i] * std[c] + mean[c])).sum::<f64>() / 3.0).collect();
    let centre = luminance.iter().sum::<f64>() / n as f64;
    (luminance.iter().map(|l| (l - centre).powi(2)).sum::<f64>() / n as f64) as f32
}
