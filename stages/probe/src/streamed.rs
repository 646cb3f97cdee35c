//! Logistic regression on more vectors than fit into memory in f64: the same objective, read in blocks of rows.
//!
//! `F(W, b)` and `∇F` of `softmax.rs` are sums over rows. A block's logits, its softmax and its share `X_bᵀ·(P − Y)_b` of
//! the gradient exist one block at a time; losses and gradients add up in f64. So memory is the vectors once in f32 (or
//! nothing, where they are read from the parts again, see [`Source`]), one block, and the weights with the steps that
//! L-BFGS remembers; [`SMALL`] says from where on a fit takes this way.
//!
//! **Precision.** Products are taken in f32 or f64, as the caller asks. Steps are found in f32, at half the cost; whether
//! a point is the minimum is judged in f64 alone, on the exact vectors, so that the certificate of `lbfgs.rs` holds here
//! word for word. The distance of the two gradients at one point is the rounding floor of f32, measured, not guessed:
//! where the certificate asks for a gradient below it, the last steps are taken in f64 (see [`minimise`]).
//!
//! **Sums do not depend on threads**: blocks are cut by the shapes alone, and each element of a sum is added up by one
//! task in the order of the rows.

mod accumulator;
mod minimise;
mod source;
mod stored;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use engine::StageError;
use ndarray::{Array1, Array2, ArrayView2, Axis, NdFloat, s};
use rayon::prelude::*;

use self::accumulator::Accumulator;
pub(crate) use self::source::{Chosen, Joined, Source};
pub(crate) use self::stored::{Parts, Place, Reading};
use crate::logistic::{Fit, Judged, LogisticError, LogisticParams, Model, Standardise};
use crate::products::product;
use crate::softmax::Weights;

/// A fit of at most so many rows × (channels or classes, whichever are more) is made in memory in f64: 1 GiB a copy.
pub(crate) const SMALL: usize = 1 << 27;
/// Vectors of this many bytes are held in f32 where nothing else is asked for: ImageNet-1k at 1,536 channels.
pub(crate) const MEMORY_BYTES: u64 = 8 << 30;
/// Bytes of features and logits of a block, in f32.
const BLOCK_BYTES: usize = 64 << 20;
/// Rows of a block, at most and in steps of.
const BLOCK_ROWS: usize = 16_384;
const SLAB: usize = 1024;
/// Rows that one task handles.
const ROWS: usize = 256;

/// Floating point numbers in which products are taken.
pub(crate) trait Real: NdFloat {
    /// Relative size of what a sum of losses cannot resolve.
    const ROUNDING: f64;
    fn of(x: f64) -> Self;
    fn narrow(x: f32) -> Self;
    fn wide(self) -> f64;
}

impl Real for f32 {
    const ROUNDING: f64 = 1e-6;
    fn of(x: f64) -> Self {
        x as Self
    }
    fn narrow(x: f32) -> Self {
        x
    }
    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const ROUNDING: f64 = 1e-14;
    fn of(x: f64) -> Self {
        x
    }
    fn narrow(x: f32) -> Self {
        f64::from(x)
    }
    fn wide(self) -> f64 {
        self
    }
}

/// A regression problem whose features are read in blocks.
pub(crate) struct Streamed<'a> {
    chosen: &'a Chosen<'a>,
    /// Class of each row, 0 … K − 1.
    y: Vec<usize>,
    /// Label of each class.
    classes: Vec<u32>,
    /// Features are centred and scaled as they are read.
    mean: Array1<f64>,
    scale: Array1<f64>,
    cancel: &'a AtomicBool,
}

/// The part of the objective that the data make: no penalty.
pub(crate) struct Data {
    /// Σ cross-entropy.
    pub loss: f64,
    /// Its gradient, [D + 1, K].
    pub gradient: Weights,
    /// X̃ᵀ·diag(a)·X̃ with the rows' mean curvatures a, [D + 1, D + 1]; where it was asked for.
    pub gram: Option<Array2<f64>>,
}

impl<'a> Streamed<'a> {
    /// Finds the classes, the means and, where asked for, the spreads. Refuses what is empty or not finite.
    pub(crate) fn new(
        chosen: &'a Chosen<'a>,
        standardise: Standardise,
        cancel: &'a AtomicBool,
    ) -> Result<Self, StageError> {
        if chosen.rows.is_empty() {
            return Err(crate::ProbeError::from(LogisticError::Empty).into());
        }
        let mut classes = chosen.labels.clone();
        classes.sort_unstable();
        classes.dedup();
        let y = chosen.labels.iter().map(|l| classes.partition_point(|c| c < l)).collect();
        let d = chosen.source.dim();
        let mut problem = Self { chosen, y, classes, mean: Array1::zeros(d), scale: Array1::ones(d), cancel };
        let n = chosen.rows.len() as f64;
        problem.mean = problem.column_sums(|x| x)? / n;
        if let Standardise::Floor { frac } = standardise {
            let sd = (problem.column_sums(|x| x * x)? / n).mapv(f64::sqrt);
            let largest = sd.fold(0.0, |a: f64, &b| a.max(b));
            problem.scale = sd + (frac * largest + 1e-6);
        }
        Ok(problem)
    }

