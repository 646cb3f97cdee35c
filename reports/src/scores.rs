//! The scores of a subject, as the tables look them up.
//!
//! A control (labels permuted on purpose) is a score like any other but for its note; here its experiment is called
//! `control_<experiment>`, so that no table can take it for the real thing.
//!
//! Two runs whose settings have the same words may have scores of one name; those of heads then have the run among their
//! settings, so that no table can give one the numbers of the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use schemas::{Name, Table as _};

use crate::error::ReportError;
use crate::parts;
use crate::study::Subject;

/// How the note of a control begins.
pub(crate) const CONTROL: &str = "control:";

/// One row of the `scores` table.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// What was measured.
    pub experiment: Name,
    /// On what.
    pub subject: Name,
    /// Site of the vectors or norms.
    pub site: Name,
    /// Name of the number with its unit.
    pub metric: Name,
    /// The number, if it could be honestly obtained and is finite.
    pub value: Option<f64>,
    /// Standard deviation over draws.
    pub std: Option<f64>,
    /// Standard error.
    pub stderr: Option<f64>,
    /// Tokens or images.
    pub n: u64,
    /// Draws behind `std`.
    pub draws: u32,
    /// Images without a token of this kind.
    pub images_without: u32,
    /// What a reader must know, or empty.
    pub note: String,
    /// How it was fitted, or empty.
    pub settings: String,
}

impl Score {
    fn key(&self) -> [Name; 4] {
        [&self.experiment, &self.subject, &self.site, &self.metric].map(Name::clone)
    }

    /// Whether two are the same number, of two models: of as many images, fitted in one way.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        self.key() == other.key() && self.settings == other.settings && self.n == other.n
    }

    fn is(&self, experiment: &str, subject: &str, metric: &str) -> bool {
        &*self.experiment == experiment && &*self.subject == subject && &*self.metric == metric
    }
}

/// One score for each name that the repeats of a probe have, in the order of the first.
fn average(repeats: &[Vec<Score>]) -> Vec<Score> {
    let mut groups: Vec<Vec<Score>> = Vec::new();
    for score in repeats.iter().flatten() {
        match groups.iter_mut().find(|g| g[0].key() == score.key()) {
            Some(group) => group.push(score.clone()),
            None => groups.push(vec![score.clone()]),
        }
    }
    let one = |group: Vec<Score>| match (group.len(), repeats.len()) {
        // An unfinished study has no mean yet.
        (n, k) if n < k => {
            Score { value: None, note: format!("{n} of {k} choices of seeds are finished"), ..group[0].clone() }
        }
        _ => mean(&group),
    };
    groups.into_iter().map(one).collect()
}

fn mean(group: &[Score]) -> Score {
    let k = group.len() as f64;
    let all = |of: fn(&Score) -> Option<f64>| group.iter().map(of).collect::<Option<Vec<f64>>>();
    let values = all(|s| s.value);
    let value = values.as_ref().map(|v| v.iter().sum::<f64>() / k);
    let std = values.zip(value).map(|(v, mean)| (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (k - 1.0)).sqrt());
    let stderr = all(|s| s.stderr).map(|e| e.iter().map(|x| x * x).sum::<f64>().sqrt() / k);
    let mut notes = vec![format!("mean over {} choices of seeds", group.len())];
    for score in group {
        if !score.note.is_empty() && !notes.contains(&score.note) {
            notes.push(score.note.clone());
        }
    }
    let (n, draws) = (group.iter().map(|s| s.n).sum(), group.iter().map(|s| s.draws).sum());
    let images_without = group.iter().map(|s| s.images_without).sum();
    let note = notes.join("; ");
    Score { value, std, stderr, n, draws, images_without, note, ..group[0].clone() }
}

/// Whether the tables of an experiment have a row for each way of fitting.
fn has_rows_of_its_own(experiment: &str) -> bool {
    let experiment = experiment.strip_prefix("control_").unwrap_or(experiment);
    experiment.ends_with("_class") || OF_HEADS.contains(&experiment)
}

