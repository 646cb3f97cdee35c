//! The card: every number that it shows, as one object that `--json` prints. docs/health.md explains the fields.

use engine::store::finished_parts;
use reports::scores::{Score, Scores};
use reports::{ReportError, Subject};
use schemas::tables::{Cutoffs, Skipped};
use schemas::{Table as _, TableError};
use serde::Serialize;

use super::places::{Place, Places};
use super::verdict::Finding;

/// 97.5 % quantile of the normal distribution.
const Z95: f64 = 1.959_963_985;
/// Changes when a field changes its meaning or goes; new fields may come.
const SCHEMA: u32 = 1;

/// The health of a model on some images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// Version of this object.
    pub schema: u32,
    /// Model.
    pub model: String,
    /// Digest of its weights.
    pub weights_digest: String,
    /// Name of the images.
    pub images: String,
    /// Images that were encoded.
    pub encoded: u64,
    /// Images that could not be.
    pub skipped: u64,
    /// Which, and why.
    pub skipped_files: Vec<SkippedFile>,
    /// PNG files of the folder that lie beside a JPEG of the same name: masks or depth maps, most likely.
    pub masks: u64,
    /// How pixels were made.
    pub preprocessing: String,
    /// Patch norms.
    pub norms: Norms,
    /// Patches whose norm is in the upper mode.
    pub outliers: Outliers,
    /// Where they sit; none where there are no outliers.
    pub places: Sites,
    /// Median cosine with the neighbours after the patch embedding.
    pub neighbour_cosine: Gap,
    /// Probability that an outlier's cosine exceeds a normal patch's.
    pub neighbour_cosine_auc_frac: Option<f64>,
    /// Its standard error.
    pub neighbour_cosine_auc_stderr: Option<f64>,
    /// Share of patches whose cell a linear probe finds.
    pub position_top1_frac: Gap,
    /// Mean distance of the cell that it says, in cells.
    pub position_distance_cells: Gap,
    /// The same of the best constant cell.
    pub position_blind_distance_cells: Option<f64>,
    /// Why no place is told, where the probe learned nothing: then the two above have no numbers.
    pub position_untold: Option<&'static str>,
    /// Mean L2 error of the pixels that a linear probe draws.
    pub pixels_l2: Gap,
    /// The same of the mean patch.
    pub pixels_blind_l2: Option<f64>,
    /// Why no error is told, where the probe learned nothing: then `pixels_l2` has no numbers.
    pub pixels_untold: Option<&'static str>,
    /// Attention of [CLS] in the last block, mean over heads.
    pub attention: Attention,
    /// Each register token.
    pub registers: Vec<Register>,
    /// What all this amounts to.
    pub finding: Finding,
    /// The same in a sentence.
    pub verdict: String,
    /// What follows for whoever wants to use the model.
    pub meaning: String,
    /// The report.
    pub report: String,
    /// The store.
    pub store: String,
}

/// An image that could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedFile {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Norms of patches at the last block, before the final norm.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Norms {
    /// Site.
    pub site: String,
    /// Blocks of the model.
    pub blocks: Option<u64>,
    /// Median.
    pub median: Option<f64>,
    /// Largest, in medians.
    pub largest_by_median: Option<f64>,
    /// Whether the distribution has two modes.
    pub two_modes: Option<bool>,
    /// Norm between them.
    pub cutoff: Option<f64>,
}

/// The upper mode.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Outliers {
    /// Share of patches.
    pub share_frac: Option<f64>,
    /// 95 % interval of the share, images as independent; none where there are no outliers.
    pub share_interval: Option<[f64; 2]>,
    /// Share of images that have one.
    pub images_with_frac: Option<f64>,
    /// Where no image has one: share of such images that could, with 95 % confidence.
    pub images_with_at_most_frac: Option<f64>,
    /// Their median norm by that of the others.
    pub norm_ratio: Option<f64>,
    /// First block that has them, from 0.
    pub onset_block: Option<u64>,
}

/// Where outliers sit; nothing where there are none.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Sites {
    /// Share on the border of the grid.
    pub border_frac: Option<f64>,
    /// Share of all patches there.
    pub border_chance_frac: Option<f64>,
    /// The place that most of them have.
    pub commonest: Option<Place>,
}

/// A number of normal patches and of outliers.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Gap {
    /// Normal patches.
    pub normal: Option<Measure>,
    /// Outliers.
    pub outlier: Option<Measure>,
}

/// A measured number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measure {
    /// Value.
    pub value: f64,
    /// Standard error.
    pub stderr: Option<f64>,
}

