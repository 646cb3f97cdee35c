//! A folder per class: `root/<class>/…/photo.jpg`, as torchvision's `ImageFolder` reads it.
//!
//! Classes are the sorted names of the folders, and a label is a place among them. Several bases (`train`, `val`) may
//! share one list of classes.

use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::listing::{LooseFiles, files_below, folders_in};
use crate::source::{Entry, Manifest, Source};
use crate::spec::DatasetError;

/// Opens class folders. `bases` are paths below `root` (`""` for the root itself); classes that `leave_out` names are
/// passed over.
pub fn open(root: &Path, bases: &[&str], leave_out: &[&str]) -> Result<Box<dyn Source>, DatasetError> {
    let mut folders = Vec::new();
    for base in bases {
        for class in folders_in(&root.join(base))? {
            if !leave_out.contains(&class.as_str()) {
                let prefix = if base.is_empty() { class.clone() } else { format!("{base}/{class}") };
                folders.push((class, prefix));
            }
        }
    }
    let mut classes: Vec<String> = folders.iter().map(|(class, _)| class.clone()).collect();
    classes.sort_unstable();
    classes.dedup();

    let listed: Vec<_> = folders
        .par_iter()
        .map(|(class, prefix)| {
            let label = classes.binary_search(class).ok().map(|label| label as u32);
            let files = files_below(&root.join(prefix), prefix)?;
            Ok(files.into_iter().map(|file| Entry { name: file.name, label, bytes: file.bytes }).collect::<Vec<_>>())
        })
        .collect::<Result<_, DatasetError>>()?;
    let entries = listed.into_iter().flatten().collect();
    Ok(Box::new(LooseFiles::new(root, Manifest { entries, classes })))
}
