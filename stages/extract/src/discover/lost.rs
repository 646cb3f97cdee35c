//! LOST: a box around the main object of an image, from the resemblance of its patches alone.
//!
//! Objects are smaller than backgrounds, so the patch that resembles fewest others is likely on one; the box is grown
//! from it over patches that resemble it. With features F `[N, D]` of the patches, a bias b, and k = `k_patches`:
//!
//! ```text
//! A = F·Fᵀ + b                                  deg_i = #{ j ≠ i : A_ij > 0 }
//! seed = argmin deg (the first of equals)       S = { p among the k lowest degrees : A_seed,p > 0 }
//! M_j = Σ_{p∈S} A_pj                            box = that of the 4-connected part of { M > 0 } that holds the seed
//! ```
//!
//! The bias moves every threshold from 0 to −b, in M once per patch of S. The reference sorts with a sort that is not
//! stable; here patches of equal degree keep their order, so that every machine finds the same box. A negative bias can
//! take the seed out of its own mask: then there is no box (the reference gives up).
//!
//! One Gram matrix serves any number of biases. An f32 sum is above 0 exactly where its true value is, so `A > −b` is
//! the reference's `A + b > 0` to the last bit.
//!
//! Sources: Siméoni et al., "Localizing Objects with Self-Supervised Transformers and no Labels", BMVC 2021, §3; its
//! `object_discovery.py` (whose matrices are not binarised, unlike the text's); paper §3.3 for the bias; `docs/protocols/table3.md`.

use ndarray::ArrayView2;

/// Products of all pairs of patches, `[N, N]`.
#[derive(Debug)]
pub struct Gram {
    pub(super) patches: usize,
    products: Vec<f32>,
}

/// Patches `[y0, y1) × [x0, x1)` of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchBox {
    /// First column.
    pub x0: usize,
    /// First row.
    pub y0: usize,
    /// Last column, exclusive.
    pub x1: usize,
    /// Last row, exclusive.
    pub y1: usize,
}

/// What LOST finds under one bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    /// The seed, row-major.
    pub seed: usize,
    /// Degree of every patch.
    pub degrees: Vec<u32>,
    /// Patches of S.
    pub similar: usize,
    /// M.
    pub expansion: Vec<f64>,
    /// The box; none where M is not above 0 at the seed.
    pub area: Option<PatchBox>,
}

impl Gram {
    /// Of features `[N, D]`, divided by their lengths first where `l2` (a length below 1e-12 counts as that, as in
    /// torch's `normalize`). None where they are not rows of D, or not finite.
    pub fn of(features: &[f32], width: usize, l2: bool) -> Option<Self> {
        if width == 0 || !features.len().is_multiple_of(width) {
            return None;
        }
        let patches = features.len() / width;
        let normalised: Vec<f32>;
        let features = if l2 {
            normalised = features.chunks_exact(width).flat_map(unit).collect();
            &normalised
        } else {
            features
        };
        let rows = ArrayView2::from_shape((patches, width), features).ok()?;
        let products = rows.dot(&rows.t()).into_raw_vec_and_offset().0;
        products.iter().all(|p| p.is_finite()).then_some(Self { patches, products })
    }

    pub(super) fn row(&self, patch: usize) -> &[f32] {
        &self.products[patch * self.patches..][..self.patches]
    }

    /// What is found on a grid of so many columns; none without patches.
    pub fn discover(&self, columns: usize, bias: f32, k_patches: usize) -> Option<Discovery> {
        let above = |product: f32| product > -bias;
        let degree = |patch: usize| {
            let row = self.row(patch);
            let all = row.iter().map(|&p| u32::from(above(p))).sum::<u32>();
            all - u32::from(above(row[patch]))
        };
        let degrees: Vec<u32> = (0..self.patches).map(degree).collect();
        let mut order: Vec<usize> = (0..self.patches).collect();
        order.sort_by_key(|&patch| degrees[patch]);
        let seed = *order.first()?;
        let of_seed = self.row(seed);
        let similar: Vec<usize> = order.into_iter().take(k_patches).filter(|&p| above(of_seed[p])).collect();
        let mut expansion = vec![0.0; self.patches];
        for &patch in &similar {
            for (sum, &product) in expansion.iter_mut().zip(self.row(patch)) {
                *sum += f64::from(product + bias);
            }
        }
        let mask: Vec<bool> = expansion.iter().map(|&m| m > 0.0).collect();
        Some(Discovery { seed, degrees, similar: similar.len(), area: part_of(&mask, columns, seed), expansion })
    }
}

/// A feature divided by its length.
fn unit(feature: &[f32]) -> impl Iterator<Item = f32> {
    let length = feature.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
    feature.iter().map(move |x| x / length)
}

/// The box of the 4-connected part of a mask that holds the seed.
pub(super) fn part_of(mask: &[bool], columns: usize, seed: usize) -> Option<PatchBox> {
    let rows = mask.len().checked_div(columns)?;
    if !mask[seed] {
        return None;
    }
    let (mut seen, mut open) = (vec![false; mask.len()], vec![seed]);
    seen[seed] = true;
    let (x, y) = (seed % columns, seed / columns);
    let mut area = PatchBox { x0: x, y0: y, x1: x + 1, y1: y + 1 };
    while let Some(patch) = open.pop() {
        let (x, y) = (patch % columns, patch / columns);
        area = PatchBox { x0: area.x0.min(x), y0: area.y0.min(y), x1: area.x1.max(x + 1), y1: area.y1.max(y + 1) };
        let beside = [
            (x > 0).then(|| patch - 1),
            (x + 1 < columns).then(|| patch + 1),
            (y > 0).then(|| patch - columns),
            (y + 1 < rows).then(|| patch + columns),
        ];
        for next in beside.into_iter().flatten().filter(|&next| mask[next]) {
            if !std::mem::replace(&mut seen[next], true) {
                open.push(next);
            }
        }
    }
    Some(area)
}

#[cfg(test)]
mod tests;
