//! Classifies images by the names of their classes: CLIP's zero-shot evaluation, from stored vectors.
//!
//! ```text
//! logit of class c = 100 · unit(P·x) · t_c      x: CLS after the final norm, P: image projection, t_c: class vector
//! ```
//!
//! `accuracy_frac`: the largest logit is that of the image's class; `top5_accuracy_frac`: at most four classes come
//! before it. Equal logits go to the lower class number, as an argmax that returns the first has it: of two classes of
//! one name the second is never right. Nothing is fitted. The errors are standard errors over images.
//!
//! Vectors are read in batches and forgotten, so memory does not grow with the number of images but for its label.
//! Source: `mlfoundations/open_clip` `zero_shot.py`; `docs/protocols/zero_shot.md`.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use engine::{
    ErrorKind, Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec,
};
use ndarray::{Array2, ArrayView1};
use schemas::tables::{ClassVectors, Heads, Images, Pooled, Scores};
use schemas::{Canonical, Meaning, Table, read_part_batches};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::ProbeError;
use crate::numpy_random::RandomState;
use crate::score::Score;

/// Parameters of a zero-shot classification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZeroShotParams {
    /// Name of the templates behind the class vectors: the subject of the scores.
    pub templates: String,
    /// Control: class vectors permuted with this seed. The accuracy must fall to chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permute_classes: Option<u32>,
}

impl Meaning for ZeroShotParams {}

/// Class vectors that classify nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum ZeroShotError {
    #[error(
        "zero-shot: the table `heads` has no `image_projection` of a shape that fits class vectors of {0} channels"
    )]
    NoProjection(usize),
    #[error(
        "zero-shot: image vectors have {found} channels, the image projection takes {wanted}; the runs are of different models"
    )]
    Width { found: usize, wanted: usize },
    #[error("zero-shot: class vectors are not numbered from 0 without gaps")]
    Classes,
}

impl From<ZeroShotError> for StageError {
    fn from(e: ZeroShotError) -> Self {
        Self::new(ErrorKind::Bug, &e, "", "please report this")
    }
}

/// Stage: images and pooled vectors of an extraction, class vectors and heads of the text side → `scores`. Version 1.
#[derive(Debug, Clone)]
pub struct ZeroShot {
    params: ZeroShotParams,
    inputs: Vec<TableRef>,
    partition: Partition,
}

/// Site and pool that CLIP projects.
const SITE: &str = "final";
const POOL: &str = "cls";
/// Name of the scores' experiment.
const EXPERIMENT: &str = "zero_shot";
/// Tables of the extraction and of the text side.
const TABLES: [&str; 4] = [Images::NAME, Pooled::NAME, ClassVectors::NAME, Heads::NAME];
/// Images whose logits are computed at once.
const BATCH: usize = 512;

impl ZeroShot {
    /// `images` are the outputs of an extraction that pools `final`, `classes` those of `embed_classes`.
    pub fn new(
        params: ZeroShotParams,
        images: &[TableRef],
        classes: &[TableRef],
        partition: Partition,
    ) -> Result<Self, ProbeError> {
        let mut inputs = Vec::new();
        for (table, from) in TABLES.into_iter().zip([images, images, classes, classes]) {
            let found = from.iter().find(|t| t.table == table);
            inputs.push(found.ok_or(ProbeError::Table { experiment: EXPERIMENT, table })?.clone());
        }
        Ok(Self { params, inputs, partition })
    }

    fn input(&self, table: &'static str) -> Result<&TableRef, ProbeError> {
        self.inputs.iter().find(|t| t.table == table).ok_or(ProbeError::Table { experiment: EXPERIMENT, table })
    }

    fn classifier(&self, io: &ShardIo<'_>) -> Result<Classifier, StageError> {
        let classes = io.read_of::<ClassVectors>(self.input(ClassVectors::NAME)?)?;
        let heads = io.read_of::<Heads>(self.input(Heads::NAME)?)?;
        Ok(Classifier::new(&classes, &heads, self.params.permute_classes)?)
    }

