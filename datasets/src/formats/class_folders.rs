//! A folder per class: `root/<class>/…/photo.jpg`, as torchvision's `ImageFolder` reads it.
//!
//! Classes are the sorted names of the folders, and a label is a place among them. Splits (`train`, `val`) share one list
//! of classes, whichever of them is read: a class that one split lacks must not shift the labels after it.

use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::listing::{LooseFiles, files_below, folders_in, is_image};
use crate::source::{Entry, Manifest, Source};
use crate::spec::DatasetError;

/// Opens class folders. `bases` are paths below `root` (`""` for the root itself), which share their classes; `only` is the
/// one of them whose images are wanted. Classes that `leave_out` names are passed over.
pub fn open(
    root: &Path,
    bases: &[&str],
    only: Option<&str>,
    leave_out: &[&str],
) -> Result<Box<dyn Source>, DatasetError> {
    let mut folders = Vec::new();
    for base in bases {
        for class in folders_in(&root.join(base))? {
            if !leave_out.contains(&class.as_str()) {
                let prefix = if base.is_empty() { class.clone() } else { format!("{base}/{class}") };
                folders.push((*base, class, prefix));
            }
        }
    }
    let mut classes: Vec<String> = folders.iter().map(|(_, class, _)| class.clone()).collect();
    classes.sort_unstable();
    classes.dedup();
    folders.retain(|(base, ..)| only.is_none_or(|only| only == *base));

    let listed: Vec<_> = folders
        .par_iter()
        .map(|(_, class, prefix)| {
            let label = classes.binary_search(class).ok().map(|label| label as u32);
            let files = files_below(&root.join(prefix), prefix)?;
            let images = files.into_iter().filter(|file| is_image(&file.name));
            Ok(images.map(|file| Entry { name: file.name, label, bytes: file.bytes }).collect::<Vec<_>>())
        })
        .collect::<Vec<_>>()
        .into_iter()
        .collect::<Result<_, DatasetError>>()?;
    let entries = listed.into_iter().flatten().collect();
    Ok(Box::new(LooseFiles::new(root, Manifest { entries, classes })))
}
