//! From labels as annotated to classes that a head learns.

use serde::{Deserialize, Serialize};

use super::error::DenseError;

/// The class of a pixel that has none.
pub(crate) const NONE: u8 = 255;

/// Which raw labels are which classes. A raw 255 has no class, whatever is said here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelMap {
    /// Raw 0 has no class and raw n is class n − 1 (mmsegmentation's `reduce_zero_label`).
    pub reduce_zero: bool,
    /// Classes, numbered from 0.
    pub classes: u16,
    /// Other raw labels without a class.
    pub ignore: Vec<u8>,
}

impl LabelMap {
    /// Raw labels as they are.
    pub fn plain(classes: u16) -> Self {
        Self { reduce_zero: false, classes, ignore: Vec::new() }
    }

    pub(crate) fn check(&self) -> Result<(), DenseError> {
        if (2..=255).contains(&self.classes) {
            return Ok(());
        }
        Err(DenseError::Range { name: "classes", value: f64::from(self.classes) })
    }

    /// The raw label of a class.
    pub fn raw(&self, class: u16) -> u16 {
        class + u16::from(self.reduce_zero)
    }

    /// Whether a raw label is a class or without one; else it is a stranger.
    pub(crate) fn knows(&self, raw: u8) -> bool {
        self.apply(&[raw]).is_ok()
    }

    /// Classes of raw labels, [`NONE`] where there is none; an error names the first label that is no class.
    pub(crate) fn apply(&self, cells: &[u8]) -> Result<Vec<u8>, u8> {
        let known: [Option<u8>; 256] = std::array::from_fn(|raw| {
            let raw = raw as u8;
            if raw == NONE || self.ignore.contains(&raw) || (self.reduce_zero && raw == 0) {
                return Some(NONE);
            }
            let class = raw - u8::from(self.reduce_zero);
            (u16::from(class) < self.classes).then_some(class)
        });
        cells.iter().map(|&raw| known[usize::from(raw)].ok_or(raw)).collect()
    }
}

/// Labels in rising order, in words: `0 to 10, 77`.
pub fn labels_in_words(labels: &[u8]) -> String {
    let runs = labels.chunk_by(|a, b| a.checked_add(1) == Some(*b)).map(|run| match run {
        [] => String::new(),
        [one] => one.to_string(),
        [first, second] => format!("{first}, {second}"),
        [first, .., last] => format!("{first} to {last}"),
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_follow_each_other_are_one_range() {
        assert_eq!(labels_in_words(&[0, 1, 2, 3, 5, 6, 254, 255]), "0 to 3, 5, 6, 254, 255");
        assert_eq!(labels_in_words(&[]), "");
    }

    /// Breaks when ADE20K's "other" becomes a class, or a label beyond the classes passes for one.
    #[test]
    fn labels_become_classes_as_each_protocol_says() {
        let ade = LabelMap { reduce_zero: true, classes: 150, ignore: vec![] };
        assert_eq!(ade.apply(&[0, 1, 150, 255]), Ok(vec![NONE, 0, 149, NONE]));
        assert_eq!(ade.apply(&[3, 151]), Err(151));
        assert_eq!(ade.raw(0), 1);
        let study = LabelMap::plain(151);
        assert_eq!(study.apply(&[0, 150, 255]), Ok(vec![0, 150, NONE]));
        let camvid = LabelMap { reduce_zero: false, classes: 11, ignore: vec![11] };
        assert_eq!(camvid.apply(&[10, 11]), Ok(vec![10, NONE]));
        assert_eq!(camvid.apply(&[12]), Err(12));
        assert!(LabelMap::plain(256).check().is_err() && LabelMap::plain(1).check().is_err());
    }
}