    /// Class of each image that has one.
    fn labels(&self, io: &ShardIo<'_>) -> Result<(HashMap<u32, u32>, u32), StageError> {
        let (mut labels, mut without) = (HashMap::new(), 0);
        for part in io.parts_of(self.input(Images::NAME)?)? {
            for batch in read_part_batches::<Images>(&part)? {
                let batch = batch?;
                for (image, label) in batch.image.iter().zip(&batch.label) {
                    match label.and_then(|label| u32::try_from(label).ok()) {
                        Some(label) => drop(labels.insert(*image, label)),
                        None => without += 1,
                    }
                }
            }
        }
        Ok((labels, without))
    }

    fn count(&self, io: &ShardIo<'_>, labels: &HashMap<u32, u32>, of: &Classifier) -> Result<Tally, StageError> {
        let mut tally = Tally::default();
        let mut sites = std::collections::BTreeSet::new();
        let (mut vectors, mut truths) = (Vec::new(), Vec::new());
        for part in io.parts_of(self.input(Pooled::NAME)?)? {
            for batch in read_part_batches::<Pooled>(&part)? {
                if io.cancel_flag().load(Ordering::Relaxed) {
                    return Err(StageError::interrupted());
                }
                let batch = batch?;
                for i in 0..batch.rows() {
                    let at = (&*batch.site[i], &*batch.pool[i]);
                    if at != (SITE, POOL) {
                        sites.insert(batch.site[i].to_string());
                        continue;
                    }
                    sites.insert(SITE.to_owned());
                    let Some(label) = labels.get(&batch.image[i]) else { continue };
                    vectors.extend_from_slice(batch.vector.row(i));
                    truths.push(*label);
                    if truths.len() == BATCH {
                        of.count(&mut vectors, &mut truths, &mut tally)?;
                    }
                }
            }
        }
        of.count(&mut vectors, &mut truths, &mut tally)?;
        crate::samples::found(Pooled::NAME, SITE, &sites)?;
        Ok(tally)
    }
}

/// Class vectors and the map to their channels.
struct Classifier {
    /// `[D, E]`
    projection: Array2<f64>,
    /// `[E, C]`
    classes: Array2<f64>,
}

/// How many images were classified, and how well.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    images: u64,
    first: u64,
    among_five: u64,
    /// Images of a class that has no vector.
    strangers: u64,
}

impl Classifier {
    fn new(classes: &ClassVectors, heads: &Heads, permuted: Option<u32>) -> Result<Self, ZeroShotError> {
        let (count, channels) = (classes.rows(), classes.vector.dim());
        if classes.class.iter().enumerate().any(|(i, class)| i as u32 != *class) {
            return Err(ZeroShotError::Classes);
        }
        let order = match permuted {
            Some(seed) => RandomState::new(seed).permutation(count),
            None => (0..count).collect(),
        };
        let row = (0..heads.rows()).find(|&i| (&*heads.head[i], &*heads.tensor[i]) == ("image_projection", "weight"));
        let fits = row.and_then(|i| {
            let width =
                heads.shape[i].split_once('x').filter(|(rows, _)| rows.parse() == Ok(channels))?.1.parse().ok()?;
            (heads.values[i].len() == channels * width).then_some((&heads.values[i], width))
        });
        let (values, width): (_, usize) = fits.ok_or(ZeroShotError::NoProjection(channels))?;
        Ok(Self {
            projection: Array2::from_shape_fn((width, channels), |(d, e)| f64::from(values[e * width + d])),
            classes: Array2::from_shape_fn((channels, count), |(e, c)| f64::from(classes.vector.row(order[c])[e])),
        })
    }

    /// 100 · cosine of each image with each class, `[n, C]`; `vectors` is `[n, D]`.
    fn logits(&self, vectors: &[f32], images: usize) -> Result<Array2<f64>, ZeroShotError> {
        let wanted = self.projection.nrows();
        let found = vectors.len() / images.max(1);
        if found != wanted {
            return Err(ZeroShotError::Width { found, wanted });
        }
        let x = Array2::from_shape_fn((images, wanted), |(i, d)| f64::from(vectors[i * wanted + d]));
        let mut z = x.dot(&self.projection);
        for mut row in z.rows_mut() {
            let length = row.dot(&row).sqrt();
            row /= length.max(f64::MIN_POSITIVE);
        }
        Ok(z.dot(&self.classes) * 100.0)
    }

