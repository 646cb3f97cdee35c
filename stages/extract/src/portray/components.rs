//! Principal components of patch features: of one image, or of all pictured images together.
//!
//! ```text
//! C = Σ (x − m)(x − m)ᵀ / n          over n patches of one site, in f64
//! score_k(x) = (x − m)·v_k / √λ_k    λ_k, v_k the k-th eigenvalue and eigenvector of C
//! ```
//! Scores have mean 0 and standard deviation 1 over the patches that made the basis: the paper shows the first one in
//! [−3σ, +3σ] (Fig. 20) and three as RGB (Fig. 17). An eigenvector has no sign of its own: each is turned so that the
//! skewness of its scores is not negative, as the later code of the paper's first author does (`docs/protocols/components.md`), which
//! also divides every component by the deviation of the first; here each has its own.
//!
//! Images add: [`Moments`] of two sets of patches make those of both (Chan, Golub, `LeVeque`: The American Statistician 37, 1983), so the joint basis
//! needs one image's features at a time.

use super::subspace::{dot, leading};

/// Components kept.
pub(crate) const COMPONENTS: usize = 3;
/// Patches whose products are summed at once, so that a row of the matrix stays in the first-level cache.
const BLOCK: usize = 8;
/// An eigenvalue below this share of the variance is rounding.
const NOTHING: f64 = 1e-12;

/// Number, mean and scatter of some patches.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    patches: usize,
    mean: Vec<f64>,
    /// `Σ (x − mean)(x − mean)ᵀ`, upper triangle of `[D, D]`.
    scatter: Vec<f64>,
}

impl Moments {
    /// Of features `[n, D]`.
    pub fn of(features: &[f32], d: usize) -> Self {
        let patches = features.len() / d;
        let mut mean = vec![0.0; d];
        for x in features.chunks_exact(d) {
            mean.iter_mut().zip(x).for_each(|(m, &x)| *m += f64::from(x));
        }
        for m in &mut mean {
            *m /= patches.max(1) as f64;
        }
        let mut scatter = vec![0.0; d * d];
        let mut centred = vec![0.0; BLOCK * d];
        for block in features.chunks(BLOCK * d) {
            for (c, x) in centred.chunks_exact_mut(d).zip(block.chunks_exact(d)) {
                c.iter_mut().zip(x.iter().zip(&mean)).for_each(|(c, (&x, m))| *c = f64::from(x) - m);
            }
            let rows = block.len() / d;
            for (i, line) in scatter.chunks_exact_mut(d).enumerate() {
                for c in centred.chunks_exact(d).take(rows) {
                    let factor = c[i];
                    line[i..].iter_mut().zip(&c[i..]).for_each(|(s, c)| *s += factor * c);
                }
            }
        }
        Self { patches, mean, scatter }
    }

    /// Adds the patches of another set of the same width.
    pub fn add(&mut self, other: &Self) {
        let (a, b) = (self.patches as f64, other.patches as f64);
        if other.patches == 0 {
            return;
        }
        let between: Vec<f64> = other.mean.iter().zip(&self.mean).map(|(o, m)| o - m).collect();
        let d = between.len();
        let weight = a * b / (a + b);
        for (i, (line, others)) in self.scatter.chunks_exact_mut(d).zip(other.scatter.chunks_exact(d)).enumerate() {
            let factor = weight * between[i];
            for ((s, o), delta) in line[i..].iter_mut().zip(&others[i..]).zip(&between[i..]) {
                *s += o + factor * delta;
            }
        }
        self.mean.iter_mut().zip(&between).for_each(|(m, delta)| *m += delta * b / (a + b));
        self.patches += other.patches;
    }

    /// The basis of these patches.
    pub fn basis(&self) -> Basis {
        let d = self.mean.len();
        let mut covariance = vec![0.0; d * d];
        for i in 0..d {
            for j in i..d {
                let c = self.scatter[i * d + j] / self.patches.max(1) as f64;
                (covariance[i * d + j], covariance[j * d + i]) = (c, c);
            }
        }
        let total: f64 = (0..d).map(|i| covariance[i * d + i]).sum();
        let components = leading(&covariance, d, COMPONENTS)
            .into_iter()
            .map(|(variance, axis)| {
                let there = variance > NOTHING * total;
                let share_frac = if there { variance / total } else { 0.0 };
                Component { axis, scale: if there { 1.0 / variance.sqrt() } else { 0.0 }, share_frac }
            })
            .collect();
        Basis { mean: self.mean.clone(), components }
    }
}

/// A component.
#[derive(Debug, Clone)]
struct Component {
    axis: Vec<f64>,
    /// 1/σ; 0 where there is no such component.
    scale: f64,
    share_frac: f64,
}

/// Where scores are measured from, and along what.
#[derive(Debug, Clone)]
pub(crate) struct Basis {
    mean: Vec<f64>,
    components: Vec<Component>,
}

/// Scores of one component.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scores {
    /// Share of the variance of the patches that made the basis.
    pub share_frac: f64,
    /// `[n]`, in standard deviations.
    pub values: Vec<f32>,
}

impl Basis {
    /// Scores of features `[n, D]` on each component, with the signs of the eigenvectors.
    pub fn scores(&self, features: &[f32]) -> Vec<Scores> {
        let d = self.mean.len();
        let mut scores: Vec<Scores> =
            self.components.iter().map(|c| Scores { share_frac: c.share_frac, values: Vec::new() }).collect();
        let mut centred = vec![0.0; d];
        for x in features.chunks_exact(d) {
            centred.iter_mut().zip(x.iter().zip(&self.mean)).for_each(|(c, (&x, m))| *c = f64::from(x) - m);
            for (score, component) in scores.iter_mut().zip(&self.components) {
                score.values.push((dot(&centred, &component.axis) * component.scale) as f32);
            }
        }
        scores
    }
}

/// `Σ score³`, whose sign is that of the skewness: scores have mean 0 over all patches of their basis.
pub(crate) fn cubes(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v).powi(3)).sum()
}

/// Turns scores whose skewness is negative.
pub(crate) fn oriented(mut scores: Scores, cubes: f64) -> Scores {
    if cubes < 0.0 {
        scores.values.iter_mut().for_each(|v| *v = -*v);
    }
    scores
}

#[cfg(test)]
mod tests;
