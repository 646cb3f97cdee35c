//! `vitals datasets`: the catalogue, and whether a folder can be read.

use std::collections::BTreeMap;
use std::path::Path;

use datasets::{DatasetSpec, Raw, catalog};

use super::{columns, counted, say};
use crate::cli::{DatasetsArgs, DatasetsCommand};
use crate::failure::{Code, Failure};
use crate::study::dataset::{ON_COMMAND_LINE, failure};

/// `ls` and `check`.
pub fn datasets(args: &DatasetsArgs) -> Result<(), Failure> {
    match &args.command {
        DatasetsCommand::Ls => {
            let mut rows: Vec<Vec<String>> =
                vec![["dataset", "what", "expected at `root`"].map(str::to_owned).to_vec()];
            rows.extend(
                catalog::CATALOG.iter().map(|d| vec![d.name.to_owned(), d.about.to_owned(), d.layout.to_owned()]),
            );
            say(&columns(&rows))
        }
        DatasetsCommand::Check { name, root, split, decode } => {
            check(name, root.as_deref().unwrap_or(Path::new("")), split, *decode)
        }
    }
}

/// Names of unreadable images that are shown.
const SHOWN: usize = 5;

fn check(name: &str, root: &Path, split: &str, decode: usize) -> Result<(), Failure> {
    let at = format!("dataset `{name}`");
    let mut spec = DatasetSpec::new(name, root);
    let fix = "write all, train, val, trainval, test, partition:1:train, class:2/3:train or every:3@2:test";
    spec.split = split.parse().map_err(|e| Failure::new(Code::Usage, e, "--split", fix))?;
    let source = datasets::open(&spec).map_err(|e| failure(&e, &at, &ON_COMMAND_LINE, root, spec.split))?;
    let manifest = source.manifest();
    let n = manifest.entries.len();
    let labelled = manifest.entries.iter().filter(|e| e.label.is_some()).count();
    let tried = decode.min(n);
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for i in (0..tried).map(|i| i * n / tried) {
        let problem = match source.read(i) {
            Err(e) => Some(e.reason()),
            Ok(Raw::Rgb(_)) => None,
            Ok(Raw::Encoded(bytes)) => datasets::decode(&bytes).err().map(|e| e.reason()),
        };
        if let Some(reason) = problem {
            reasons.entry(reason).or_default().push(&manifest.entries[i].name);
        }
    }
    let bad: usize = reasons.values().map(Vec::len).sum();
    let mut text = format!(
        "{}, {labelled} with labels, {}; {} of {tried} tried can be read\n",
        counted(n, "image", "images"),
        counted(manifest.classes.len(), "class", "classes"),
        tried - bad
    );
    for (reason, names) in reasons {
        let more = names.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text += &format!("  {} × {reason}: {}{more}\n", names.len(), names[..names.len().min(SHOWN)].join(", "));
    }
    say(&text)
}
