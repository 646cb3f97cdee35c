//! What a classification by neighbours works on: who teaches, who is tested, in which banks, and how it went.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array2, ArrayView2};

use super::Knn;
use crate::error::ProbeError;
use crate::neighbours::{Bank, Search, normalise};
use crate::numpy_random::RandomState;
use crate::split::{ImageKey, Labelled};

/// A bank and what it is evaluated for.
pub(super) struct TaskBank {
    pub per_class: Option<u32>,
    /// Ascending.
    pub k: Vec<u32>,
    /// Images.
    pub size: usize,
    pub bank: Bank,
}

/// Who teaches and who is tested.
pub(super) struct Task {
    /// Test images with their labels.
    pub test: Vec<(ImageKey, u32)>,
    /// Place of each training image.
    pub places: HashMap<ImageKey, u32>,
    /// Label at each place, permuted where this is a control.
    pub labels: Vec<u32>,
    pub banks: Vec<TaskBank>,
}

impl Task {
    pub fn new(knn: &Knn, labelled: &[Labelled]) -> Self {
        let rows: Vec<ImageKey> = labelled.iter().map(|l| l.0).collect();
        let label = |i: usize| labelled[i].1.unwrap_or(0) as u32;
        let (train, test) = knn.split.apply(labelled, &rows);
        let order = match knn.permute_labels {
            None => (0..train.len()).collect(),
            Some(seed) => RandomState::new(seed).permutation(train.len()),
        };
        let labels: Vec<u32> = order.into_iter().map(|i| label(train[i])).collect();
        let mut tries: BTreeMap<u32, u32> = BTreeMap::new();
        let banks = knn.banks_k().into_iter().map(|(per_class, k)| {
            let members = per_class.map(|n| {
                let next = tries.entry(n).or_default();
                *next += 1;
                few(&labels, n as usize, *next - 1)
            });
            let size = members.as_ref().map_or(labels.len(), |m| m.iter().filter(|m| **m).count());
            let most = k.iter().max().map_or(1, |k| *k as usize);
            TaskBank { per_class, k, size, bank: Bank { k: most, members } }
        });
        Self {
            banks: banks.collect(),
            test: test.into_iter().map(|i| (rows[i], label(i))).collect(),
            places: train.iter().enumerate().map(|(place, &i)| (rows[i], place as u32)).collect(),
            labels,
        }
    }
}

/// Whether each training image is among the `n` of its class that `torch.manual_seed(seed)` and one `randperm` per
/// class, in ascending order of classes, draw.
pub(super) fn few(labels: &[u32], n: usize, seed: u32) -> Vec<bool> {
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, label) in labels.iter().enumerate() {
        classes.entry(*label).or_default().push(place);
    }
    let mut words = RandomState::new(seed);
    let mut members = vec![false; labels.len()];
    for places in classes.values() {
        words.randperm(places.len()).into_iter().take(n).for_each(|i| members[places[i]] = true);
    }
    members
}

/// How a pool did.
pub(super) struct Outcome {
    /// Training vectors met.
    pub trained: u32,
    /// Queries.
    pub tested: u64,
    /// Of each bank, for each k: images whose class came first, and among the first five.
    pub right: Vec<Vec<(u64, u64)>>,
}

impl Outcome {
    pub fn new(task: &Task) -> Self {
        Self { trained: 0, tested: 0, right: task.banks.iter().map(|b| vec![(0, 0); b.k.len()]).collect() }
    }
}

/// Vectors of length 1 with a number each: the label of a query, the place of a training vector.
#[derive(Default)]
pub(super) struct Vectors {
    pub labels: Vec<u32>,
    pub width: usize,
    pub values: Vec<f32>,
}

impl Vectors {
    pub fn push(&mut self, label: u32, vector: &[f32]) -> Result<(), ProbeError> {
        if self.labels.is_empty() {
            self.width = vector.len();
        }
        if self.width != vector.len() {
            return Err(ProbeError::Width { first: self.width, second: vector.len() });
        }
        self.labels.push(label);
        self.values.extend_from_slice(vector);
        let at = self.values.len() - vector.len();
        normalise(&mut self.values[at..]);
        Ok(())
    }

    pub fn into_matrix(self) -> Result<(Vec<u32>, Array2<f32>), ProbeError> {
        let shape = (self.labels.len(), self.width);
        let wrong = |_| ProbeError::Width { first: self.width, second: 0 };
        Ok((self.labels, Array2::from_shape_vec(shape, self.values).map_err(wrong)?))
    }

    /// Offers the rows as training vectors and forgets them.
    pub fn offer_to(&mut self, search: &mut Search<'_>) -> Result<(), ProbeError> {
        if !self.labels.is_empty() {
            let wrong = |_| ProbeError::Width { first: self.width, second: 0 };
            let block = ArrayView2::from_shape((self.labels.len(), self.width), &self.values).map_err(wrong)?;
            search.offer(&self.labels, &block);
        }
        self.labels.clear();
        self.values.clear();
        Ok(())
    }
}
