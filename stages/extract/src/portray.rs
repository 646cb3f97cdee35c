//! Portraits of a few images: maps of norms, of attention and of principal components, for the pictures of a report.
//!
//! Two passes of each image. The first gives norms and features: the patch of the largest norm is known, and the
//! moments of the features add up over images. The second gives the attention rows of CLS, of each
//! register, of the middle patch and of that patch, and features again, which are now seen in the joint basis. Rows of
//! attention and one image's features are all that is ever held: at 4,625 tokens (952 px by 14) a matrix of attention
//! would be 86 MB a head.
//!
//! Sources: paper Fig. 1, 2, 8, 9, 17 to 21; study Fig. 2, 8, 13–15, 18–21.

use std::collections::BTreeMap;
use std::sync::Arc;

use datasets::{Preprocess, Source};
use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::Maps;
use schemas::{Canonical, Meaning};
use serde::Serialize;
use vit::executor::Precision;
use vit::{Request, Site, SiteData, VitConfig};

use self::components::{COMPONENTS, Moments, Scores, cubes, oriented};
pub(crate) use self::rows::patches_of;
use self::rows::{Portrait, attention_maps, component_map, norm_map};
use crate::change::Change;
use crate::cost::{Passes, size};
use crate::edit::Edit;
use crate::model::Model;
use crate::params::{ParamsError, Tuning, check_blocks, check_changes, check_site, site_name, site_names};
use crate::pipeline::{Encoded, Stream};
use crate::prepare::non_finite;
use crate::taps::middle_patch;
use crate::test_time::TestTimeRegisters;

pub(crate) mod components;
mod rows;
pub(crate) mod subspace;

/// Everything that can change a number of a portrait.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PortrayParams {
    /// Sizes and switches of the model.
    pub model: VitConfig,
    /// Digest of its weights.
    pub weights: String,
    /// Precision of the forward pass.
    pub precision: Precision,
    /// Digest of the dataset's manifest.
    pub dataset: String,
    /// From decoded bytes to pixels; may be of a higher resolution than the extraction's.
    pub preprocess: Preprocess,
    /// The first so many images of the dataset.
    pub images: u32,
    /// Site of the norms that choose the patch whose attention is kept as `outlier`.
    #[serde(serialize_with = "site_name")]
    pub outlier_site: Site,
    /// Sites whose norms are kept.
    #[serde(serialize_with = "site_names")]
    pub norm_sites: Vec<Site>,
    /// Blocks whose attention is kept.
    pub blocks: Vec<u16>,
    /// Sites whose principal components are kept.
    #[serde(serialize_with = "site_names")]
    pub component_sites: Vec<Site>,
    /// Tokens that are changed while the model runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
    /// Registers that a model without them is given while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_time_registers: Option<TestTimeRegisters>,
}

impl Meaning for PortrayParams {}

impl PortrayParams {
    /// Whether the model has every site and block.
    pub fn check(&self) -> Result<(), ParamsError> {
        let depth = self.model.depth;
        if self.images == 0 {
            return Err(ParamsError::Nothing("portray.images"));
        }
        check_site("portray.outlier_site", self.outlier_site, depth, false)?;
        self.norm_sites.iter().try_for_each(|&site| check_site("portray.norm_sites", site, depth, true))?;
        self.component_sites.iter().try_for_each(|&site| check_site("portray.component_sites", site, depth, true))?;
        check_blocks("portray.blocks", &self.blocks, depth)?;
        check_changes(self.edit.as_ref(), self.test_time_registers, &self.model)
    }
}

/// A few images → `maps`. Version 1.
pub struct Portray {
    /// Model.
    pub model: Arc<Model>,
    /// Images.
    pub source: Arc<dyn Source>,
    /// Meaning.
    pub params: PortrayParams,
    /// The `register_neurons` that test-time registers take over; there when the parameters have such registers.
    pub neurons: Option<TableRef>,
    /// Hive folders.
    pub partition: Partition,
    /// Speed.
    pub tuning: Tuning,
}

/// What the first pass of an image leaves.
struct First {
    maps: Maps,
    /// Of the site that tells outliers.
    largest_norm: usize,
    /// By component site.
    moments: Vec<(Site, Moments)>,
}

