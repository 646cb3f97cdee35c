//! Lists of images in text files: one image a line, its class beside it or in its path.
//!
//! The official splits of most classification datasets are such lists. A line is cut at white space into as many columns
//! as the list has, and the last takes what is left, since class names have spaces in them. Every complaint names the
//! file and the line. A name is a path below the root: one that would lead out of it is refused.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::classes::MAX_CLASSES;
use super::listing::LooseFiles;
use crate::source::{Entry, Manifest, Source};
use crate::spec::DatasetError;

/// A text file, read whole.
pub struct List {
    path: PathBuf,
    text: String,
}

/// A line that is not blank, cut into columns.
pub struct Row<'a, const N: usize> {
    list: &'a List,
    line: usize,
    /// The columns, none of them empty.
    pub cells: [&'a str; N],
}

impl List {
    /// Reads a list; `layout` says where it belongs, for who has not got it.
    pub fn read(path: &Path, layout: &str) -> Result<Self, DatasetError> {
        if !path.is_file() {
            return Err(DatasetError::missing(path, layout));
        }
        let bytes = fs::read(path).map_err(DatasetError::io(path))?;
        let text = String::from_utf8(bytes).map_err(|_| DatasetError::malformed(path, "is not text in UTF-8"))?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// The lines, as `columns` names their cells.
    pub fn rows<'a, const N: usize>(
        &'a self,
        columns: [&'static str; N],
    ) -> impl Iterator<Item = Result<Row<'a, N>, DatasetError>> + 'a {
        let lines = self.text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
        lines.map(move |(index, text)| {
            let (line, mut rest) = (index + 1, text.trim());
            let mut cells = [""; N];
            for (place, cell) in cells.iter_mut().enumerate() {
                let cut = if place + 1 < N { rest.split_once(char::is_whitespace) } else { None };
                (*cell, rest) = cut.map_or((rest, ""), |(cell, rest)| (cell, rest.trim_start()));
                if cell.is_empty() {
                    let what = format!("line {line}: {text:?} has no {}", columns[place]);
                    return Err(DatasetError::malformed(&self.path, what));
                }
            }
            Ok(Row { list: self, line, cells })
        })
    }

    /// The lines, each a class name, in this order: a label is a place among them.
    pub fn classes(&self) -> Result<Classes, DatasetError> {
        let mut classes = Classes::default();
        for row in self.rows(["class"]) {
            let row = row?;
            classes.push(row.cells[0]).map_err(|what| row.wrong(what))?;
        }
        Ok(classes)
    }
}

impl<const N: usize> Row<'_, N> {
    /// An error that names the file and the line.
    pub fn wrong(&self, what: impl Display) -> DatasetError {
        DatasetError::malformed(&self.list.path, format!("line {}: {what}", self.line))
    }

    /// The label of the class called as this cell is.
    pub fn class(&self, cell: &str, classes: &Classes) -> Result<u32, DatasetError> {
        let unknown = || self.wrong(format!("{cell:?} is none of the {} classes", classes.names.len()));
        classes.label(cell).ok_or_else(unknown)
    }

    /// A label counted from 0.
    pub fn from_zero(&self, cell: &str) -> Result<u32, DatasetError> {
        let number = cell.parse().ok().filter(|number| *number < MAX_CLASSES);
        number.ok_or_else(|| self.wrong(format!("{cell:?} is not a number of a class")))
    }

    /// A number counted from 1, as a label counted from 0.
    pub fn from_one(&self, cell: &str) -> Result<u32, DatasetError> {
        let number = cell.parse().ok().filter(|number| (1..=MAX_CLASSES).contains(number));
        let number: u32 = number.ok_or_else(|| self.wrong(format!("{cell:?} is not a number from 1")))?;
        Ok(number - 1)
    }

    /// A labelled image, whose name is checked.
    pub fn image(&self, name: String, label: u32) -> Result<Labelled, DatasetError> {
        Ok(Labelled { name: self.path(name)?, label })
    }

    /// The name of a file, if it is below the root.
    pub fn path(&self, name: String) -> Result<String, DatasetError> {
        if stays_below(&name) {
            Ok(name)
        } else {
            Err(self.wrong(format!("{name:?} is not a path below the dataset's folder")))
        }
    }
}

/// Names of classes, in the order of their labels.
#[derive(Debug, Default)]
pub struct Classes {
    names: Vec<String>,
    labels: HashMap<String, u32>,
}

impl Classes {
    /// The next class. A second one of that name is an error: it would take the images of the first.
    pub fn push(&mut self, name: &str) -> Result<(), String> {
        if self.names.len() == MAX_CLASSES as usize {
            return Err(format!("is beyond {MAX_CLASSES} classes"));
        }
        if self.labels.insert(name.to_owned(), self.names.len() as u32).is_some() {
            return Err(format!("class {name:?} is listed twice"));
        }
        self.names.push(name.to_owned());
        Ok(())
    }

    /// The label of a class.
    pub fn label(&self, name: &str) -> Option<u32> {
        self.labels.get(name).copied()
    }

    /// The names.
    pub fn into_names(self) -> Vec<String> {
        self.names
    }
}

/// An image and its class.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labelled {
    name: String,
    label: u32,
}

