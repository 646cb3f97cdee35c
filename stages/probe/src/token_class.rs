//! Classifies images from one token: Tables 1, 4 and 6 of the paper, Tables 3 and 5 of the study.
//!
//! For every kind of token (CLS, each register, a random normal patch, a random outlier patch) and every draw of the
//! random ones: logistic regression on that single vector per image, accuracy on the test images; mean ± sample
//! standard deviation over draws. Images without a token of the kind are left out and counted. `pooled_class` is the
//! same on whole-image vectors (CLS of a block, mean of the patches).
//!
//! With more than five classes, also the share of images whose class is among the five most likely. What is too large
//! for a fit in memory is fitted in blocks (`streamed.rs`), one task after the other.
//!
//! The standard error is the binomial one of the test images. Draws do not shrink it: they share those images.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use engine::StageError;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::classify::{Outcome, Protocol, classify, classify_streamed, reservations};
use crate::error::ProbeError;
use crate::logistic::Design;
use crate::samples::{Samples, Subjects};
use crate::score::{Score, mean, sample_std};
use crate::split::{ImageKey, Labelled};
use crate::streamed::{Chosen, Reading, Source};

/// Parameters of a classification from single vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorClass {
    /// Site of the vectors.
    pub site: String,
    /// Token kinds or pools; empty: all there are.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// Draws that are used, from the first; empty: all there are.
    #[serde(default)]
    pub draws: Option<u16>,
    /// How it is trained and tested.
    pub protocol: Protocol,
}

/// One subject and draw.
pub(crate) struct Task<'a> {
    pub samples: &'a Samples,
    /// Labelled rows of the draw.
    pub rows: Vec<usize>,
}

impl VectorClass {
    /// Scores of every subject.
    pub(crate) fn run(
        &self,
        experiment: &str,
        subjects: &Subjects,
        images: &[Labelled],
        reading: Reading<'_>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Score>, StageError> {
        let labels: BTreeMap<ImageKey, u32> =
            images.iter().filter_map(|&(key, label)| Some((key, u32::try_from(label?).ok()?))).collect();
        if labels.is_empty() && !images.is_empty() {
            return Err(ProbeError::Unlabelled.into());
        }
        let labelled: Vec<Labelled> = images.iter().filter(|(k, _)| labels.contains_key(k)).copied().collect();

        let nothing = Samples::default();
        let tasks = self.tasks(subjects, &nothing, |image| labels.contains_key(image));

        let classes = labels.values().collect::<BTreeSet<_>>().len();
        let large = |task: &Task<'_>| reading.is_large(task.rows.len(), task.samples.dim, classes);
        let one = |(_, task): &(&String, Task<'_>)| {
            if cancel.load(Ordering::Relaxed) {
                return Err(StageError::interrupted());
            }
            self.one(task, &labels, &labelled, (reading, large(task)), cancel)
        };
        // A large fit keeps every thread busy by itself, and two would be two times the memory.
        let outcomes: Vec<Option<Outcome>> = if reading.parts.is_some() || tasks.iter().any(|(_, task)| large(task)) {
            tasks.iter().map(one).collect::<Result<_, _>>()?
        } else {
            tasks.par_iter().map(one).collect::<Result<_, _>>()?
        };

        let mut scores = Vec::new();
        let mut at = 0;
        for group in tasks.chunk_by(|a, b| a.0 == b.0) {
            let outcomes = &outcomes[at..at + group.len()];
            at += group.len();
            let (name, task) = &group[0];
            let with: BTreeSet<ImageKey> = task.rows.iter().map(|&i| task.samples.images[i]).collect();
            let without = (labelled.len() - with.len()) as u32;
            scores.extend(self.score(experiment, name, outcomes, without));
        }
        Ok(scores)
    }