    /// Rows of a block.
    fn block_rows(&self) -> usize {
        let row = size_of::<f32>() * (self.chosen.source.dim() + self.classes.len());
        (BLOCK_BYTES / row.max(1) / SLAB * SLAB).clamp(SLAB, BLOCK_ROWS)
    }

    /// Hands out the features block by block, centred and scaled, with the number of the first row.
    fn blocks<T: Real>(&self, mut each: impl FnMut(usize, ArrayView2<'_, T>)) -> Result<(), StageError> {
        let d = self.chosen.source.dim();
        let rows = self.block_rows().min(self.chosen.rows.len());
        let mean: Vec<T> = self.mean.iter().map(|&m| T::of(m)).collect();
        let share: Vec<T> = self.scale.iter().map(|&s| T::of(1.0 / s)).collect();
        let mut raw = vec![0f32; rows * d];
        let mut x = Array2::<T>::zeros((rows, d));
        for (block, chosen) in self.chosen.rows.chunks(rows).enumerate() {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(StageError::interrupted());
            }
            let raw = &mut raw[..chosen.len() * d];
            self.chosen.source.copy(chosen, raw)?;
            let mut x = x.slice_mut(s![..chosen.len(), ..]);
            let chunks = raw.par_chunks(ROWS * d.max(1));
            x.axis_chunks_iter_mut(Axis(0), ROWS).into_par_iter().zip(chunks).for_each(|(mut x, raw)| {
                for (mut x, raw) in x.rows_mut().into_iter().zip(raw.chunks(d.max(1))) {
                    let x = x.as_slice_mut().unwrap_or_default();
                    for (((x, raw), mean), share) in x.iter_mut().zip(raw).zip(&mean).zip(&share) {
                        *x = (T::narrow(*raw) - *mean) * *share;
                    }
                }
            });
            each(block * rows, x.view());
        }
        Ok(())
    }

    /// Σ over rows of a function of every feature, [D].
    fn column_sums(&self, of: impl Fn(f64) -> f64 + Sync) -> Result<Array1<f64>, StageError> {
        let mut sums = Array1::zeros(self.chosen.source.dim());
        let mut broken = None;
        self.blocks::<f64>(|first, x| {
            let parts: Vec<Array1<f64>> = x
                .axis_chunks_iter(Axis(0), ROWS)
                .into_par_iter()
                .map(|x| {
                    let mut sums = Array1::zeros(x.ncols());
                    x.rows().into_iter().for_each(|row| sums.zip_mut_with(&row, |s, &v| *s += of(v)));
                    sums
                })
                .collect();
            for part in &parts {
                sums += part;
            }
            if broken.is_none() && sums.iter().any(|s: &f64| !s.is_finite()) {
                let row = x.rows().into_iter().position(|row| row.iter().any(|v| !v.is_finite()));
                broken = Some(first + row.unwrap_or(0));
            }
        })?;
        match broken {
            Some(row) => Err(crate::ProbeError::from(LogisticError::NotFinite { row }).into()),
            None => Ok(sums),
        }
    }

    pub(crate) fn zeros(&self) -> Weights {
        Array2::zeros((self.chosen.source.dim() + 1, self.classes.len()))
    }

