//! Names of classes: listed in a file, one a line, or made of their numbers.

use std::fs;
use std::path::Path;

use crate::spec::DatasetError;

/// Most classes that a label may imply: each gets a name.
pub const MAX_CLASSES: u32 = 1_000_000;

/// The lines of a file, without blank ones.
pub fn listed(path: &Path) -> Result<Vec<String>, DatasetError> {
    let text = fs::read_to_string(path).map_err(DatasetError::io(path))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// The names there are, and then numbers, up to the largest label.
pub fn up_to(largest: Option<u32>, mut names: Vec<String>) -> Vec<String> {
    let count = largest.map_or(0, |largest| largest as usize + 1);
    names.extend((names.len()..count).map(|class| class.to_string()));
    names
}