/// Experiments whose numbers are those of a head, of neighbours or of templates.
pub(crate) const OF_HEADS: [&str; 5] = ["linear_eval", "knn", "zero_shot", "segmentation", "depth"];

/// Below this an error is what is left of rounding.
const ROUNDING: f64 = 1e-12;

/// The folder of `scores` of the run that wrote this folder of another table.
pub(crate) fn beside<'a>(subject: &'a Subject, folder: &Path) -> Option<&'a PathBuf> {
    let run = folder.file_name();
    let folders = subject.tables.get(schemas::tables::Scores::NAME).into_iter().flatten();
    folders.chain(subject.repeats.iter().flatten()).find(|scores| scores.file_name() == run)
}

/// Whether the run that wrote this folder is a control.
pub(crate) fn is_control(subject: &Subject, folder: &Path) -> Result<bool, ReportError> {
    let Some(folder) = beside(subject, folder) else { return Ok(false) };
    let scores: schemas::tables::Scores = parts::of_folder(subject, folder)?;
    Ok(scores.note.iter().any(|note| note.starts_with(CONTROL)))
}

/// Puts the run into the settings of heads that have a number of one name, and settings of the same words, in two runs.
fn tell_runs_apart(runs: &mut [(String, Vec<Score>)]) {
    let is_of_head = |s: &Score| OF_HEADS.contains(&s.experiment.strip_prefix("control_").unwrap_or(&s.experiment));
    let name = |s: &Score| (s.key(), s.settings.clone());
    let mut seen: BTreeMap<([Name; 4], String), BTreeSet<usize>> = BTreeMap::new();
    for (run, (_, scores)) in runs.iter().enumerate() {
        for score in scores.iter().filter(|s| is_of_head(s)) {
            seen.entry(name(score)).or_default().insert(run);
        }
    }
    let alike: BTreeSet<usize> = seen.into_values().filter(|runs| runs.len() > 1).flatten().collect();
    for run in alike {
        let (id, scores) = &mut runs[run];
        for score in scores.iter_mut().filter(|s| is_of_head(s)) {
            let between = if score.settings.is_empty() { "" } else { "; " };
            score.settings = format!("{}{between}run {id}, one of several with these settings", score.settings);
        }
    }
}

/// What tells a run from others: the first digits of its digest.
fn run_of(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_prefix("run=").unwrap_or(&name).chars().take(8).collect()
}

/// The rows of one folder of a subject's scores.
pub(crate) fn rows(subject: &Subject, folder: &PathBuf) -> Result<Vec<Score>, ReportError> {
    let t: schemas::tables::Scores = parts::of_folder(subject, folder)?;
    let settings = subject.settings.get(folder).cloned().unwrap_or_default();
    let rows = (0..t.experiment.len()).map(|i| {
        let mut notes = vec![t.note[i].to_string()];
        let mut value = t.value[i];
        // A fit that did not converge is not a number (docs/protocols/table1.md).
        if value.is_some() && !t.converged[i] {
            value = None;
            notes.push("a fit did not converge".to_owned());
        }
        if value.is_some_and(|v| !v.is_finite()) {
            value = None;
            notes.push("the result is not finite".to_owned());
        }
        notes.retain(|n| !n.is_empty());
        let control = t.note[i].starts_with(CONTROL);
        let experiment = if control { format!("control_{}", t.experiment[i]).into() } else { t.experiment[i].clone() };
        Score {
            experiment,
            subject: t.subject[i].clone(),
            site: t.site[i].clone(),
            metric: t.metric[i].clone(),
            value,
            std: t.std[i].filter(|v| v.is_finite()),
            stderr: t.stderr[i].filter(|v| v.is_finite()).map(|v| if v.abs() < ROUNDING { 0.0 } else { v }),
            n: t.n[i],
            draws: t.draws[i],
            images_without: t.images_without[i],
            note: notes.join("; "),
            settings: settings.clone(),
        }
    });
    Ok(rows.collect())
}

/// The scores of one subject.
#[derive(Debug, Clone, Default)]
pub struct Scores(Vec<Score>);