    /// Every subject and draw with the rows whose image can be used. A kind that no image has is a task without rows, so
    /// that it is a row without a value, not a missing row.
    pub(crate) fn tasks<'a>(
        &'a self,
        subjects: &'a Subjects,
        nothing: &'a Samples,
        usable: impl Fn(&ImageKey) -> bool,
    ) -> Vec<(&'a String, Task<'a>)> {
        let names: Vec<&String> =
            if self.subjects.is_empty() { subjects.keys().collect() } else { self.subjects.iter().collect() };
        let mut tasks = Vec::new();
        for name in names {
            let samples = subjects.get(name).unwrap_or(nothing);
            let mut draws: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
            for i in 0..samples.rows() {
                if self.draws.is_none_or(|d| samples.draws[i] < d) && usable(&samples.images[i]) {
                    draws.entry(samples.draws[i]).or_default().push(i);
                }
            }
            if draws.is_empty() {
                draws.insert(0, Vec::new());
            }
            tasks.extend(draws.into_values().map(|rows| (name, Task { samples, rows })));
        }
        tasks
    }

    fn one(
        &self,
        task: &Task<'_>,
        labels: &BTreeMap<ImageKey, u32>,
        all: &[Labelled],
        (reading, large): (Reading<'_>, bool),
        cancel: &AtomicBool,
    ) -> Result<Option<Outcome>, StageError> {
        let images: Vec<ImageKey> = task.rows.iter().map(|&i| task.samples.images[i]).collect();
        let (train, test) = self.protocol.split.apply(all, &images);
        if train.is_empty() || test.is_empty() {
            return Ok(None);
        }
        let labels_of = |side: &[usize]| side.iter().map(|&i| labels[&images[i]]).collect::<Vec<u32>>();
        let streamed = |source: &dyn Source, numbers: &[usize]| {
            let chosen =
                |side: &[usize]| Chosen::new(source, side.iter().map(|&i| numbers[i]).collect(), labels_of(side));
            classify_streamed(&chosen(&train), &chosen(&test), &self.protocol, cancel)
        };
        let loaded;
        let (samples, numbers) = match reading.parts {
            None => (task.samples, task.rows.clone()),
            Some(parts) => {
                let places: Vec<_> = task.rows.iter().map(|&i| task.samples.places[i]).collect();
                let left = parts.at(&places, task.samples.dim);
                let numbers: Vec<usize> = (0..places.len()).collect();
                if large && !reading.fits(places.len(), task.samples.dim) {
                    return streamed(&*left, &numbers);
                }
                let mut values = vec![0.0; places.len() * task.samples.dim];
                left.copy(&numbers, &mut values)?;
                loaded = Samples { dim: task.samples.dim, values, ..Samples::default() };
                (&loaded, numbers)
            }
        };
        if large {
            return streamed(samples, &numbers);
        }
        let design = |side: &[usize]| {
            let rows: Vec<usize> = side.iter().map(|&i| numbers[i]).collect();
            Design::new(samples.vectors(&rows), labels_of(side)).map_err(ProbeError::from)
        };
        Ok(classify(&design(&train)?, &design(&test)?, &self.protocol)?)
    }

    fn score(&self, experiment: &str, subject: &str, outcomes: &[Option<Outcome>], without: u32) -> Vec<Score> {
        let done: Vec<&Outcome> = outcomes.iter().flatten().collect();
        let converged = done.iter().all(|o| o.fit.converged) && done.len() == outcomes.len();
        let mut note = match (done.len() == outcomes.len(), converged) {
            (false, _) => "too few images with such a token to train and test on".to_owned(),
            (true, false) => "a fit did not reach its optimum, so there is no number".to_owned(),
            (true, true) => reservations(&done.iter().map(|o| o.choice).collect::<Vec<_>>()).join("; "),
        };
        if let Some(seed) = self.protocol.permute_labels {
            note = format!("control: labels of the training images permuted with seed {seed}; {note}");
        }
        let base = Score {
            experiment: experiment.to_owned(),
            subject: subject.to_owned(),
            site: self.site.clone(),
            n: done.first().map_or(0, |o| o.n_test as u64),
            draws: outcomes.len() as u32,
            images_without: without,
            c: (outcomes.len() == 1).then(|| done.first().map(|o| o.fit.c)).flatten(),
            converged: converged && !done.is_empty(),
            note: note.trim_end_matches("; ").to_owned(),
            ..Score::default()
        };
        let of = |metric, value: fn(&Outcome) -> f64, stderr: Option<fn(&Outcome) -> f64>| {
            let values: Vec<f64> = done.iter().map(|o| value(o)).collect();
            let errors = stderr.map(|stderr| done.iter().map(|o| stderr(o)).collect::<Vec<_>>());
            let known = base.converged;
            Score {
                metric,
                value: mean(&values).filter(|_| known),
                std: sample_std(&values).filter(|_| known),
                stderr: errors.and_then(|e| mean(&e)).filter(|_| known),
                ..base.clone()
            }
        };
        let accuracy = of("accuracy_frac", |o| o.accuracy.micro, Some(|o| o.accuracy.micro_stderr));
        let macro_accuracy = of("macro_accuracy_frac", |o| o.accuracy.per_class, Some(|o| o.accuracy.per_class_stderr));
        // How the fits ended is a fact of its own, known also where they failed.
        let fact = |metric, value: fn(&Outcome) -> f64| {
            let values: Vec<f64> = done.iter().map(|o| value(o)).collect();
            Score { metric, value: mean(&values), std: sample_std(&values), ..base.clone() }
        };
        let mut scores = vec![accuracy, macro_accuracy];
        if done.iter().any(|o| o.top5.is_some()) {
            let top5 = |o: &Outcome| o.top5.unwrap_or(1.0);
            let stderr = |o: &Outcome| {
                let p = o.top5.unwrap_or(1.0);
                (p * (1.0 - p) / o.n_test as f64).sqrt()
            };
            scores.push(of("top5_accuracy_frac", top5, Some(stderr)));
        }
        scores.push(fact("objective_sum", |o| o.fit.objective));
        scores.push(fact("gradient_norm", |o| o.fit.gradient_norm));
        if done.iter().any(|o| o.fit.rounding.is_some()) {
            scores.push(fact("gradient_rounding_norm", |o| o.fit.rounding.unwrap_or(0.0)));
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::classify::Regularisation;
    use crate::logistic::{LogisticParams, Solver};
    use crate::numpy_random::RandomState;
    use crate::split::Split;

    /// 120 images of 4 classes; the CLS token tells the class, the normal one does not, 20 images have no outlier.
    fn planted() -> (Subjects, Vec<Labelled>) {
        let mut words = RandomState::new(1);
        let mut noise = || words.next_u32() as f32 / u32::MAX as f32 - 0.5;
        let images: Vec<Labelled> = (0..120).map(|i| ((0, i), Some(i as i32 % 4))).collect();
        let mut subjects = Subjects::new();
        for &(key, label) in &images {
            for (kind, draws, signal) in [("cls", 1, 3.0), ("normal", 3, 0.0), ("outlier", 3, 3.0)] {
                for draw in 0..draws {
                    if kind == "outlier" && key.1 < 20 {
                        continue;
                    }
                    let s = subjects.entry(kind.to_owned()).or_default();
                    s.images.push(key);
                    s.draws.push(draw);
                    s.indices.push(0);
                    s.cells.push((0, 0));
                    s.dim = 4;
                    s.values.extend((0..4).map(|j| noise() + if Some(j) == label { signal } else { 0.0 }));
                }
            }
        }
        (subjects, images)
    }

    fn run(experiment: &VectorClass) -> Vec<Score> {
        let (subjects, images) = planted();
        experiment.run("token_class", &subjects, &images, Reading::default(), &AtomicBool::new(false)).unwrap()
    }

    fn study() -> VectorClass {
        VectorClass { site: "final".into(), subjects: vec![], draws: None, protocol: Protocol::study(42) }
    }

    fn get<'a>(scores: &'a [Score], subject: &str, metric: &str) -> &'a Score {
        scores.iter().find(|s| s.subject == subject && s.metric == metric).unwrap()
    }

    #[test]
    fn tokens_with_the_class_are_told_from_tokens_without() {
        let scores = run(&study());
        let cls = get(&scores, "cls", "accuracy_frac");
        assert!(cls.value.unwrap() > 0.95 && cls.std.is_none() && cls.draws == 1 && cls.images_without == 0);
        assert_eq!((cls.n, cls.c), (24, Some(1.0)));
        let outlier = get(&scores, "outlier", "accuracy_frac");
        assert!(outlier.value.unwrap() > 0.95 && outlier.std.is_some());
        // ⌈0.2 · 100⌉ of the images that have one.
        assert_eq!((outlier.n, outlier.draws, outlier.images_without), (20, 3, 20));
        let normal = get(&scores, "normal", "accuracy_frac").value.unwrap();
        assert!((normal - 0.25).abs() < 0.2, "{normal}");
    }

    #[test]
    fn permuted_labels_are_at_chance_and_say_so() {
        let mut control = study();
        control.protocol.permute_labels = Some(3);
        let scores = run(&control);
        let cls = get(&scores, "cls", "accuracy_frac");
        assert!(cls.value.unwrap() < 0.6 && cls.note.starts_with("control"), "{cls:?}");
    }

    #[test]
    fn a_choice_of_c_on_few_images_says_so() {
        let mut tiny = study();
        tiny.protocol.regularisation = Regularisation::Select { low: -6.0, high: 5.0, steps: 12, one_in: 10, seed: 0 };
        let scores = run(&tiny);
        // 96 training images: nine of them choose, of four classes.
        let cls = get(&scores, "cls", "accuracy_frac");
        assert!(cls.note.starts_with("C = ") && cls.note.contains(" chosen on 9 images"), "{}", cls.note);
        assert!(cls.value.is_some(), "a doubt suppresses nothing");
        let outlier = get(&scores, "outlier", "accuracy_frac");
        assert!(outlier.note.starts_with("in 3 of 3 draws, as in: C = "), "{}", outlier.note);
        // A given C was not chosen.
        assert_eq!(get(&run(&study()), "cls", "accuracy_frac").note, "");
    }

    #[test]
    fn an_unconverged_fit_is_no_number() {
        let mut hasty = study();
        hasty.protocol.logistic =
            LogisticParams { max_iterations: 1, gap_frac: 1e-12, solver: Solver::Lbfgs, ..LogisticParams::default() };
        let scores = run(&hasty);
        let cls = get(&scores, "cls", "accuracy_frac");
        assert!(cls.value.is_none() && cls.stderr.is_none() && !cls.converged && !cls.note.is_empty());
        assert!(get(&scores, "cls", "gradient_norm").value.is_some(), "how far it came is a fact");
    }

    #[test]
    fn a_kind_that_no_image_has_is_a_row_without_a_value() {
        let mut experiment = study();
        experiment.subjects = vec!["register_0".into()];
        let scores = run(&experiment);
        let register = get(&scores, "register_0", "accuracy_frac");
        assert_eq!((register.value, register.n, register.images_without), (None, 0, 120));
        assert!(!register.converged && !register.note.is_empty());
    }

    #[test]
    fn a_test_run_is_tested_and_the_training_run_is_not() {
        let (mut subjects, mut images) = planted();
        for (key, _) in &mut images {
            key.0 = u8::from(key.1 >= 90);
        }
        for samples in subjects.values_mut() {
            samples.images.iter_mut().for_each(|k| k.0 = u8::from(k.1 >= 90));
        }
        let experiment = VectorClass { protocol: Protocol::fixed_c(1.0, Split::Datasets), ..study() };
        let scores =
            experiment.run("token_class", &subjects, &images, Reading::default(), &AtomicBool::new(false)).unwrap();
        assert_eq!(get(&scores, "cls", "accuracy_frac").n, 30);
    }

    #[test]
    fn unlabelled_images_are_an_error() {
        let (subjects, mut images) = planted();
        for image in &mut images {
            image.1 = None;
        }
        assert!(study().run("token_class", &subjects, &images, Reading::default(), &AtomicBool::new(false)).is_err());
    }
}