/// Who [CLS] looks at.
#[expect(clippy::struct_field_names, reason = "the postfix is the unit, as everywhere in tables")]
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Attention {
    /// To all outliers of an image together, mean over images that have any.
    pub outlier_mass_frac: Option<f64>,
    /// To all registers together.
    pub register_mass_frac: Option<f64>,
    /// Share of outliers among as many most attended patches.
    pub overlap_frac: Option<f64>,
    /// The same by chance: the mean of k/n over the images with outliers, k of n patches.
    pub overlap_chance_frac: Option<f64>,
}

/// A register token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Register {
    /// Median norm by that of a patch.
    pub norm_by_patch: Option<f64>,
    /// Attention that [CLS] pays it.
    pub attention_frac: Option<f64>,
}

impl Gap {
    /// outlier − normal in combined standard errors.
    pub fn z(&self) -> Option<f64> {
        let (normal, outlier) = (self.normal?, self.outlier?);
        let error = normal.stderr?.hypot(outlier.stderr?);
        (error > 0.0).then(|| (outlier.value - normal.value) / error)
    }
}

impl Card {
    /// From the finished tables of a subject.
    pub fn read(subject: &Subject, (encoded, skipped): (u64, u64)) -> Result<Self, ReportError> {
        let failed = |table| {
            move |source: TableError| ReportError::Part {
                table,
                subject: format!("{} on {}", subject.model, subject.dataset),
                source: Box::new(source),
            }
        };
        let folders = subject.tables.get("token_stats").map_or(&[][..], Vec::as_slice);
        let places = Places::read(folders, &subject.site).map_err(failed("token_stats"))?;
        let cutoff = cutoff(subject).map_err(failed("cutoffs"))?;
        let skipped_files = skipped_files(subject).map_err(failed("skipped"))?;
        let card = Self::of(subject, &Scores::read(subject)?, &places, cutoff, (encoded, skipped));
        Ok(Self { skipped_files, ..card })
    }

    /// From scores and places.
    pub fn of(
        subject: &Subject,
        scores: &Scores,
        places: &Places,
        cutoff: Option<f64>,
        (encoded, skipped): (u64, u64),
    ) -> Self {
        let site = subject.site.as_str();
        let score = |experiment: &str, kind: &str, metric: &str| scores.at(experiment, kind, metric, site);
        let value = |experiment: &str, kind: &str, metric: &str| score(experiment, kind, metric).and_then(|s| s.value);
        let anywhere = |experiment: &str, kind: &str, metric: &str| scores.near(experiment, kind, metric, site);
        let gap = |experiment: &str, metric: &str, site: Option<&str>| {
            let of = |kind: &str| {
                let score = match site {
                    Some(site) => scores.at(experiment, kind, metric, site),
                    None => anywhere(experiment, kind, metric),
                };
                score.and_then(measure)
            };
            Gap { normal: of("normal"), outlier: of("outlier") }
        };
        let median = value("norms", "patch", "median").filter(|m| *m > 0.0);
        let by_median = |x: Option<f64>| x.zip(median).map(|(x, median)| x / median);
        let share = score("detection", "outlier", "share_frac").and_then(measure);
        // (images without an outlier, images)
        let without = score("detection", "outlier", "images_without").and_then(|s| Some((s.value?, s.n as f64)));
        let without = without.filter(|(_, images)| *images > 0.0);
        let auc = scores.at("neighbour_cosine", "outlier", "auc_frac", "patch_embed").and_then(measure);
        let onset = scores.at("detection", "outlier", "onset_block", "all blocks").and_then(|s| s.value);
        let attention = places.register_attention();
        let registers = (0..subject.registers).map(|r| Register {
            norm_by_patch: by_median(value("norms", &format!("register_{r}"), "median")),
            attention_frac: attention.get(r).copied(),
        });
        let mass = |kind: &str| anywhere("attention", kind, "mass_frac").and_then(|s| s.value);
        let mut card = Self {
            schema: SCHEMA,
            model: subject.model.clone(),
            weights_digest: subject.weights_digest.clone(),
            images: subject.dataset.clone(),
            encoded,
            skipped,
            skipped_files: vec![],
            masks: 0,
            preprocessing: subject.preprocessing.clone(),
            norms: Norms {
                site: subject.site.clone(),
                blocks: subject.site.strip_prefix("block_").and_then(|b| b.parse().ok()).map(|last: u64| last + 1),
                median,
                largest_by_median: by_median(value("norms", "patch", "max")),
                two_modes: score("norms", "patch", "valley_depth").map(|s| s.note.contains("two modes")),
                cutoff,
            },
            outliers: Outliers {
                share_frac: share.map(|share| share.value),
                share_interval: share.filter(|share| share.value > 0.0).and_then(interval),
                images_with_frac: without.map(|(without, images)| 1.0 - without / images),
                images_with_at_most_frac: without
                    .filter(|(without, images)| without >= images)
                    .map(|(_, images)| reports::bounds::at_most(images)),
                norm_ratio: value("detection", "outlier", "norm_ratio"),
                // A long-tailed early block is no onset where no patch is an outlier in the end.
                onset_block: onset.filter(|_| share.is_some_and(|share| share.value > 0.0)).map(|block| block as u64),
            },
            places: Sites {
                border_frac: places.border().map(|[border, _]| border),
                border_chance_frac: places.border().map(|[_, chance]| chance),
                commonest: places.commonest(),
            },
            neighbour_cosine: gap("neighbour_cosine", "median", Some("patch_embed")),
            neighbour_cosine_auc_frac: auc.map(|auc| auc.value),
            neighbour_cosine_auc_stderr: auc.and_then(|auc| auc.stderr),
            position_top1_frac: gap("position", "top1_frac", None),
            position_distance_cells: gap("position", "mean_distance_cells", None),
            position_blind_distance_cells: anywhere("position", "normal", "blind_distance_cells").and_then(|s| s.value),
            position_untold: None,
            pixels_l2: gap("pixels", "l2_mean", None),
            pixels_blind_l2: anywhere("pixels", "normal", "blind_l2_mean").and_then(|s| s.value),
            pixels_untold: None,
            attention: Attention {
                outlier_mass_frac: mass("outlier"),
                register_mass_frac: mass("register"),
                overlap_frac: value("correspondence", "outlier", "overlap_frac"),
                overlap_chance_frac: value("correspondence", "outlier", "chance_frac"),
            },
            registers: registers.collect(),
            finding: Finding::Unclear,
            verdict: String::new(),
            meaning: String::new(),
            report: String::new(),
            store: String::new(),
        };
        card.drop_what_was_not_learned();
        (card.finding, card.verdict) = super::verdict::of(&card);
        card.meaning = super::words::meaning_of(card.finding);
        card
    }

