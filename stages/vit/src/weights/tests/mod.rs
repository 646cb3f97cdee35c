//! Loading: strictness, naming, and hostile bytes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hostile;
mod hub;
mod strict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{WeightSource, Weights, expected, load};
use crate::config::{Activation, Interpolation, Mlp, PosEmbed, VitConfig};
use crate::error::VitError;
use crate::zoo::{InputSpec, ModelSpec};

/// Width 8, 2 blocks, patches of 2 px on a 3x3 grid.
pub(super) fn tiny() -> ModelSpec {
    let config = VitConfig {
        depth: 2,
        width: 8,
        heads: 2,
        patch_px: 2,
        mlp: Mlp { hidden: 16, activation: Activation::Gelu },
        ln_eps: 1e-6,
        layer_scale: true,
        ln_pre: false,
        patch_bias: true,
        registers: 0,
        pos: PosEmbed { grid: 3, cls_slot: true, interpolation: Interpolation::Offset },
    };
    ModelSpec::custom("tiny", config, InputSpec::imagenet(6, 6))
}

/// Tensors of a file: shape and values.
pub(super) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The official file of `config`, values counting up so that no two tensors are alike.
pub(super) fn official(config: &VitConfig) -> Tensors {
    let mut next = 0_u32;
    expected(config)
        .into_iter()
        .map(|(name, mut shape)| {
            let count: usize = shape.iter().product();
            let values = (0..count).map(|_| {
                next += 1;
                next as f32 / 1024.0
            });
            let values = values.collect();
            if name == "patch_embed.weight" {
                shape = vec![config.width, 3, config.patch_px, config.patch_px];
            } else if !name.contains('.') {
                shape.splice(0..0, vec![1; 3 - shape.len()]);
            }
            let name = name.replace("patch_embed.", "patch_embed.proj.");
            let name = name.replace(".ls1", ".ls1.gamma").replace(".ls2", ".ls2.gamma");
            (name, (shape, values))
        })
        .collect()
}

/// Writes `tensors` as f32 safetensors.
pub(super) fn write(folder: &Path, name: &str, tensors: &Tensors) -> PathBuf {
    let bytes: BTreeMap<&str, Vec<u8>> = tensors
        .iter()
        .map(|(name, (_, values))| (name.as_str(), values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = tensors.iter().map(|(name, (shape, _))| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), &bytes[name.as_str()]).unwrap())
    });
    let path = folder.join(name);
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path
}

pub(super) fn load_file(spec: &ModelSpec, path: &Path) -> Result<Weights, VitError> {
    load(spec, &WeightSource::Path(path.to_owned()), &|_, _| {})
}
