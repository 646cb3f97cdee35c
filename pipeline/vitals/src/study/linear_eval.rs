//! Linear evaluation of a study: from `[[linear_eval]]` to the stage that encodes random crops, where they are asked for,
//! and the one that trains the classifiers.

use std::sync::Arc;

use datasets::{Filter, Preprocess, TruthOf, ViewSpec, Views};
use engine::{Stage, TableRef, outputs_of};
use extract::{PoolSite, PoolViews, PoolViewsParams};
use reports::Subject;
use train::linear_eval::{Length, LinearEval, LinearEvalParams, Training};
use vit::{ModelSpec, Site};

use super::build::{AtHand, learned_from, partition_of, take, teaches_truth};
use super::dataset::OpenDataset;
use super::file::ExtractTable;
use super::file::heads::LinearEvalTable;
use super::params::pool_site;
use super::truth;
use crate::failure::{Code, Failure};

/// Passes after which a classifier of scenes has learned.
const LEARNED: u32 = 20;

/// Blocks whose CLS is read: DINOv2's.
const BLOCKS: usize = 4;

fn bad(what: &dyn std::fmt::Display, table: &LinearEvalTable, fix: &str) -> Failure {
    Failure::new(Code::Config, what, format!("[[linear_eval]] {}", table.train), fix)
}

/// The last blocks of a model through the final norm, oldest first.
fn sites(depth: usize) -> Vec<PoolSite> {
    let blocks =
        (depth.saturating_sub(BLOCKS)..depth - 1).map(|i| PoolSite { site: Site::Block(i as u16), normed: true });
    blocks.chain([PoolSite { site: Site::Final, normed: false }]).collect()
}

/// The classifiers that a table asks for, of a model of so many blocks.
pub fn params(table: &LinearEvalTable, depth: usize) -> Result<LinearEvalParams, Failure> {
    let sites = sites(depth);
    let default = LinearEvalParams::dinov2(sites.iter().map(PoolSite::label).collect());
    let length = match (table.steps, table.epochs) {
        (None, None) => default.length,
        (Some(steps), None) => Length::Steps(steps),
        (None, Some(epochs)) => Length::Epochs(epochs),
        (Some(_), Some(_)) => return Err(bad(&"`epochs` and `steps` at once", table, "write one of them")),
    };
    // A model of fewer blocks has fewer to offer.
    let blocks = sites.len() as u16;
    let mut last_blocks: Vec<u16> = default.last_blocks.iter().map(|&n| n.min(blocks)).collect();
    last_blocks.dedup();
    let params = LinearEvalParams {
        last_blocks,
        length,
        batch: table.batch.unwrap_or(default.batch),
        seed: table.seed,
        training: if table.twice { Training::Twice } else { Training::Once },
        permute_labels: table.permute_labels.then_some(table.seed),
        ..default
    };
    params.check().map_err(|e| bad(&e, table, "correct the number"))?;
    Ok(params)
}

/// An error unless the extraction keeps what the classifiers read.
pub fn check_sites(table: &LinearEvalTable, extract: &ExtractTable, depth: usize) -> Result<(), Failure> {
    let kept = extract.pooled.iter().map(|name| pool_site(name, depth)).collect::<Result<Vec<_>, _>>()?;
    let wanted = sites(depth);
    if wanted.iter().all(|site| kept.contains(site)) {
        return Ok(());
    }
    let names: Vec<String> = wanted.iter().map(|site| format!("\"{}\"", site.label())).collect();
    let fix = format!("write pooled = [{}] under [extract]", names.join(", "));
    Err(bad(&"the last blocks are not kept through the final norm", table, &fix))
}

