//! Rows of the table `maps`.
//!
//! Attention is what a query pays to patches, not renormalised: `share_frac` says how much of it they get. Over heads it
//! is kept one by one, as the mean, and as the root of the sum of squares, which the study draws for DINO and DINOv2
//! where it says "averaged" (`docs/protocols/attention.md`).

use schemas::tables::Maps;
use vit::{Layout, Site, SiteData};

use super::components::Scores;
use crate::taps::middle_patch;

/// Of which image, on which grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portrait {
    image: u32,
    layout: Layout,
}

impl Portrait {
    /// Of image `index` of the dataset.
    pub fn new(index: usize, layout: Layout) -> Self {
        Self { image: index as u32, layout }
    }
}

/// What a map shows.
struct Kind<'a> {
    quantity: &'a str,
    site: Site,
    of: &'a str,
    part: &'a str,
    patch: Option<usize>,
    share_frac: Option<f64>,
}

fn push(t: &mut Maps, portrait: &Portrait, kind: &Kind<'_>, values: Vec<f32>) {
    t.image.push(portrait.image);
    t.quantity.push(kind.quantity.into());
    t.site.push(kind.site.to_string().into());
    t.of.push(kind.of.into());
    t.part.push(kind.part.into());
    t.patch.push(kind.patch.map(|p| p as u32));
    t.grid_h.push(portrait.layout.grid_h as u16);
    t.grid_w.push(portrait.layout.grid_w as u16);
    t.share_frac.push(kind.share_frac.map(|share| share as f32));
    t.cells.push(values);
}

/// Features of the patches of a site, `[gh·gw, D]`; `patch_embed` holds nothing else.
pub(crate) fn patches_of(data: &SiteData, layout: Layout) -> &[f32] {
    let (tokens, d) = (data.shape[0], data.shape[1]);
    &data.data[(tokens - layout.patches()) * d..]
}

/// Norms of the patches, from those of all tokens of a site.
pub(super) fn norm_map(t: &mut Maps, portrait: &Portrait, site: Site, norms: &[f32]) {
    let patches = norms[norms.len() - portrait.layout.patches()..].to_vec();
    push(t, portrait, &Kind { quantity: "norm", site, of: "patch", part: "", patch: None, share_frac: None }, patches);
}

/// Scores of component `k`.
pub(super) fn component_map(t: &mut Maps, portrait: &Portrait, site: Site, basis: &str, k: usize, scores: Scores) {
    let kind = Kind {
        quantity: "component",
        site,
        of: basis,
        part: &k.to_string(),
        patch: None,
        share_frac: Some(scores.share_frac),
    };
    push(t, portrait, &kind, scores.values);
}

/// Attention of CLS, each register, the middle patch and the patch `outlier`, in this order in `rows` `[heads, Q, N]`.
pub(super) fn attention_maps(t: &mut Maps, portrait: &Portrait, block: u16, rows: &SiteData, outlier: usize) {
    let (layout, site) = (portrait.layout, Site::Attention(block));
    let (heads, queries) = (rows.shape[0], rows.shape[1]);
    let prefix = layout.prefix();
    for q in 0..queries {
        let (of, patch) = match q {
            0 => ("cls".to_owned(), None),
            q if q < prefix => (format!("register_{}", q - 1), None),
            q if q == prefix => ("patch".to_owned(), Some(middle_patch(layout))),
            _ => ("outlier".to_owned(), Some(outlier)),
        };
        let mut mean = vec![0.0f64; layout.patches()];
        let mut squares = mean.clone();
        let mut add = |part: &str, share_frac: Option<f64>, values: Vec<f32>| {
            push(t, portrait, &Kind { quantity: "attention", site, of: &of, part, patch, share_frac }, values);
        };
        for head in 0..heads {
            let row = &rows.row(head * queries + q)[prefix..];
            for ((m, s), &a) in mean.iter_mut().zip(&mut squares).zip(row) {
                *m += f64::from(a) / heads as f64;
                *s += f64::from(a) * f64::from(a);
            }
            add(&format!("head_{head}"), Some(row.iter().map(|&a| f64::from(a)).sum()), row.to_vec());
        }
        add("mean", Some(mean.iter().sum()), mean.iter().map(|&m| m as f32).collect());
        add("l2", None, squares.iter().map(|s| s.sqrt() as f32).collect());
    }
}

#[cfg(test)]
mod tests {
    use schemas::Table as _;

    use super::*;

    /// Breaks when heads and queries are mixed up, when CLS or a register is drawn as a patch, when the mean is a sum, or
    /// when a query has another's name.
    #[test]
    fn attention_is_kept_by_head_as_mean_and_as_length() {
        // One register, 1×2 patches, two heads; rows of CLS, the register, the middle patch (1), the outlier (0).
        let portrait = Portrait::new(7, Layout { registers: 1, grid_h: 1, grid_w: 2 });
        let head = |a: f32| -> Vec<f32> { (0..4).flat_map(|q| [0.5, 0.0, a, 0.1 * q as f32]).collect() };
        let rows = SiteData { shape: vec![2, 4, 4], data: [head(0.3), head(0.4)].concat() };
        let mut t = Maps::default();
        attention_maps(&mut t, &portrait, 11, &rows, 0);
        assert_eq!(t.rows(), 4 * 4);
        assert!(t.image.iter().all(|&i| i == 7) && t.site.iter().all(|s| &**s == "attention_11"));
        let of: Vec<&str> = t.of.iter().step_by(4).map(|of| &**of).collect();
        assert_eq!(of, ["cls", "register_0", "patch", "outlier"]);
        assert_eq!(t.patch.iter().step_by(4).copied().collect::<Vec<_>>(), [None, None, Some(1), Some(0)]);
        let part: Vec<&str> = t.part[8..12].iter().map(|part| &**part).collect();
        assert_eq!(part, ["head_0", "head_1", "mean", "l2"]);
        let close = |found: &[f32], wanted: [f32; 2]| found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 1e-6);
        for (row, wanted, share) in [
            (8, [0.3, 0.2], Some(0.5)),
            (9, [0.4, 0.2], Some(0.6)),
            (10, [0.35, 0.2], Some(0.55)),
            (11, [0.5, 0.08f32.sqrt()], None),
        ] {
            assert!(close(&t.cells[row], wanted), "{:?}", t.cells[row]);
            assert!(t.share_frac[row].zip(share).is_none_or(|(a, b): (f32, f32)| (a - b).abs() < 1e-6));
            assert_eq!(t.share_frac[row].is_some(), share.is_some());
        }
    }

    #[test]
    fn norms_and_features_are_of_patches_at_every_site() {
        let layout = Layout { registers: 1, grid_h: 2, grid_w: 1 };
        let mut t = Maps::default();
        norm_map(&mut t, &Portrait::new(0, layout), Site::Final, &[9.0, 8.0, 1.0, 2.0]);
        norm_map(&mut t, &Portrait::new(0, layout), Site::PatchEmbed, &[3.0, 4.0]);
        assert_eq!(t.cells, [[1.0, 2.0], [3.0, 4.0]]);
        let data = |n: usize| SiteData { shape: vec![n, 1], data: (0..n).map(|i| i as f32).collect() };
        assert_eq!(patches_of(&data(4), layout), [2.0, 3.0]);
        assert_eq!(patches_of(&data(2), layout), [0.0, 1.0]);
    }
}
