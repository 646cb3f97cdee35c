//! What an extraction means, and, in another type, how fast it goes.

use datasets::Preprocess;
use schemas::Meaning;
use schemas::outlier::OutlierPolicy;
use serde::Serialize;
use vit::executor::Precision;
use vit::{Site, VitConfig};

/// Everything that can change a number of an extraction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExtractParams {
    /// Sizes and switches of the model.
    pub model: VitConfig,
    /// Digest of its weights.
    pub weights: String,
    /// Precision of the forward pass.
    pub precision: Precision,
    /// Digest of the dataset's manifest: names, sizes, labels, order.
    pub dataset: String,
    /// From decoded bytes to pixels.
    pub preprocess: Preprocess,
    /// Which patches are outliers.
    pub outliers: OutlierPolicy,
    /// Site whose norms tell outliers; the last block by default.
    #[serde(serialize_with = "site_name")]
    pub outlier_site: Site,
    /// Sites with one row per token.
    #[serde(serialize_with = "site_names")]
    pub stats_sites: Vec<Site>,
    /// Sites whose sampled tokens are kept.
    #[serde(serialize_with = "site_names")]
    pub vector_sites: Vec<Site>,
    /// Whole-image vectors.
    pub pooled: Vec<PoolSite>,
    /// Random tokens of each kind per image.
    pub draws: u16,
    /// Seed of the draws.
    pub seed: u64,
    /// The first so many images are kept as pictures.
    pub pictures: u32,
    /// Images per shard. It changes no number, but it decides which part holds which rows.
    pub shard_images: u64,
}

impl Meaning for ExtractParams {}

/// Which CLS and mean patch to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PoolSite {
    /// A block output or `final`.
    #[serde(serialize_with = "site_name")]
    pub site: Site,
    /// Through the model's final norm, as the linear evaluations of DINOv2 read earlier blocks.
    pub normed: bool,
}

impl PoolSite {
    /// Name in the table: `final`, `block_11`, `block_10+norm`.
    pub fn label(&self) -> String {
        if self.normed { format!("{}+norm", self.site) } else { self.site.to_string() }
    }
}

/// What changes speed and nothing else. Of a type that no fingerprint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Threads that encode; on a CPU each has an image of its own.
    pub encode_threads: usize,
    /// Threads that read and decode.
    pub decode_threads: usize,
    /// Images that may be in flight between the first read and the last write.
    pub window: usize,
    /// Whether a GPU encodes.
    pub on_device: bool,
}

impl Tuning {
    /// For a CPU with so many cores.
    pub fn cpu(cores: usize) -> Self {
        let cores = cores.max(1);
        Self { encode_threads: cores, decode_threads: cores, window: 8 * cores, on_device: false }
    }

    /// For so many devices that take `batch` images at once, fed by so many cores.
    pub fn device(devices: usize, cores: usize, batch: usize) -> Self {
        Self { encode_threads: devices, decode_threads: cores.max(1), window: 4 * batch * devices, on_device: true }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn site_name<S: serde::Serializer>(site: &Site, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(site)
}

fn site_names<S: serde::Serializer>(sites: &[Site], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(sites.iter().map(Site::to_string))
}