/// Adds the stages of every table, for one model, and their scores to the report.
pub fn add<'t>(
    at_hand: &AtHand<'_>,
    tables: &dyn Fn(&str) -> Option<&'t [TableRef]>,
    stages: &mut Vec<Box<dyn Stage>>,
    subjects: &mut Vec<(usize, Subject)>,
) -> Result<(), Failure> {
    for table in &at_hand.file.linear_eval {
        let (Some((_, train)), Some(test)) = (at_hand.dataset(&table.train), at_hand.dataset(&table.test)) else {
            continue;
        };
        let fix = "remove `extract = false` of the dataset";
        let Some(tested) = tables(&table.test) else {
            return Err(bad(&"the test images are not extracted", table, fix));
        };
        let extracted = tables(&table.train).unwrap_or_default();
        if table.crops == 0 && extracted.is_empty() {
            return Err(bad(&"the training images are neither extracted nor cropped", table, fix));
        }
        let (model, name) = (at_hand.model, table.name.as_ref().unwrap_or(&test.1.name));
        let params = params(table, model.spec.config.depth)?;
        let mut taught = extracted.to_vec();
        if table.crops > 0 {
            let stage = views(at_hand, table, train)?;
            let of_views = outputs_of(&stage);
            stages.push(Box::new(stage));
            let known = |t: &TableRef| t.table == "images" && !extracted.is_empty();
            taught.extend(of_views.into_iter().filter(|t| !known(t)));
        }
        let settings = match table.crops {
            0 => params.settings(),
            crops => format!("{}, {crops} random crops of each image", params.settings()),
        };
        let settings = format!("{settings}, {}", learned_from(train, test.1));
        let classes = train.source.manifest().classes.len();
        let stage = LinearEval::new(params, &taught, tested, partition_of(model, name))
            .map_err(|e| bad(&e, table, "correct the study"))?;
        let stage = stage.sized(model.spec.config.width, classes, at_hand.tuning.decode_threads);
        let labelled = train.source.manifest().entries.iter().filter(|e| e.label.is_some()).count();
        let stage = stage.taught(labelled as u64, u64::from(table.crops));
        let made = outputs_of(&stage);
        stages.push(Box::new(stage));
        let skipped = taught.iter().chain(tested).filter(|t| t.table == "skipped").cloned();
        let shown: Vec<TableRef> = made.into_iter().filter(|t| t.table != "heads").chain(skipped).collect();
        let subject = at_hand.subject(name, test, subjects)?;
        take(subject, &shown);
        let scores = shown.iter().filter(|t| t.table == "scores").map(engine::store::relative_dir);
        subject.settings.extend(scores.map(|folder| (folder, settings.clone())));
        let long = table.epochs.is_some_and(|epochs| epochs >= LEARNED);
        if long && [train, test.1].iter().all(|dataset| teaches_truth(model, dataset)) {
            subject.truth.extend(truth::of_linear_eval(&model.change, table.permute_labels));
        }
    }
    Ok(())
}

/// Side of the crops: that of the whole images, on which heads are chosen and scored, where these are squares of one size.
fn side_px(preprocess: &Preprocess, spec: &ModelSpec) -> usize {
    match [(1000, 2000), (2000, 1000)].map(|(height, width)| preprocess.output_size(height, width)) {
        [(rows, columns), other] if rows == columns && other == (rows, columns) => rows,
        _ => spec.input.crop_px,
    }
}

/// The stage that encodes random resized crops of the training images.
fn views(at_hand: &AtHand<'_>, table: &LinearEvalTable, dataset: &OpenDataset) -> Result<PoolViews, Failure> {
    let (open, extraction) = (at_hand.model, at_hand.params(dataset)?);
    let size_px = side_px(&extraction.preprocess, &open.spec);
    let params = PoolViewsParams {
        model: extraction.model,
        weights: extraction.weights,
        precision: extraction.precision,
        dataset: extraction.dataset,
        views: ViewSpec {
            views: Views::ResizedCrops { count: table.crops, seed: table.seed, size_px },
            filter: Filter::Bicubic,
            mean: extraction.preprocess.mean,
            std: extraction.preprocess.std,
            patch_px: open.spec.config.patch_px,
            truth: TruthOf::None,
        },
        pooled: sites(open.spec.config.depth),
        shard_images: extraction.shard_images,
        edit: extraction.edit,
        test_time_registers: extraction.test_time_registers,
    };
    params.check().map_err(|e| bad(&e, table, "correct the key in the study"))?;
    Ok(PoolViews {
        model: Arc::clone(&open.model),
        source: Arc::clone(&dataset.source),
        params,
        neurons: at_hand.neurons.clone(),
        partition: super::build::partition(open, dataset),
        tuning: at_hand.tuning,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::study::preprocess::preprocess;

    /// Breaks when heads learn from crops of another size than the images that they are scored on.
    #[test]
    fn crops_are_as_large_as_the_images() {
        let spec = vit::zoo::find("dinov2_vits14").unwrap();
        let side = |keys: &str| side_px(&preprocess(&toml::from_str(keys).unwrap(), &spec).unwrap(), &spec);
        assert_eq!([side(""), side("crop_px = 112"), side("mode = \"square\"\nresize_px = 100")], [224, 112, 98]);
        assert_eq!(side("mode = \"short_side\""), 224, "of no one size");
    }
}