impl Scores {
    /// Reads every finished part.
    pub fn read(subject: &Subject) -> Result<Self, ReportError> {
        let folders = subject.tables.get(schemas::tables::Scores::NAME).into_iter().flatten();
        let runs = folders.map(|folder| Ok((run_of(folder), rows(subject, folder)?)));
        let mut runs = runs.collect::<Result<Vec<_>, ReportError>>()?;
        tell_runs_apart(&mut runs);
        let mut scores = Self(runs.into_iter().flat_map(|(_, scores)| scores).collect());
        for folders in &subject.repeats {
            let repeats = folders.iter().map(|folder| rows(subject, folder));
            scores.0.extend(average(&repeats.collect::<Result<Vec<_>, _>>()?));
        }
        scores.mark_ambiguous();
        Ok(scores)
    }

    /// Two protocols under one name would share a cell silently: the first is shown, and says so.
    fn mark_ambiguous(&mut self) {
        let mut seen: BTreeMap<[Name; 4], Vec<String>> = BTreeMap::new();
        for score in &self.0 {
            seen.entry(score.key()).or_default().push(score.settings.clone());
        }
        for score in &mut self.0 {
            let all = seen.get(&score.key()).map_or(&[][..], Vec::as_slice);
            let rivals: Vec<&str> = all
                .iter()
                .filter(|s| !has_rows_of_its_own(&score.experiment) || **s == score.settings)
                .map(String::as_str)
                .collect();
            if rivals.len() < 2 {
                continue;
            }
            let mut note = format!("the first of {} numbers of this name", rivals.len());
            if rivals.iter().any(|r| *r != rivals[0]) {
                note += &format!(", fitted with {}; not shown: {}", rivals[0], rivals[1..].join(" / "));
            } else {
                note += "; give a probe a `name` to tell it apart";
            }
            score.note = if score.note.is_empty() { note } else { format!("{}; {note}", score.note) };
        }
    }

    /// Adds one that follows from others.
    pub(crate) fn add(&mut self, score: Score) {
        self.0.push(score);
    }

    /// Every score, in the order written.
    pub fn iter(&self) -> impl Iterator<Item = &Score> {
        self.0.iter()
    }

    /// The score at one site that was fitted in one way.
    pub fn fitted(
        &self,
        experiment: &str,
        subject: &str,
        metric: &str,
        (site, settings): (&str, &str),
    ) -> Option<&Score> {
        let mut all = self.0.iter().filter(|s| s.is(experiment, subject, metric));
        all.find(|s| &*s.site == site && s.settings == settings)
    }

    /// The score at one site.
    pub fn at(&self, experiment: &str, subject: &str, metric: &str, site: &str) -> Option<&Score> {
        self.0.iter().find(|s| s.is(experiment, subject, metric) && &*s.site == site)
    }

    /// The score at `site` if it was measured there, else at the only site where it was.
    pub fn near(&self, experiment: &str, subject: &str, metric: &str, site: &str) -> Option<&Score> {
        self.at(experiment, subject, metric, site).or_else(|| {
            let mut all = self.0.iter().filter(|s| s.is(experiment, subject, metric));
            all.next().filter(|_| all.next().is_none())
        })
    }
}

