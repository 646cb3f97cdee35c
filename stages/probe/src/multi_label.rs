//! Classifies images that have several classes: the VOC 2007 column of Tables 1 and 6.
//!
//! The classes of an image are the names in its `class`, joined by `+`; a name with `?` behind it is marked difficult:
//! it is neither taught nor tested for that class. One logistic regression per class against the rest, C shared by all
//! classes, and the mean over classes of the [average precision](crate::average_precision) in eleven points: the
//! transfer protocol's metric (the papers do not state theirs). C is scikit-learn's binary one, so the softmax with
//! two weight vectors is fitted at C/2. Where C is chosen, the same mean on the held-out images chooses it; a C at which
//! the fit of any class did not converge takes no part in the choice, and the note counts those.
//!
//! The standard error is of 100 resamples of the test images, each image counting k times in all classes, k from
//! Poisson(1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use engine::StageError;
use ndarray::Array2;
use rayon::prelude::*;
use schemas::Name;

use crate::average_precision::{Ranked, eleven_points, sorted};
use crate::classify::{Choice, Protocol, Regularisation, reservations};
use crate::error::ProbeError;
use crate::logistic::{Design, Fit};
use crate::numpy_random::{RandomState, torch_randperm};
use crate::samples::{Samples, Subjects};
use crate::score::{Score, mean, sample_std};
use crate::split::{ImageKey, Labelled};
use crate::token_class::{Task, VectorClass};

const RESAMPLES: usize = 100;

/// Classes of an image: number of the class → whether that is certain.
type Classes = BTreeMap<usize, bool>;

/// What one draw gave.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    precision: f64,
    stderr: Option<f64>,
    c: f64,
    n_test: usize,
    classes: usize,
    converged: bool,
    /// How C was chosen; none: it was given.
    choice: Option<Choice>,
}

/// Vectors of some images with their classes.
struct Side {
    x: Array2<f64>,
    classes: Vec<Classes>,
}

impl Side {
    fn select(&self, rows: &[usize]) -> Self {
        let x = self.x.select(ndarray::Axis(0), rows);
        Self { x, classes: rows.iter().map(|&i| self.classes[i].clone()).collect() }
    }

    /// Rows on which a class is known, and whether they have it.
    fn known(&self, class: usize) -> (Vec<usize>, Vec<bool>) {
        let rows = self.classes.iter().enumerate();
        let known = rows.filter_map(|(i, of)| match of.get(&class) {
            Some(false) => None,
            has => Some((i, has.is_some())),
        });
        known.unzip()
    }
}

/// The ranking of one class at one C: image, score, whether it has the class.
struct Ranking {
    images: Vec<(usize, f64, bool)>,
    converged: bool,
}

impl Ranking {
    fn precision(&self, weight: impl Fn(usize) -> f64) -> Option<f64> {
        let ranked: Vec<Ranked> = self.images.iter().map(|&(i, score, has)| (score, has, weight(i))).collect();
        eleven_points(&sorted(ranked))
    }
}

impl VectorClass {
    /// Scores of every subject; `names` are the classes of each image.
    pub(crate) fn run_multi(
        &self,
        experiment: &str,
        subjects: &Subjects,
        images: &[Labelled],
        names: &[Option<Name>],
        cancel: &AtomicBool,
    ) -> Result<Vec<Score>, StageError> {
        let (labels, count) = numbered(images, names);
        if labels.is_empty() && !images.is_empty() {
            return Err(ProbeError::Unlabelled.into());
        }
        let labelled: Vec<Labelled> = images.iter().filter(|(key, _)| labels.contains_key(key)).copied().collect();
        let nothing = Samples::default();
        let tasks = self.tasks(subjects, &nothing, |image| labels.contains_key(image));
        let outcomes: Vec<Option<Outcome>> = tasks
            .par_iter()
            .map(|(_, task)| {
                if cancel.load(Ordering::Relaxed) {
                    return Err(StageError::interrupted());
                }
                Ok(self.one_multi(task, &labels, count, &labelled)?)
            })
            .collect::<Result<_, StageError>>()?;
        let mut scores = Vec::new();
        let mut at = 0;
        for group in tasks.chunk_by(|a, b| a.0 == b.0) {
            let (name, task) = &group[0];
            let with: BTreeSet<ImageKey> = task.rows.iter().map(|&i| task.samples.images[i]).collect();
            let without = (labelled.len() - with.len()) as u32;
            scores.push(self.score_multi(experiment, name, &outcomes[at..at + group.len()], without));
            at += group.len();
        }
        Ok(scores)
    }

