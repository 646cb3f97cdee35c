//! Where things stand on the grid: sums over images of what each place holds.
//!
//! ```text
//! outlier[r, c]   = Σ_images 1 if the policy calls patch (r, c) an outlier
//! norm[r, c]      = Σ_images norm of patch (r, c) at the site that tells outliers
//! attention[r, c] = Σ_images mean over heads of the last block's attention from a token to patch (r, c)
//! ```
//! The tokens are CLS, each register and the patch in the middle (row ⌊gh/2⌋, column ⌊gw/2⌋). Attention is not
//! renormalised: it sums to less than 1 by what goes to CLS and registers.
//!
//! Sums of shards add. Images of one grid share a sum, and a shard keeps [`SHAPES`] of those, the first that it meets, so
//! that memory is bounded for photographs of any size; images of still other grids are left out of this table alone. How
//! many they are is the rows of `images` less the `images` of every grid here, and depends on `shard_images`.
//! Source: paper Fig. 10 (positions of outliers), Fig. 16 (attention averaged over images).

use std::collections::BTreeMap;

use schemas::tables::Grids;
use vit::{Layout, Request, Site, SiteData};

use super::{Rows, Tap, View};
use crate::params::ExtractParams;

/// Grids that a shard sums.
const SHAPES: usize = 64;

struct GridTap {
    attention: Site,
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of every tap")]
pub(super) fn tap(params: &ExtractParams) -> Option<Box<dyn Tap>> {
    Some(Box::new(GridTap { attention: Site::AttentionRows(params.model.depth as u16 - 1) }))
}

impl Tap for GridTap {
    fn request(&self, layout: Layout, want: &mut Request) {
        want.full.insert(self.attention);
        want.queries = (0..layout.prefix()).chain([layout.prefix() + middle_patch(layout)]).collect();
    }

    fn rows(&self, view: &View<'_>, rows: &mut Rows) {
        let layout = view.layout();
        let prefix = layout.prefix();
        let mut series = vec![(Series::Outlier, view.outlier.iter().map(|&o| f32::from(u8::from(o))).collect())];
        if let Some(norms) = view.outlier_norms().get(prefix..) {
            series.push((Series::Norm, norms.to_vec()));
        }
        // A block that an edit leaves out has no attention.
        if let Some(attention) = view.trace.full.get(&self.attention) {
            for query in 0..=prefix {
                let of = match query {
                    0 => Series::Cls,
                    q if q < prefix => Series::Register(q as u16 - 1),
                    _ => Series::Patch,
                };
                series.push((of, mean_over_heads(attention, query, prefix)));
            }
        }
        rows.places = Places { grid: (layout.grid_h as u16, layout.grid_w as u16), series };
    }
}

/// The patch in the middle, row-major.
pub(crate) fn middle_patch(layout: Layout) -> usize {
    layout.grid_h / 2 * layout.grid_w + layout.grid_w / 2
}

/// `[heads, Q, N]` → what query `q` pays to each patch, `[gh·gw]`
fn mean_over_heads(rows: &SiteData, q: usize, prefix: usize) -> Vec<f32> {
    let (heads, queries) = (rows.shape[0], rows.shape[1]);
    let mut mean = vec![0.0; rows.shape[2] - prefix];
    for head in 0..heads {
        for (m, a) in mean.iter_mut().zip(&rows.row(head * queries + q)[prefix..]) {
            *m += a / heads as f32;
        }
    }
    mean
}

/// What is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Series {
    Outlier,
    Norm,
    /// Attention of CLS.
    Cls,
    /// Attention of a register.
    Register(u16),
    /// Attention of the patch in the middle.
    Patch,
}

/// One image at each place of its grid.
#[derive(Debug, Default)]
pub struct Places {
    /// Patch rows and columns.
    grid: (u16, u16),
    /// `[gh·gw]` each
    series: Vec<(Series, Vec<f32>)>,
}

#[cfg(test)]
impl Places {
    /// Norms alone.
    pub fn of(grid: (u16, u16), norms: Vec<f32>) -> Self {
        Self { grid, series: vec![(Series::Norm, norms)] }
    }
}

/// Images summed, and the sums.
type Sum = (u64, Vec<f64>);

/// Sums of one shard.
#[derive(Default)]
pub struct GridSums {
    grids: BTreeMap<(u16, u16), BTreeMap<Series, Sum>>,
}

impl GridSums {
    /// Adds one image.
    pub fn add(&mut self, image: &Places) {
        if image.series.is_empty() || (self.grids.len() >= SHAPES && !self.grids.contains_key(&image.grid)) {
            return;
        }
        let sums = self.grids.entry(image.grid).or_default();
        for (series, values) in &image.series {
            let (images, sum) = sums.entry(*series).or_insert_with(|| (0, vec![0.0; values.len()]));
            *images += 1;
            for (s, &v) in sum.iter_mut().zip(values) {
                *s += f64::from(v);
            }
        }
    }

    /// The sums as rows.
    pub fn table(&self, params: &ExtractParams) -> Grids {
        let mut t = Grids::default();
        let norms: schemas::Name = params.outlier_site.to_string().into();
        let attention: schemas::Name = Site::Attention(params.model.depth as u16 - 1).to_string().into();
        for (&(grid_h, grid_w), sums) in &self.grids {
            for (series, (images, sum)) in sums {
                let (quantity, of): (schemas::Name, schemas::Name) = match series {
                    Series::Outlier => ("outlier".into(), "patch".into()),
                    Series::Norm => ("norm".into(), "patch".into()),
                    Series::Cls => ("attention".into(), "cls".into()),
                    Series::Register(r) => ("attention".into(), format!("register_{r}").into()),
                    Series::Patch => ("attention".into(), "patch".into()),
                };
                let site = if matches!(series, Series::Outlier | Series::Norm) { &norms } else { &attention };
                for (place, &sum) in sum.iter().enumerate() {
                    t.quantity.push(quantity.clone());
                    t.of.push(of.clone());
                    t.site.push(site.clone());
                    t.grid_h.push(grid_h);
                    t.grid_w.push(grid_w);
                    t.row.push((place / usize::from(grid_w)) as u16);
                    t.col.push((place % usize::from(grid_w)) as u16);
                    t.sum.push(sum);
                    t.images.push(*images);
                }
            }
        }
        t
    }
}
