//! Reads vectors of one site from the tables of one or two runs, batch by batch.

use std::collections::{BTreeMap, BTreeSet};

use engine::{ShardIo, StageError, TableRef};
use ndarray::Array2;
use schemas::tables::{Images, Pooled, TokenPixels, TokenVectors};
use schemas::{Name, Table, read_part_batches};

use crate::error::ProbeError;
use crate::split::{ImageKey, Labelled};

/// The rows of one subject, in dataset order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    /// Image of each row.
    pub images: Vec<ImageKey>,
    /// Draw of each row.
    pub draws: Vec<u16>,
    /// Index of the token within its kind.
    pub indices: Vec<u16>,
    /// Patch row and column; (0, 0) for tokens that have none.
    pub cells: Vec<(u16, u16)>,
    /// Channels, D.
    pub dim: usize,
    /// Vectors, row-major [N, D].
    pub values: Vec<f32>,
}

impl Samples {
    fn push(
        &mut self,
        image: ImageKey,
        draw: u16,
        index: u16,
        cell: (u16, u16),
        vector: &[f32],
    ) -> Result<(), ProbeError> {
        if self.dim == 0 {
            self.dim = vector.len();
        } else if self.dim != vector.len() {
            return Err(ProbeError::Width { first: self.dim, second: vector.len() });
        }
        self.images.push(image);
        self.draws.push(draw);
        self.indices.push(index);
        self.cells.push(cell);
        self.values.extend_from_slice(vector);
        Ok(())
    }

    /// Rows, N.
    pub(crate) fn rows(&self) -> usize {
        self.images.len()
    }

    /// Some of the vectors, [n, D] in f64.
    pub(crate) fn vectors(&self, rows: &[usize]) -> Array2<f64> {
        Array2::from_shape_fn((rows.len(), self.dim), |(i, j)| f64::from(self.values[rows[i] * self.dim + j]))
    }
}

/// The kinds of patch that are meant; none named: both.
pub(crate) fn patch_kinds(named: &[String]) -> Vec<String> {
    if named.is_empty() { PATCH_KINDS.map(str::to_owned).into() } else { named.to_vec() }
}

/// An error for a kind that is no kind of patch.
pub(crate) fn check_kinds(named: &[String]) -> Result<(), ProbeError> {
    match named.iter().find(|name| !PATCH_KINDS.contains(&name.as_str())) {
        Some(found) => Err(ProbeError::Kind { found: found.clone() }),
        None => Ok(()),
    }
}

const PATCH_KINDS: [&str; 2] = ["normal", "outlier"];

/// The images of both runs, in dataset order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Encoded {
    /// Images with their labels.
    pub labelled: Vec<Labelled>,
    /// Grid of each.
    pub grids: Vec<Grid>,
    /// Class name of each.
    pub classes: Vec<Option<Name>>,
}

impl Encoded {
    /// Numbers the classes of the test run as the training run numbers them, by name: two folders number their classes
    /// each for itself. Without names, numbers stand. Returns how many test images are of a class that no training
    /// image has; such a class gets a number of its own, which no model can predict.
    pub(crate) fn match_classes(&mut self) -> u32 {
        let rows = || self.labelled.iter().zip(&self.classes);
        let mut numbers: BTreeMap<Name, i32> = BTreeMap::new();
        for ((key, label), class) in rows() {
            if let (0, Some(label), Some(class)) = (key.0, label, class) {
                numbers.entry(class.clone()).or_insert(*label);
            }
        }
        if numbers.is_empty() {
            return 0;
        }
        let mut free = rows().filter_map(|((_, label), _)| *label).max().unwrap_or(0);
        let mut strangers: BTreeMap<Name, i32> = BTreeMap::new();
        let mut count = 0;
        for ((key, label), class) in self.labelled.iter_mut().zip(&self.classes) {
            let (1, Some(label), Some(class)) = (key.0, label, class) else { continue };
            *label = numbers.get(class).copied().unwrap_or_else(|| {
                count += 1;
                *strangers.entry(class.clone()).or_insert_with(|| {
                    free += 1;
                    free
                })
            });
        }
        count
    }
}

/// Rows and columns of patches.
pub(crate) type Grid = (u16, u16);

/// Subjects by name.
pub(crate) type Subjects = BTreeMap<String, Samples>;

/// The tables of the training run and, where the split needs it, of the test run.
#[derive(Debug, Clone)]
pub(crate) struct Runs<'a> {
    pub train: &'a [TableRef],
    pub test: &'a [TableRef],
}