    fn one_multi(
        &self,
        task: &Task<'_>,
        labels: &BTreeMap<ImageKey, Classes>,
        count: usize,
        all: &[Labelled],
    ) -> Result<Option<Outcome>, ProbeError> {
        let images: Vec<ImageKey> = task.rows.iter().map(|&i| task.samples.images[i]).collect();
        let (train, test) = self.protocol.split.apply(all, &images);
        if train.is_empty() || test.is_empty() {
            return Ok(None);
        }
        let side = |rows: &[usize]| Side {
            x: task.samples.vectors(&rows.iter().map(|&i| task.rows[i]).collect::<Vec<_>>()),
            classes: rows.iter().map(|&i| labels[&images[i]].clone()).collect(),
        };
        classify(&side(&train), &side(&test), count, &self.protocol)
    }

    fn score_multi(&self, experiment: &str, subject: &str, outcomes: &[Option<Outcome>], without: u32) -> Score {
        let done: Vec<&Outcome> = outcomes.iter().flatten().collect();
        let whole = done.len() == outcomes.len() && !done.is_empty();
        let converged = whole && done.iter().all(|o| o.converged);
        let note = match (whole, converged) {
            (false, _) => "too few images with such a token to train and test on".to_owned(),
            (true, false) => "a fit did not reach its optimum, so there is no number".to_owned(),
            (true, true) => {
                let of = format!("mean over {} classes", done[0].classes);
                let choices: Vec<Option<Choice>> = done.iter().map(|o| o.choice).collect();
                std::iter::once(of).chain(reservations(&choices)).collect::<Vec<_>>().join("; ")
            }
        };
        let note = match self.protocol.permute_labels {
            Some(seed) => format!("control: labels of the training images permuted with seed {seed}; {note}"),
            None => note,
        };
        let values: Vec<f64> = done.iter().map(|o| o.precision).collect();
        let errors: Option<Vec<f64>> = done.iter().map(|o| o.stderr).collect();
        Score {
            experiment: experiment.to_owned(),
            subject: subject.to_owned(),
            site: self.site.clone(),
            metric: "map_11pt_frac",
            value: mean(&values).filter(|_| converged),
            std: sample_std(&values).filter(|_| converged),
            stderr: errors.and_then(|e| mean(&e)).filter(|_| converged),
            n: done.first().map_or(0, |o| o.n_test as u64),
            draws: outcomes.len() as u32,
            images_without: without,
            c: (outcomes.len() == 1).then(|| done.first().map(|o| o.c)).flatten(),
            converged,
            note,
            ..Score::default()
        }
    }
}

/// Classes of the images that have any, numbered by the names of the training run in order.
fn numbered(images: &[Labelled], names: &[Option<Name>]) -> (BTreeMap<ImageKey, Classes>, usize) {
    let of = |name: &Name| -> Vec<(String, bool)> {
        let parts = name.split('+').map(str::trim).filter(|p| !p.is_empty());
        parts.map(|p| p.strip_suffix('?').map_or((p.to_owned(), true), |p| (p.to_owned(), false))).collect()
    };
    let rows = || images.iter().zip(names).filter_map(|((key, _), name)| Some((*key, of(name.as_ref()?))));
    let taught: BTreeSet<String> = rows().filter(|(key, _)| key.0 == 0).flat_map(|(_, of)| of).map(|c| c.0).collect();
    let numbers: BTreeMap<String, usize> = taught.into_iter().enumerate().map(|(i, name)| (name, i)).collect();
    let labels = rows().map(|(key, of)| {
        let mut classes = Classes::new();
        for (name, certain) in of {
            // One certain object is enough, whatever the others are.
            if let Some(&class) = numbers.get(&name) {
                *classes.entry(class).or_insert(false) |= certain;
            }
        }
        (key, classes)
    });
    (labels.collect(), numbers.len())
}

fn classify(train: &Side, test: &Side, count: usize, protocol: &Protocol) -> Result<Option<Outcome>, ProbeError> {
    let mut permuted = train.select(&(0..train.classes.len()).collect::<Vec<_>>());
    if let Some(seed) = protocol.permute_labels {
        let order = RandomState::new(seed).permutation(train.classes.len());
        permuted.classes = order.into_iter().map(|i| train.classes[i].clone()).collect();
    }
    let train = permuted;
    let (c, choice) = match protocol.regularisation {
        Regularisation::Fixed { c } => (c, None),
        Regularisation::Select { one_in, seed, .. } => match choose(&train, count, protocol, one_in, seed)? {
            Some(choice) => (choice.c, Some(choice)),
            None => return Ok(None),
        },
    };
    let Some(classes) = rankings(&train, test, count, protocol, &[c])?.pop() else { return Ok(None) };
    let Some(precision) = mean_precision(&classes, |_| 1.0) else { return Ok(None) };
    let mut words = RandomState::new(0);
    let resamples: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let weights: Vec<f64> = test.classes.iter().map(|_| poisson(words.next_u32())).collect();
            mean_precision(&classes, |i| weights[i])
        })
        .collect();
    Ok(Some(Outcome {
        precision,
        stderr: sample_std(&resamples),
        c,
        n_test: test.classes.len(),
        classes: classes.iter().filter(|r| r.precision(|_| 1.0).is_some()).count(),
        converged: classes.iter().all(|r| r.converged),
        choice,
    }))
}

