//! What an extraction means, and, in another type, how fast it goes.

use datasets::{Crop, Preprocess, Resize};
use engine::{ErrorKind, StageError};
use schemas::Meaning;
use schemas::outlier::OutlierPolicy;
use serde::Serialize;
use thiserror::Error;
use vit::executor::Precision;
use vit::{Site, VitConfig};

use crate::edit::Edit;
use crate::test_time::TestTimeRegisters;

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
    /// Every patch once instead. Absent from the meaning of runs that draw.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub every_patch: bool,
    /// Seed of the draws.
    pub seed: u64,
    /// The first so many images are kept as pictures.
    pub pictures: u32,
    /// Images per shard. It decides which part holds which rows, and one number: of a dataset with more shapes of grid
    /// than a shard sums (64), how many images `grids` leaves out.
    pub shard_images: u64,
    /// Neighbour cosines as the study's DeiT-III program takes them: index ±1 and ± one row of the flattened grid,
    /// modulo its length, so that row ends are compared with the next row (`docs/protocols/fig5a.md`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wrapped_neighbours: bool,
    /// Tokens that are changed while the model runs. Absent from the meaning of runs that change none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
    /// Registers that a model without them is given while it runs; they are counted in `model.registers` already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_time_registers: Option<TestTimeRegisters>,
}

impl Meaning for ExtractParams {}

/// A parameter that cannot be used.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ParamsError {
    /// A site that a key cannot take.
    #[error("`{key}` cannot read {site} of a model of {depth} blocks; it takes {accepted} with I below {depth}")]
    Site {
        /// Key of the study.
        key: &'static str,
        /// The site.
        site: Site,
        /// Blocks of the model.
        depth: usize,
        /// Names of the sites that the key takes.
        accepted: &'static str,
    },
    /// A block that the model has not.
    #[error("`{key}` names block {block} of a model of {depth} blocks; the last is {}", depth.saturating_sub(1))]
    Block {
        /// Key of the study.
        key: &'static str,
        /// The block.
        block: u16,
        /// Blocks of the model.
        depth: usize,
    },
    /// A number that is zero and may not be.
    #[error("`{0}` is 0 or empty; write at least one")]
    Nothing(&'static str),
    /// A bias that nothing can be compared with.
    #[error("`{0}` has the bias {1}; write finite numbers")]
    Bias(&'static str, f64),
    /// Something that a list holds twice.
    #[error("`{0}` names {1} twice; once is enough")]
    Twice(&'static str, String),
    /// Views that make no sense, or not for this model.
    #[error("`{key}`: {problem}")]
    Views {
        /// Key of the study.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Images that are resized have other boxes than their annotations.
    #[error("`discover` needs images at their own size, padded to whole patches")]
    Resized,
    /// Neighbours on a square grid.
    #[error("`edit.neighbours` is {0}; write 4 (that share an edge) or 8 (corners too)")]
    Neighbours(u8),
    /// Tokens of a pass that has every block, in one that has not.
    #[error(
        "`edit.replace` is \"donor\" and `edit.then` is \"skip\": the donor's tokens have been through the blocks that \
         are left out; write then = \"execute\" or another `replace`"
    )]
    SkippedDonor,
    /// More leading patches than an image has.
    #[error("`edit.n` is {n}, and an image has {patches} patches; write fewer")]
    AllPatches {
        /// Length of the list.
        n: u32,
        /// Patches of an image.
        patches: usize,
    },
    /// Two changes at once: nothing could tell what caused a difference.
    #[error("`edit` and `test_time_registers` in one extraction; run them as two")]
    TwoChanges,
    /// More registers of our own than the model has registers.
    #[error("{0} `test_time_registers` in a model of {1} registers; its description has to count them")]
    Registers(u16, usize),
}

impl From<ParamsError> for StageError {
    fn from(e: ParamsError) -> Self {
        Self::new(ErrorKind::Config, &e, "", "correct the key of the study")
    }
}

/// Refuses blocks that the model has not.
pub(crate) fn check_blocks(key: &'static str, blocks: &[u16], depth: usize) -> Result<(), ParamsError> {
    match blocks.iter().find(|&&block| usize::from(block) >= depth) {
        Some(&block) => Err(ParamsError::Block { key, block, depth }),
        None => Ok(()),
    }
}

/// Refuses sites that a key cannot take.
pub(crate) fn check_site(key: &'static str, site: Site, depth: usize, patches_alone: bool) -> Result<(), ParamsError> {
    let fits = match site {
        Site::PatchEmbed => patches_alone,
        Site::WithPosition | Site::Final => true,
        Site::Block(i) | Site::Query(i) | Site::Key(i) | Site::Value(i) => usize::from(i) < depth,
        Site::Attention(_) | Site::ClsAttention(_) | Site::AttentionRows(_) => false,
    };
    let accepted = if patches_alone { ALL_OR_PATCHES } else { ALL_TOKENS };
    if fits { Ok(()) } else { Err(ParamsError::Site { key, site, depth, accepted }) }
}

const ALL_TOKENS: &str = "with_position, block_I, final, query_I, key_I or value_I";
const ALL_OR_PATCHES: &str = "patch_embed, with_position, block_I, final, query_I, key_I or value_I";

impl ExtractParams {
    /// Whether every site can be used as it is meant. Vectors, pooling and outliers index CLS, registers and patches,
    /// so their sites must hold all tokens; rows of statistics may be of patches alone; attention is no token.
    pub fn check(&self) -> Result<(), ParamsError> {
        let depth = self.model.depth;
        check_site("outlier_site", self.outlier_site, depth, false)?;
        self.vector_sites.iter().try_for_each(|&site| check_site("vector_sites", site, depth, false))?;
        self.pooled.iter().try_for_each(|pool| check_site("pooled", pool.site, depth, false))?;
        self.stats_sites.iter().try_for_each(|&site| check_site("stats_sites", site, depth, true))?;
        self.check_edited_patches()?;
        check_changes(self.edit.as_ref(), self.test_time_registers, &self.model)
    }

    /// Refuses an edit of every patch, where the size of images is known: nothing would be left to take values from.
    fn check_edited_patches(&self) -> Result<(), ParamsError> {
        let (Some(edit), Preprocess { resize, crop, .. }) = (&self.edit, self.preprocess) else { return Ok(()) };
        let (height, width) = match (resize, crop) {
            (_, Crop::Centre(px)) => (px, px),
            (Resize::Exact { height, width }, _) => (height, width),
            _ => return Ok(()),
        };
        let patches = (height / self.model.patch_px) * (width / self.model.patch_px);
        if edit.n as usize >= patches { Err(ParamsError::AllPatches { n: edit.n, patches }) } else { Ok(()) }
    }
}

/// Refuses changes that cannot be made.
pub(crate) fn check_changes(
    edit: Option<&Edit>,
    registers: Option<TestTimeRegisters>,
    model: &VitConfig,
) -> Result<(), ParamsError> {
    match (edit, registers) {
        (Some(_), Some(_)) => Err(ParamsError::TwoChanges),
        (Some(edit), None) => edit.check(model.depth),
        (None, Some(registers)) => registers.check(model),
        (None, None) => Ok(()),
    }
}

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
    /// Threads that make rows of passes; 0: the encoding threads do.
    pub map_threads: usize,
    /// Images that may be in flight between the first read and the last write.
    pub window: usize,
    /// Whether a GPU encodes.
    pub on_device: bool,
}

