//! Predicts the pixels of a patch from its token: Figure 5b and Table 5 of the paper.
//!
//! One linear map token → 3·p·p normalised pixel values per kind of token, by least squares (`ridge` 0) or ridge.
//! `l2_mean` is the mean over test patches of the Euclidean norm of the residual, our reading of the paper's "L2
//! error": a predictor without information has about √(3p²) in pixels of unit variance. `rmse_per_value` is the root of
//! the mean squared residual of a single value. `blind_*` is the mean patch of the training tokens, the control.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::StageError;
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::least_squares::Linear;
use crate::samples::{PixelMap, Samples, Subjects, check_kinds, patch_kinds};
use crate::score::{Score, clustered_mean};
use crate::split::{ImageKey, Labelled, Split};

/// Parameters of a pixel probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pixels {
    /// Site of the vectors.
    pub site: String,
    /// Kinds of patch; empty: `normal` and `outlier`.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// Ridge; 0 is ordinary least squares.
    #[serde(default)]
    pub ridge: f64,
    /// What is tested.
    pub split: Split,
}

/// Residuals of test patches.
struct Residuals {
    /// Euclidean norm per patch.
    norms: Vec<f64>,
    /// The same of the mean predictor.
    blind: Vec<f64>,
    images: Vec<ImageKey>,
    values_per_patch: f64,
    doubt: Option<String>,
}

impl Pixels {
    /// Checks the ranges.
    pub fn check(&self) -> Result<(), ProbeError> {
        self.split.check()?;
        if !(self.ridge.is_finite() && self.ridge >= 0.0) {
            return Err(ProbeError::Range { name: "ridge", value: self.ridge });
        }
        check_kinds(&self.subjects)
    }

    pub(crate) fn run(
        &self,
        subjects: &Subjects,
        pixels: &PixelMap,
        images: &[Labelled],
        cancel: &AtomicBool,
    ) -> Result<Vec<Score>, StageError> {
        let nothing = Samples::default();
        let scores: Vec<Vec<Score>> = patch_kinds(&self.subjects)
            .par_iter()
            .map(|kind| {
                if cancel.load(Ordering::Relaxed) {
                    return Err(StageError::interrupted());
                }
                let samples = subjects.get(kind).unwrap_or(&nothing);
                // Rows whose pixels were kept.
                let rows: Vec<(usize, &[f32])> = (0..samples.rows())
                    .filter_map(|i| Some((i, pixels.get(&(samples.images[i], samples.indices[i]))?.as_slice())))
                    .collect();
                let with: BTreeSet<ImageKey> = rows.iter().map(|(i, _)| samples.images[*i]).collect();
                let found = self.one(samples, &rows, images)?;
                Ok(self.score(kind, found.as_ref(), (images.len() - with.len()) as u32))
            })
            .collect::<Result<_, StageError>>()?;
        Ok(scores.into_iter().flatten().collect())
    }

    fn one(
        &self,
        samples: &Samples,
        rows: &[(usize, &[f32])],
        images: &[Labelled],
    ) -> Result<Option<Residuals>, ProbeError> {
        let keys: Vec<ImageKey> = rows.iter().map(|(i, _)| samples.images[*i]).collect();
        let (train, test) = self.split.apply(images, &keys);
        if train.is_empty() || test.is_empty() {
            return Ok(None);
        }
        let width = rows[0].1.len();
        if let Some((_, other)) = rows.iter().find(|(_, p)| p.len() != width) {
            return Err(ProbeError::Width { first: width, second: other.len() });
        }
        let vectors = |side: &[usize]| samples.vectors(&side.iter().map(|&i| rows[i].0).collect::<Vec<_>>());
        let values =
            |side: &[usize]| Array2::from_shape_fn((side.len(), width), |(i, j)| f64::from(rows[side[i]].1[j]));
        let (x, y) = (vectors(&train), values(&train));
        let Some(fit) = Linear::fit(x.view(), y.view(), self.ridge) else { return Ok(None) };
        let Some(mean) = y.mean_axis(Axis(0)) else { return Ok(None) };
        let truth = values(&test);
        let norms = |residual: Array2<f64>| -> Vec<f64> {
            residual.rows().into_iter().map(|r| r.iter().map(|v| v * v).sum::<f64>().sqrt()).collect()
        };
        Ok(Some(Residuals {
            norms: norms(&truth - &fit.predict(vectors(&test).view())),
            blind: norms(&truth - &mean),
            images: test.iter().map(|&i| keys[i]).collect(),
            values_per_patch: width as f64,
            doubt: fit.doubt(train.len()),
        }))
    }

