//! Dense heads of a study: from `[[dense]]` to the stage that writes features of a dataset once and the one that trains
//! a head on them.

use std::sync::Arc;

use datasets::views::{Crops, DepthCrops};
use datasets::{Filter, Resize, TruthOf, ViewSpec, Views};
use engine::{Sizes, Stage, TableRef, outputs_of};
use extract::{Densify, DensifyParams, PoolSite, TruthKind};
use reports::Subject;
use train::dense::{HeadParams, HeadSizes, LabelMap, Length, Recipe, Task, TrainHead};
use vit::{ModelSpec, Site};

use super::build::{AtHand, learned_from, partition_of, take, teaches_truth};
use super::dataset::OpenDataset;
use super::file::heads::DenseTable;
use super::truth;
use crate::failure::{Code, Failure};

/// A head with everything that its features need.
pub struct Protocol {
    /// What is trained, and how it is judged.
    pub recipe: Recipe,
    /// Views of training images.
    pub train: ViewSpec,
    /// Views of test images.
    pub test: ViewSpec,
    /// Where features are read.
    pub sites: Vec<PoolSite>,
    /// Whether CLS goes along.
    pub keep_cls: bool,
    /// What is kept of the truth.
    pub truth: TruthKind,
}

/// Side of the squares that the study squashes ADE20K to, for DINOv2 and for DeiT-III.
const STUDY_PX: usize = 518;
const DEIT3_PX: usize = 224;
/// Classes of ADE20K's challenge.
const ADE20K_CLASSES: u16 = 150;

/// The protocol that a table asks for, for one model; `classes` are those that the test dataset names.
pub fn protocol(table: &DenseTable, spec: &ModelSpec, classes: usize) -> Result<Protocol, Failure> {
    let (last, depth) = (Site::Block(spec.config.depth as u16 - 1), spec.config.depth);
    let is_final = vec![PoolSite { site: Site::Final, normed: false }];
    let labels = || labels(table, classes);
    let whole = |px: Option<usize>, mirror: bool| {
        let exact = |[height, width]: [usize; 2]| Resize::Exact { height, width };
        Views::Whole { resize: table.size_px.or(px.map(|px| [px; 2])).map_or(Resize::None, exact), mirror }
    };
    let family = |views: Views, filter: Filter, truth: TruthOf| ViewSpec {
        views,
        filter,
        mean: spec.input.mean,
        std: spec.input.std,
        patch_px: spec.config.patch_px,
        truth,
    };
    // The study feeds pixels in [0, 1].
    let unit =
        |views: Views| ViewSpec { mean: [0.0; 3], std: [1.0; 3], ..family(views, Filter::Bilinear, TruthOf::View) };
    let seed = table.seeds.first().copied().unwrap_or(0);
    let segments = |recipe: Recipe, train: ViewSpec, test: ViewSpec| Protocol {
        recipe,
        train,
        test,
        sites: is_final.clone(),
        keep_cls: false,
        truth: TruthKind::Segments,
    };
    let mut found = match table.recipe.as_str() {
        name @ ("cells" | "quick_cells") => segments(
            if name == "cells" { Recipe::cells(labels()?) } else { Recipe::quick_cells(labels()?) },
            family(whole(None, false), Filter::Bilinear, TruthOf::View),
            family(whole(None, false), Filter::Bilinear, TruthOf::Image),
        ),
        "dinov2_segmentation" => {
            let labels = labels()?;
            // 255 has no class whatever the labels are: VOC's void, say.
            let mut ignore = labels.ignore.clone();
            ignore.extend(labels.reduce_zero.then_some(0).into_iter().chain([255]));
            let windows = Views::Windows { short_side_px: 512, window_px: 512, stride_px: 341 };
            segments(
                Recipe::dinov2_segmentation(labels),
                family(Views::Crops(Crops::dinov2(table.crops, seed, ignore)), Filter::Cv2Bilinear, TruthOf::View),
                family(windows, Filter::Cv2Bilinear, TruthOf::Image),
            )
        }
        "study_segmentation" => {
            let views = unit(whole(Some(STUDY_PX), false));
            segments(Recipe::study_segmentation(), views.clone(), views)
        }
        "deit3_segmentation" => {
            let views = unit(whole(Some(DEIT3_PX), false));
            segments(Recipe::deit3_segmentation(), views.clone(), views)
        }
        "depth_cells" => Protocol {
            truth: TruthKind::UNIT_RANGE,
            ..segments(
                Recipe::depth_cells(1.0),
                family(whole(None, false), Filter::Bilinear, TruthOf::View),
                family(whole(None, false), Filter::Bilinear, TruthOf::Image),
            )
        },
        name @ ("nyu_lin1" | "nyu_lin4") => {
            // Every quarter of the blocks: 2, 5, 8, 11 of twelve; 4, 11, 17, 23 of twenty-four.
            let quarter = |k: usize| match (depth, k) {
                (24, 1) => Site::Block(4),
                _ => Site::Block((k * depth / 4).max(1) as u16 - 1),
            };
            let raw = |site| PoolSite { site, normed: false };
            let sites = if name == "nyu_lin1" { vec![raw(last)] } else { (1..=4).map(|k| raw(quarter(k))).collect() };
            Protocol {
                recipe: Recipe::nyu_linear(),
                train: family(
                    Views::DepthCrops(DepthCrops::dinov2(table.crops, seed)),
                    Filter::Cv2Bilinear,
                    TruthOf::View,
                ),
                test: family(whole(None, true), Filter::Cv2Bilinear, TruthOf::Image),
                sites,
                keep_cls: true,
                truth: TruthKind::MILLIMETRES,
            }
        }
        other => return Err(bad(table, format!("unknown recipe `{other}`"), RECIPES)),
    };
    found.recipe.length = match (table.epochs, table.steps) {
        (None, None) => found.recipe.length,
        (Some(epochs), None) => Length::Epochs(u64::from(epochs)),
        (None, Some(steps)) => Length::Steps(steps),
        (Some(_), Some(_)) => return Err(bad(table, "`epochs` and `steps` at once".to_owned(), "write one of them")),
    };
    found.recipe.check().map_err(|e| bad(table, e.to_string(), "correct the number"))?;
    for views in [&found.train, &found.test] {
        views.clone().check().map_err(|e| bad(table, e.to_string(), "correct the number"))?;
    }
    Ok(found)
}