    /// Classifies some images and forgets them.
    fn count(&self, vectors: &mut Vec<f32>, truths: &mut Vec<u32>, tally: &mut Tally) -> Result<(), ZeroShotError> {
        if truths.is_empty() {
            return Ok(());
        }
        let logits = self.logits(vectors, truths.len())?;
        for (row, &truth) in logits.rows().into_iter().zip(truths.iter()) {
            tally.images += 1;
            match rank(row, truth as usize) {
                None => tally.strangers += 1,
                Some(rank) => {
                    tally.first += u64::from(rank == 0);
                    tally.among_five += u64::from(rank < 5);
                }
            }
        }
        vectors.clear();
        truths.clear();
        Ok(())
    }
}

/// How many classes come before this one; none: there is no such class.
fn rank(logits: ArrayView1<'_, f64>, class: usize) -> Option<usize> {
    let own = *logits.get(class)?;
    Some(logits.iter().enumerate().filter(|&(other, &logit)| logit > own || logit == own && other < class).count())
}

impl Stage for ZeroShot {
    fn name(&self) -> &'static str {
        EXPERIMENT
    }

    fn version(&self) -> u32 {
        1
    }

    fn detail(&self) -> String {
        let control = if self.params.permute_classes.is_some() { ", classes permuted" } else { "" };
        format!("{} templates{control}", self.params.templates)
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.inputs.clone()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        vec![TableSpec { table: Scores::NAME, partition: self.partition.clone() }]
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, inputs: &Sizes) -> Estimate {
        let of = |table: &str| inputs.get(table).copied().unwrap_or(0);
        let (images, classes) = (of(Images::NAME), of(ClassVectors::NAME));
        let scores = engine::stage::TableSize { rows: 2, bytes: 8 << 10 };
        Estimate {
            items: 1,
            tables: [(Scores::NAME, scores)].into(),
            // A row group of vectors, the classifier, the logits of a batch, the labels; channels of a large model.
            host_bytes: (64 << 20) + 8 * classes * (1280 + BATCH as u64) + 16 * images,
            // Products of a large model with a few gigaflops of one core.
            secs: 0.1 + (images * (classes + 1280) * 1280) as f64 / 4e9,
            ..Estimate::default()
        }
    }

    fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let classifier = self.classifier(io)?;
        let (labels, without) = self.labels(io)?;
        if labels.is_empty() && without > 0 {
            return Err(ProbeError::Unlabelled.into());
        }
        let tally = self.count(io, &labels, &classifier)?;
        let mut scores = Scores::default();
        for score in self.scores(&tally, without) {
            score.push(&mut scores);
        }
        io.write(scores)?;
        Ok(ShardReport { items: 1, skipped: 0 })
    }
}

impl ZeroShot {
    fn scores(&self, tally: &Tally, without: u32) -> [Score; 2] {
        let mut notes = Vec::new();
        if let Some(seed) = self.params.permute_classes {
            notes.push(format!("control: class vectors permuted with seed {seed}"));
        }
        if tally.strangers > 0 {
            notes.push(format!("{} images are of classes without a vector and count as wrong", tally.strangers));
        }
        let of = |metric, right: u64| {
            let n = tally.images as f64;
            let share = (tally.images > 0).then(|| right as f64 / n);
            Score {
                experiment: EXPERIMENT.to_owned(),
                subject: self.params.templates.clone(),
                site: SITE.to_owned(),
                metric,
                value: share,
                stderr: share.map(|p| (p * (1.0 - p) / n).sqrt()),
                n: tally.images,
                draws: 1,
                images_without: without,
                converged: true,
                note: notes.join("; "),
                ..Score::default()
            }
        };
        [of("accuracy_frac", tally.first), of("top5_accuracy_frac", tally.among_five)]
    }
}

#[cfg(test)]
mod tests;