/// What the second pass leaves.
struct Second {
    maps: Maps,
    /// Joint scores, whose signs are not known before the last image.
    joint: Vec<(Site, usize, Scores)>,
    portrait: Portrait,
}

impl Portray {
    /// Few images in flight: at high resolution each is large.
    fn tuning(&self) -> Tuning {
        Tuning { window: self.tuning.window.min(2 * self.tuning.encode_threads), ..self.tuning }
    }

    fn first(&self, encoded: &Encoded<'_>) -> Result<First, crate::prepare::Skip> {
        let trace = &encoded.pass;
        if let Some((site, _)) = trace.norms.iter().find(|(_, norms)| !norms.iter().all(|n| n.is_finite())) {
            return Err(non_finite(*site));
        }
        let portrait = Portrait::new(encoded.index, trace.layout);
        let mut first = First { maps: Maps::default(), largest_norm: 0, moments: vec![] };
        for site in &self.params.norm_sites {
            if let Some(norms) = trace.norms.get(site) {
                norm_map(&mut first.maps, &portrait, *site, norms);
            }
        }
        for site in &self.params.component_sites {
            let Some(data) = trace.full.get(site) else { continue };
            let features = patches_of(data, trace.layout);
            let moments = Moments::of(features, data.shape[1]);
            for (k, scores) in moments.basis().scores(features).into_iter().enumerate() {
                let cubes = cubes(&scores.values);
                component_map(&mut first.maps, &portrait, *site, "image", k, oriented(scores, cubes));
            }
            first.moments.push((*site, moments));
        }
        if let Some(norms) = trace.norms.get(&self.params.outlier_site) {
            let patches = &norms[trace.layout.prefix()..];
            // The first of equal ones.
            let larger = |best: usize, p: usize| if patches[p] > patches[best] { p } else { best };
            first.largest_norm = (0..patches.len()).fold(0, larger);
        }
        Ok(first)
    }

    fn second(&self, encoded: &Encoded<'_>, largest_norm: usize, bases: &BTreeMap<Site, components::Basis>) -> Second {
        let trace = &encoded.pass;
        let portrait = Portrait::new(encoded.index, trace.layout);
        let mut maps = Maps::default();
        for &block in &self.params.blocks {
            // A block that an edit leaves out has no attention.
            if let Some(rows) = trace.full.get(&Site::AttentionRows(block)) {
                attention_maps(&mut maps, &portrait, block, rows, largest_norm);
            }
        }
        let scores = |(site, basis): (&Site, &components::Basis)| {
            let data: &SiteData = trace.full.get(site)?;
            Some((*site, basis.scores(patches_of(data, trace.layout))))
        };
        let joint = bases.iter().filter_map(scores);
        let joint = joint.flat_map(|(site, scores)| scores.into_iter().enumerate().map(move |(k, s)| (site, k, s)));
        Second { maps, joint: joint.collect(), portrait }
    }
}