    /// A probe that is no better on normal patches than one guess for all says nothing of outliers.
    fn drop_what_was_not_learned(&mut self) {
        const WHY: &str = "the probe does no better than one guess for all; give it more images";
        let nothing = |error: &Gap, blind: Option<f64>| {
            error.normal.zip(blind).is_some_and(|(error, blind)| error.value >= blind)
        };
        if nothing(&self.position_distance_cells, self.position_blind_distance_cells) {
            self.position_untold = Some(WHY);
            (self.position_top1_frac, self.position_distance_cells) = (Gap::default(), Gap::default());
        }
        if nothing(&self.pixels_l2, self.pixels_blind_l2) {
            self.pixels_untold = Some(WHY);
            self.pixels_l2 = Gap::default();
        }
    }
}

fn measure(score: &Score) -> Option<Measure> {
    score.value.map(|value| Measure { value, stderr: score.stderr })
}

/// 95 % interval of a share.
fn interval(share: Measure) -> Option<[f64; 2]> {
    let half = Z95 * share.stderr?;
    Some([(share.value - half).max(0.0), (share.value + half).min(1.0)])
}

/// The images that were skipped, each once: several passes of one model may skip the same.
fn skipped_files(subject: &Subject) -> Result<Vec<SkippedFile>, TableError> {
    let mut files: Vec<SkippedFile> = Vec::new();
    for folder in subject.tables.get(Skipped::NAME).into_iter().flatten() {
        let parts = finished_parts(folder).map_err(|source| TableError::Io { path: folder.clone(), source })?;
        for part in parts {
            let rows = schemas::read_part::<Skipped>(&part)?;
            for (name, reason) in rows.name.iter().zip(&rows.reason) {
                let file = SkippedFile { name: name.to_string(), reason: reason.to_string() };
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
    }
    Ok(files)
}

/// The cut-off that the calibration pass found.
fn cutoff(subject: &Subject) -> Result<Option<f64>, TableError> {
    for folder in subject.tables.get("cutoffs").into_iter().flatten() {
        let parts = finished_parts(folder).map_err(|source| TableError::Io { path: folder.clone(), source })?;
        for part in parts {
            let rows = schemas::read_part::<Cutoffs>(&part)?;
            if let Some(i) = rows.site.iter().position(|site| **site == *subject.site) {
                return Ok(rows.cutoff[i].map(f64::from));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
pub mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// A score at a site.
    fn score(experiment: &str, kind: &str, site: &str, metric: &str, value: f64) -> Score {
        Score {
            experiment: experiment.into(),
            subject: kind.into(),
            site: site.into(),
            metric: metric.into(),
            value: Some(value),
            std: None,
            stderr: Some(0.01),
            n: 3,
            draws: 1,
            images_without: 0,
            note: if metric == "valley_depth" { "two modes" } else { "" }.to_owned(),
            settings: String::new(),
        }
    }

    /// The scores of a model with outliers.
    pub fn sick() -> Vec<Score> {
        vec![
            score("norms", "patch", "block_7", "median", 10.0),
            score("norms", "patch", "block_7", "max", 105.0),
            score("norms", "patch", "block_7", "valley_depth", 0.9),
            score("detection", "outlier", "block_7", "share_frac", 4.0 / 300.0),
            score("detection", "outlier", "block_6", "share_frac", 0.5),
            score("detection", "outlier", "block_7", "images_without", 1.0),
            score("detection", "outlier", "block_7", "norm_ratio", 10.4),
            score("detection", "outlier", "all blocks", "onset_block", 3.0),
            score("neighbour_cosine", "normal", "patch_embed", "median", 0.4),
            score("neighbour_cosine", "outlier", "patch_embed", "median", 0.99),
            score("neighbour_cosine", "normal", "with_position", "median", 0.3),
            score("neighbour_cosine", "outlier", "patch_embed", "auc_frac", 0.97),
            score("position", "normal", "final", "top1_frac", 0.97),
            score("position", "outlier", "final", "top1_frac", 0.02),
            score("position", "normal", "final", "mean_distance_cells", 0.1),
            score("position", "outlier", "final", "mean_distance_cells", 4.5),
            score("position", "normal", "final", "blind_distance_cells", 4.6),
            score("pixels", "normal", "final", "l2_mean", 3.0),
            score("pixels", "outlier", "final", "l2_mean", 5.0),
            score("attention", "outlier", "attention_7", "mass_frac", 0.55),
            score("correspondence", "outlier", "block_7", "overlap_frac", 0.75),
            score("correspondence", "outlier", "block_7", "chance_frac", 0.02),
            score("correspondence", "top_10", "block_7", "chance_frac", 0.1),
        ]
    }

    /// Those of a model without outliers on so many images.
    pub fn healthy(images: u64) -> Vec<Score> {
        let mut scores: Vec<Score> = sick().into_iter().filter(|s| &*s.subject != "outlier").collect();
        for (metric, value) in [("share_frac", 0.0), ("images_without", images as f64)] {
            scores.push(Score { n: images, ..score("detection", "outlier", "block_7", metric, value) });
        }
        // A long-tailed early block.
        scores.push(score("detection", "outlier", "all blocks", "onset_block", 3.0));
        scores
    }

    /// The card of a subject.
    pub fn card(scores: Vec<Score>, registers: usize) -> Card {
        let subject =
            Subject { model: "m".into(), dataset: "d".into(), site: "block_7".into(), registers, ..Subject::default() };
        Card::of(&subject, &scores.into_iter().collect(), &Places::default(), Some(33.0), (3, 0))
    }

    /// Breaks when a number of another site, kind or metric takes a place on the card.
    #[test]
    fn every_number_comes_from_its_own_score() {
        let card = card(sick(), 0);
        assert_eq!(
            (card.norms.blocks, card.norms.largest_by_median, card.norms.two_modes),
            (Some(8), Some(10.5), Some(true))
        );
        assert_eq!((card.outliers.onset_block, card.outliers.norm_ratio), (Some(3), Some(10.4)));
        assert!((card.outliers.share_frac.unwrap() - 4.0 / 300.0).abs() < 1e-12);
        assert_eq!(card.neighbour_cosine.outlier.map(|m| m.value), Some(0.99));
        assert_eq!(card.position_top1_frac.normal.map(|m| m.value), Some(0.97));
        assert_eq!((card.neighbour_cosine_auc_frac, card.neighbour_cosine_auc_stderr), (Some(0.97), Some(0.01)));
        let attention = &card.attention;
        assert_eq!(
            (attention.outlier_mass_frac, attention.overlap_frac, attention.overlap_chance_frac),
            (Some(0.55), Some(0.75), Some(0.02))
        );
        // 4/300 − 1.96 · 0.01 is below nothing; one of three images has none.
        let [low, high] = card.outliers.share_interval.unwrap();
        assert!(low == 0.0 && (high - (4.0 / 300.0 + Z95 * 0.01)).abs() < 1e-12, "{low} {high}");
        assert!((card.outliers.images_with_frac.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(card.outliers.images_with_at_most_frac, None);
        // (0.02 − 0.97) / √(0.01² + 0.01²)
        assert!((card.position_top1_frac.z().unwrap() + 0.95 / (0.01 * 2f64.sqrt())).abs() < 1e-9);
    }

    #[test]
    fn no_outlier_has_a_bound() {
        let card = card(healthy(2), 0);
        // 0.05^(1/2): two images without one leave 78 % likely.
        assert!((card.outliers.images_with_at_most_frac.unwrap() - (1.0 - 0.05f64.sqrt())).abs() < 1e-12);
        assert_eq!((card.outliers.share_frac, card.outliers.share_interval), (Some(0.0), None));
        assert_eq!((card.outliers.images_with_frac, card.outliers.onset_block), (Some(0.0), None));
    }
}