const RECIPES: &str = "write cells, quick_cells, dinov2_segmentation, study_segmentation, deit3_segmentation, depth_cells, nyu_lin1 or nyu_lin4";

/// Classes of raw labels: those of ADE20K's challenge unless the study or the dataset says otherwise.
fn labels(table: &DenseTable, named: usize) -> Result<LabelMap, Failure> {
    let ade = table.recipe == "dinov2_segmentation" && table.classes.is_none();
    let reduce_zero = table.reduce_zero.unwrap_or(ade);
    let named = named.saturating_sub(usize::from(reduce_zero));
    let classes = match table.classes {
        Some(classes) => classes,
        None if ade => ADE20K_CLASSES,
        None if named > 0 => named as u16,
        None => {
            let what = "nothing says how many classes there are".to_owned();
            return Err(bad(table, what, "write classes = …, not counting labels that are ignored"));
        }
    };
    Ok(LabelMap { reduce_zero, classes, ignore: table.ignore.clone().unwrap_or_default() })
}

/// An error where nothing is annotated, or with something else; a single bad annotation is found while features are made.
fn has_truth(table: &DenseTable, dataset: &OpenDataset) -> Result<(), Failure> {
    let depth = table.recipe == "depth_cells" || table.recipe.starts_with("nyu_");
    let kind = if depth { "depths" } else { "masks" };
    let some = !dataset.source.manifest().entries.is_empty();
    let known = match some.then(|| dataset.source.dense_truth(0)) {
        Some(Ok(Some(truth))) => {
            if depth {
                truth.depth_m.is_some()
            } else {
                truth.segments.is_some()
            }
        }
        Some(Ok(None)) => false,
        Some(Err(_)) | None => true,
    };
    if known {
        return Ok(());
    }
    let (name, layout) = (&dataset.name, &dataset.table.dataset);
    let fix = format!("use a dataset with {kind}; `vitals datasets ls` shows which have them");
    Err(bad(table, format!("dataset `{name}` ({layout}) has no {kind}"), &fix))
}

fn bad(table: &DenseTable, what: String, fix: &str) -> Failure {
    Failure::new(Code::Config, what, format!("[[dense]] {} on {} and {}", table.recipe, table.train, table.test), fix)
}

