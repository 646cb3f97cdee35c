//! Predicts where a patch lies from its token: Figure 5b and Table 5 of the paper, Table 4 of the study.
//!
//! - `softmax`: logistic regression over the gh·gw cells of the grid, our reading of the paper's "linear model";
//! - `least_squares`: regression to (row, column), the study's; a hit is both rounded coordinates right.
//!
//! Top-1 accuracy, and the mean Euclidean distance in cells between the predicted and the true position (the study's:
//! of the unrounded prediction). `separate` trains one model per kind of token (the study; our planted truth), else
//! one model learns from all kinds at once and is tested on each. Sampled tokens hold as many outliers as normal
//! patches, so one model for all sees more outliers than images have: both choices are said in the note.
//!
//! Standard errors take images, not tokens, as independent. `blind_distance_cells` is the distance of the best constant
//! cell, chosen on the training tokens: what a model without information reaches.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::StageError;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::least_squares::Linear;
use crate::logistic::{Design, LogisticParams};
use crate::samples::{Samples, Subjects, check_kinds, patch_kinds};
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
}

/// Tokens of one side of the split.
struct Side {
    x: Array2<f64>,
    cells: Vec<(u16, u16)>,
    images: Vec<ImageKey>,
}

impl Side {
    fn of(parts: &[(&Samples, Vec<usize>)]) -> Self {
        let views: Vec<Array2<f64>> = parts.iter().map(|(s, rows)| s.vectors(rows)).collect();
        let views: Vec<ArrayView2<'_, f64>> = views.iter().filter(|v| v.nrows() > 0).map(Array2::view).collect();
        // Parts have one width, or `Samples` would have refused them; no part at all has none.
        let x = ndarray::concatenate(ndarray::Axis(0), &views).unwrap_or_default();
        let rows = || parts.iter().flat_map(|(s, rows)| rows.iter().map(move |&i| (s, i)));
        Self { x, cells: rows().map(|(s, i)| s.cells[i]).collect(), images: rows().map(|(s, i)| s.images[i]).collect() }
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
            PositionModel::LeastSquares { ridge } if !(ridge.is_finite() && ridge >= 0.0) => {
                return Err(ProbeError::Range { name: "model.least_squares.ridge", value: ridge });
            }
            PositionModel::LeastSquares { .. } => {}
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
        if let (Some(&wanted), Some(i)) = (grids.first(), grids.iter().position(|g| *g != grids[0])) {
            return Err(ProbeError::Grid { image: images[i].0.1, found: grids[i], wanted }.into());
        }
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
                    Ok(self.predict(&Side::of(&[train]), &[Side::of(&[test])])?.pop().flatten())
                })
                .collect::<Result<_, StageError>>()?
        } else {
            let sides: Vec<Side> = tested.into_iter().map(|part| Side::of(&[part])).collect();
            self.predict(&Side::of(&all), &sides)?
        };
        let mut scores = Vec::new();
        for ((kind, prediction), samples) in kinds.iter().zip(&predictions).zip(&samples) {
            let with: BTreeSet<_> = samples.images.iter().collect();
            let without = (images.len() - with.len()) as u32;
            scores.extend(self.score(kind, prediction.as_ref(), without));
        }
        Ok(scores)
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
    fn predict(&self, train: &Side, tests: &[Side]) -> Result<Vec<Option<Prediction>>, ProbeError> {
        if train.cells.is_empty() {
            return Ok(tests.iter().map(|_| None).collect());
        }
        let blind = blind_cell(&train.cells);
        let finish = |test: &Side, at: Vec<(f64, f64)>, converged| {
            let hit = |((row, col), cell): (&(f64, f64), &(u16, u16))| {
                (row.round_ties_even(), col.round_ties_even()) == (f64::from(cell.0), f64::from(cell.1))
            };
            (!at.is_empty()).then(|| Prediction {
                hits: at.iter().zip(&test.cells).map(|pair| f64::from(u8::from(hit(pair)))).collect(),
                distances: at.iter().zip(&test.cells).map(|(a, c)| distance(*a, *c)).collect(),
                images: test.images.clone(),
                blind: test.cells.iter().map(|c| distance(blind, *c)).sum::<f64>() / test.cells.len() as f64,
                converged,
            })
        };
        match self.model {
            PositionModel::Softmax { c, logistic } => {
                let code = |cell: &(u16, u16)| u32::from(cell.0) << 16 | u32::from(cell.1);
                let design = Design::new(train.x.clone(), train.cells.iter().map(code).collect())?;
                let fits = logistic.check()?.fit(&design, &[c])?;
                let Some(fit) = fits.first() else { return Ok(tests.iter().map(|_| None).collect()) };
                Ok(tests
                    .iter()
                    .map(|test| {
                        let cells = if test.cells.is_empty() { Vec::new() } else { fit.model.predict(test.x.view()) };
                        let at = cells.iter().map(|c| (f64::from(c >> 16), f64::from(c & 0xFFFF))).collect();
                        finish(test, at, fit.converged)
                    })
                    .collect())
            }
            PositionModel::LeastSquares { ridge } => {
                let target = Array2::from_shape_fn((train.cells.len(), 2), |(i, j)| {
                    f64::from(if j == 0 { train.cells[i].0 } else { train.cells[i].1 })
                });
                let fit = Linear::fit(train.x.view(), target.view(), ridge);
                Ok(tests
                    .iter()
                    .map(|test| {
                        let fit = fit.as_ref().filter(|_| !test.cells.is_empty())?;
                        let at = fit.predict(test.x.view()).rows().into_iter().map(|r| (r[0], r[1])).collect();
                        finish(test, at, true)
                    })
                    .collect())
            }
        }
    }

    fn score(&self, kind: &str, found: Option<&Prediction>, without: u32) -> Vec<Score> {
        let converged = found.is_some_and(|p| p.converged);
        let note = match (found, converged, self.separate) {
            (None, ..) => "too few tokens of this kind to train and test on",
            (Some(_), false, _) => "the fit did not reach its optimum, so there is no number",
            (Some(_), true, true) => "one model per kind of token",
            (Some(_), true, false) => "one model for all kinds; sampled tokens hold normal and outlier patches alike",
        };
        let base = Score {
            experiment: "position".to_owned(),
            subject: kind.to_owned(),
            site: self.site.clone(),
            n: found.map_or(0, |p| p.hits.len() as u64),
            draws: 1,
            images_without: without,
            c: match self.model {
                PositionModel::Softmax { c, .. } => Some(c),
                PositionModel::LeastSquares { .. } => None,
            },
            converged,
            note: note.to_owned(),
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
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::logistic::Standardise;
    use crate::numpy_random::RandomState;

    /// A 6×6 grid; normal tokens carry a one-hot row and column, outliers noise only.
    fn planted(noise_of_normal: f32) -> (Subjects, Vec<Labelled>, Vec<(u16, u16)>) {
        let mut words = RandomState::new(3);
        let mut uniform = || words.next_u32() as f32 / u32::MAX as f32;
        let images: Vec<Labelled> = (0..150).map(|i| ((0, i), None)).collect();
        let mut subjects = Subjects::new();
        for (key, _) in &images {
            for (kind, signal) in [("normal", 1.0), ("outlier", 0.0)] {
                for draw in 0..6 {
                    let cell = ((uniform() * 6.0) as u16 % 6, (uniform() * 6.0) as u16 % 6);
                    let s = subjects.entry(kind.to_owned()).or_default();
                    s.images.push(*key);
                    s.draws.push(draw);
                    s.indices.push(cell.0 * 6 + cell.1);
                    s.cells.push(cell);
                    s.dim = 12;
                    for j in 0..12 {
                        let on = j == usize::from(cell.0) || j == 6 + usize::from(cell.1);
                        s.values.push(noise_of_normal * (uniform() - 0.5) + if on { signal } else { 0.0 });
                    }
                }
            }
        }
        let grids = vec![(6, 6); images.len()];
        (subjects, images, grids)
    }

    fn softmax() -> Position {
        let logistic = LogisticParams { standardise: Standardise::Floor { frac: 1e-3 }, ..LogisticParams::default() };
        Position {
            site: "final".into(),
            subjects: vec![],
            separate: true,
            model: PositionModel::Softmax { c: 1.0, logistic },
            split: Split::EveryNth { nth: 3 },
        }
    }

    fn run(probe: &Position) -> Vec<Score> {
        let (subjects, images, grids) = planted(0.2);
        probe.run(&subjects, &images, &grids, &AtomicBool::new(false)).unwrap()
    }

    fn get(scores: &[Score], subject: &str, metric: &str) -> f64 {
        scores.iter().find(|s| s.subject == subject && s.metric == metric).unwrap().value.unwrap()
    }

    #[test]
    fn tokens_with_their_place_are_told_from_tokens_without() {
        for separate in [true, false] {
            let scores = run(&Position { separate, ..softmax() });
            assert!(get(&scores, "normal", "top1_frac") > 0.95, "{separate} {scores:?}");
            assert!(get(&scores, "normal", "mean_distance_cells") < 0.1);
            // Chance is 1/36.
            assert!(get(&scores, "outlier", "top1_frac") < 0.1);
            assert!(get(&scores, "outlier", "mean_distance_cells") > 1.8);
        }
    }

    /// Breaks when the split is drawn for each kind: they have other images, so the same seed draws other ones.
    #[test]
    fn one_model_for_all_kinds_is_not_tested_on_images_that_taught_it() {
        let (mut subjects, images, _) = planted(0.2);
        let without = subjects.get_mut("outlier").unwrap();
        let kept: Vec<usize> = (0..without.rows()).filter(|&i| without.images[i].1 % 3 > 0).collect();
        without.images = kept.iter().map(|&i| without.images[i]).collect();
        let kinds = [&subjects["normal"], &subjects["outlier"]];
        for split in [Split::Sklearn { test_frac: 0.2, seed: 42 }, Split::Random { test_frac: 0.2, seed: 42 }] {
            let sides = Position { separate: false, split, ..softmax() }.sides(&images, &kinds);
            let images_of = |rows: &[usize], kind: &Samples| rows.iter().map(|&i| kind.images[i]).collect::<Vec<_>>();
            let (mut train, mut test) = (BTreeSet::new(), BTreeSet::new());
            for ((teach, tested), kind) in sides.iter().zip(kinds) {
                train.extend(images_of(teach, kind));
                test.extend(images_of(tested, kind));
            }
            assert!(train.is_disjoint(&test), "{split:?}");
            assert_eq!((train.len(), test.len()), (120, 30));
            assert!(sides.iter().all(|(train, test)| !train.is_empty() && !test.is_empty()));
        }
    }

    #[test]
    fn least_squares_finds_a_linear_place() {
        // Row = Σ r·[row = r] is linear in the one-hot code.
        let scores = run(&Position { model: PositionModel::LeastSquares { ridge: 0.0 }, ..softmax() });
        assert!(get(&scores, "normal", "mean_distance_cells") < 0.5);
        let blind = get(&scores, "outlier", "blind_distance_cells");
        assert!((get(&scores, "outlier", "mean_distance_cells") / blind - 1.0).abs() < 0.1);
    }

    #[test]
    fn the_blind_cell_of_a_full_grid_is_its_middle() {
        let cells: Vec<(u16, u16)> = (0..9).map(|i| (i / 3, i % 3)).collect();
        assert_eq!(blind_cell(&cells), (1.0, 1.0));
    }

    #[test]
    fn grids_of_two_sizes_are_an_error() {
        let (subjects, images, mut grids) = planted(0.2);
        grids[7] = (6, 7);
        assert!(softmax().run(&subjects, &images, &grids, &AtomicBool::new(false)).is_err());
    }

    #[test]
    fn without_outliers_there_is_no_number() {
        let (mut subjects, images, grids) = planted(0.2);
        subjects.remove("outlier");
        let scores = softmax().run(&subjects, &images, &grids, &AtomicBool::new(false)).unwrap();
        let outlier = scores.iter().find(|s| s.subject == "outlier").unwrap();
        assert_eq!((outlier.value, outlier.n, outlier.images_without), (None, 0, 150));
    }

    #[test]
    fn an_unconverged_fit_is_no_number() {
        let mut probe = softmax();
        let logistic = LogisticParams { max_iterations: 1, gap_frac: 1e-12, ..LogisticParams::default() };
        probe.model = PositionModel::Softmax { c: 1e4, logistic };
        probe.separate = false;
        assert!(run(&probe).iter().filter(|s| s.metric == "top1_frac").all(|s| s.value.is_none() && !s.converged));
    }
}
