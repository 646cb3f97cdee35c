//! Zero-shot classification of a study: from `[[zero_shot]]` to the stage that embeds class names and the one that scores
//! images against them.

use std::sync::Arc;

use engine::{Stage, TableRef, outputs_of};
use extract::embed_classes::{EmbedClasses, EmbedClassesParams, class_names, templates};
use probe::{ZeroShot, ZeroShotParams};
use reports::Subject;
use schemas::{Canonical, Fingerprint, Meaning};
use vit::{TextHeader, VitError};

use super::build::{AtHand, partition_of, take};
use super::file::heads::{Templates, ZeroShotTable};
use crate::failure::{Code, Failure};
use crate::progress::download;

fn bad(what: &dyn std::fmt::Display, table: &ZeroShotTable, fix: &str) -> Failure {
    Failure::new(Code::Config, what, format!("[[zero_shot]] {}", table.dataset), fix)
}

/// The sentences of a table, and what scores call them.
pub fn sentences(table: &ZeroShotTable) -> Result<(String, Vec<String>), Failure> {
    Ok(match &table.templates {
        Templates::Called(name) => (name.clone(), templates(name).map_err(|e| bad(&e, table, "correct `templates`"))?),
        // Two lists of one length are two things.
        Templates::Own(own) => {
            let digest = Fingerprint::of("templates", 1, &Canonical::of(&OwnTemplates(own)), &[]).to_string();
            (format!("own-{}", &digest[..6]), own.clone())
        }
    })
}

#[derive(serde::Serialize)]
struct OwnTemplates<'a>(&'a [String]);

impl Meaning for OwnTemplates<'_> {}

/// Adds both stages of every table, for one model, and their scores to the report.
pub fn add<'t>(
    at_hand: &AtHand<'_>,
    tables: &dyn Fn(&str) -> Option<&'t [TableRef]>,
    stages: &mut Vec<Box<dyn Stage>>,
    subjects: &mut Vec<(usize, Subject)>,
) -> Result<(), Failure> {
    for table in &at_hand.file.zero_shot {
        let Some((at, dataset)) = at_hand.dataset(&table.dataset) else { continue };
        let Some(extracted) = tables(&table.dataset) else {
            return Err(bad(&"its images are not extracted", table, "remove `extract = false` of the dataset"));
        };
        let model = at_hand.model;
        let name = table.name.as_ref().unwrap_or(&dataset.name);
        let partition = partition_of(model, name);
        let header = text_tower(at_hand, table)?;
        let manifest = dataset.source.manifest();
        let classes = if table.names.is_empty() { class_names(&manifest.classes) } else { table.names.clone() };
        if classes.len() < manifest.classes.len() {
            let what = format!("{} names for {} classes", classes.len(), manifest.classes.len());
            return Err(bad(&what, table, "write one name a class, in the order of the classes"));
        }
        let (called, templates) = sentences(table)?;
        let settings = format!("templates {called}");
        let params = EmbedClassesParams {
            text: header.config.clone(),
            weights: model.model.weights_digest.clone(),
            classes,
            templates,
        };
        params.check().map_err(|e| bad(&e, table, "use a dataset with classes, or write `names`"))?;
        let open = move || header.weights();
        let stage = EmbedClasses {
            model: model.model.name.clone(),
            open: Arc::new(open),
            params,
            partition: partition.clone(),
            device: *at_hand.device,
            threads: at_hand.tuning.encode_threads,
        };
        let embedded = outputs_of(&stage);
        stages.push(Box::new(stage));
        let params = ZeroShotParams { templates: called, permute_classes: table.permute_labels.then_some(0) };
        let stage =
            ZeroShot::new(params, extracted, &embedded, partition).map_err(|e| bad(&e, table, "correct the study"))?;
        let scores = outputs_of(&stage);
        stages.push(Box::new(stage));
        let subject = at_hand.subject(name, (at, dataset), subjects)?;
        take(subject, &scores);
        subject.settings.extend(scores.iter().map(|t| (engine::store::relative_dir(t), settings.clone())));
    }
    Ok(())
}

/// The text side of the model's own checkpoint.
fn text_tower(at_hand: &AtHand<'_>, table: &ZeroShotTable) -> Result<TextHeader, Failure> {
    let model = at_hand.model;
    let fix = "give the model a whole CLIP checkpoint, or keep this dataset from it by its `models`";
    let Some(source) = &model.source else {
        return Err(bad(&format!("model `{}` has no text encoder", model.model.name), table, fix));
    };
    TextHeader::read(source, model.spec.config.mlp.activation, &download()).map_err(|e| match e {
        VitError::NoText { .. } => bad(&e, table, fix),
        e => Failure::new(Code::Missing, e, format!("model `{}`", model.model.name), "fetch the weights again"),
    })
}