impl Runs<'_> {
    fn each<T: Table>(
        &self,
        io: &ShardIo<'_>,
        mut rows: impl FnMut(u8, &T) -> Result<(), ProbeError>,
    ) -> Result<(), StageError> {
        for (run, tables) in [(0, self.train), (1, self.test)] {
            for input in tables.iter().filter(|t| t.table == T::NAME) {
                for part in io.parts_of(input)? {
                    for batch in read_part_batches::<T>(&part)? {
                        rows(run, &batch?)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Every image that was encoded.
    pub(crate) fn images(&self, io: &ShardIo<'_>) -> Result<Encoded, StageError> {
        let mut all = Encoded::default();
        self.each::<Images>(io, |run, t| {
            for i in 0..t.rows() {
                all.labelled.push(((run, t.image[i]), t.label[i]));
                all.grids.push((t.grid_h[i], t.grid_w[i]));
                all.classes.push(t.class[i].clone());
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// Tokens at a site, by subject: `cls`, `register_0` …, `normal`, `outlier`. Only the subjects that are wanted
    /// (all when none is named) are kept.
    pub(crate) fn tokens(&self, io: &ShardIo<'_>, site: &str, wanted: &[String]) -> Result<Subjects, StageError> {
        let mut subjects = Subjects::new();
        let mut sites = BTreeSet::new();
        self.each::<TokenVectors>(io, |run, t| {
            for i in 0..t.rows() {
                if *t.site[i] != *site {
                    sites.insert(t.site[i].to_string());
                    continue;
                }
                sites.insert(site.to_owned());
                let kind = &*t.kind[i];
                let subject = if kind == "register" { format!("register_{}", t.index[i]) } else { kind.to_owned() };
                if !wanted.is_empty() && !wanted.contains(&subject) {
                    continue;
                }
                let cell = (t.row[i].unwrap_or(0), t.col[i].unwrap_or(0));
                subjects.entry(subject).or_default().push(
                    (run, t.image[i]),
                    t.draw[i],
                    t.index[i],
                    cell,
                    t.vector.row(i),
                )?;
            }
            Ok(())
        })?;
        found(TokenVectors::NAME, site, &sites)?;
        Ok(subjects)
    }

    /// Whole-image vectors at a site, by pool.
    pub(crate) fn pooled(&self, io: &ShardIo<'_>, site: &str, wanted: &[String]) -> Result<Subjects, StageError> {
        let mut subjects = Subjects::new();
        let mut sites = BTreeSet::new();
        self.each::<Pooled>(io, |run, t| {
            for i in 0..t.rows() {
                sites.insert(t.site[i].to_string());
                if *t.site[i] == *site && (wanted.is_empty() || wanted.iter().any(|w| **w == *t.pool[i])) {
                    let subject = subjects.entry(t.pool[i].to_string()).or_default();
                    subject.push((run, t.image[i]), 0, 0, (0, 0), t.vector.row(i))?;
                }
            }
            Ok(())
        })?;
        found(Pooled::NAME, site, &sites)?;
        Ok(subjects)
    }

    /// Pixels of sampled patches, by (image, kind, index, draw).
    pub(crate) fn pixels(&self, io: &ShardIo<'_>) -> Result<BTreeMap<PixelKey, Vec<f32>>, StageError> {
        let mut pixels = BTreeMap::new();
        self.each::<TokenPixels>(io, |run, t| {
            for i in 0..t.rows() {
                let key = ((run, t.image[i]), t.kind[i].to_string(), t.index[i], t.draw[i]);
                pixels.insert(key, t.pixels.row(i).to_vec());
            }
            Ok(())
        })?;
        Ok(pixels)
    }
}

/// What identifies a sampled patch.
pub(crate) type PixelKey = (ImageKey, String, u16, u16);

fn found(table: &'static str, site: &str, sites: &BTreeSet<String>) -> Result<(), ProbeError> {
    // A table without rows is an empty dataset, which the experiments count; a table of other sites is a mistake.
    if sites.is_empty() || sites.contains(site) {
        return Ok(());
    }
    let found = sites.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(ProbeError::Site { table, site: site.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(rows: &[(u8, i32, Option<&str>)]) -> Encoded {
        Encoded {
            labelled: rows.iter().enumerate().map(|(i, r)| ((r.0, i as u32), Some(r.1))).collect(),
            grids: vec![(1, 1); rows.len()],
            classes: rows.iter().map(|r| r.2.map(Name::from)).collect(),
        }
    }

    fn labels(of: &Encoded) -> Vec<i32> {
        of.labelled.iter().filter_map(|l| l.1).collect()
    }

    /// Breaks when the test set's own numbers are taken: it has no `ant`, so its `cat` is number 0.
    #[test]
    fn classes_of_two_runs_are_matched_by_name() {
        let mut images = encoded(&[
            (0, 0, Some("ant")),
            (0, 1, Some("cat")),
            (0, 2, Some("dog")),
            (1, 0, Some("cat")),
            (1, 1, Some("dog")),
            (1, 2, Some("yak")),
            (1, 2, Some("yak")),
            (1, 3, Some("zho")),
        ]);
        assert_eq!(images.match_classes(), 3);
        // Nobody was taught a yak or a zho: numbers of their own, which are nobody's.
        assert_eq!(labels(&images), [0, 1, 2, 1, 2, 4, 4, 5]);
    }

    #[test]
    fn numbers_stand_where_classes_have_no_names() {
        let mut images = encoded(&[(0, 3, None), (0, 5, None), (1, 5, None), (1, 7, None)]);
        assert_eq!((images.match_classes(), labels(&images)), (0, vec![3, 5, 5, 7]));
        let mut one_run = encoded(&[(0, 0, Some("ant")), (0, 1, Some("cat"))]);
        assert_eq!((one_run.match_classes(), labels(&one_run)), (0, vec![0, 1]));
    }
}
