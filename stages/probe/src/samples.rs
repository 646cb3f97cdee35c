//! Reads vectors of one site from the tables of one or two runs, batch by batch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use engine::{ShardIo, StageError, TableRef};
use ndarray::Array2;
use schemas::tables::{Images, Pooled, TokenPixels, TokenVectors};
use schemas::{Name, PartGroups, Table, read_part_batches};

use crate::error::ProbeError;
use crate::split::{ImageKey, Labelled};
use crate::streamed::{Parts, Place};

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
    /// Norm of the token where outliers are told; none of whole-image vectors.
    pub norms: Vec<f32>,
    /// Channels, D.
    pub dim: usize,
    /// Vectors, row-major [N, D]; none where they were left in the parts.
    pub values: Vec<f32>,
    /// Where each vector lies, where they were left.
    pub places: Vec<Place>,
}

impl Samples {
    /// Adds a row; its vector, or where it was left.
    fn push(&mut self, token: &Token<'_>, place: Option<Place>) -> Result<(), ProbeError> {
        if self.dim == 0 {
            self.dim = token.vector.len();
        } else if self.dim != token.vector.len() {
            return Err(ProbeError::Width { first: self.dim, second: token.vector.len() });
        }
        self.images.push(token.image);
        self.draws.push(token.draw);
        self.indices.push(token.index);
        self.cells.push(token.cell);
        self.norms.extend(token.norm);
        match place {
            None => self.values.extend_from_slice(token.vector),
            Some(place) => self.places.push(place),
        }
        Ok(())
    }

    /// Adds a row of another, as a given draw.
    pub(crate) fn take(&mut self, other: &Self, row: usize, draw: u16) {
        self.dim = other.dim;
        self.images.push(other.images[row]);
        self.draws.push(draw);
        self.indices.push(other.indices[row]);
        self.cells.push(other.cells[row]);
        self.norms.extend(other.norms.get(row));
        self.values.extend_from_slice(&other.values[row * other.dim..(row + 1) * other.dim]);
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

/// One row of a table of vectors.
struct Token<'a> {
    image: ImageKey,
    draw: u16,
    index: u16,
    cell: (u16, u16),
    norm: Option<f32>,
    vector: &'a [f32],
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
                        going_on(io)?;
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
        let mut found = Found::new(site, wanted);
        self.each::<TokenVectors>(io, |run, t| found.tokens(run, t, None))?;
        found.subjects(TokenVectors::NAME)
    }

    /// Whole-image vectors at a site, by pool.
    pub(crate) fn pooled(&self, io: &ShardIo<'_>, site: &str, wanted: &[String]) -> Result<Subjects, StageError> {
        let mut found = Found::new(site, wanted);
        self.each::<Pooled>(io, |run, t| found.pooled(run, t, None))?;
        found.subjects(Pooled::NAME)
    }

    /// The same tokens with their vectors left in the parts.
    pub(crate) fn places_of_tokens(
        &self,
        io: &ShardIo<'_>,
        site: &str,
        wanted: &[String],
    ) -> Result<(Subjects, Parts<TokenVectors>), StageError> {
        let (runs, paths) = self.paths(io, TokenVectors::NAME)?;
        let parts = Parts::<TokenVectors>::open(&paths, |t| &t.vector)?;
        let mut found = Found::new(site, wanted);
        parts.each(|part, group, t| {
            going_on(io)?;
            Ok(found.tokens(runs[part as usize], t, Some((part, group)))?)
        })?;
        Ok((found.subjects(TokenVectors::NAME)?, parts))
    }

    /// The same whole-image vectors, left in the parts.
    pub(crate) fn places_of_pooled(
        &self,
        io: &ShardIo<'_>,
        site: &str,
        wanted: &[String],
    ) -> Result<(Subjects, Parts<Pooled>), StageError> {
        let (runs, paths) = self.paths(io, Pooled::NAME)?;
        let parts = Parts::<Pooled>::open(&paths, |t| &t.vector)?;
        let mut found = Found::new(site, wanted);
        parts.each(|part, group, t| {
            going_on(io)?;
            Ok(found.pooled(runs[part as usize], t, Some((part, group)))?)
        })?;
        Ok((found.subjects(Pooled::NAME)?, parts))
    }

