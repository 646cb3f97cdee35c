//! Judging trained heads: every truth of the test run against the joined answer of its views.
//!
//! Images are worked on side by side, a fixed number at a time, and counted in their order. One pass over the features
//! serves all heads. The standard error of an `IoU`, which is no mean over images, is by the jackknife over 20 groups of
//! consecutive images: √((G − 1)/G · Σ (v − v̄)²), v without each group.

use engine::StageError;
use rayon::prelude::*;
use schemas::tables::Predictions;

use super::bins::{depths, evenly_spaced};
use super::confusion::{Counts, mean};
use super::depth_error::DepthErrors;
use super::error::{DenseError, Emptiness};
use super::features::Features;
use super::joining::{Answer, Rule, join};
use super::net::Net;
use super::recipe::{Recipe, Task};
use super::samples::{Judged, Samples};
use super::truths::{Cells, PLACES, Prior, Truth, places};

/// Groups of the jackknife.
const GROUPS: usize = 20;
/// Images at a time.
const AT_ONCE: usize = 16;
/// Longer sides of a kept picture are thinned out by a whole factor.
const PICTURE_PX: usize = 512;

/// What the heads answered, and what the answer without a picture is worth.
pub(crate) struct Verdict {
    /// By head.
    pub heads: Vec<Tally>,
    /// One class, or one depth, everywhere: what the training truths say most.
    pub constant: Tally,
    /// The same for each place of the picture: what the place alone tells.
    pub layout: Tally,
    /// The first head on the first images.
    pub predictions: Predictions,
}

/// Counts of one head.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tally {
    /// Pixels, in groups of consecutive images.
    Segments(Vec<Counts>),
    /// RMSE, `AbsRel` and δ₁ of each image that has judged pixels, and its group.
    Depth(Vec<(usize, [f64; 3])>),
}

/// Answers that need no picture.
struct Blind {
    everywhere: Cells,
    by_place: Cells,
}

/// Of one image.
struct Outcome {
    heads: Vec<One>,
    constant: One,
    layout: One,
    picture: Option<(Truth, Cells)>,
}

enum One {
    Counts(Counts),
    Errors(DepthErrors),
}

/// Judges heads; `between` is told how many maps are done.
pub(crate) fn judge(
    samples: &Samples,
    (nets, recipe, prior): (&[Net], &Recipe, &Prior),
    (head, pictures): (&str, usize),
    mut between: impl FnMut(usize) -> Result<(), StageError>,
) -> Result<Verdict, StageError> {
    let all = samples.to_judge();
    let groups = GROUPS.min(all.len()).max(1);
    let nets: Vec<Net> = nets.iter().map(Net::folded).collect();
    let blind = Blind { everywhere: prior.everywhere(), by_place: prior.by_place() };
    let fresh = || match &recipe.task {
        Task::Segments(task) => Tally::Segments(vec![Counts::new(task.miou.judged(task.labels.classes)); groups]),
        Task::Depth(_) => Tally::Depth(Vec::new()),
    };
    let mut verdict = Verdict {
        heads: nets.iter().map(|_| fresh()).collect(),
        constant: fresh(),
        layout: fresh(),
        predictions: Predictions::default(),
    };
    for (chunk, judged) in all.chunks(AT_ONCE).enumerate() {
        let start = chunk * AT_ONCE;
        let outcomes: Vec<Result<Outcome, StageError>> = judged
            .par_iter()
            .enumerate()
            .map(|(i, &judged)| outcome(samples, judged, (&nets, recipe, &blind), start + i < pictures))
            .collect();
        for (i, outcome) in outcomes.into_iter().enumerate() {
            let outcome = outcome?;
            let group = (start + i) * groups / all.len();
            for (tally, one) in verdict.heads.iter_mut().zip(&outcome.heads) {
                tally.add(group, one);
            }
            verdict.constant.add(group, &outcome.constant);
            verdict.layout.add(group, &outcome.layout);
            if let Some((truth, answer)) = outcome.picture {
                push(&mut verdict.predictions, head, recipe, &truth, &answer);
            }
        }
        between(start + judged.len())?;
    }
    if verdict.constant.is_empty() {
        return Err(DenseError::Empty { run: "test", kind: recipe.kind(), cause: Emptiness::Unjudged }.into());
    }
    Ok(verdict)
}

impl Tally {
    fn add(&mut self, group: usize, one: &One) {
        match (self, one) {
            (Self::Segments(groups), One::Counts(counts)) => groups[group].add(counts),
            (Self::Depth(images), One::Errors(errors)) => images.extend(errors.scores().map(|s| (group, s))),
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Segments(groups) => groups.iter().all(|g| g.pixels() == 0),
            Self::Depth(images) => images.is_empty(),
        }
    }
}

