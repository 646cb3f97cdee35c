//! ImageNet's development kit: which class each validation image has.
//!
//! ```text
//! ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt   line n: ILSVRC2012_ID of image n, 1..1000
//! ILSVRC2012_devkit_t12/data/meta.mat                                 synsets(i): ILSVRC2012_ID, WNID, num_children
//! ```
//!
//! Only synsets without children are classes. A text file `synsets.txt` beside `meta.mat`, with lines `ID WNID`, is
//! taken in its place. Labels are places among the sorted WordNet ids. Source: torchvision `datasets/imagenet.py`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::matlab;
use crate::spec::DatasetError;

/// Folder of the unpacked kit.
pub const FOLDER: &str = "ILSVRC2012_devkit_t12/data";
/// File of the answers.
pub const TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";

/// What the kit says.
pub struct Devkit {
    /// Sorted WordNet ids.
    pub classes: Vec<String>,
    /// Label of each validation image, in the order of their numbers.
    pub truth: Vec<u32>,
}

/// Reads the kit below `root`.
pub fn read(root: &Path) -> Result<Devkit, DatasetError> {
    let folder = root.join(FOLDER);
    let text_map = folder.join("synsets.txt");
    let wnids = if text_map.is_file() { from_text(&text_map)? } else { from_matlab(&folder.join("meta.mat"))? };
    let mut classes: Vec<String> = wnids.values().cloned().collect();
    classes.sort_unstable();
    let labels: HashMap<u32, u32> = wnids
        .iter()
        .filter_map(|(id, wnid)| Some((*id, classes.binary_search(wnid).ok()? as u32)))
        .collect();

    let path = folder.join(TRUTH);
    let text = read_text(&path)?;
    let truth = text.lines().enumerate().map(|(line, id)| {
        let label = id.trim().parse().ok().and_then(|id: u32| labels.get(&id)).copied();
        label.ok_or_else(|| DatasetError::Malformed {
            path: path.clone(),
            what: format!("line {}: {id:?} is no known synset id", line + 1),
        })
    });
    let truth = truth.collect::<Result<_, _>>()?;
    Ok(Devkit { classes, truth })
}

fn read_text(path: &Path) -> Result<String, DatasetError> {
    if !path.is_file() {
        return Err(DatasetError::missing(path, "the unpacked ILSVRC2012 devkit (task 1 and 2)"));
    }
    fs::read_to_string(path).map_err(DatasetError::io(path))
}

fn from_text(path: &Path) -> Result<HashMap<u32, String>, DatasetError> {
    let text = read_text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let pairs = lines.map(|(number, line)| {
        let (id, wnid) = line.trim().split_once(char::is_whitespace).unwrap_or_default();
        let id = id.parse().map_err(|_| DatasetError::Malformed {
            path: path.to_owned(),
            what: format!("line {}: {line:?} is not `ID WNID`", number + 1),
        })?;
        Ok((id, wnid.trim().to_owned()))
    });
    pairs.collect()
}

fn from_matlab(path: &Path) -> Result<HashMap<u32, String>, DatasetError> {
    if !path.is_file() {
        return Err(DatasetError::missing(path, "the unpacked ILSVRC2012 devkit (task 1 and 2)"));
    }
    let malformed = |what: String| DatasetError::Malformed { path: path.to_owned(), what };
    let bytes = fs::read(path).map_err(DatasetError::io(path))?;
    let records = matlab::struct_records(&bytes, "synsets").map_err(|error| malformed(error.to_string()))?;
    let mut wnids = HashMap::new();
    for record in records {
        let number = |field: &str| record.get(field).and_then(matlab::Value::number);
        let (Some(id), Some(children)) = (number("ILSVRC2012_ID"), number("num_children")) else {
            return Err(malformed("a synset without ILSVRC2012_ID or num_children".to_owned()));
        };
        let Some(matlab::Value::Text(wnid)) = record.get("WNID") else {
            return Err(malformed("a synset without WNID".to_owned()));
        };
        if children == 0.0 {
            wnids.insert(id as u32, wnid.clone());
        }
    }
    Ok(wnids)
}
