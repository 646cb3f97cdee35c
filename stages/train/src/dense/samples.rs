//! The views of a run with their truths: which there are, and each in turn.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::{ShardIo, StageError};
use rayon::prelude::*;
use schemas::Name;
use schemas::tables::{Dense, Skipped, TruthMaps};

use super::error::{DenseError, Emptiness};
use super::features::Features;
use super::groups::{Groups, Spot};
use super::net::{Moments, Sums};
use super::recipe::{Recipe, Task};
use super::truths::{Prior, Truth};
use crate::random::SplitMix64;

/// Of which images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    /// Images whose number leaves n − 1 when divided by n, or those that do not.
    Every(u32, bool),
}

impl Part {
    fn has(self, image: u32) -> bool {
        match self {
            Self::All => true,
            Self::Every(nth, own) => (image % nth == nth - 1) == own,
        }
    }
}

/// A run's features and truths.
pub(crate) struct Samples {
    run: &'static str,
    recipe: Recipe,
    features: Groups<Dense>,
    truths: Groups<TruthMaps>,
    sites: usize,
    /// Image and view of each view that has features at every site; its spots are `sites` of `spots`.
    views: Vec<(u32, u16)>,
    spots: Vec<Spot>,
    /// Image, and view unless the map is of the whole image.
    maps: BTreeMap<(u32, Option<u16>), Spot>,
    /// Raw labels of the maps.
    occurring: Vec<u8>,
    /// Parts that tell which images were skipped.
    skipped: Vec<PathBuf>,
    /// Channels of a site.
    pub width: usize,
    /// What the truths say all together.
    pub prior: Prior,
}

/// What a truth is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judged {
    image: u32,
    view: Option<u16>,
}

impl Samples {
    /// Finds what there is, and looks at every truth once.
    pub(crate) fn open(
        io: &ShardIo<'_>,
        run: &'static str,
        [dense, truth_maps, skipped]: &[Vec<PathBuf>; 3],
        sites: &[String],
        recipe: &Recipe,
        (part, bound): (Part, usize),
    ) -> Result<Self, StageError> {
        let features = Groups::<Dense>::open(dense, bound)?;
        let truths = Groups::<TruthMaps>::open(truth_maps, bound / 4)?;
        let keys = features.keys(|part, group| {
            let (images, views) = (part.column::<Vec<u32>>(group, "image")?, part.column::<Vec<u16>>(group, "view")?);
            let sites_of = part.column::<Vec<Name>>(group, "site")?;
            let site = sites_of.into_iter().map(|name| sites.iter().position(|site| **site == *name));
            Ok(images.into_iter().zip(views).zip(site).collect())
        })?;
        let mut found: BTreeMap<(u32, u16), Vec<Option<Spot>>> = BTreeMap::new();
        for &(spot, (key, site)) in &keys {
            if let (true, Some(site)) = (part.has(key.0), site) {
                found.entry(key).or_insert_with(|| vec![None; sites.len()])[site] = Some(spot);
            }
        }
        if let (true, Some((_, ((image, view), _)))) = (found.is_empty(), keys.iter().find(|k| part.has(k.1.0.0))) {
            return Err(DenseError::Site { image: *image, view: *view, site: sites.join(", ") }.into());
        }
        let (mut views, mut spots) = (Vec::with_capacity(found.len()), Vec::new());
        for ((image, view), own) in found {
            for (spot, site) in own.into_iter().zip(sites) {
                spots.push(spot.ok_or_else(|| DenseError::Site { image, view, site: site.clone() })?);
            }
            views.push((image, view));
        }
        let keys = truths.keys(|part, group| {
            let kinds = part.column::<Vec<Name>>(group, "kind")?;
            let images = part.column::<Vec<u32>>(group, "image")?;
            let views = part.column::<Vec<Option<u16>>>(group, "view")?;
            Ok(images.into_iter().zip(views).zip(kinds).collect())
        })?;
        let own = keys.into_iter().filter(|(_, (key, kind))| **kind == *recipe.kind() && part.has(key.0));
        let maps = own.map(|(spot, (key, _))| (key, spot)).collect();
        let prior = Prior::new(recipe);
        let mut samples = Self {
            run,
            recipe: recipe.clone(),
            features,
            truths,
            sites: sites.len(),
            views,
            spots,
            maps,
            occurring: Vec::new(),
            skipped: skipped.clone(),
            width: 0,
            prior,
        };
        let known = samples.look_at_truths(io)?;
        if known == 0 || samples.views.is_empty() {
            return Err(samples.empty(known).into());
        }
        samples.width = samples.view(0)?.width;
        Ok(samples)
    }