impl Tuning {
    /// For a CPU with so many cores.
    pub fn cpu(cores: usize) -> Self {
        let cores = cores.max(1);
        Self { encode_threads: cores, decode_threads: cores, map_threads: 0, window: 8 * cores, on_device: false }
    }

    /// For so many devices that take `batch` images at once, fed by so many cores. A thread that waits for its device
    /// does nothing else, or the device would wait for it.
    pub fn device(devices: usize, cores: usize, batch: usize) -> Self {
        Self {
            encode_threads: devices,
            decode_threads: cores.max(1),
            map_threads: cores.div_ceil(2).max(1),
            window: 4 * batch * devices,
            on_device: true,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn site_name<S: serde::Serializer>(site: &Site, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(site)
}

pub(crate) fn site_names<S: serde::Serializer>(sites: &[Site], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(sites.iter().map(Site::to_string))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::stage::tests::params;

    #[test]
    fn a_site_without_all_tokens_is_refused_where_tokens_are_indexed() {
        params().check().unwrap();
        let depth = params().model.depth as u16;
        let good =
            [Site::WithPosition, Site::Block(0), Site::Final, Site::Query(0), Site::Key(1), Site::Value(depth - 1)];
        let bad =
            [Site::Attention(0), Site::ClsAttention(0), Site::AttentionRows(0), Site::Block(depth), Site::Key(depth)];
        let with = |key: &str, site: Site| {
            let p = params();
            match key {
                "outlier_site" => ExtractParams { outlier_site: site, ..p },
                "vector_sites" => ExtractParams { vector_sites: vec![Site::Final, site], ..p },
                "pooled" => ExtractParams { pooled: vec![PoolSite { site, normed: true }], ..p },
                _ => ExtractParams { stats_sites: vec![site], ..p },
            }
        };
        for key in ["outlier_site", "vector_sites", "pooled", "stats_sites"] {
            for site in good {
                assert_eq!(with(key, site).check(), Ok(()), "{key} {site}");
            }
            for site in bad {
                let e = with(key, site).check().unwrap_err();
                let ParamsError::Site { key: named, site: refused, .. } = &e else { panic!("{e}") };
                assert!(*named == key && *refused == site && e.to_string().contains("with_position"), "{e}");
            }
        }
        // No CLS and no registers there: rows of patches, but nothing that is indexed by token.
        assert!(with("stats_sites", Site::PatchEmbed).check().is_ok());
        for key in ["outlier_site", "vector_sites", "pooled"] {
            assert!(with(key, Site::PatchEmbed).check().is_err(), "{key}");
        }
        assert_eq!(StageError::from(with("pooled", Site::PatchEmbed).check().unwrap_err()).kind, ErrorKind::Config);
    }
}
