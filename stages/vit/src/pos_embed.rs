//! Resizes a learned position embedding to another grid, as `PyTorch` would.
//!
//! `out[y, x] = Σ_v Σ_u Wy[y, v] · Wx[x, u] · table[v, u]`, one weight matrix per axis, `j` an output index, `n` the
//! output length, `M` the training grid, `k_a` the Keys cubic:
//!
//! - plain (a = −0.75): `src = (j + ½)·step − ½`, taps ⌊src⌋−1 ..= ⌊src⌋+2, indices clamped to the border;
//!   `step = M/n`, or `M/(n + 0.1)` for [`Interpolation::Offset`] (`DINOv2` passes scale factors);
//! - antialiased (a = −0.5): centre `(j + ½)·step`, support `2·max(step, 1)`, weights `k_a((i − centre + ½)/max(step, 1))`
//!   truncated at the border and renormalised.
//!
//! Weights are computed in f64 and applied in f32, rows first: the result must not depend on the executor.
//! Source: `docs/protocols/interpolation.md`; `UpSampleBicubic2d` and `UpSampleKernel` (antialiased) of `ATen`.
//!
//! `Positions` keeps what was resized last, for photographs of native size have nearly as many grids as images.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::config::{Interpolation, PosEmbed, VitConfig};
use crate::error::VitError;
use crate::weights::Params;

/// Grids kept resized: a folder of photographs has a few common ones.
const RECENT_GRIDS: usize = 16;

/// Patch rows and columns.
type Grid = (usize, usize);

/// The learned positions of a model, on any grid in the form `T` of an executor.
pub(crate) struct Positions<T> {
    /// CLS with its position, then the registers, which have none. `[1 + R, D]`
    pub prefix: Vec<f32>,
    /// Of the patches, on the training grid. `[grid², D]`
    table: Vec<f32>,
    pos: PosEmbed,
    width: usize,
    /// The latest first.
    recent: Mutex<VecDeque<(Grid, T)>>,
}

impl<T: Clone> Positions<T> {
    /// From the parameters `pos_embed`, `cls_token` and `register_tokens`.
    pub fn new(config: &VitConfig, params: &Params) -> Result<Self, VitError> {
        let (d, pos) = (config.width, config.pos);
        let slots = usize::from(pos.cls_slot);
        let table = params.get("pos_embed", &[pos.grid * pos.grid + slots, d])?;
        let (cls_position, table) = table.split_at(slots * d);
        let mut prefix = params.get("cls_token", &[d])?.to_vec();
        add_scaled(&mut prefix, cls_position, 1.0);
        if config.registers > 0 {
            prefix.extend_from_slice(params.get("register_tokens", &[config.registers, d])?);
        }
        Ok(Positions { prefix, table: table.to_vec(), pos, width: d, recent: Mutex::default() })
    }

    /// The positions of a grid, `[gh·gw, D]`, resized and then `made` by the executor unless they are still known.
    pub fn on<E>(&self, grid: Grid, made: impl FnOnce(Vec<f32>) -> Result<T, E>) -> Result<T, E> {
        if let Some(known) = self.known(grid) {
            return Ok(known);
        }
        // Without the lock: threads on other grids must not wait, and a grid resized twice is the same twice.
        let new = made(resize(&self.table, self.pos.grid, self.width, grid, self.pos.interpolation))?;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(kept, _)| *kept != grid);
        recent.push_front((grid, new.clone()));
        recent.truncate(RECENT_GRIDS);
        Ok(new)
    }

    fn known(&self, grid: Grid) -> Option<T> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.iter().position(|(kept, _)| *kept == grid)?;
        let entry = recent.remove(at)?;
        let known = entry.1.clone();
        recent.push_front(entry);
        Some(known)
    }
}

/// Weights of one axis: for each output index, the first input index and the weights from there on.
struct Taps {
    first: usize,
    weights: Vec<f64>,
}

/// Resizes `table` `[grid·grid, width]` to `[gh·gw, width]`; the training grid itself comes back unchanged.
///
/// A CLS row is not part of the table. `table` must hold `grid·grid·width` values.
pub fn resize(table: &[f32], grid: usize, width: usize, (gh, gw): Grid, rule: Interpolation) -> Vec<f32> {
    assert_eq!(table.len(), grid * grid * width, "position table is not [grid*grid, width]");
    if (gh, gw) == (grid, grid) {
        return table.to_vec();
    }
    let across = axis(grid, gw, rule);
    let mut rows = vec![0.0f32; grid * gw * width]; // [grid, gw, D]
    for v in 0..grid {
        for (x, taps) in across.iter().enumerate() {
            let out = &mut rows[(v * gw + x) * width..][..width];
            for (i, &w) in taps.weights.iter().enumerate() {
                add_scaled(out, &table[(v * grid + taps.first + i) * width..][..width], w as f32);
            }
        }
    }
    let line = gw * width;
    let mut out = vec![0.0f32; gh * line]; // [gh, gw, D]
    for (y, taps) in axis(grid, gh, rule).iter().enumerate() {
        for (i, &w) in taps.weights.iter().enumerate() {
            add_scaled(&mut out[y * line..][..line], &rows[(taps.first + i) * line..][..line], w as f32);
        }
    }
    out
}

