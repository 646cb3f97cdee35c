//! A sum of products Aᵀ·B over blocks of rows, kept in f64 whatever the products are taken in.
//!
//! Cut into tiles, each of which one task adds up slab by slab: within a slab of 1,024 rows sums are the product's own,
//! between slabs they are f64. The error of a sum in f32 so grows with √1024 and not with the number of rows.

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::{Real, SLAB};
use crate::products::product;

/// Rows and columns of a tile.
const TILE: (usize, usize) = (64, 256);

/// Aᵀ·B so far.
pub(super) struct Accumulator {
    shape: (usize, usize),
    /// Whether only tiles on and below the diagonal are kept.
    lower: bool,
    tiles: Vec<Tile>,
}

struct Tile {
    row: usize,
    col: usize,
    sum: Array2<f64>,
}

impl Accumulator {
    /// Zero, [M, K].
    pub(super) fn new(m: usize, k: usize) -> Self {
        Self::tiled((m, k), false)
    }

    /// Zero, [M, M], of a product that is symmetric.
    pub(super) fn lower(m: usize) -> Self {
        Self::tiled((m, m), true)
    }

    fn tiled(shape: (usize, usize), lower: bool) -> Self {
        let mut tiles = Vec::new();
        for row in (0..shape.0).step_by(TILE.0) {
            let height = TILE.0.min(shape.0 - row);
            for col in (0..shape.1).step_by(TILE.1).filter(|&col| !lower || col < row + height) {
                tiles.push(Tile { row, col, sum: Array2::zeros((height, TILE.1.min(shape.1 - col))) });
            }
        }
        Self { shape, lower, tiles }
    }

    /// Adds the product of a block: `a` [n, M], `b` [n, K].
    pub(super) fn add<T: Real>(&mut self, a: ArrayView2<'_, T>, b: ArrayView2<'_, T>) {
        self.tiles.par_iter_mut().for_each(|Tile { row, col, sum }| {
            let (height, width) = sum.dim();
            let a = a.slice(s![.., *row..*row + height]);
            let b = b.slice(s![.., *col..*col + width]);
            let mut slab = Array2::<T>::zeros((height, width));
            for (a, b) in a.axis_chunks_iter(Axis(0), SLAB).zip(b.axis_chunks_iter(Axis(0), SLAB)) {
                product(T::zero(), &mut slab.view_mut(), T::one(), &a.t(), &b);
                sum.zip_mut_with(&slab, |sum, part| *sum += part.wide());
            }
        });
    }

    /// The whole matrix.
    pub(super) fn finish(self) -> Array2<f64> {
        let mut all = Array2::zeros(self.shape);
        for Tile { row, col, sum } in &self.tiles {
            let (height, width) = sum.dim();
            all.slice_mut(s![*row..*row + height, *col..*col + width]).assign(sum);
        }
        if self.lower {
            for i in 0..self.shape.0 {
                for j in i + 1..self.shape.1 {
                    all[[i, j]] = all[[j, i]];
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers: every sum is exact in f32 too. Breaks when a tile or a slab is counted twice, or left out.
    #[test]
    fn blocks_add_up_to_the_plain_product() {
        let a = Array2::from_shape_fn((2500, 130), |(i, j)| ((i * 7 + j * 3) % 5) as f32 - 2.0);
        let b = Array2::from_shape_fn((2500, 300), |(i, j)| ((i + j * 5) % 3) as f32 - 1.0);
        let wide = |m: &Array2<f32>| m.mapv(f64::from);
        let (mut sum, mut square) = (Accumulator::new(130, 300), Accumulator::lower(300));
        for (a, b) in a.axis_chunks_iter(Axis(0), 2048).zip(b.axis_chunks_iter(Axis(0), 2048)) {
            sum.add(a, b);
            square.add(b, b);
        }
        assert_eq!(sum.finish(), wide(&a).t().dot(&wide(&b)));
        assert_eq!(square.finish(), wide(&b).t().dot(&wide(&b)));
    }
}
