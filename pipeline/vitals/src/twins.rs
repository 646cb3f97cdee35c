//! Two sets of scores side by side: each number beside its twin, and how many standard errors they are apart.
//!
//! ```text
//! difference = b − a      z = difference / √(stderr_a² + stderr_b²)
//! ```
//!
//! z takes the two as independent. Measured on the same images they are not: then z is too small, never too large by
//! much, so that a large one is worth a look. Without a standard error on both sides there is no z.
//!
//! Numbers are twins by dataset, experiment, subject, site and metric, and by model unless two models are compared. A
//! store can hold several runs of one name: those with the same fingerprint belong together, then those whose stage
//! means the same (`meaning.json`), then what is left if it is one of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine::Record;
use engine::store::finished_parts;
use schemas::tables::Scores;
use serde::Serialize;

/// Facts of a fit rather than results.
const FITS: [&str; 3] = ["objective_sum", "gradient_norm", "gradient_rounding_norm"];

/// Part of a number that sums in another order lose or win.
const ROUNDING: f64 = 1e-12;

/// One row of `scores`.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// Model.
    pub model: String,
    /// Dataset.
    pub dataset: String,
    /// Fingerprint.
    run: String,
    /// What the stage of the run means, in canonical form; empty where the run left no record.
    meaning: String,
    /// What was measured; `control_…` for a control.
    pub experiment: String,
    /// On what.
    pub subject: String,
    /// Where.
    pub site: String,
    /// The number's name with its unit.
    pub metric: String,
    /// The number, if it is one.
    pub value: Option<f64>,
    stderr: Option<f64>,
    n: u64,
}

/// A number and its twin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Twins {
    /// Model, or both with an arrow.
    pub model: String,
    /// Dataset.
    pub dataset: String,
    /// What was measured.
    pub experiment: String,
    /// On what.
    pub subject: String,
    /// Where; both with an arrow where two models have their last blocks apart.
    pub site: String,
    /// The number's name with its unit.
    pub metric: String,
    /// The first.
    pub a: f64,
    /// The second.
    pub b: f64,
    /// b − a.
    pub difference: f64,
    /// Combined standard error; none where one of the numbers has none, or both have 0.
    pub stderr: Option<f64>,
    /// Difference in combined standard errors, where there is one.
    pub z: Option<f64>,
    /// Tokens or images behind each.
    pub n: [u64; 2],
}

/// All twins, the furthest apart first, and what has none.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Pairs of numbers.
    pub twins: Vec<Twins>,
    /// Numbers of one side alone.
    pub alone: [usize; 2],
    /// Numbers of several runs of one name, of which none can be told to belong to another.
    pub ambiguous: usize,
}

/// Every score of a store.
pub fn read(store: &Path) -> Result<Vec<Number>, (PathBuf, String)> {
    let mut numbers = Vec::new();
    let models = levels(&store.join("scores"), "model")?;
    for (model, folder) in models {
        for (dataset, folder) in levels(&folder, "dataset")? {
            for (run, folder) in levels(&folder, "run")? {
                let meaning = Record::read(&folder).map(|r| format!("{} {} {}", r.stage, r.version, r.meaning));
                let base = Number {
                    model: model.clone(),
                    dataset: dataset.clone(),
                    run,
                    meaning: meaning.unwrap_or_default(),
                    experiment: String::new(),
                    subject: String::new(),
                    site: String::new(),
                    metric: String::new(),
                    value: None,
                    stderr: None,
                    n: 0,
                };
                for part in finished_parts(&folder).map_err(|e| (folder.clone(), e.to_string()))? {
                    let scores = schemas::read_part::<Scores>(&part).map_err(|e| (part.clone(), e.to_string()))?;
                    numbers.extend(rows(&scores, &base));
                }
            }
        }
    }
    Ok(numbers)
}

/// Folders `key=value` with their values; none where the folder is not there.
fn levels(folder: &Path, key: &str) -> Result<Vec<(String, PathBuf)>, (PathBuf, String)> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).map_err(|e| (folder.to_owned(), e.to_string()))?;
    let level = |entry: std::fs::DirEntry| {
        let value = entry.file_name().to_str()?.strip_prefix(key)?.strip_prefix('=')?.to_owned();
        Some((value, entry.path()))
    };
    let mut found: Vec<_> = entries.filter_map(Result::ok).filter_map(level).collect();
    found.sort();
    Ok(found)
}

