//! Predicts where a patch lies from its token: Figure 5b and Table 5 of the paper, Table 4 of the study.
//!
//! - `softmax`: logistic regression over the gh·gw cells of the grid, our reading of the paper's "linear model";
//! - `least_squares`: regression to (row, column), the study's for DINOv2 (Table 4); a hit is both rounded coordinates
//!   right (halves to the even number, as `NumPy` rounds);
//! - `flat_index`: regression to the row-major index, the study's for DeiT-III (Fig. 7); a hit is the right index after
//!   clipping to the grid and rounding. An index is a poor number to regress: its error of one may be a whole row.
//!
//! Top-1 accuracy, and the mean Euclidean distance in cells between the predicted and the true position
//! (`least_squares`: of the unrounded prediction, as in the study; `flat_index`: of the cell that is hit). `separate` trains one model per kind of token (the study; our planted truth), else
//! one model learns from all kinds at once and is tested on each. Sampled tokens hold as many outliers as normal
//! patches, so one model for all sees more outliers than images have: both choices are said in the note, and so is a
//! regression that its tokens did not determine.
//!
//! Standard errors take images, not tokens, as independent. `blind_distance_cells` is the distance of the best constant
//! cell, chosen on the training tokens: what a model without information reaches.

mod joint;
mod large;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::StageError;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::least_squares::Linear;
use crate::logistic::{Design, LogisticParams};
use crate::samples::{Grid, Samples, Subjects, check_kinds, patch_kinds};
use crate::score::{Score, clustered_mean};
use crate::split::{ImageKey, Labelled, Split};

/// The linear model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PositionModel {
    /// One class per cell.
    Softmax {
        /// Inverse penalty.
        c: f64,
        /// Scaling and solver.
        #[serde(default)]
        logistic: LogisticParams,
    },
    /// Row and column as numbers.
    LeastSquares {
        /// Ridge; 0 in the study.
        #[serde(default)]
        ridge: f64,
    },
    /// The row-major index of the cell as one number, clipped to the grid and rounded.
    FlatIndex {
        /// Ridge; 0 in the study.
        #[serde(default)]
        ridge: f64,
    },
}

/// Parameters of a position probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Site of the vectors.
    pub site: String,
    /// Kinds of patch; empty: `normal` and `outlier`.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// Whether each kind has a model of its own.
    pub separate: bool,
    /// The model.
    pub model: PositionModel,
    /// What is tested.
    pub split: Split,
}

/// Where tokens of a kind were predicted.
#[derive(Debug, Clone, PartialEq)]
struct Prediction {
    hits: Vec<f64>,
    distances: Vec<f64>,
    images: Vec<ImageKey>,
    blind: f64,
    converged: bool,
    /// Of a regression whose tokens did not determine it.
    doubt: Option<String>,
}

/// Tokens of one side of the split.
struct Side<'a> {
    parts: Vec<(&'a Samples, Vec<usize>)>,
    cells: Vec<(u16, u16)>,
    images: Vec<ImageKey>,
}