/// Adds the stages of every table, for one model, and their scores to the report.
pub fn add(
    at_hand: &AtHand<'_>,
    stages: &mut Vec<Box<dyn Stage>>,
    subjects: &mut Vec<(usize, Subject)>,
) -> Result<(), Failure> {
    let mut heads = Vec::new();
    for table in &at_hand.file.dense {
        let (Some((_, train)), Some(test)) = (at_hand.dataset(&table.train), at_hand.dataset(&table.test)) else {
            continue;
        };
        for dataset in [train, test.1] {
            has_truth(table, dataset)?;
        }
        let class_names = test.1.source.segment_classes();
        let protocol = protocol(table, &at_hand.model.spec, class_names.len())?;
        heads.push((table, train, test, class_names, protocol));
    }
    let needs = |(table, train, test, _, protocol): &(_, &OpenDataset, (_, &OpenDataset), _, Protocol)| {
        let table: &&DenseTable = table;
        [(train, &protocol.train, 0), (&test.1, &protocol.test, table.pictures)].map(|(dataset, views, pictures)| {
            Need {
                dataset: dataset.name.clone(),
                features: (views.clone(), protocol.sites.clone(), protocol.keep_cls),
                truths: vec![protocol.truth],
                pictures,
            }
        })
    };
    let all: Vec<Need> = heads.iter().flat_map(needs).collect();
    for (table, train, test, class_names, protocol) in heads {
        let (model, name) = (at_hand.model, table.name.as_ref().unwrap_or(&test.1.name));
        let sizes =
            [(&protocol.train, train), (&protocol.test, test.1)].map(|(views, dataset)| -> Result<_, Failure> {
                let need = Need::of_all(&all, &dataset.name, (views, &protocol));
                let stage = densify(need, at_hand, dataset)?;
                let (tables, estimate) = (outputs_of(&stage), stage.estimate(&Sizes::new()));
                stages.push(Box::new(stage));
                Ok((tables, estimate.tables.get("dense").copied().unwrap_or_default()))
            });
        let [learned, judged] = sizes;
        let ((learned, learned_size), (judged, judged_size)) = (learned?, judged?);
        let params = head(table, &protocol, &class_names);
        let settings = format!("{}, {}", settings(table, &protocol), learned_from(train, test.1));
        let stage = TrainHead::new(params, &learned, &judged, partition_of(model, name))
            .map_err(|e| bad(table, e.to_string(), "correct the study"))?;
        let (sites, width) = (protocol.sites.len() as u64, model.spec.config.width as u64);
        let patches = learned_size.bytes / (2 * width * learned_size.rows.max(1));
        let stage = stage.sized(HeadSizes {
            train_views: learned_size.rows / sites,
            test_views: judged_size.rows / sites,
            patches,
            width,
            truth_pixels: patches * (model.spec.config.patch_px as u64).pow(2),
            threads: at_hand.tuning.decode_threads as u64,
            ..HeadSizes::default()
        });
        let made = outputs_of(&stage);
        stages.push(Box::new(stage));
        let skipped = learned.iter().chain(&judged).filter(|t| t.table == "skipped").cloned();
        let shown: Vec<TableRef> = made.into_iter().filter(|t| t.table != "heads").chain(skipped).collect();
        let subject = at_hand.subject(name, test, subjects)?;
        take(subject, &shown);
        // Beside the pictures of the extraction, which are of another size.
        let pictures = judged.iter().filter(|t| t.table == "pictures").map(engine::store::relative_dir);
        subject.tables.entry("dense_pictures".to_owned()).or_default().extend(pictures);
        let scores = shown.iter().filter(|t| t.table == "scores").map(engine::store::relative_dir);
        subject.settings.extend(scores.map(|folder| (folder, settings.clone())));
        let as_made = (table.epochs, table.steps) == (None, None);
        if as_made && [train, test.1].iter().all(|dataset| teaches_truth(model, dataset)) {
            let registers = model.spec.config.registers;
            let known = truth::of_dense(registers, &model.change, &table.recipe, table.permute_labels);
            subject.truth.extend(known);
        }
    }
    Ok(())
}

/// How a head is trained, in words that tell two of one name apart.
fn settings(table: &DenseTable, protocol: &Protocol) -> String {
    let length = match protocol.recipe.length {
        Length::Epochs(epochs) => format!("{epochs} epochs"),
        Length::Steps(steps) => format!("{steps} steps"),
    };
    let shown = |views: &Views| match views {
        Views::Whole { resize: Resize::Exact { height, width }, .. } => {
            format!("images squashed to {height} × {width} px")
        }
        Views::Whole { .. } => "whole images".to_owned(),
        Views::Crops(_) | Views::DepthCrops(_) | Views::ResizedCrops { .. } => {
            format!("{} random crops of each image", table.crops)
        }
        Views::Windows { window_px, .. } => format!("sliding windows of {window_px} px"),
    };
    let (learned, judged) = (shown(&protocol.train.views), shown(&protocol.test.views));
    let judged = if judged == learned { String::new() } else { format!(", judged on {judged}") };
    format!("{}, {length} of {} views, {learned}{judged}", table.recipe, protocol.recipe.views_per_step)
}