fn rows<'a>(scores: &'a Scores, base: &'a Number) -> impl Iterator<Item = Number> + 'a {
    (0..scores.experiment.len()).map(move |i| {
        let control = if scores.note[i].starts_with("control:") { "control_" } else { "" };
        Number {
            experiment: format!("{control}{}", scores.experiment[i]),
            subject: scores.subject[i].to_string(),
            site: scores.site[i].to_string(),
            metric: scores.metric[i].to_string(),
            // A fit that did not converge is not a number.
            value: scores.value[i].filter(|v| v.is_finite() && scores.converged[i]),
            stderr: scores.stderr[i].filter(|e| e.is_finite()),
            n: scores.n[i],
            ..base.clone()
        }
    })
}

impl Comparison {
    /// Of two sides; `across` compares two models, each side of which has one.
    pub fn of(a: &[Number], b: &[Number], across: bool) -> Self {
        let mut places: BTreeMap<[String; 6], [Vec<&Number>; 2]> = BTreeMap::new();
        for (side, numbers) in [a, b].into_iter().enumerate() {
            let roles = Roles::of(numbers);
            for number in numbers.iter().filter(|n| !FITS.contains(&n.metric.as_str())) {
                let (model, site) = if across {
                    (String::new(), roles.site(number))
                } else {
                    (number.model.clone(), number.site.clone())
                };
                let Number { dataset, experiment, subject, metric, .. } = number.clone();
                places.entry([model, dataset, experiment, subject, site, metric]).or_default()[side].push(number);
            }
        }
        let mut comparison = Self::default();
        for [mut a, mut b] in places.into_values() {
            for (a, b) in pairs(&mut a, &mut b) {
                match (a.value, b.value) {
                    (Some(_), Some(_)) => comparison.twins.extend(twins(a, b)),
                    (Some(_), None) => comparison.alone[0] += 1,
                    (None, Some(_)) => comparison.alone[1] += 1,
                    (None, None) => {}
                }
            }
            if a.is_empty() || b.is_empty() {
                comparison.alone[0] += a.iter().filter(|n| n.value.is_some()).count();
                comparison.alone[1] += b.iter().filter(|n| n.value.is_some()).count();
            } else {
                comparison.ambiguous += a.len() + b.len();
            }
        }
        comparison.twins.sort_by(|x, y| y.rank().partial_cmp(&x.rank()).unwrap_or(std::cmp::Ordering::Equal));
        comparison
    }
}

/// Takes out what belongs together.
fn pairs<'a>(a: &mut Vec<&'a Number>, b: &mut Vec<&'a Number>) -> Vec<(&'a Number, &'a Number)> {
    let mut pairs = Vec::new();
    let same: [fn(&Number, &Number) -> bool; 2] =
        [|x, y| x.run == y.run, |x, y| !x.meaning.is_empty() && x.meaning == y.meaning];
    for same in same {
        a.retain(|x| match b.iter().position(|y| same(x, y)) {
            Some(at) => {
                pairs.push((*x, b.remove(at)));
                false
            }
            None => true,
        });
    }
    if let ([x], [y]) = (a.as_slice(), b.as_slice()) {
        pairs.push((*x, *y));
        a.clear();
        b.clear();
    }
    pairs
}

fn twins(a: &Number, b: &Number) -> Option<Twins> {
    let (x, y) = (a.value?, b.value?);
    let difference = y - x;
    // No spread in a few images is no certainty: a share of 0 of 8 has the error 0.
    let stderr = a.stderr.zip(b.stderr).map(|(a, b)| a.hypot(b)).filter(|&e| e > 0.0);
    let both = |a: &str, b: &str| if a == b { a.to_owned() } else { format!("{a} → {b}") };
    let twins = Twins {
        model: both(&a.model, &b.model),
        dataset: a.dataset.clone(),
        experiment: a.experiment.clone(),
        subject: a.subject.clone(),
        site: both(&a.site, &b.site),
        metric: a.metric.clone(),
        a: x,
        b: y,
        difference,
        stderr,
        z: None,
        n: [a.n, b.n],
    };
    let z = stderr.map(|e| if twins.differ() { difference / e } else { 0.0 });
    Some(Twins { z, ..twins })
}

impl Twins {
    /// Whether the two are more than rounding apart.
    pub fn differ(&self) -> bool {
        self.difference.abs() > ROUNDING * self.a.abs().max(self.b.abs())
    }

    /// Standard errors apart, then share of the larger number.
    fn rank(&self) -> (f64, f64) {
        let larger = self.a.abs().max(self.b.abs());
        let relative = if larger > 0.0 { self.difference.abs() / larger } else { 0.0 };
        (self.z.map_or(-1.0, f64::abs), relative)
    }
}

/// Sites that two models of different depth call otherwise.
struct Roles<'a> {
    outliers: Option<&'a str>,
    attention: Option<&'a str>,
}