impl Stage for Portray {
    fn name(&self) -> &'static str {
        "portray"
    }

    fn version(&self) -> u32 {
        1 + vit::NUMBERS
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.neurons.iter().cloned().collect()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        vec![TableSpec { table: "maps", partition: self.partition.clone() }]
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, _: &Sizes) -> Estimate {
        let (params, config) = (&self.params, &self.model.config);
        let images = u64::from(params.images).min(self.source.manifest().entries.len() as u64);
        let passes = Passes::of(&self.model, &params.preprocess, images, &self.tuning());
        let (d, sites) = (config.width as u64, params.component_sites.len() as u64);
        let attention = params.blocks.len() * (config.prefix_tokens() + 2) * (config.heads + 2);
        let maps = (params.norm_sites.len() + attention) as u64 + 2 * COMPONENTS as u64 * sites;
        let tables = [("maps", size(images * maps, 4 * passes.patches + 40))];
        // Scatters in flight and their sum; joint scores of every image.
        let held = 8 * d * d * sites * (self.tuning().window as u64 + 2)
            + 4 * COMPONENTS as u64 * sites * images * passes.patches;
        passes.times(2.0).and_host_bytes(held).estimate(0, tables.into())
    }

    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let params = &self.params;
        params.check()?;
        let encoder = self.model.encoder()?;
        let encoder = encoder.as_ref();
        let change = Change {
            edit: params.edit.as_ref(),
            registers: params.test_time_registers,
            neurons: self.neurons.as_ref(),
        };
        let changed = change.open(self.source.as_ref(), &params.preprocess, encoder, io)?;
        let mut want = Request { full: params.component_sites.iter().copied().collect(), ..Request::default() };
        want.norms.extend(params.norm_sites.iter().chain(&params.component_sites).chain([&params.outlier_site]));
        let indices: Vec<usize> = (shard.items.start as usize..shard.items.end as usize).collect();
        let stream = Stream {
            source: self.source.as_ref(),
            indices: &indices,
            preprocess: &params.preprocess,
            encoder,
            pass: &|_, pixels| changed.encode(encoder, pixels, &want),
            // Never more than one of high resolution at once.
            batch: 1,
            tuning: self.tuning(),
            cancel: io.cancel_flag(),
        };
        let mut maps = io.create::<Maps>()?;
        let mut report = ShardReport { items: indices.len() as u64, skipped: 0 };
        let (mut largest, mut moments) = (BTreeMap::new(), BTreeMap::<Site, Moments>::new());
        let mut done = 0;
        stream.run(
            |encoded| self.first(&encoded),
            |index, result| {
                match result {
                    Ok(mut first) => {
                        maps.write(&mut first.maps)?;
                        largest.insert(index, first.largest_norm);
                        for (site, of_image) in first.moments {
                            match moments.get_mut(&site) {
                                Some(all) => all.add(&of_image),
                                None => drop(moments.insert(site, of_image)),
                            }
                        }
                    }
                    // The extraction has them in its table `skipped`.
                    Err(_) => report.skipped += 1,
                }
                done += 1;
                io.items_done(done / 2);
                Ok(())
            },
        )?;

        let bases = moments.iter().map(|(site, moments)| (*site, moments.basis())).collect();
        let encoded: Vec<usize> = largest.keys().copied().collect();
        let largest = |index: usize| largest.get(&index).copied().unwrap_or(0);
        let attention = params.blocks.iter().map(|&block| Site::AttentionRows(block));
        let want = Request { full: want.full.iter().copied().chain(attention).collect(), ..Request::default() };
        let pass = |indices: &[usize], pixels: &[&vit::Pixels]| {
            let mut traces = Vec::with_capacity(pixels.len());
            for (&index, &image) in indices.iter().zip(pixels) {
                let layout = encoder.layout(image.height, image.width)?;
                let patches = [middle_patch(layout), largest(index)].map(|p| layout.prefix() + p);
                let want = Request { queries: (0..layout.prefix()).chain(patches).collect(), ..want.clone() };
                traces.append(&mut changed.encode(encoder, &[image], &want)?);
            }
            Ok(traces)
        };
        let stream = Stream { indices: &encoded, pass: &pass, ..stream };
        let mut joint: Vec<(Portrait, Site, usize, Scores)> = Vec::new();
        stream.run(
            |encoded| Ok(self.second(&encoded, largest(encoded.index), &bases)),
            |_, result| {
                // The first pass has told of images that cannot be read.
                if let Ok(mut second) = result {
                    maps.write(&mut second.maps)?;
                    joint.extend(second.joint.into_iter().map(|(site, k, scores)| (second.portrait, site, k, scores)));
                }
                done += 1;
                io.items_done(done.div_ceil(2));
                Ok(())
            },
        )?;
        let mut sums: BTreeMap<(Site, usize), f64> = BTreeMap::new();
        for (_, site, k, scores) in &joint {
            *sums.entry((*site, *k)).or_default() += cubes(&scores.values);
        }
        for (portrait, site, k, scores) in joint {
            let mut rows = Maps::default();
            component_map(&mut rows, &portrait, site, "joint", k, oriented(scores, sums[&(site, k)]));
            maps.write(&mut rows)?;
        }
        io.finish(maps)?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