    /// Loss and gradient at `w`, with products in `T`; with the Gram matrix that a metric is made of, if asked for.
    pub(crate) fn data<T: Real>(&self, w: &Weights, gram: bool) -> Result<Data, StageError> {
        let (d, k) = (w.nrows() - 1, w.ncols());
        let at = w.mapv(T::of);
        let (weights, intercept) = at.view().split_at(Axis(0), d);
        let intercept = intercept.row(0);
        let mut gradient = Accumulator::new(d, k);
        let mut metric = gram.then(|| Accumulator::lower(d + 1));
        let mut of_intercept = Array1::<f64>::zeros(k);
        let mut loss = 0.0;
        let rows = self.block_rows().min(self.chosen.rows.len());
        let mut z = Array2::<T>::zeros((rows, k)); // logits, then P − Y
        let mut curvature = vec![0.0; rows];
        self.blocks::<T>(|first, x| {
            let n = x.nrows();
            let mut z = z.slice_mut(s![..n, ..]);
            let curvature = &mut curvature[..n];
            let y = &self.y[first..first + n];
            let parts: Vec<(f64, Array1<f64>)> = z
                .axis_chunks_iter_mut(Axis(0), ROWS)
                .into_par_iter()
                .zip(x.axis_chunks_iter(Axis(0), ROWS))
                .zip(y.par_chunks(ROWS))
                .zip(curvature.par_chunks_mut(ROWS))
                .map(|(((mut z, x), y), curvature)| {
                    z.rows_mut().into_iter().for_each(|mut z| z.assign(&intercept));
                    product(T::one(), &mut z, T::one(), &x, &weights);
                    let (mut loss, mut sums) = (0.0, Array1::zeros(k));
                    for ((mut z, &y), curvature) in z.rows_mut().into_iter().zip(y).zip(curvature) {
                        let z = z.as_slice_mut().unwrap_or_default();
                        let curvature = gram.then_some(curvature);
                        loss += residual(z, y, curvature);
                        sums.iter_mut().zip(&*z).for_each(|(s, r): (&mut f64, _)| *s += r.wide());
                    }
                    (loss, sums)
                })
                .collect();
            for (part, sums) in &parts {
                loss += part;
                of_intercept += sums;
            }
            gradient.add(x, z.view());
            if let Some(metric) = &mut metric {
                let mut weighted = Array2::<T>::ones((n, d + 1));
                weighted.slice_mut(s![.., ..d]).assign(&x);
                for (mut row, a) in weighted.rows_mut().into_iter().zip(&*curvature) {
                    row *= T::of(a.sqrt());
                }
                metric.add(weighted.view(), weighted.view());
            }
        })?;
        let mut all = self.zeros();
        all.slice_mut(s![..d, ..]).assign(&gradient.finish());
        all.row_mut(d).assign(&of_intercept);
        Ok(Data { loss, gradient: all, gram: metric.map(Accumulator::finish) })
    }

    /// Fits every C of an ascending grid, each from where the last one ended, and hands each fit out as it is done.
    pub(crate) fn path(
        &self,
        grid: &[f64],
        params: &LogisticParams,
        mut each: impl FnMut(Fit) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let mut path = minimise::Path::new(self, params)?;
        for &c in grid {
            let end = path.next(1.0 / c)?;
            // Back to raw features: z = ((x − mean)/scale)·W + b.
            let (w, b) = end.weights.view().split_at(Axis(0), self.mean.len());
            let raw = &w / &self.scale.view().insert_axis(Axis(1));
            let intercept = &b.row(0) - &self.mean.dot(&raw);
            each(Fit {
                c,
                model: Model { classes: self.classes.clone(), weights: raw, intercept },
                objective: end.objective,
                gradient_norm: end.gradient_norm,
                by: crate::logistic::Solver::Lbfgs,
                iterations: end.iterations,
                converged: end.converged,
                rounding: Some(path.floor()),
            })?;
        }
        Ok(())
    }
}

/// Turns a row's logits into P − Y; returns its loss and sets its mean curvature (see `softmax.rs`), if wanted.
fn residual<T: Real>(z: &mut [T], y: usize, curvature: Option<&mut f64>) -> f64 {
    let top = z.iter().fold(T::neg_infinity(), |a, &b| if b > a { b } else { a });
    let of_class = (z[y] - top).wide();
    for v in z.iter_mut() {
        *v = (*v - top).exp();
    }
    let sum = total(z, |v| v);
    let share = T::of(1.0 / sum);
    for v in z.iter_mut() {
        *v *= share;
    }
    if let Some(curvature) = curvature {
        *curvature = total(z, |p| p * (T::one() - p)) / (z.len().max(2) - 1) as f64;
    }
    z[y] -= T::one();
    sum.ln() - of_class
}

/// Σ f(v) in f64, in eight sums side by side: one would wait for itself.
fn total<T: Real>(values: &[T], of: impl Fn(T) -> T) -> f64 {
    let mut sums = [0.0; 8];
    let eights = values.chunks_exact(8);
    let rest: f64 = eights.remainder().iter().map(|&v| of(v).wide()).sum();
    for eight in eights {
        for (sum, &v) in sums.iter_mut().zip(eight) {
            *sum += of(v).wide();
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// What a model says of vectors that are read in blocks; in f64, whatever it was fitted in.
pub(crate) fn judge(model: &Model, chosen: &Chosen<'_>) -> Result<Judged, StageError> {
    let d = chosen.source.dim();
    let mut all = Judged::default();
    for (rows, labels) in chosen.rows.chunks(SLAB).zip(chosen.labels.chunks(SLAB)) {
        let mut raw = vec![0f32; rows.len() * d];
        chosen.source.copy(rows, &mut raw)?;
        let x = Array2::from_shape_fn((rows.len(), d), |(i, j)| f64::from(raw[i * d + j]));
        let judged = model.judge(x.view(), labels);
        all.predicted.extend(judged.predicted);
        all.in_top5.extend(judged.in_top5);
    }
    Ok(all)
}