impl<'a> Side<'a> {
    fn of(parts: &[(&'a Samples, Vec<usize>)]) -> Self {
        let rows = || parts.iter().flat_map(|(s, rows)| rows.iter().map(move |&i| (s, i)));
        let cells = rows().map(|(s, i)| s.cells[i]).collect();
        let images = rows().map(|(s, i)| s.images[i]).collect();
        Self { parts: parts.to_vec(), cells, images }
    }

    /// The vectors, [N, D].
    fn x(&self) -> Array2<f64> {
        let views: Vec<Array2<f64>> = self.parts.iter().map(|(s, rows)| s.vectors(rows)).collect();
        let views: Vec<ArrayView2<'_, f64>> = views.iter().filter(|v| v.nrows() > 0).map(Array2::view).collect();
        // Parts have one width, or `Samples` would have refused them; no part at all has none.
        ndarray::concatenate(ndarray::Axis(0), &views).unwrap_or_default()
    }
}

impl Position {
    /// Checks the ranges.
    pub fn check(&self) -> Result<(), ProbeError> {
        self.split.check()?;
        match self.model {
            PositionModel::Softmax { c, logistic } => {
                logistic.check()?;
                if !(c.is_finite() && c > 0.0) {
                    return Err(ProbeError::Range { name: "model.softmax.c", value: c });
                }
            }
            PositionModel::LeastSquares { ridge } | PositionModel::FlatIndex { ridge }
                if !(ridge.is_finite() && ridge >= 0.0) =>
            {
                return Err(ProbeError::Range { name: "model.ridge", value: ridge });
            }
            PositionModel::LeastSquares { .. } | PositionModel::FlatIndex { .. } => {}
        }
        check_kinds(&self.subjects)
    }

    pub(crate) fn run(
        &self,
        subjects: &Subjects,
        images: &[Labelled],
        grids: &[(u16, u16)],
        cancel: &AtomicBool,
    ) -> Result<Vec<Score>, StageError> {
        let grid = Self::one_grid(images, grids)?;
        let nothing = Samples::default();
        let kinds = patch_kinds(&self.subjects);
        let samples: Vec<&Samples> = kinds.iter().map(|kind| subjects.get(kind).unwrap_or(&nothing)).collect();
        let (all, tested): (Vec<_>, Vec<_>) = samples
            .iter()
            .zip(self.sides(images, &samples))
            .map(|(&samples, (train, test))| ((samples, train), (samples, test)))
            .unzip();
        let predictions: Vec<Option<Prediction>> = if self.separate {
            (all, tested)
                .into_par_iter()
                .map(|(train, test)| {
                    if cancel.load(Ordering::Relaxed) {
                        return Err(StageError::interrupted());
                    }
                    Ok(self.predict(grid, &Side::of(&[train]), &[Side::of(&[test])], cancel)?.pop().flatten())
                })
                .collect::<Result<_, StageError>>()?
        } else {
            let sides: Vec<Side<'_>> = tested.into_iter().map(|part| Side::of(&[part])).collect();
            self.predict(grid, &Side::of(&all), &sides, cancel)?
        };
        let mut scores = Vec::new();
        for ((kind, prediction), samples) in kinds.iter().zip(&predictions).zip(&samples) {
            let with: BTreeSet<_> = samples.images.iter().collect();
            let without = (images.len() - with.len()) as u32;
            scores.extend(self.score(kind, prediction.as_ref(), without));
        }
        Ok(scores)
    }

    /// The grid of all images.
    fn one_grid(images: &[Labelled], grids: &[Grid]) -> Result<Grid, ProbeError> {
        match (grids.first(), grids.iter().position(|g| *g != grids[0])) {
            (Some(&wanted), Some(i)) => Err(ProbeError::Grid { image: images[i].0.1, found: grids[i], wanted }),
            (first, _) => Ok(first.copied().unwrap_or((1, 1))),
        }
    }

    /// Rows of each kind that teach and that are tested. One model for all kinds has one split of all their images: were
    /// it drawn kind by kind, an image that is tested by its normal tokens would teach by its outliers.
    fn sides(&self, images: &[Labelled], kinds: &[&Samples]) -> Vec<(Vec<usize>, Vec<usize>)> {
        if self.separate {
            return kinds.iter().map(|s| self.split.apply(images, &s.images)).collect();
        }
        let rows: Vec<ImageKey> = kinds.iter().flat_map(|s| &s.images).copied().collect();
        let test: BTreeSet<usize> = self.split.apply(images, &rows).1.into_iter().collect();
        let starts = kinds.iter().scan(0, |at, s| Some(std::mem::replace(at, *at + s.rows())));
        kinds.iter().zip(starts).map(|(s, start)| (0..s.rows()).partition(|i| !test.contains(&(start + i)))).collect()
    }

    /// One model, tested on several sides; `None` where there is nothing to train or to test on.
    fn predict(
        &self,
        grid: Grid,
        train: &Side<'_>,
        tests: &[Side<'_>],
        cancel: &AtomicBool,
    ) -> Result<Vec<Option<Prediction>>, StageError> {
        if train.cells.is_empty() {
            return Ok(tests.iter().map(|_| None).collect());
        }
        let blind = blind_cell(&train.cells);
        let finish = |test: &Side<'_>, at: Vec<(f64, f64)>, converged, doubt| {
            let hit = |((row, col), cell): (&(f64, f64), &(u16, u16))| {
                (row.round_ties_even(), col.round_ties_even()) == (f64::from(cell.0), f64::from(cell.1))
            };
            (!at.is_empty()).then(|| Prediction {
                hits: at.iter().zip(&test.cells).map(|pair| f64::from(u8::from(hit(pair)))).collect(),
                distances: at.iter().zip(&test.cells).map(|(a, c)| distance(*a, *c)).collect(),
                images: test.images.clone(),
                blind: test.cells.iter().map(|c| distance(blind, *c)).sum::<f64>() / test.cells.len() as f64,
                converged,
                doubt,
            })
        };
        match self.model {
            PositionModel::Softmax { c, logistic } => {
                let (cells, converged) = if train.is_large(grid) {
                    train.streamed_cells(tests, c, logistic, cancel)?
                } else {
                    let labels = train.cells.iter().copied().map(code).collect();
                    let design = Design::new(train.x(), labels).map_err(ProbeError::from)?;
                    let logistic = logistic.check().map_err(ProbeError::from)?;
                    let fit = logistic.fit(&design, &[c]).map_err(ProbeError::from)?.pop();
                    let Some(fit) = fit else { return Ok(tests.iter().map(|_| None).collect()) };
                    let predict = |test: &Side<'_>| {
                        if test.cells.is_empty() { Vec::new() } else { fit.model.predict(test.x().view()) }
                    };
                    (tests.iter().map(predict).collect(), fit.converged)
                };
                let place = |c: &u32| (f64::from(c >> 16), f64::from(c & 0xFFFF));
                let of = |(test, cells): (&Side<'_>, &Vec<u32>)| {
                    finish(test, cells.iter().map(place).collect(), converged, None)
                };
                Ok(tests.iter().zip(&cells).map(of).collect())
            }
            PositionModel::LeastSquares { ridge } => {
                let target = Array2::from_shape_fn((train.cells.len(), 2), |(i, j)| {
                    f64::from(if j == 0 { train.cells[i].0 } else { train.cells[i].1 })
                });
                Ok(regress(train, &target, ridge, tests, |r| (r[0], r[1]), finish))
            }
            PositionModel::FlatIndex { ridge } => {
                let (rows, cols) = (f64::from(grid.0), f64::from(grid.1));
                let index = |cell: (u16, u16)| f64::from(cell.0) * cols + f64::from(cell.1);
                let target = Array2::from_shape_fn((train.cells.len(), 1), |(i, _)| index(train.cells[i]));
                let cell = |r: &[f64]| {
                    let index = r[0].clamp(0.0, rows * cols - 1.0).round_ties_even();
                    ((index / cols).floor(), index % cols)
                };
                Ok(regress(train, &target, ridge, tests, cell, finish))
            }
        }
    }

    fn score(&self, kind: &str, found: Option<&Prediction>, without: u32) -> Vec<Score> {
        let converged = found.is_some_and(|p| p.converged);
        let mut note = match (found, converged, self.separate) {
            (None, ..) => "too few tokens of this kind to train and test on",
            (Some(_), false, _) => "the fit did not reach its optimum, so there is no number",
            (Some(_), true, true) => "one model per kind of token",
            (Some(_), true, false) => "one model for all kinds; sampled tokens hold normal and outlier patches alike",
        }
        .to_owned();
        if let Some(doubt) = found.and_then(|p| p.doubt.as_ref()) {
            note += &format!("; {doubt}");
        }
        let base = Score {
            experiment: "position".to_owned(),
            subject: kind.to_owned(),
            site: self.site.clone(),
            n: found.map_or(0, |p| p.hits.len() as u64),
            draws: 1,
            images_without: without,
            c: match self.model {
                PositionModel::Softmax { c, .. } => Some(c),
                PositionModel::LeastSquares { .. } | PositionModel::FlatIndex { .. } => None,
            },
            converged,
            note,
            ..Score::default()
        };
        let of = |metric, values: fn(&Prediction) -> &[f64]| {
            let of = found.filter(|p| p.converged).and_then(|p| clustered_mean(values(p), &p.images));
            Score { metric, value: of.map(|v| v.0), stderr: of.map(|v| v.1), ..base.clone() }
        };
        vec![
            of("top1_frac", |p| &p.hits),
            of("mean_distance_cells", |p| &p.distances),
            Score { metric: "blind_distance_cells", value: found.map(|p| p.blind), converged: true, ..base.clone() },
        ]
    }
}

/// A cell as a label.
fn code(cell: (u16, u16)) -> u32 {
    u32::from(cell.0) << 16 | u32::from(cell.1)
}

/// One linear map, its outputs as places; `None` where there is nothing to fit or to test.
fn regress(
    train: &Side<'_>,
    target: &Array2<f64>,
    ridge: f64,
    tests: &[Side<'_>],
    place: impl Fn(&[f64]) -> (f64, f64),
    finish: impl Fn(&Side<'_>, Vec<(f64, f64)>, bool, Option<String>) -> Option<Prediction>,
) -> Vec<Option<Prediction>> {
    let fit = Linear::fit(train.x().view(), target.view(), ridge);
    let of = |test: &Side<'_>| {
        let fit = fit.as_ref().filter(|_| !test.cells.is_empty())?;
        let at = fit.predict(test.x().view()).rows().into_iter().map(|r| place(&r.to_vec())).collect();
        finish(test, at, true, fit.doubt(train.cells.len()))
    };
    tests.iter().map(of).collect()
}

fn distance(at: (f64, f64), cell: (u16, u16)) -> f64 {
    (at.0 - f64::from(cell.0)).hypot(at.1 - f64::from(cell.1))
}

/// The cell with the least summed distance to all.
fn blind_cell(cells: &[(u16, u16)]) -> (f64, f64) {
    let mut counts = std::collections::BTreeMap::new();
    for cell in cells {
        *counts.entry(*cell).or_insert(0.0) += 1.0;
    }
    let cost = |at: (f64, f64)| counts.iter().map(|(c, n): (_, &f64)| n * distance(at, *c)).sum::<f64>();
    let (rows, cols) = cells.iter().fold((0, 0), |(r, c), cell| (r.max(cell.0), c.max(cell.1)));
    (0..=rows)
        .flat_map(|r| (0..=cols).map(move |c| (f64::from(r), f64::from(c))))
        .map(|at| (at, cost(at)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or((0.0, 0.0), |best| best.0)
}

#[cfg(test)]
mod tests;