    /// The parts of a table, each with its run.
    fn paths(&self, io: &ShardIo<'_>, table: &str) -> Result<(Vec<u8>, Vec<PathBuf>), StageError> {
        let (mut runs, mut paths) = (Vec::new(), Vec::new());
        for (run, tables) in [(0, self.train), (1, self.test)] {
            for input in tables.iter().filter(|t| t.table == table) {
                let parts = io.parts_of(input)?;
                runs.extend(parts.iter().map(|_| run));
                paths.extend(parts);
            }
        }
        Ok((runs, paths))
    }

    /// Rows of a table in both runs, by its parts' footers.
    pub(crate) fn rows<T: Table>(&self, io: &ShardIo<'_>) -> Result<u64, StageError> {
        let mut rows = 0;
        for path in self.paths(io, T::NAME)?.1 {
            rows += PartGroups::<T>::open(&path)?.rows().iter().map(|&n| n as u64).sum::<u64>();
        }
        Ok(rows)
    }

    /// Pixels of sampled patches.
    pub(crate) fn pixels(&self, io: &ShardIo<'_>) -> Result<PixelMap, StageError> {
        let mut pixels = PixelMap::new();
        self.each::<TokenPixels>(io, |run, t| {
            for i in 0..t.rows() {
                pixels.entry(((run, t.image[i]), t.index[i])).or_insert_with(|| t.pixels.row(i).to_vec());
            }
            Ok(())
        })?;
        Ok(pixels)
    }
}

/// An error once the run is to stop: a large table takes minutes to read.
fn going_on(io: &ShardIo<'_>) -> Result<(), StageError> {
    if io.cancelled() { Err(StageError::interrupted()) } else { Ok(()) }
}

/// Rows of one site, as they are found.
struct Found<'a> {
    site: &'a str,
    wanted: &'a [String],
    subjects: Subjects,
    sites: BTreeSet<String>,
}

impl<'a> Found<'a> {
    fn new(site: &'a str, wanted: &'a [String]) -> Self {
        Self { site, wanted, subjects: Subjects::new(), sites: BTreeSet::new() }
    }

    /// Takes the wanted rows of a batch; of a row group (part, group) only where they lie.
    fn tokens(&mut self, run: u8, t: &TokenVectors, of: Option<(u32, u32)>) -> Result<(), ProbeError> {
        for i in 0..t.rows() {
            if *t.site[i] != *self.site {
                self.sites.insert(t.site[i].to_string());
                continue;
            }
            self.sites.insert(self.site.to_owned());
            let kind = &*t.kind[i];
            let subject = if kind == "register" { format!("register_{}", t.index[i]) } else { kind.to_owned() };
            if !self.wanted.is_empty() && !self.wanted.contains(&subject) {
                continue;
            }
            let token = Token {
                image: (run, t.image[i]),
                draw: t.draw[i],
                index: t.index[i],
                cell: (t.row[i].unwrap_or(0), t.col[i].unwrap_or(0)),
                norm: Some(t.norm[i]),
                vector: t.vector.row(i),
            };
            let place = of.map(|(part, group)| Place { part, group, row: i as u32 });
            self.subjects.entry(subject).or_default().push(&token, place)?;
        }
        Ok(())
    }

    /// The same of whole-image vectors.
    fn pooled(&mut self, run: u8, t: &Pooled, of: Option<(u32, u32)>) -> Result<(), ProbeError> {
        for i in 0..t.rows() {
            self.sites.insert(t.site[i].to_string());
            if *t.site[i] != *self.site || !self.wanted.is_empty() && !self.wanted.iter().any(|w| **w == *t.pool[i]) {
                continue;
            }
            let image = (run, t.image[i]);
            let token = Token { image, draw: 0, index: 0, cell: (0, 0), norm: None, vector: t.vector.row(i) };
            let place = of.map(|(part, group)| Place { part, group, row: i as u32 });
            self.subjects.entry(t.pool[i].to_string()).or_default().push(&token, place)?;
        }
        Ok(())
    }

    fn subjects(self, table: &'static str) -> Result<Subjects, StageError> {
        found(table, self.site, &self.sites)?;
        Ok(self.subjects)
    }
}

/// Pixels by image and patch, whatever the patch was drawn for.
pub(crate) type PixelMap = BTreeMap<(ImageKey, u16), Vec<f32>>;

pub(crate) fn found(table: &'static str, site: &str, sites: &BTreeSet<String>) -> Result<(), ProbeError> {
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