/// The C of the best mean precision on held-out images; `None` where none are held out.
fn choose(
    train: &Side,
    count: usize,
    protocol: &Protocol,
    one_in: u32,
    seed: u32,
) -> Result<Option<Choice>, ProbeError> {
    let order = torch_randperm(seed, train.classes.len());
    let (held_out, rest) = order.split_at(train.classes.len() / one_in as usize);
    if held_out.is_empty() {
        return Ok(None);
    }
    let grid = protocol.regularisation.grid();
    let judged = rankings(&train.select(rest), &train.select(held_out), count, protocol, &grid)?;
    let mut best: Option<(f64, f64)> = None;
    let mut unconverged = 0;
    for (c, classes) in grid.iter().zip(&judged) {
        if !classes.iter().all(|r| r.converged) {
            unconverged += 1;
        } else if let Some(precision) = mean_precision(classes, |_| 1.0)
            // Of equal ones the smallest C.
            && best.is_none_or(|(_, most)| precision > most)
        {
            best = Some((*c, precision));
        }
    }
    // No fit converged: the last one will say so of the smallest C.
    let chosen = best.map(|b| b.0).or(grid.first().copied());
    Ok(chosen.map(|c| Choice {
        c,
        held_out: held_out.len(),
        classes: count,
        at_end: grid.len() > 1 && (grid.first() == Some(&c) || grid.last() == Some(&c)),
        unconverged,
    }))
}

/// For every C of an ascending grid, the ranking of each class that can be learned.
fn rankings(
    train: &Side,
    test: &Side,
    count: usize,
    protocol: &Protocol,
    grid: &[f64],
) -> Result<Vec<Vec<Ranking>>, ProbeError> {
    let logistic = protocol.logistic.check()?;
    let halved: Vec<f64> = grid.iter().map(|c| c / 2.0).collect();
    let of_class = |class: usize| -> Result<Vec<Ranking>, ProbeError> {
        let (rows, has) = train.known(class);
        let (tested, truth) = test.known(class);
        // Nothing to tell apart.
        if !has.contains(&true) || !has.contains(&false) || tested.is_empty() {
            return Ok(Vec::new());
        }
        let x = train.x.select(ndarray::Axis(0), &rows);
        let design = Design::new(x, has.into_iter().map(u32::from).collect())?;
        let x = test.x.select(ndarray::Axis(0), &tested);
        let fits = logistic.fit(&design, &halved)?;
        let ranking = |fit: &Fit| {
            let images = margin(fit, &x).into_iter().zip(&tested).zip(&truth);
            Ranking { images: images.map(|((score, i), has)| (*i, score, *has)).collect(), converged: fit.converged }
        };
        Ok(fits.iter().map(ranking).collect())
    };
    let classes: Vec<Vec<Ranking>> = (0..count).into_par_iter().map(of_class).collect::<Result<_, _>>()?;
    let mut by_c: Vec<Vec<Ranking>> = grid.iter().map(|_| Vec::new()).collect();
    for class in classes {
        for (at, ranking) in by_c.iter_mut().zip(class) {
            at.push(ranking);
        }
    }
    Ok(by_c)
}

/// Logit of having the class minus that of not having it.
fn margin(fit: &Fit, x: &Array2<f64>) -> Vec<f64> {
    let (w, b) = (&fit.model.weights, &fit.model.intercept);
    let direction = &w.column(1) - &w.column(0);
    x.dot(&direction).iter().map(|z| z + b[1] - b[0]).collect()
}

/// Mean over the classes that have a positive image.
fn mean_precision(classes: &[Ranking], weight: impl Fn(usize) -> f64) -> Option<f64> {
    mean(&classes.iter().filter_map(|r| r.precision(&weight)).collect::<Vec<_>>())
}

/// A draw of Poisson(1) by inversion.
fn poisson(word: u32) -> f64 {
    let uniform = f64::from(word) / (f64::from(u32::MAX) + 1.0);
    let (mut k, mut term) = (0.0, (-1.0f64).exp());
    let mut below = term;
    while uniform >= below && k < 20.0 {
        k += 1.0;
        term /= k;
        below += term;
    }
    k
}

#[cfg(test)]
mod tests;
