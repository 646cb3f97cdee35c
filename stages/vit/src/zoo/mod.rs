//! The models that have a name: sizes, input, and where their public weights lie.
//!
//! A family is one file with a function that lists its models, and one line in [`FAMILIES`]. The names that its
//! checkpoints use are told apart in `weights/naming`. Any model can carry R registers: `find("deit3_vits16_224_reg4")`.
//!
//! Source: facebookresearch/dino, dinov2 `hub/backbones.py`, deit
//! `models_v2.py`, mae `models_mae.py`; `mlfoundations/open_clip` `model_configs/`.

mod deit3;
mod dino;
mod dinov2;
mod mae;
mod openclip;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::config::{Activation, Interpolation, Mlp, PosEmbed, VitConfig};
use crate::error::VitError;

/// A family: models that share an architecture and a way of training.
#[derive(Clone, Copy)]
pub struct Family {
    /// Family name, the `family` of its models.
    pub name: &'static str,
    /// Its models.
    pub models: fn() -> Vec<ModelSpec>,
}

/// Every family. Adding one is a file beside this one and a line here.
pub const FAMILIES: &[Family] = &[
    Family { name: dino::FAMILY, models: dino::models },
    Family { name: dinov2::FAMILY, models: dinov2::models },
    Family { name: deit3::FAMILY, models: deit3::models },
    Family { name: openclip::FAMILY, models: openclip::models },
    Family { name: mae::FAMILY, models: mae::models },
];

/// A model with a name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelSpec {
    /// Name in configs, tables and captions.
    pub name: String,
    /// Name of its family.
    pub family: &'static str,
    /// The network.
    pub config: VitConfig,
    /// What its evaluation feeds it.
    pub input: InputSpec,
    /// Hugging Face repository with public weights that fit this model, `owner/name`.
    pub hub: Option<&'static str>,
    /// Name of the file that the authors publish.
    pub official_file: Option<&'static str>,
}

/// The evaluation input of a model: resize the short side, crop the centre, normalise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct InputSpec {
    /// Short side after resizing, px.
    pub resize_px: usize,
    /// Side of the centre crop, px.
    pub crop_px: usize,
    /// Bicubic resizing; bilinear otherwise.
    pub bicubic: bool,
    /// Mean per channel, of values in [0, 1].
    pub mean: [f32; 3],
    /// Standard deviation per channel.
    pub std: [f32; 3],
}

/// Mean and standard deviation of `ImageNet`.
pub const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

impl InputSpec {
    /// Bicubic, `ImageNet` statistics: every family but CLIP.
    pub(crate) fn imagenet(resize_px: usize, crop_px: usize) -> Self {
        InputSpec { resize_px, crop_px, bicubic: true, mean: IMAGENET.0, std: IMAGENET.1 }
    }
}

impl ModelSpec {
    /// A model that is in no family: a test's, or one read from elsewhere.
    pub fn custom(name: impl Into<String>, config: VitConfig, input: InputSpec) -> Self {
        ModelSpec { name: name.into(), family: "custom", config, input, hub: None, official_file: None }
    }

    /// The same network with `registers` register tokens; no public weights belong to it.
    ///
    /// `DINOv2` with registers resizes its positions with antialias, as all of its authors' register models do.
    #[must_use]
    pub fn with_registers(mut self, registers: usize) -> Self {
        if registers == self.config.registers {
            return self;
        }
        let base =
            self.name.rsplit_once("_reg").filter(|(_, n)| n.parse::<usize>().is_ok()).map(|(base, _)| base.to_owned());
        let base = base.unwrap_or(self.name);
        self.name = if registers == 0 { base } else { format!("{base}_reg{registers}") };
        if self.family == dinov2::FAMILY {
            self.config.pos.interpolation =
                if registers == 0 { Interpolation::Offset } else { Interpolation::Antialias };
        }
        self.config.registers = registers;
        self.hub = None;
        self.official_file = None;
        self
    }

    /// The same model under another rule for resizing positions: what another code base would compute.
    #[must_use]
    pub fn with_interpolation(mut self, rule: Interpolation) -> Self {
        self.config.pos.interpolation = rule;
        self
    }
}

/// Every model, family by family.
pub fn all() -> Vec<ModelSpec> {
    FAMILIES.iter().flat_map(|family| (family.models)()).collect()
}

/// Largest R that a name may ask for.
const MAX_REGISTERS: usize = 1024;

/// The model called `name`; `<model>_reg<R>` is any model with R registers.
pub fn find(name: &str) -> Result<ModelSpec, VitError> {
    let models = all();
    if let Some(spec) = models.iter().find(|spec| spec.name == name) {
        return Ok(spec.clone());
    }
    if let Some((base, registers)) = name.rsplit_once("_reg")
        && let Ok(registers) = registers.parse::<usize>()
        && (1..=MAX_REGISTERS).contains(&registers)
        && let Some(spec) = models.iter().find(|spec| spec.name == base)
    {
        return Ok(spec.clone().with_registers(registers));
    }
    let mut ranked: Vec<(f64, String)> =
        models.into_iter().map(|spec| (strsim::jaro_winkler(name, &spec.name), spec.name)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let nearest = ranked.into_iter().take(3).map(|(_, name)| name).collect();
    Err(VitError::UnknownModel { name: name.to_owned(), nearest })
}

/// Names of the models that have exactly these sizes, whatever their position grid.
pub(crate) fn with_sizes(config: &VitConfig) -> Vec<String> {
    let sizes = |c: &VitConfig| {
        (
            c.depth,
            c.width,
            c.patch_px,
            c.mlp.hidden,
            c.mlp.activation == Activation::SwiGlu,
            c.layer_scale,
            c.ln_pre,
            c.registers,
        )
    };
    let mut names: Vec<String> =
        all().into_iter().filter(|spec| sizes(&spec.config) == sizes(config)).map(|spec| spec.name).collect();
    if names.is_empty() && config.registers > 0 {
        let mut bare = config.clone();
        bare.registers = 0;
        names = with_sizes(&bare).into_iter().map(|name| format!("{name}_reg{}", config.registers)).collect();
    }
    names
}

/// A plain `ViT` as the families share it: heads of 64, GELU FFN of 4·D, eps 1e-6, a CLS slot, no extras.
pub(crate) fn plain(
    depth: usize,
    width: usize,
    patch_px: usize,
    grid: usize,
    interpolation: Interpolation,
) -> VitConfig {
    VitConfig {
        depth,
        width,
        heads: width / 64,
        patch_px,
        mlp: Mlp { hidden: 4 * width, activation: Activation::Gelu },
        ln_eps: 1e-6,
        layer_scale: false,
        ln_pre: false,
        patch_bias: true,
        registers: 0,
        pos: PosEmbed { grid, cls_slot: true, interpolation },
    }
}
