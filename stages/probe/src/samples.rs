//! Reads vectors of one site from the tables of one or two runs, batch by batch.

use std::collections::{BTreeMap, BTreeSet};

use engine::{ShardIo, StageError, TableRef};
use ndarray::Array2;
use schemas::tables::{Images, Pooled, TokenPixels, TokenVectors};
use schemas::{Table, read_part_batches};

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

    /// Every image that was encoded, with its label and its grid.
    pub(crate) fn images(&self, io: &ShardIo<'_>) -> Result<(Vec<Labelled>, Vec<Grid>), StageError> {
        let (mut labelled, mut grids) = (Vec::new(), Vec::new());
        self.each::<Images>(io, |run, t| {
            for i in 0..t.rows() {
                labelled.push(((run, t.image[i]), t.label[i]));
                grids.push((t.grid_h[i], t.grid_w[i]));
            }
            Ok(())
        })?;
        Ok((labelled, grids))
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