fn outcome(
    samples: &Samples,
    judged: Judged,
    (nets, recipe, blind): (&[Net], &Recipe, &Blind),
    pictured: bool,
) -> Result<Outcome, StageError> {
    let (truth, views) = samples.judged(judged)?;
    let mut heads = Vec::new();
    let mut picture = None;
    for net in nets {
        let keep = pictured && picture.is_none();
        let (one, answer) = answered(net, recipe, &truth, &views, keep)?;
        heads.push(one);
        picture = picture.or(answer);
    }
    let constant = blindly(recipe, &blind.everywhere, 1, &truth);
    let layout = blindly(recipe, &blind.by_place, PLACES, &truth);
    Ok(Outcome { heads, constant, layout, picture: picture.map(|answer| (truth, answer)) })
}

/// One head on one truth; its answer too where it is to be kept.
fn answered(
    net: &Net,
    recipe: &Recipe,
    truth: &Truth,
    views: &[Features],
    keep: bool,
) -> Result<(One, Option<Cells>), DenseError> {
    let answer = |features: &Features| {
        let logits = net.forward(features).logits;
        let field = match &recipe.task {
            Task::Segments(_) => logits,
            Task::Depth(task) => {
                let bins = evenly_spaced(task.bins, task.min_m, task.max_m);
                let mut field = depths(&logits, task.upsample, &bins);
                let (min, max) = (task.min_m as f32, task.max_m as f32);
                for d in &mut field.values {
                    *d = d.clamp(min, max);
                }
                field
            }
        };
        Answer { field, place: features.place }
    };
    let answers: Vec<Answer> = views.iter().map(answer).collect();
    let size = (truth.height, truth.width);
    let logits = matches!(recipe.task, Task::Segments(_));
    let rule = Rule { joining: recipe.joining, padding: recipe.padding, logits };
    match (&recipe.task, &truth.cells) {
        (Task::Segments(task), Cells::Classes(classes)) => {
            let mut counts = Counts::new(task.miou.judged(task.labels.classes));
            let mut kept = Vec::new();
            join(truth.image, &answers, size, rule, |y, row| {
                for (z, &class) in row.chunks_exact(net.outputs).zip(&classes[y * size.1..]) {
                    let best = largest(z);
                    counts.pixel(class, best);
                    if keep {
                        kept.push(best);
                    }
                }
            })?;
            Ok((One::Counts(counts), keep.then_some(Cells::Classes(kept))))
        }
        (Task::Depth(task), Cells::Depths(depths)) => {
            let (mut errors, mut kept) = (DepthErrors::default(), Vec::new());
            join(truth.image, &answers, size, rule, |y, row| {
                for (x, (&d, &t)) in row.iter().zip(&depths[y * size.1..]).enumerate() {
                    if task.score.holds(t, y, x) {
                        errors.pixel(t, d);
                    }
                }
                if keep {
                    kept.extend_from_slice(row);
                }
            })?;
            Ok((One::Errors(errors), keep.then_some(Cells::Depths(kept))))
        }
        _ => Err(DenseError::Shape { image: truth.image, what: "the truth", why: "of another kind".into() }),
    }
}

/// The first of the largest.
fn largest(z: &[f32]) -> u8 {
    let mut best = 0;
    for (i, v) in z.iter().enumerate() {
        if *v > z[best] {
            best = i;
        }
    }
    best as u8
}

/// An answer that knows nothing but the place, of which a side has so many.
fn blindly(recipe: &Recipe, answer: &Cells, side: usize, truth: &Truth) -> One {
    let places = places(truth, side);
    match (&recipe.task, &truth.cells, answer) {
        (Task::Segments(task), Cells::Classes(classes), Cells::Classes(answer)) => {
            let mut counts = Counts::new(task.miou.judged(task.labels.classes));
            classes.iter().zip(places).for_each(|(&class, place)| counts.pixel(class, answer[place]));
            One::Counts(counts)
        }
        (Task::Depth(task), Cells::Depths(depths), Cells::Depths(answer)) => {
            let mut errors = DepthErrors::default();
            for (i, (&t, place)) in depths.iter().zip(places).enumerate() {
                if task.score.holds(t, i / truth.width, i % truth.width) {
                    errors.pixel(t, answer[place]);
                }
            }
            One::Errors(errors)
        }
        _ => One::Errors(DepthErrors::default()),
    }
}

