//! Splits, classes, shuffles and limits: a [`Source`] seen through a list of indices.
//!
//! The shuffle is Fisher–Yates driven by `SplitMix64`: for i from n−1 down to 1, swap i with `next() mod (i + 1)` taken
//! without modulo bias (Lemire's multiply-and-reject). Twenty lines written down here outlive any crate's stream.
//! `SplitMix64`: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

use std::collections::HashMap;

use crate::catalog::nearest;
use crate::source::{DenseTruth, Manifest, Raw, ReadError, Source, Truth};
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::{Part, Split};
use crate::synthetic::random::SplitMix64;

/// Narrows a dataset to what a spec asks of it. Official splits are already applied by the catalogue entry.
pub fn select(source: Box<dyn Source>, spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let manifest = source.manifest();
    let mut picks = split(manifest, spec)?;
    if !spec.classes.is_empty() {
        let wanted = spec.classes.iter().map(|name| class_index(manifest, name)).collect::<Result<Vec<_>, _>>()?;
        picks.retain(|&index| manifest.entries[index].label.is_some_and(|label| wanted.contains(&label)));
    }
    if let Some(seed) = spec.shuffle_seed {
        shuffle(&mut picks, seed);
    }
    if let Some(limit) = spec.limit {
        picks.truncate(limit);
    }
    if picks.len() == manifest.entries.len() && spec.shuffle_seed.is_none() {
        return Ok(source);
    }
    Ok(pick(source, picks))
}

/// Some items of a dataset, in this order; a number that it does not have is left out.
pub fn pick(source: Box<dyn Source>, mut picks: Vec<usize>) -> Box<dyn Source> {
    let manifest = source.manifest();
    picks.retain(|&index| index < manifest.entries.len());
    let entries = picks.iter().map(|&index| manifest.entries[index].clone()).collect();
    let manifest = Manifest { entries, classes: manifest.classes.clone() };
    Box::new(Selected { source, picks, manifest })
}

/// Permutes in place, the same on every machine for the same seed.
pub fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut random = SplitMix64::new(seed);
    for i in (1..items.len()).rev() {
        items.swap(i, random.below(i as u64 + 1) as usize);
    }
}

fn class_index(manifest: &Manifest, name: &str) -> Result<u32, DatasetError> {
    manifest.classes.iter().position(|class| class == name).map(|index| index as u32).ok_or_else(|| {
        DatasetError::UnknownClass {
            name: name.to_owned(),
            nearest: nearest(name, manifest.classes.iter().map(String::as_str)),
        }
    })
}

fn split(manifest: &Manifest, spec: &DatasetSpec) -> Result<Vec<usize>, DatasetError> {
    let all = 0..manifest.entries.len();
    match spec.split {
        Split::All | Split::Train | Split::Val | Split::TrainVal | Split::Test | Split::Partition { .. } => {
            Ok(all.collect())
        }
        Split::EveryKth { k, residue, part } => {
            let tests = |index: &usize| index % k as usize == residue as usize;
            Ok(all.filter(|index| tests(index) == (part == Part::Test)).collect())
        }
        Split::ClassFraction { numerator, denominator, part } => {
            let unlabelled = || DatasetError::Unlabelled { name: spec.name.clone(), split: spec.split.to_string() };
            let mut sizes = HashMap::<u32, u64>::new();
            for entry in &manifest.entries {
                *sizes.entry(entry.label.ok_or_else(unlabelled)?).or_default() += 1;
            }
            let mut seen = HashMap::<u32, u64>::new();
            Ok(all
                .filter(|&index| {
                    let label = manifest.entries[index].label.unwrap_or_default();
                    let rank = seen.entry(label).or_default();
                    let trains = *rank < sizes[&label] * u64::from(numerator) / u64::from(denominator);
                    *rank += 1;
                    trains == (part == Part::Train)
                })
                .collect())
        }
    }
}

struct Selected {
    source: Box<dyn Source>,
    picks: Vec<usize>,
    manifest: Manifest,
}

impl Source for Selected {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let pick = self.picks.get(index).ok_or(ReadError::OutOfRange { index, len: self.picks.len() })?;
        self.source.read(*pick)
    }

    fn truth(&self, index: usize) -> Result<Option<Truth>, ReadError> {
        self.picks.get(index).map_or(Ok(None), |&pick| self.source.truth(pick))
    }

    fn annotations(&self) -> String {
        self.source.annotations()
    }

    fn dense_truth(&self, index: usize) -> Result<Option<DenseTruth>, ReadError> {
        self.picks.get(index).map_or(Ok(None), |&pick| self.source.dense_truth(pick))
    }

    fn dense_annotations(&self) -> String {
        self.source.dense_annotations()
    }

    fn segment_classes(&self) -> Vec<String> {
        self.source.segment_classes()
    }
}