/// One axis of [`resize`] as a matrix `[to, from]`: row `j` holds the weights of output index `j`.
///
/// [`resize`] itself leaves a table alone that is asked for on its own grid; this is the rule without that exception.
pub fn weights(rule: Interpolation, from: usize, to: usize) -> Vec<Vec<f64>> {
    let dense = |taps: Taps| {
        let mut row = vec![0.0; from];
        row[taps.first..][..taps.weights.len()].copy_from_slice(&taps.weights);
        row
    };
    axis(from, to, rule).into_iter().map(dense).collect()
}

/// The gradient on each input index that a gradient of one on every output index leaves: the column sums of
/// [`weights`]. On a grid it is the outer product of this vector with itself (Fig. 11; `docs/protocols/interpolation.md`).
pub fn gradient(rule: Interpolation, from: usize, to: usize) -> Vec<f64> {
    let mut sums = vec![0.0; from];
    for row in weights(rule, from, to) {
        for (sum, w) in sums.iter_mut().zip(row) {
            *sum += w;
        }
    }
    sums
}

fn add_scaled(out: &mut [f32], values: &[f32], weight: f32) {
    for (o, v) in out.iter_mut().zip(values) {
        *o += weight * v;
    }
}

/// The Keys cubic with parameter `a`.
fn keys(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

fn axis(grid: usize, n: usize, rule: Interpolation) -> Vec<Taps> {
    let length = grid as f64;
    match rule {
        Interpolation::Offset => (0..n).map(|j| plain(j, length / (n as f64 + 0.1), grid)).collect(),
        Interpolation::Bicubic => (0..n).map(|j| plain(j, length / n as f64, grid)).collect(),
        Interpolation::Antialias => (0..n).map(|j| antialiased(j, length / n as f64, grid)).collect(),
    }
}

fn plain(j: usize, step: f64, grid: usize) -> Taps {
    const A: f64 = -0.75;
    let src = (j as f64 + 0.5) * step - 0.5;
    let base = src.floor() as isize;
    let last = grid as isize - 1;
    let first = (base - 1).clamp(0, last);
    let mut weights = vec![0.0; ((base + 2).clamp(0, last) - first) as usize + 1];
    for i in base - 1..=base + 2 {
        weights[(i.clamp(0, last) - first) as usize] += keys(src - i as f64, A);
    }
    Taps { first: first as usize, weights }
}

fn antialiased(j: usize, step: f64, grid: usize) -> Taps {
    const A: f64 = -0.5;
    let stretch = step.max(1.0);
    let centre = (j as f64 + 0.5) * step;
    let support = 2.0 * stretch;
    let first = (centre - support + 0.5).max(0.0) as usize;
    let end = ((centre + support + 0.5) as usize).min(grid);
    let mut weights: Vec<f64> = (first..end).map(|i| keys((i as f64 - centre + 0.5) / stretch, A)).collect();
    let sum: f64 = weights.iter().sum();
    for w in &mut weights {
        *w /= sum;
    }
    Taps { first, weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_gradient(rule: Interpolation, want: &[f64]) {
        let gradient = gradient(rule, 16, 7);
        assert_eq!(gradient.len(), want.len());
        for (got, want) in gradient.iter().zip(want) {
            assert!((got - want).abs() < 6e-5, "{rule:?}: {got} is not {want}");
        }
    }

    /// Breaks when a kernel, its `a`, its border rule or its step changes.
    #[test]
    fn gradients_of_the_papers_fig_11_in_closed_form() {
        let mirrored = |half: [f64; 8]| half.iter().chain(half.iter().rev()).copied().collect::<Vec<_>>();
        assert_gradient(
            Interpolation::Bicubic,
            &mirrored([0.3407, 0.7664, -0.0499, 0.9890, -0.1454, 0.9090, 0.1235, 0.5667]),
        );
        assert_gradient(
            Interpolation::Antialias,
            &mirrored([0.3612, 0.4919, 0.4698, 0.4325, 0.4329, 0.4375, 0.4377, 0.4366]),
        );
        assert_gradient(
            Interpolation::Offset,
            &[
                0.3584, 0.7421, -0.0008, 0.9699, -0.1449, 0.9627, 0.0152, 0.7235, 0.3809, 0.3360, 0.7602, -0.0161,
                0.9764, -0.1439, 0.9548, 0.1257,
            ],
        );
    }

    /// Breaks when the matrix is of another rule than the table is resized by, is transposed, or starts a row elsewhere.
    #[test]
    fn the_matrices_are_those_that_resize_a_table() {
        let (grid, (gh, gw)) = (5, (3, 8));
        let table: Vec<f32> = (0..grid * grid).map(|i| (i as f32).sin()).collect();
        for rule in [Interpolation::Offset, Interpolation::Bicubic, Interpolation::Antialias] {
            let (down, across) = (weights(rule, grid, gh), weights(rule, grid, gw));
            let out = resize(&table, grid, 1, (gh, gw), rule);
            for y in 0..gh {
                for x in 0..gw {
                    let terms = (0..grid * grid).map(|i| down[y][i / grid] * across[x][i % grid] * f64::from(table[i]));
                    let want: f64 = terms.sum();
                    assert!((f64::from(out[y * gw + x]) - want).abs() < 1e-5, "{rule:?} {y} {x}");
                }
            }
        }
    }

    #[test]
    fn training_grid_is_untouched() {
        let table: Vec<f32> = (0..5 * 5 * 3).map(|i| (i as f32).sin()).collect();
        for rule in [Interpolation::Offset, Interpolation::Bicubic, Interpolation::Antialias] {
            assert_eq!(resize(&table, 5, 3, (5, 5), rule), table);
        }
    }

    /// Breaks when rows and columns are swapped: the table varies along one axis only.
    #[test]
    fn height_is_the_first_axis() {
        let table: Vec<f32> = (0..16).map(|i| (i / 4) as f32).collect();
        let out = resize(&table, 4, 1, (2, 6), Interpolation::Bicubic);
        assert_eq!(out.len(), 12);
        for y in 0..2 {
            for x in 0..6 {
                assert!((out[y * 6 + x] - out[y * 6]).abs() < 1e-6);
            }
        }
        assert!(out[6] > out[0] + 1.0);
    }

    /// Breaks when a grid is never let go (each is megabytes, and photographs have thousands), when one in use is let go
    /// first, or when a grid is given the positions of another.
    #[test]
    fn the_grids_used_last_are_kept_and_no_more() {
        let config = crate::zoo::plain(1, 2, 4, 1, Interpolation::Bicubic);
        let config = VitConfig { registers: 1, pos: PosEmbed { grid: 3, ..config.pos }, ..config };
        let rows = 9 + usize::from(config.pos.cls_slot);
        let mut params = Params::default();
        params.insert("pos_embed", [rows, 2], (0..rows * 2).map(|i| i as f32).collect());
        params.insert("cls_token", [2], vec![10.0, 20.0]);
        params.insert("register_tokens", [1, 2], vec![7.0, 8.0]);
        let Ok(positions) = Positions::<Vec<f32>>::new(&config, &params) else { panic!("refused") };
        assert_eq!(positions.prefix, [10.0, 21.0, 7.0, 8.0], "CLS with row 0, then the register as it is");
        let made = std::cell::Cell::new(0);
        let on = |grid: Grid| {
            let make = |values| {
                made.set(made.get() + 1);
                Ok::<_, VitError>(values)
            };
            positions.on(grid, make).unwrap_or_default()
        };
        for i in 1..100 {
            let (grid, usual) = ((i, i + 1), (3, 3));
            assert_eq!(on(grid), resize(&positions.table, 3, 2, grid, Interpolation::Bicubic));
            assert_eq!(on(usual), positions.table);
        }
        assert_eq!(made.get(), 99 + 1, "the grid in constant use was made once");
        assert_eq!(positions.recent.lock().map_or(0, |recent| recent.len()), RECENT_GRIDS);
    }

    proptest! {
        /// Weights of every output sum to one, whatever the sizes.
        #[test]
        fn constants_are_preserved(grid in 1usize..40, gh in 1usize..60, gw in 1usize..60) {
            for rule in [Interpolation::Offset, Interpolation::Bicubic, Interpolation::Antialias] {
                let out = resize(&vec![2.5; grid * grid], grid, 1, (gh, gw), rule);
                prop_assert_eq!(out.len(), gh * gw);
                for v in out {
                    prop_assert!((v - 2.5).abs() < 1e-4);
                }
            }
        }
    }
}
