//! `vitals health`: one card for one model on one folder of images.

use std::path::{Path, PathBuf};

use engine::store::write_atomic;
use engine::{RunOptions, StageError};

use super::{columns, report_failure, say};
use crate::cli::{HealthArgs, StudyArgs};
use crate::failure::{Code, Failure};
use crate::health::card::Card;
use crate::health::subject::{gallery, patient, study};
use crate::health::words::{Line, lines};
use crate::progress::Reporter;
use crate::study::file::StudyFile;
use crate::study::model::declare;
use crate::study::preprocess::preprocess;
use crate::study::{Access, Built, build};
use crate::{commands, interrupt};

/// Name of the study beside the report.
const STUDY: &str = "study.toml";
/// Figures that are the same whatever is examined.
const NOT_OF_A_MODEL: [&str; 2] = ["fig11", "fig12"];
/// Name of the store beside it.
const STORE: &str = "store";

/// Runs the study that a card is made of, and prints the card.
pub fn health(args: &HealthArgs) -> Result<(), Failure> {
    let gallery = gallery(&args.images, args.limit)?;
    let patient = patient(&args.model, args.weights.as_deref())?;
    let text = study(&patient, &gallery, args);
    check(&text)?;
    let folder = args
        .report
        .clone()
        .unwrap_or_else(|| Path::new("vitals-health").join(format!("{}-{}", patient.name, gallery.name)));
    let path = folder.join(STUDY);
    std::fs::create_dir_all(&folder).map_err(|e| StageError::disk(&folder, &e))?;
    write_atomic(&path, text.as_bytes())?;
    let built = build(&of_file(args, &folder, path), Access::Write)?;
    run(&built)?;

    let (Some(subject), Some(extract)) = (built.report.subjects.first(), built.plan.steps.iter().find(|s| images(s)))
    else {
        return Err(Failure::new(Code::Bug, "the study of a card has no extraction", "", "please report this"));
    };
    let (items, skipped) = engine::run::skipped(extract, &built.store);
    let card = Card::read(subject, (items - skipped, skipped))
        .map_err(|e| report_failure(&e, format_args!("{} on {}", subject.model, subject.dataset)))?;
    let card = Card { masks: gallery.masks as u64, ..card };
    show(args, built, card)
}

/// What the command line can still have wrong, before anything is written.
fn check(text: &str) -> Result<(), Failure> {
    let file = StudyFile::parse(text, STUDY)?;
    for (model, dataset) in file.models.iter().zip(&file.datasets) {
        let spec = declare(model)?.spec;
        let patch_px = spec.config.patch_px;
        preprocess(&dataset.preprocess, &spec).map_err(|e| {
            e.of_usage("--size", format_args!("write a multiple of {patch_px}, such as {}", 16 * patch_px))
        })?;
    }
    Ok(())
}

fn of_file(args: &HealthArgs, folder: &Path, study: PathBuf) -> StudyArgs {
    StudyArgs {
        study: Some(study),
        limit: None,
        device: args.device.clone(),
        threads: args.threads,
        store: Some(folder.join(STORE)),
        report: Some(folder.to_owned()),
    }
}

fn images(step: &engine::Step) -> bool {
    step.outputs.iter().any(|table| table.table == "images")
}

fn run(built: &Built) -> Result<(), Failure> {
    let cancel = interrupt::flag()?;
    let reporter = Reporter::new();
    let options = RunOptions { cancel: &cancel, progress: &reporter, max_skip_frac: built.max_skip_frac };
    let summary = engine::run(&built.plan, &built.store, &options)?;
    commands::run::first_failed(summary)
}

/// Writes the report with the card under its title, and prints the card.
fn show(args: &HealthArgs, mut built: Built, mut card: Card) -> Result<(), Failure> {
    let said = lines(&card);
    built.report.card = Some(reports::Card {
        verdict: card.verdict.clone(),
        good: card.finding.is_good(),
        facts: said.iter().map(Line::fact).collect(),
    });
    // Calculations that say nothing of this model.
    built.report.omitted = NOT_OF_A_MODEL.map(str::to_owned).into();
    // The planted truths are those of the embedded study's scenes and probes.
    for subject in &mut built.report.subjects {
        subject.truth.clear();
    }
    let written = commands::report::write(&built)?;
    card.report = written.html.display().to_string();
    card.store = built.store.root().display().to_string();
    if args.json {
        let text = serde_json::to_string_pretty(&card)
            .map_err(|e| Failure::new(Code::Bug, e, "card", "please report this"))?;
        return say(&format!("{text}\n"));
    }
    let rows: Vec<Vec<String>> = said.iter().map(|line| vec![line.label.to_owned(), line.text()]).collect();
    say(&format!("{}\n\n{}\nReport: {}\n", card.verdict, columns(&rows), card.report))
}