    /// Counts what they say: pixels that say something. A damaged map, or one with a label that is no class, is found
    /// here and not after hours of training.
    fn look_at_truths(&mut self, io: &ShardIo<'_>) -> Result<u64, StageError> {
        let mut known = 0;
        // The first image of each raw label.
        let mut first: [Option<u32>; 256] = [None; 256];
        for spot in self.maps.values() {
            if io.cancelled() {
                return Err(StageError::interrupted());
            }
            let (table, row) = self.truths.row(*spot)?;
            if matches!(self.recipe.task, Task::Segments(_)) {
                for &raw in &table.cells[row] {
                    first[usize::from(raw)].get_or_insert(table.image[row]);
                }
            }
            match Truth::of_row(&table, row, &self.recipe) {
                // Told of all labels at once, below.
                Err(DenseError::Label { .. }) => {}
                truth => {
                    let truth = truth?;
                    self.prior.count(&truth);
                    known += truth.known();
                }
            }
        }
        self.occurring = (0..=255).filter(|&raw| first[usize::from(raw)].is_some()).collect();
        let Task::Segments(task) = &self.recipe.task else { return Ok(known) };
        let strange: Vec<u8> = self.occurring.iter().copied().filter(|&raw| !task.labels.knows(raw)).collect();
        let Some(image) = strange.first().and_then(|&raw| first[usize::from(raw)]) else { return Ok(known) };
        let (occurring, labels) = (self.occurring.clone(), task.labels.clone());
        Err(DenseError::Labels { run: self.run, image, strange, occurring, labels }.into())
    }

    /// Why there is nothing, where so many pixels say something.
    fn empty(&self, known: u64) -> DenseError {
        let (maps, views) = (self.maps.len(), self.views.len());
        let cause = match &self.recipe.task {
            _ if maps == 0 => self.without_maps(),
            Task::Segments(_) if known == 0 => Emptiness::Ignored { maps, occurring: self.occurring.clone() },
            Task::Depth(_) if known == 0 => Emptiness::Unknown { maps },
            _ => Emptiness::Apart { maps, views },
        };
        DenseError::Empty { run: self.run, kind: self.recipe.kind(), cause }
    }

    /// A dataset of which every image was skipped has truths, and something is wrong with them.
    fn without_maps(&self) -> Emptiness {
        // What cannot be read is no reason to hide the error that is told here.
        let tables = self.skipped.iter().filter_map(|part| schemas::read_part::<Skipped>(part).ok());
        let rows: Vec<(Name, Name, Name)> = tables
            .flat_map(|t| {
                t.name.into_iter().zip(t.reason).zip(t.detail).map(|((name, why), detail)| (name, why, detail))
            })
            .collect();
        let Some((name, reason, detail)) = rows.first() else { return Emptiness::Unannotated };
        let why = if detail.is_empty() { reason.to_string() } else { format!("{reason}: {detail}") };
        Emptiness::Skipped { images: rows.len(), name: name.to_string(), why }
    }

    /// Views to train on, with the map of each: its own, or that of its image. With a seed for it, the maps are handed
    /// round among the images: whatever a head then learns is not in the features.
    pub(crate) fn to_train(&self, exchanged: Option<u64>) -> Result<Vec<(u32, Spot)>, DenseError> {
        let own = |&(image, view): &(u32, u16)| {
            self.maps.get(&(image, Some(view))).or_else(|| self.maps.get(&(image, None))).copied()
        };
        let mut pairs: Vec<(u32, Spot)> =
            self.views.iter().enumerate().filter_map(|(i, key)| Some((i as u32, own(key)?))).collect();
        if pairs.is_empty() {
            return Err(self.empty(1));
        }
        if let Some(seed) = exchanged {
            exchange(&mut pairs, |view| self.views[view as usize].0, seed)?;
        }
        Ok(pairs)
    }

    /// Mean and standard deviation of each channel over views to train on.
    pub(crate) fn scaling(&self, pairs: &[(u32, Spot)], io: &ShardIo<'_>) -> Result<Moments, StageError> {
        let mut all = Sums::none(self.width * self.sites);
        for chunk in pairs.chunks(64) {
            if io.cancelled() {
                return Err(StageError::interrupted());
            }
            let sums = chunk.par_iter().map(|(view, _)| Ok(Sums::of(&self.view(*view as usize)?)));
            for sums in sums.collect::<Result<Vec<Sums>, StageError>>()? {
                all.add(&sums);
            }
        }
        Ok(all.moments())
    }

