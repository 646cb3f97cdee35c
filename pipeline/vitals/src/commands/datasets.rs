//! `vitals datasets`: the catalogue, and whether a folder can be read.

use std::collections::BTreeMap;
use std::path::Path;

use datasets::{DatasetSpec, Raw, catalog};

use super::{columns, say};
use crate::cli::{DatasetsArgs, DatasetsCommand};
use crate::failure::{Code, Failure};
use crate::study::dataset::failure;

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
        DatasetsCommand::Check { name, root, split, decode } => check(name, root, split, *decode),
    }
}

fn check(name: &str, root: &Path, split: &str, decode: usize) -> Result<(), Failure> {
    let at = format!("dataset `{name}`");
    let mut spec = DatasetSpec::new(name, root);
    spec.split = split.parse().map_err(|e| Failure::new(Code::Usage, e, "--split", "correct the split"))?;
    let source = datasets::open(&spec).map_err(|e| failure(&e, &at))?;
    let manifest = source.manifest();
    let n = manifest.entries.len();
    let labelled = manifest.entries.iter().filter(|e| e.label.is_some()).count();
    let tried = decode.min(n);
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for i in 0..tried {
        let problem = match source.read(i * n / tried) {
            Err(e) => Some(e.reason()),
            Ok(Raw::Rgb(_)) => None,
            Ok(Raw::Encoded(bytes)) => datasets::decode(&bytes).err().map(|e| e.reason()),
        };
        if let Some(reason) = problem {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let bad: u64 = reasons.values().sum();
    let mut text = format!(
        "{n} images, {labelled} with labels, {} classes; {} of {tried} tried can be read\n",
        manifest.classes.len(),
        tried as u64 - bad
    );
    for (reason, count) in reasons {
        text += &format!("  {count} × {reason}\n");
    }
    say(&text)
}