/// A number with what is known of its spread.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Estimated {
    /// Mean over heads.
    pub value: Option<f64>,
    /// Over heads.
    pub std: Option<f64>,
    /// Over images.
    pub stderr: Option<f64>,
    /// The value without each group of images; nothing where a group cannot be spared.
    pub without: Vec<f64>,
}

/// A number of the counts of several heads that differ in their seeds.
pub(crate) fn over_segments(heads: &[&[Counts]], number: impl Fn(&Counts) -> Option<f64>) -> Estimated {
    let without = |groups: &[Counts], left_out: Option<usize>| {
        let mut sum = groups.first().map(|g| Counts::new(g.classes())).unwrap_or_default();
        groups.iter().enumerate().filter(|(i, _)| Some(*i) != left_out).for_each(|(_, g)| sum.add(g));
        number(&sum)
    };
    let all = |left_out| heads.iter().filter_map(|groups| without(groups, left_out)).collect::<Vec<f64>>();
    let values = all(None);
    let without = spared(heads.first().map_or(0, |g| g.len()), |g| mean(all(Some(g)).into_iter()));
    let stderr = (without.len() > 1).then(|| {
        let n = without.len() as f64;
        ((n - 1.0) / n * squares(&without)).sqrt()
    });
    Estimated { value: mean(values.iter().copied()), std: deviation(&values), stderr, without }
}

/// Number `which` of the images' depth errors of several heads that differ in their seeds.
pub(crate) fn over_depth(heads: &[&[(usize, [f64; 3])]], which: usize) -> Estimated {
    let values: Vec<f64> = heads.iter().filter_map(|images| mean(images.iter().map(|e| e.1[which]))).collect();
    let images = heads.first().copied().unwrap_or_default();
    let of_image: Vec<f64> = (0..images.len()).filter_map(|i| mean(heads.iter().map(|h| h[i].1[which]))).collect();
    let stderr = deviation(&of_image).map(|d| d / (of_image.len() as f64).sqrt());
    let rest = |group: usize| images.iter().zip(&of_image).filter(move |(i, _)| i.0 != group).map(|(_, v)| *v);
    let without = spared(images.last().map_or(0, |i| i.0 + 1), |group| mean(rest(group)));
    Estimated { value: mean(values.iter().copied()), std: deviation(&values), stderr, without }
}

/// A number without each of the groups.
fn spared(groups: usize, number: impl Fn(usize) -> Option<f64>) -> Vec<f64> {
    let all: Option<Vec<f64>> = (0..groups).map(number).collect();
    all.unwrap_or_default()
}

/// Sample standard deviation (n − 1); `None` of fewer than two.
fn deviation(values: &[f64]) -> Option<f64> {
    (values.len() > 1).then(|| (squares(values) / (values.len() - 1) as f64).sqrt())
}

/// Squared distances from the mean, summed: 0 of equal numbers, not their rounding.
fn squares(values: &[f64]) -> f64 {
    let first = values.first().copied().unwrap_or_default();
    let middle = values.iter().map(|v| v - first).sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (v - first - middle).powi(2)).sum()
}

/// The answer and the truth, thinned out.
fn push(predictions: &mut Predictions, head: &str, recipe: &Recipe, truth: &Truth, answer: &Cells) {
    let factor = truth.height.max(truth.width).div_ceil(PICTURE_PX).max(1);
    let scale = match &recipe.task {
        Task::Segments(_) => None,
        Task::Depth(task) => Some(task.max_m / 65535.0),
    };
    let places = (0..truth.height).step_by(factor);
    let places: Vec<usize> =
        places.flat_map(|y| (0..truth.width).step_by(factor).map(move |x| y * truth.width + x)).collect();
    for (kind, cells) in [(recipe.kind().to_owned(), answer), (format!("truth_{}", recipe.kind()), &truth.cells)] {
        predictions.image.push(truth.image);
        predictions.head.push(head.into());
        predictions.kind.push(kind.into());
        predictions.height.push(truth.height.div_ceil(factor) as u32);
        predictions.width.push(truth.width.div_ceil(factor) as u32);
        predictions.scale.push(scale);
        predictions.cells.push(match cells {
            Cells::Classes(all) => places.iter().map(|&at| all[at]).collect(),
            Cells::Depths(all) => {
                let unit = scale.unwrap_or(1.0);
                let cell = |at: &usize| ((f64::from(all[*at]) / unit).round() as u16).to_le_bytes();
                places.iter().flat_map(cell).collect()
            }
        });
    }
}

#[cfg(test)]
mod tests;