    fn score(&self, kind: &str, found: Option<&Residuals>, without: u32) -> Vec<Score> {
        let note = match found {
            None => "too few tokens of this kind to train and test on".to_owned(),
            Some(r) => r.doubt.clone().unwrap_or_default(),
        };
        let base = Score {
            experiment: "pixels".to_owned(),
            subject: kind.to_owned(),
            site: self.site.clone(),
            n: found.map_or(0, |r| r.norms.len() as u64),
            draws: 1,
            images_without: without,
            converged: found.is_some(),
            note,
            ..Score::default()
        };
        let l2 = |metric, norms: fn(&Residuals) -> &[f64]| {
            let of = found.and_then(|r| clustered_mean(norms(r), &r.images));
            Score { metric, value: of.map(|v| v.0), stderr: of.map(|v| v.1), ..base.clone() }
        };
        let rmse = |metric, norms: fn(&Residuals) -> &[f64]| {
            let of = found.map(|r| {
                let squares = norms(r).iter().map(|v| v * v).sum::<f64>();
                (squares / (norms(r).len() as f64 * r.values_per_patch)).sqrt()
            });
            Score { metric, value: of, ..base.clone() }
        };
        vec![
            l2("l2_mean", |r| &r.norms),
            rmse("rmse_per_value", |r| &r.norms),
            l2("blind_l2_mean", |r| &r.blind),
            rmse("blind_rmse_per_value", |r| &r.blind),
        ]
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::numpy_random::RandomState;

    #[test]
    fn tokens_with_pixels_are_told_from_tokens_without() {
        let mut words = RandomState::new(3);
        let mut uniform = || words.next_u32() as f32 / u32::MAX as f32 - 0.5;
        let images: Vec<Labelled> = (0..90).map(|i| ((0, i), None)).collect();
        let (mut subjects, mut pixels) = (Subjects::new(), PixelMap::new());
        for (key, _) in &images {
            for (kind, index) in [("normal", 4), ("outlier", 5)] {
                let s = subjects.entry(kind.to_owned()).or_default();
                let patch: Vec<f32> = (0..12).map(|_| uniform()).collect();
                s.images.push(*key);
                s.draws.push(0);
                s.indices.push(index);
                s.cells.push((0, index));
                s.dim = 12;
                // A normal token is a mixture of its pixels; an outlier has nothing of them.
                s.values.extend(
                    (0..12).map(|j| if kind == "normal" { patch[j] + patch[(j + 5) % 12] * 0.5 } else { uniform() }),
                );
                pixels.insert((*key, index), patch);
            }
        }
        let probe = Pixels { site: "final".into(), subjects: vec![], ridge: 0.0, split: Split::EveryNth { nth: 3 } };
        let scores = probe.run(&subjects, &pixels, &images, &AtomicBool::new(false)).unwrap();
        let get = |subject: &str, metric: &str| {
            scores.iter().find(|s| s.subject == subject && s.metric == metric).unwrap().value.unwrap()
        };
        assert!(get("normal", "l2_mean") < 1e-5);
        assert!(get("outlier", "l2_mean") > 0.95 * get("outlier", "blind_l2_mean"));
        // Uniform on ±½: variance 1/12 per value, and 12 values: the blind residual has length about 1.
        assert!((get("normal", "blind_l2_mean") - 1.0).abs() < 0.1);
        assert!((get("normal", "blind_rmse_per_value") - (1.0f64 / 12.0).sqrt()).abs() < 0.03);
    }
}
