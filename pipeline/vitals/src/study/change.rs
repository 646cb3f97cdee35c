//! What a study changes of a model while it runs: in words, and the stages that find register neurons.

use std::sync::Arc;

use engine::{Stage, TableRef, outputs_of};
use extract::{After, Calibrate, Edit, ExtractParams, FindNeurons, FindNeuronsParams, Model, Replace, Select, Tuning};

use super::build::partition;
use super::dataset::OpenDataset;
use super::model::{Change, OpenModel};

/// The cut-off of an extraction, where its policy needs a pass for it: that of the model as it was trained, so that
/// numbers before and after a change are of one rule. Planned once, however many models share it.
pub fn cutoff(
    extraction: &ExtractParams,
    open: &OpenModel,
    dataset: &OpenDataset,
    tuning: Tuning,
    stages: &mut Vec<Box<dyn Stage>>,
) -> Option<TableRef> {
    let images = extraction.outliers.calibration_images()?;
    let stage = Calibrate {
        model: Arc::clone(trained(open)),
        source: Arc::clone(&dataset.source),
        params: as_trained(extraction, open),
        images,
        partition: partition(open, dataset),
        tuning,
    };
    let wanted = outputs_of(&stage).pop()?;
    Some(once(stage, wanted, stages))
}

/// Plans a stage unless one that means the same is planned, under whatever name.
fn once(stage: impl Stage + 'static, wanted: TableRef, stages: &mut Vec<Box<dyn Stage>>) -> TableRef {
    let planned = stages.iter().flat_map(|s| outputs_of(s.as_ref())).find(|t| t.fingerprint == wanted.fingerprint);
    planned.unwrap_or_else(|| {
        stages.push(Box::new(stage));
        wanted
    })
}

/// The model without what is changed of it.
fn trained(open: &OpenModel) -> &Arc<Model> {
    if let Change::TestTime(_, trained) = &open.change { trained } else { &open.model }
}

fn as_trained(extraction: &ExtractParams, open: &OpenModel) -> ExtractParams {
    let model = trained(open).config.clone();
    ExtractParams { model, edit: None, test_time_registers: None, ..extraction.clone() }
}

/// The dataset whose images show which neurons move, if any do: one, so that all numbers of a model are of one model.
pub fn shows_neurons<'a>(
    open: &OpenModel,
    mut datasets: impl Iterator<Item = &'a OpenDataset>,
) -> Option<&'a OpenDataset> {
    let Change::TestTime(table, _) = &open.change else { return None };
    datasets.find(|d| table.dataset.as_ref().is_none_or(|named| *named == d.name))
}

/// Plans the search for the neurons that move to test-time registers; nothing for a model that is given none.
pub fn neurons(
    extraction: &ExtractParams,
    open: &OpenModel,
    dataset: &OpenDataset,
    tuning: Tuning,
    stages: &mut Vec<Box<dyn Stage>>,
) -> Option<TableRef> {
    let Change::TestTime(table, trained) = &open.change else { return None };
    let cutoff = cutoff(extraction, open, dataset, tuning, stages);
    let params = as_trained(extraction, open);
    let depth = params.model.depth as u16;
    let stage = FindNeurons {
        model: Arc::clone(trained),
        source: Arc::clone(&dataset.source),
        params: FindNeuronsParams {
            model: params.model,
            weights: params.weights,
            precision: params.precision,
            dataset: params.dataset,
            preprocess: params.preprocess,
            outliers: params.outliers,
            outlier_site: params.outlier_site,
            images: table.images,
            blocks: if table.blocks.is_empty() { (0..depth).collect() } else { table.blocks.clone() },
            neurons: table.neurons,
        },
        cutoff,
        partition: partition(open, dataset),
        tuning,
    };
    let wanted = outputs_of(&stage).into_iter().find(|t| t.table == "register_neurons")?;
    Some(once(stage, wanted, stages))
}

/// A change in words that tell two of them apart; empty where there is none.
pub fn in_words(change: &Change) -> String {
    match change {
        Change::None => String::new(),
        Change::Edit(edit) => edit_in_words(edit),
        Change::TestTime(table, _) => format!(
            "{} test-time register{} for {} neurons",
            table.registers,
            if table.registers == 1 { "" } else { "s" },
            table.neurons
        ),
    }
}

fn edit_in_words(edit: &Edit) -> String {
    let by = match edit.select {
        Select::Norm => "norm",
        Select::Attention => "attention",
        Select::Both => "norm and attention",
    };
    let around = edit.neighbours;
    let become_ = match edit.replace {
        Replace::Min => format!("the least of {around} neighbours in each channel"),
        Replace::MinNorm => format!("the smallest of {around} neighbours"),
        Replace::Mean => format!("the mean of {around} neighbours"),
        Replace::Half => format!("half themselves, half the mean of {around} neighbours"),
        Replace::Zero => "zero".to_owned(),
        Replace::Average => "the mean of the other patches".to_owned(),
        Replace::Donor => "those of the first image".to_owned(),
    };
    let blocks: Vec<String> = edit.blocks.iter().map(u16::to_string).collect();
    let skipped = if edit.then == After::Skip { ", blocks left out" } else { "" };
    let cls = if edit.cls_competes { ", [CLS] competing" } else { "" };
    format!("before block {}: top {} by {by}{cls} become {become_}{skipped}", blocks.join(", "), edit.n)
}