impl FromIterator<Score> for Scores {
    fn from_iter<I: IntoIterator<Item = Score>>(scores: I) -> Self {
        Self(scores.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn score(site: &str, value: f64) -> Score {
        Score {
            experiment: "norms".into(),
            subject: "patch".into(),
            site: site.into(),
            metric: "median".into(),
            value: Some(value),
            std: None,
            stderr: None,
            n: 1,
            draws: 1,
            images_without: 0,
            note: String::new(),
            settings: String::new(),
        }
    }

    #[test]
    fn numbers_of_one_name_say_how_they_differ() {
        let by = |experiment: &str, settings: &str| Score {
            experiment: experiment.into(),
            settings: settings.to_owned(),
            ..score("final", 1.0)
        };
        let marked = |rows: Vec<Score>| {
            let mut scores = Scores(rows);
            scores.mark_ambiguous();
            scores.0.into_iter().map(|s| s.note).collect::<Vec<_>>()
        };
        let places = marked(vec![by("position", "C = 1"), by("position", "C = 9")]);
        assert!(places[0].contains("fitted with C = 1; not shown: C = 9"), "{places:?}");
        // Rows of their own need no footnote; the same protocol twice does.
        assert_eq!(marked(vec![by("token_class", "C = 1"), by("token_class", "C = 9")]), ["", ""]);
        assert_eq!(marked(vec![by("segmentation", "20 epochs"), by("segmentation", "50 epochs")]), ["", ""]);
        assert!(marked(vec![by("token_class", "C = 1"), by("token_class", "C = 1")])[0].contains("first of 2"));
    }

    /// Breaks when one of two heads of one name shows the numbers of the other, or a number that only one run has moves.
    #[test]
    fn heads_of_one_name_in_two_runs_are_told_apart() {
        let of = |experiment: &str, subject: &str, value: f64| Score {
            experiment: experiment.into(),
            subject: subject.into(),
            settings: "20 epochs".to_owned(),
            ..score("final", value)
        };
        let mut runs = vec![
            ("aa".to_owned(), vec![of("segmentation", "linear", 0.4), of("segmentation", "class_sky", 0.6)]),
            ("bb".to_owned(), vec![of("segmentation", "linear", 0.5), of("norms", "patch", 1.0)]),
            ("cc".to_owned(), vec![of("segmentation", "conv", 0.3), of("norms", "patch", 2.0)]),
        ];
        tell_runs_apart(&mut runs);
        let words: Vec<&str> = runs.iter().flat_map(|(_, s)| s).map(|s| s.settings.as_str()).collect();
        let [a, b] = ["aa", "bb"].map(|run| format!("20 epochs; run {run}, one of several with these settings"));
        assert_eq!(words, [&a, &a, &b, "20 epochs", "20 epochs", "20 epochs"]);
        // Of one run alone nothing is told apart: a repeated row keeps its footnote.
        let mut one = vec![("aa".to_owned(), vec![of("knn", "cls", 0.4), of("knn", "cls", 0.5)])];
        tell_runs_apart(&mut one);
        assert_eq!(one[0].1[1].settings, "20 epochs");
        assert_eq!(run_of(Path::new("scores/model=m/run=0123456789")), "01234567");
    }

    #[test]
    fn repeats_with_other_seeds_are_one_number() {
        let repeat = |value: f64| Score { stderr: Some(0.3), n: 160, ..score("last", value) };
        let other = Score { subject: "cls".into(), ..score("last", 9.0) };
        // The study's Table 3: 153, 152 and 154 of 160 are 459 of 480.
        let scores = average(&[vec![repeat(153.0), other.clone()], vec![repeat(152.0)], vec![repeat(154.0)]]);
        let mean = &scores[0];
        assert_eq!((mean.value, mean.std, mean.n, mean.draws), (Some(153.0), Some(1.0), 480, 3));
        assert!((mean.stderr.unwrap() - 0.3 / 3f64.sqrt()).abs() < 1e-12);
        assert!(mean.note.contains("3 choices of seeds"), "{}", mean.note);
        // One that is missing or failed leaves no mean.
        assert!(scores[1].value.is_none() && scores[1].note.contains("1 of 3"), "{:?}", scores[1]);
        let failed = Score { value: None, note: "no optimum".into(), ..repeat(0.0) };
        let broken = average(&[vec![repeat(153.0)], vec![failed]]);
        assert!(broken.len() == 1 && broken[0].value.is_none() && broken[0].note.contains("no optimum"));
    }

    #[test]
    fn another_site_stands_in_only_if_it_is_the_only_one() {
        let one: Scores = [score("block_3", 1.0)].into_iter().collect();
        assert_eq!(one.near("norms", "patch", "median", "block_11").unwrap().value, Some(1.0));
        assert_eq!(one.at("norms", "patch", "median", "block_11"), None);
        let two: Scores = [score("block_3", 1.0), score("block_4", 2.0)].into_iter().collect();
        assert_eq!(two.near("norms", "patch", "median", "block_11"), None);
        assert_eq!(two.near("norms", "patch", "median", "block_4").unwrap().value, Some(2.0));
    }
}