impl<'a> Roles<'a> {
    fn of(numbers: &'a [Number]) -> Self {
        let site = |experiment: &str, metric: &str| {
            let hit = numbers.iter().find(|n| n.experiment == experiment && n.metric == metric);
            hit.map(|n| n.site.as_str())
        };
        Self { outliers: site("detection", "share_frac"), attention: site("attention", "mass_frac") }
    }

    fn site(&self, number: &Number) -> String {
        match number.site.as_str() {
            site if Some(site) == self.outliers => "where outliers are told".to_owned(),
            site if Some(site) == self.attention => "last attention".to_owned(),
            site => site.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(run: &str, metric: &str, value: f64, stderr: f64) -> Number {
        Number {
            model: "m".into(),
            dataset: "d".into(),
            run: run.into(),
            meaning: String::new(),
            experiment: "norms".into(),
            subject: "patch".into(),
            site: "block_7".into(),
            metric: metric.into(),
            value: value.is_finite().then_some(value),
            stderr: stderr.is_finite().then_some(stderr),
            n: 9,
        }
    }

    #[test]
    fn standard_errors_add_in_quadrature_and_the_furthest_apart_come_first() {
        let a = [
            number("a", "mean", 10.0, 3.0),
            number("a", "max", 10.0, f64::NAN),
            number("a", "share", 0.0, 0.0),
            number("a", "std", 2.0, 0.0),
        ];
        let b = [
            number("b", "mean", 20.0, 4.0),
            number("b", "max", 11.0, f64::NAN),
            number("b", "share", 0.5, 0.0),
            number("b", "std", 2.0 + 1e-15, 0.0),
        ];
        let found = Comparison::of(&a, &b, false);
        let rows: Vec<_> = found.twins.iter().map(|t| (t.metric.as_str(), t.stderr, t.z)).collect();
        let wanted = [
            ("mean", Some(5.0), Some(2.0)),
            // No error on either side is no certainty, and rounding is no difference.
            ("share", None, None),
            ("max", None, None),
            ("std", None, None),
        ];
        assert_eq!(rows, wanted);
        assert_eq!((found.alone, found.ambiguous), ([0, 0], 0));
    }

    /// Breaks when a number stands beside that of another probe.
    #[test]
    fn several_runs_of_one_name_find_their_own_twin_or_none() {
        let with = |run: &str, meaning: &str, value: f64| Number {
            meaning: meaning.into(),
            ..number(run, "top1", value, f64::NAN)
        };
        let a = [with("r", "x", 1.0), with("s", "y", 2.0), with("t", "z", 3.0)];
        let b = [with("q", "y", 20.0), with("p", "w", 30.0), with("r", "x", 10.0)];
        let found = Comparison::of(&a, &b, false);
        let mut pairs: Vec<_> = found.twins.iter().map(|t| (t.a, t.b)).collect();
        pairs.sort_by(|x, y| x.0.total_cmp(&y.0));
        assert_eq!(pairs, [(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]);
        let strangers = [with("u", "", 5.0), with("v", "", 6.0)];
        let found = Comparison::of(&a, &strangers, false);
        assert!(found.twins.is_empty() && found.ambiguous == 5);
    }

    #[test]
    fn what_has_no_twin_is_counted_and_no_number_is_no_twin() {
        let a =
            [number("a", "mean", 1.0, 0.1), number("a", "p5", f64::NAN, 0.1), number("a", "gradient_norm", 1.0, 0.1)];
        let b = [number("b", "p5", 2.0, 0.1), number("b", "p95", 3.0, 0.1), number("b", "gradient_norm", 1.0, 0.1)];
        let found = Comparison::of(&a, &b, false);
        assert!(found.twins.is_empty());
        assert_eq!(found.alone, [1, 2]);
    }

    #[test]
    fn models_of_two_depths_meet_where_each_tells_its_outliers() {
        let side = |model: &str, site: &str, value: f64| {
            let share = Number { experiment: "detection".into(), ..number("r", "share_frac", value, 0.1) };
            [share, number("r", "median", 10.0 * value, f64::NAN), number("r", "median", 7.0, f64::NAN)]
                .into_iter()
                .enumerate()
                .map(|(i, n)| Number { model: model.into(), site: if i == 2 { "block_3" } else { site }.into(), ..n })
                .collect::<Vec<_>>()
        };
        let found = Comparison::of(&side("s", "block_11", 1.0), &side("l", "block_23", 2.0), true);
        let sites: Vec<_> = found.twins.iter().map(|t| (t.site.as_str(), t.model.as_str(), t.difference)).collect();
        let arrow = "block_11 → block_23";
        assert_eq!(sites, [(arrow, "s → l", 1.0), (arrow, "s → l", 10.0), ("block_3", "s → l", 0.0)]);
    }
}