/// What a head means.
fn head(table: &DenseTable, protocol: &Protocol, class_names: &[String]) -> HeadParams {
    // The raw labels of classes, in their order.
    let named = match &protocol.recipe.task {
        Task::Segments(task) => {
            (0..task.labels.classes).map_while(|c| class_names.get(usize::from(task.labels.raw(c))).cloned()).collect()
        }
        Task::Depth(_) => Vec::new(),
    };
    HeadParams {
        name: table.recipe.clone(),
        sites: protocol.sites.iter().map(PoolSite::label).collect(),
        recipe: protocol.recipe.clone(),
        seeds: table.seeds.clone(),
        permute_labels: table.permute_labels,
        every_nth: None,
        pictures: table.pictures,
        class_names: named,
    }
}

/// What heads need of one dataset.
#[derive(Clone)]
struct Need {
    /// Name of the dataset.
    dataset: String,
    /// Views, sites, and whether CLS goes along.
    features: (ViewSpec, Vec<PoolSite>, bool),
    truths: Vec<TruthKind>,
    pictures: u32,
}

impl Need {
    /// What all heads that read the same features need together, so that the backbone runs once for all of them.
    fn of_all(all: &[Self], dataset: &str, (views, protocol): (&ViewSpec, &Protocol)) -> Self {
        let features = (views.clone(), protocol.sites.clone(), protocol.keep_cls);
        let mut whole = Self { dataset: dataset.to_owned(), features, truths: Vec::new(), pictures: 0 };
        for need in all.iter().filter(|n| n.dataset == whole.dataset && n.features == whole.features) {
            whole.pictures = whole.pictures.max(need.pictures);
            let new = need.truths.iter().filter(|t| !whole.truths.contains(t)).copied().collect::<Vec<_>>();
            whole.truths.extend(new);
        }
        whole
    }
}

/// The stage that writes features of one dataset.
fn densify(need: Need, at_hand: &AtHand<'_>, dataset: &OpenDataset) -> Result<Densify, Failure> {
    let (open, extraction) = (at_hand.model, at_hand.params(dataset)?);
    let (views, sites, keep_cls) = need.features;
    let params = DensifyParams {
        model: extraction.model,
        weights: extraction.weights,
        precision: extraction.precision,
        dataset: extraction.dataset,
        dense_annotations: dataset.source.dense_annotations(),
        views,
        sites,
        keep_cls,
        truths: need.truths,
        shard_images: extraction.shard_images,
        pictures: need.pictures,
        edit: extraction.edit,
        test_time_registers: extraction.test_time_registers,
    };
    params.check().map_err(|e| Failure::new(Code::Config, e, "[[dense]]", "correct the key in the study"))?;
    Ok(Densify {
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

    fn of(keys: &str, classes: usize) -> Protocol {
        let table = toml::from_str(&format!("train = \"a\"\ntest = \"b\"\n{keys}")).unwrap();
        protocol(&table, &vit::zoo::find("dinov2_vits14").unwrap(), classes).unwrap()
    }

    fn ignored_in_crops(protocol: &Protocol) -> Vec<u8> {
        let Views::Crops(crops) = &protocol.train.views else { panic!("{:?}", protocol.train.views) };
        crops.ignore.clone()
    }

    /// Breaks when void (VOC's borders) counts among the classes of which none may fill a crop.
    #[test]
    fn void_is_no_class_that_fills_a_crop() {
        let recipe = "recipe = \"dinov2_segmentation\"";
        assert_eq!(ignored_in_crops(&of(recipe, 151)), [0, 255]);
        assert_eq!(ignored_in_crops(&of(&format!("{recipe}\nclasses = 21\nreduce_zero = false"), 21)), [255]);
        assert_eq!(ignored_in_crops(&of(&format!("{recipe}\nclasses = 11\nignore = [11]"), 0)), [11, 255]);
    }

    /// Breaks when a label without a class is counted among those that the dataset names.
    #[test]
    fn classes_are_those_that_are_named_less_the_one_of_nothing() {
        let classes = |keys: &str| match of(&format!("recipe = \"cells\"\n{keys}"), 151).recipe.task {
            Task::Segments(task) => task.labels.classes,
            Task::Depth(_) => 0,
        };
        assert_eq!([classes(""), classes("reduce_zero = true"), classes("classes = 7")], [151, 150, 7]);
    }
}