impl Labelled {
    /// An image whose name comes from elsewhere than a list; `from` is the file to blame.
    pub fn new(name: String, label: u32, from: &Path) -> Result<Self, DatasetError> {
        if stays_below(&name) {
            Ok(Self { name, label })
        } else {
            Err(DatasetError::malformed(from, format!("{name:?} is not a path below the dataset's folder")))
        }
    }
}

fn stays_below(name: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    !name.contains(['\\', '\0']) && name.split('/').all(plain)
}

/// Opens the listed images. Each must be there; one that is listed again with the same class counts once.
pub fn open(
    root: &Path,
    mut images: Vec<Labelled>,
    classes: Vec<String>,
    layout: &str,
) -> Result<Box<dyn Source>, DatasetError> {
    images.par_sort_unstable();
    images.dedup();
    if let Some(twice) = images.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let of = |image: &Labelled| classes.get(image.label as usize).cloned().unwrap_or_default();
        let what = format!("is listed as class {:?} and as class {:?}", of(&twice[0]), of(&twice[1]));
        return Err(DatasetError::malformed(&root.join(&twice[0].name), what));
    }
    let entries = images.into_iter().map(|image| Entry { name: image.name, label: Some(image.label), bytes: 0 });
    open_entries(root, entries.collect(), classes, layout)
}

/// Opens files that a list names, in this order. Each must be there.
pub fn open_unlabelled(root: &Path, names: Vec<String>, layout: &str) -> Result<Box<dyn Source>, DatasetError> {
    let entries = names.into_iter().map(|name| Entry { name, label: None, bytes: 0 });
    open_entries(root, entries.collect(), Vec::new(), layout)
}

/// Entries whose sizes are still to be found.
fn open_entries(
    root: &Path,
    mut entries: Vec<Entry>,
    classes: Vec<String>,
    layout: &str,
) -> Result<Box<dyn Source>, DatasetError> {
    let found: Vec<Option<u64>> = entries
        .par_iter()
        .map(|entry| fs::metadata(root.join(&entry.name)).ok().filter(fs::Metadata::is_file).map(|file| file.len()))
        .collect();
    let lost = found.iter().filter(|bytes| bytes.is_none()).count();
    if let Some(first) = found.iter().position(Option::is_none) {
        let expected =
            format!("the {} images that the lists name, of which {lost} are missing: {layout}", entries.len());
        return Err(DatasetError::missing(&root.join(&entries[first].name), expected));
    }
    for (entry, bytes) in entries.iter_mut().zip(found) {
        entry.bytes = bytes.unwrap_or_default();
    }
    Ok(Box::new(LooseFiles::new(root, Manifest { entries, classes })))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> List {
        List { path: "list.txt".into(), text: text.to_owned() }
    }

    /// Breaks when runs of blanks (VOC), carriage returns or names with spaces (Aircraft) shift the columns.
    #[test]
    fn the_last_column_takes_the_rest() {
        let list = list("000012  1\r\n\n  1025794 Gulfstream IV \n");
        let cells: Vec<_> = list.rows(["image", "class"]).map(|row| row.unwrap().cells).collect();
        assert_eq!(cells, [["000012", "1"], ["1025794", "Gulfstream IV"]]);
        let error = list.rows(["image", "class", "species"]).next().unwrap().err().unwrap();
        assert_eq!(error.to_string(), "list.txt: line 1: \"000012  1\" has no species");
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let list = list("x\n");
        let row = list.rows(["image"]).next().unwrap().unwrap();
        for name in ["../a.jpg", "a/../../b.jpg", "/etc/passwd", "a//b", "./a", "", "a/", "a\\b", "a\0b", "a/.."] {
            assert!(row.image(name.to_owned(), 0).is_err(), "{name:?}");
            assert!(Labelled::new(name.to_owned(), 0, Path::new("x.mat")).is_err(), "{name:?}");
        }
        for name in ["a.jpg", "a/..b/c d.jpg", "É.jpg"] {
            assert!(row.image(name.to_owned(), 0).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn numbers_from_one_are_labels_from_zero() {
        let list = list("x\n");
        let row = list.rows(["image"]).next().unwrap().unwrap();
        assert_eq!(row.from_one("1").unwrap(), 0);
        for wrong in ["0", "-1", "1.5", "4294967295", ""] {
            assert!(row.from_one(wrong).is_err(), "{wrong}");
        }
        assert_eq!(row.from_zero("204").unwrap(), 204);
        assert!(row.from_zero("-1").is_err() && row.from_zero("4294967295").is_err());
    }

    proptest! {
        /// No line panics, and what is accepted joins to a path below the root.
        #[test]
        fn accepted_names_stay_below(text in "[a./\\\\ \n\t0-9]{0,40}") {
            let list = list(&text);
            for row in list.rows(["image", "class"]).flatten() {
                prop_assert!(row.cells.iter().all(|cell| !cell.is_empty()));
                let _ = row.from_one(row.cells[1]);
                if let Ok(image) = row.image(row.cells[1].to_owned(), 0) {
                    let parts = Path::new(&image.name).components();
                    prop_assert!(parts.into_iter().all(|part| matches!(part, std::path::Component::Normal(_))));
                }
            }
            let _ = list.classes();
        }
    }
}