    /// One view to train on.
    pub(crate) fn pair(&self, (view, map): (u32, Spot)) -> Result<(Features, Truth), StageError> {
        let features = self.view(view as usize)?;
        let (table, row) = self.truths.row(map)?;
        let mut truth = Truth::of_row(&table, row, &self.recipe)?;
        if table.view[row].is_none() {
            let (image, view) = self.views[view as usize];
            if !features.place.is_whole() {
                return Err(DenseError::Part { image, view }.into());
            }
            if features.place.mirrored {
                truth = truth.mirrored();
            }
        }
        Ok((features, truth))
    }

    fn view(&self, view: usize) -> Result<Features, StageError> {
        let spots = &self.spots[view * self.sites..(view + 1) * self.sites];
        let rows = spots.iter().map(|&spot| self.features.row(spot)).collect::<Result<Vec<_>, _>>()?;
        let features = Features::of_rows(rows.iter().map(|(table, row)| (&**table, *row)))?;
        if self.width != 0 && features.width != self.width {
            let (image, found) = (features.image, features.width);
            return Err(DenseError::Width { image, found, wanted: self.width }.into());
        }
        if self.recipe.reads_cls() && features.cls.is_empty() {
            return Err(DenseError::Cls.into());
        }
        Ok(features)
    }

    /// Everything that is to be judged, by image and view. An image that has a map of itself is judged by it alone.
    pub(crate) fn to_judge(&self) -> Vec<Judged> {
        let keys = self.maps.keys();
        keys.filter(|(image, view)| view.is_none() || !self.maps.contains_key(&(*image, None)))
            .map(|&(image, view)| Judged { image, view })
            .collect()
    }

    /// The truth and the views that answer it.
    pub(crate) fn judged(&self, judged: Judged) -> Result<(Truth, Vec<Features>), StageError> {
        let Judged { image, view } = judged;
        let spot = self.maps.get(&(image, view)).ok_or_else(|| self.empty(1))?;
        let (table, row) = self.truths.row(*spot)?;
        let truth = Truth::of_row(&table, row, &self.recipe)?;
        let start = self.views.partition_point(|key| *key < (image, view.unwrap_or(0)));
        let own =
            self.views[start..].iter().take_while(|key| key.0 == image && view.is_none_or(|v| v == key.1)).count();
        if own == 0 {
            return Err(DenseError::Features { image }.into());
        }
        let views = (start..start + own).map(|i| self.view(i)).collect::<Result<_, _>>()?;
        Ok((truth, views))
    }
}

/// Hands the second of each pair round among images, whose views lie together.
fn exchange<T: Copy>(pairs: &mut [(u32, T)], image: impl Fn(u32) -> u32, seed: u64) -> Result<(), DenseError> {
    let together = |a: &(u32, T), b: &(u32, T)| image(a.0) == image(b.0);
    let maps: Vec<Vec<T>> = pairs.chunk_by(together).map(|own| own.iter().map(|p| p.1).collect()).collect();
    if maps.len() < 2 {
        return Err(DenseError::Alone);
    }
    let mut images: Vec<&mut [(u32, T)]> = pairs.chunk_by_mut(together).collect();
    let order = SplitMix64::new(seed, u64::MAX).permutation(maps.len());
    // Each takes those of the next one in a random order, so that none keeps its own.
    let next = order.iter().cycle().skip(1);
    for (&one, &other) in order.iter().zip(next) {
        let theirs = maps[other as usize].iter().cycle();
        images[one as usize].iter_mut().zip(theirs).for_each(|(pair, map)| pair.1 = *map);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three views of each of five images, and one of a sixth. Breaks when a view keeps a truth of its own image, or when two
    /// images get the truths of one.
    #[test]
    fn no_view_keeps_a_truth_of_its_image() {
        let image = |view: u32| view / 3;
        for seed in 0..20 {
            let mut pairs: Vec<(u32, u32)> = (0..16).map(|view| (view, view)).collect();
            assert_eq!(exchange(&mut pairs, image, seed), Ok(()));
            let mut from: Vec<u32> =
                pairs.chunk_by(|a, b| image(a.0) == image(b.0)).map(|own| image(own[0].1)).collect();
            assert!(pairs.iter().all(|(view, truth)| image(*truth) == from[image(*view) as usize]));
            assert!(pairs.iter().all(|(view, truth)| image(*view) != image(*truth)), "{pairs:?}");
            from.sort_unstable();
            assert_eq!(from, [0, 1, 2, 3, 4, 5]);
        }
        assert_eq!(exchange(&mut [(0, 0), (1, 1)], image, 0), Err(DenseError::Alone));
    }
}
