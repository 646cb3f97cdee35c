//! Linear regression to several targets at once.
//!
//! Minimises `‖Y − X·W − b‖² + ridge·‖W‖²`, the intercept free: on centred data `(XᵀX + ridge·I)·W = XᵀY`. Where
//! `XᵀX` is singular to rounding (fewer rows than channels), 1e-10 of its mean diagonal is added, which comes within
//! rounding of the solution of least norm; [`Linear::jitter`] says so.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::cholesky::Cholesky;
use crate::products::{gram, multiply, transposed_multiply};

/// A fitted linear map.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// W, `[D, M]`.
    pub weights: Array2<f64>,
    /// b, `[M]`.
    pub intercept: Array1<f64>,
    /// What had to be added to the diagonal beside the ridge; 0 where nothing had.
    pub jitter: f64,
}

impl Linear {
    /// Fits. `x` [N, D], `y` [N, M]; `None` without rows or with values that are not finite.
    pub fn fit(x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>, ridge: f64) -> Option<Self> {
        let (x_mean, y_mean) = (x.mean_axis(Axis(0))?, y.mean_axis(Axis(0))?);
        let (x, y) = (&x - &x_mean, &y - &y_mean);
        let mut matrix = gram(x.view());
        let scale = matrix.diag().sum() / matrix.nrows().max(1) as f64;
        matrix.diag_mut().map_inplace(|v| *v += ridge);
        let mut jitter = 0.0;
        // Rounding lets a singular matrix pass as definite with pivots of 1e-16: a hundred times that is demanded.
        let mut shifted = matrix.clone();
        shifted.diag_mut().map_inplace(|v| *v -= 1e-13 * scale);
        if Cholesky::factor(shifted).is_none() {
            // All features constant: any weight does, and 0 comes out.
            jitter = if scale > 0.0 { 1e-10 * scale } else { 1.0 };
            matrix.diag_mut().map_inplace(|v| *v += jitter);
        }
        let factor = Cholesky::factor(matrix)?;
        let mut weights = transposed_multiply(x.view(), y.view());
        factor.solve(&mut weights);
        let intercept = y_mean - x_mean.dot(&weights);
        weights.iter().all(|w| w.is_finite()).then_some(Self { weights, intercept, jitter })
    }

    /// What a reader must know of a fit to so many rows that these did not determine.
    pub fn doubt(&self, rows: usize) -> Option<String> {
        let channels = self.weights.nrows();
        let why = if rows <= channels {
            format!("{rows} training tokens for {channels} channels, an interpolating fit")
        } else {
            "channels that follow from others".to_owned()
        };
        (self.jitter > 0.0).then(|| format!("{why}: {:.1e} added to the diagonal", self.jitter))
    }

    /// X·W + b, [N, M].
    pub fn predict(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        multiply(x, self.weights.view()) + &self.intercept
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use ndarray::arr2;

    use super::*;

    #[test]
    fn an_exact_map_is_recovered() {
        let x = Array2::from_shape_fn((20, 3), |(i, j)| ((i * (j + 2) + j) % 7) as f64);
        let y = x.dot(&arr2(&[[1.0, -2.0], [0.5, 3.0], [4.0, 0.0]])) + &ndarray::arr1(&[7.0, -1.0]);
        let fit = Linear::fit(x.view(), y.view(), 0.0).unwrap();
        assert!((fit.predict(x.view()) - &y).mapv(f64::abs).sum() < 1e-9);
        assert_eq!((fit.jitter, fit.doubt(20)), (0.0, None));
    }

    #[test]
    fn ridge_shrinks_by_its_closed_form() {
        // One centred feature with Σx² = 2: w = Σxy/(Σx² + ridge) = 4/(2 + 2).
        let fit = Linear::fit(arr2(&[[-1.0], [1.0]]).view(), arr2(&[[3.0], [7.0]]).view(), 2.0).unwrap();
        assert!((fit.weights[[0, 0]] - 1.0).abs() < 1e-12 && (fit.intercept[0] - 5.0).abs() < 1e-12);
    }

    #[test]
    fn fewer_rows_than_channels_give_the_least_norm() {
        // y = x₀ + x₁ seen only along (1, 1): the solution of least norm is w = (1, 1), not (2, 0).
        let x = arr2(&[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]);
        let fit = Linear::fit(x.view(), arr2(&[[0.0], [2.0], [4.0]]).view(), 0.0).unwrap();
        assert!(
            fit.jitter > 0.0 && (fit.weights[[0, 0]] - 1.0).abs() < 1e-6 && (fit.weights[[1, 0]] - 1.0).abs() < 1e-6
        );
        assert!(fit.doubt(3).unwrap().starts_with("channels that follow from others: "));
        assert!(fit.doubt(2).unwrap().starts_with("2 training tokens for 2 channels, an interpolating fit: "));
        let constant = Linear::fit(Array2::ones((3, 2)).view(), arr2(&[[1.0], [2.0], [3.0]]).view(), 0.0).unwrap();
        assert!((constant.predict(x.view()) - 2.0).mapv(f64::abs).sum() < 1e-12);
        assert_eq!(Linear::fit(Array2::zeros((0, 2)).view(), Array2::zeros((0, 1)).view(), 0.0), None);
    }
}
