//! Samples from tables: the rows of an image (or of a view of one) become one vector of features.
//!
//! Rows are read a group at a time, in any order of groups. An image whose rows lie in two groups waits for the second:
//! there is at most one such image between two groups, so those that wait are few.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use schemas::tables::{Pooled, PooledViews};
use schemas::{Name, PartGroups, TableError, Vectors};

use super::classes::Classes;
use super::error::LinearEvalError;

/// An image and a view of it.
pub(super) type Key = (u32, u16);

/// Where samples are stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    parts: Vec<PathBuf>,
    /// Groups of rows: (part, group).
    pub groups: Vec<(usize, usize)>,
    views: bool,
    /// Vectors of a sample, in the order of its features.
    slots: Vec<(String, &'static str)>,
}

/// Rows of either table.
struct Rows {
    image: Vec<u32>,
    /// Empty: all are view 0.
    view: Vec<u16>,
    site: Vec<Name>,
    pool: Vec<Name>,
    vector: Vectors,
}

impl Stored {
    /// Parts of `pooled_views`, or of `pooled`.
    pub(super) fn open(
        parts: Vec<PathBuf>,
        views: bool,
        slots: Vec<(String, &'static str)>,
    ) -> Result<Self, TableError> {
        let mut groups = Vec::new();
        for (part, path) in parts.iter().enumerate() {
            let count = if views {
                PartGroups::<PooledViews>::open(path)?.rows().len()
            } else {
                PartGroups::<Pooled>::open(path)?.rows().len()
            };
            groups.extend((0..count).map(|group| (part, group)));
        }
        Ok(Self { parts, groups, views, slots })
    }

    fn read(&self, (part, group): (usize, usize)) -> Result<Rows, TableError> {
        let path = &self.parts[part];
        if self.views {
            let PooledViews { image, view, site, pool, vector } = PartGroups::open(path)?.read(group)?;
            return Ok(Rows { image, view, site, pool, vector });
        }
        let Pooled { image, site, pool, vector } = PartGroups::open(path)?.read(group)?;
        Ok(Rows { image, view: Vec::new(), site, pool, vector })
    }
}

/// Samples that are being put together.
pub(super) struct Assembly<'a> {
    stored: &'a Stored,
    /// Images that are wanted.
    wanted: &'a Classes,
    /// Channels of a vector.
    pub width: Option<usize>,
    /// Which vectors are there, and the features.
    waiting: HashMap<Key, (u64, Vec<f32>)>,
    sites: BTreeSet<String>,
}

impl<'a> Assembly<'a> {
    /// `width`: what vectors must have, where that is known.
    pub(super) fn new(stored: &'a Stored, wanted: &'a Classes, width: Option<usize>) -> Self {
        Self { stored, wanted, width, waiting: HashMap::new(), sites: BTreeSet::new() }
    }

    /// Reads a group of rows and hands over the samples that are complete, in the order of their last rows.
    pub(super) fn read<E: From<LinearEvalError> + From<TableError>>(
        &mut self,
        group: (usize, usize),
        mut each: impl FnMut(Key, Vec<f32>) -> Result<(), E>,
    ) -> Result<(), E> {
        let rows = self.stored.read(group)?;
        let slots = &self.stored.slots;
        let whole = (1_u64 << slots.len()) - 1;
        for i in 0..rows.image.len() {
            if !self.sites.contains(&*rows.site[i]) {
                self.sites.insert(rows.site[i].to_string());
            }
            if !self.wanted.contains_key(&rows.image[i]) {
                continue;
            }
            let slot = slots.iter().position(|(site, pool)| **site == *rows.site[i] && **pool == *rows.pool[i]);
            let Some(slot) = slot else { continue };
            let vector = rows.vector.row(i);
            let width = *self.width.get_or_insert(vector.len());
            if width != vector.len() {
                return Err(LinearEvalError::Width { first: width, second: vector.len() }.into());
            }
            // A sum of products with 0 is 0 unless a value is not finite.
            if vector.iter().map(|v| v * 0.0).sum::<f32>() != 0.0 {
                let (site, pool) = slots[slot].clone();
                return Err(LinearEvalError::NotFinite { image: rows.image[i], site, pool }.into());
            }
            let key = (rows.image[i], rows.view.get(i).copied().unwrap_or(0));
            let (there, x) = self.waiting.entry(key).or_insert_with(|| (0, vec![0.0; slots.len() * width]));
            x[slot * width..(slot + 1) * width].copy_from_slice(vector);
            *there |= 1 << slot;
            if *there == whole
                && let Some((_, x)) = self.waiting.remove(&key)
            {
                each(key, x)?;
            }
        }
        Ok(())
    }

    /// After the last group: an error when a sample still waits for a vector, or all would have for ever.
    pub(super) fn finish(self) -> Result<(), LinearEvalError> {
        let found = self.sites.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let slots = &self.stored.slots;
        let foreign = slots.iter().find(|(site, _)| !self.sites.is_empty() && !self.sites.contains(site));
        if let (Some((site, pool)), Some(image)) = (foreign, self.wanted.keys().min()) {
            return Err(LinearEvalError::Vector { image: *image, view: 0, site: site.clone(), pool, found });
        }
        let Some((&(image, view), (there, _))) = self.waiting.iter().min_by_key(|w| w.0) else { return Ok(()) };
        match slots.iter().enumerate().find(|(i, _)| there & (1 << i) == 0) {
            Some((_, (site, pool))) => Err(LinearEvalError::Vector { image, view, site: site.clone(), pool, found }),
            None => Ok(()),
        }
    }
}
