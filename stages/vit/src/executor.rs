//! Chooses the executor of a model: fused f32 or bf16 kernels on the CPU, candle on a GPU.
//!
//! Also what both executors check before they run: the description, the image size, the pixels and the request.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};
use serde::Serialize;

use crate::candle::CandleVit;
use crate::config::VitConfig;
use crate::cpu::{CpuVit, Kernel};
use crate::error::VitError;
use crate::fleet::Fleet;
use crate::site::Site;
use crate::trace::{Encoder, Layout, Pixels, Request};
use crate::weights::Params;

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU if this build and machine have one, else the CPU.
    Auto,
    /// The CPU, by the fastest kernel it has or by this one.
    Cpu(Option<Kernel>),
    /// GPU number N.
    Cuda(usize),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu(None) => f.write_str("cpu"),
            DeviceChoice::Cpu(Some(kernel)) => write!(f, "cpu:{kernel}"),
            DeviceChoice::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = VitError;

    fn from_str(text: &str) -> Result<Self, VitError> {
        let found = match text.split_once(':') {
            None if text == "auto" => Some(DeviceChoice::Auto),
            None if text == "cpu" => Some(DeviceChoice::Cpu(None)),
            Some(("cpu", kernel)) => kernel.parse().ok().map(|kernel| DeviceChoice::Cpu(Some(kernel))),
            Some(("cuda", n)) => n.parse().ok().map(DeviceChoice::Cuda),
            _ => None,
        };
        found.ok_or_else(|| VitError::Device {
            device: text.to_owned(),
            problem: "not a device name; use auto, cpu, cpu:amx, cpu:avx512, cpu:portable, or cuda:N with N from 0"
                .to_owned(),
        })
    }
}

impl DeviceChoice {
    /// The candle device; `Auto` never fails.
    pub fn resolve(self) -> Result<Device, VitError> {
        match self {
            DeviceChoice::Cpu(_) => Ok(Device::Cpu),
            // `Device::cuda_if_available` fails, rather than falls back, in a cuda build on a machine without a driver.
            DeviceChoice::Auto => Ok(cuda(0).unwrap_or(Device::Cpu)),
            DeviceChoice::Cuda(n) => cuda(n),
        }
    }
}

fn cuda(n: usize) -> Result<Device, VitError> {
    let refused = |problem: String| VitError::Device { device: format!("cuda:{n}"), problem };
    if !candle_core::utils::cuda_is_available() {
        return Err(refused("this build has no GPU support; use cpu, or build with `--features cuda`".to_owned()));
    }
    // A missing driver library panics inside the CUDA loader; a panic here is an answer, not a bug.
    match std::panic::catch_unwind(|| Device::new_cuda(n)) {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(error)) => Err(refused(format!("cannot be opened ({error}); check nvidia-smi, or use cpu"))),
        Err(_) => Err(refused("the CUDA driver cannot be loaded; install it, or use cpu".to_owned())),
    }
}

/// Number format of weights and activations. It changes numbers, so it is part of a result's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// bfloat16.
    Bf16,
    /// 16-bit floats.
    F16,
}

impl Precision {
    /// The candle type.
    pub fn dtype(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::BF16,
            Precision::F16 => DType::F16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        })
    }
}

impl FromStr for Precision {
    type Err = VitError;

    fn from_str(text: &str) -> Result<Self, VitError> {
        match text {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            "f16" => Ok(Precision::F16),
            _ => Err(VitError::Config(format!("unknown precision `{text}`; use f32, bf16 or f16"))),
        }
    }
}

/// Opens the fastest executor for this device and precision.
pub fn open(
    config: &VitConfig,
    params: &Params,
    device: &DeviceChoice,
    precision: Precision,
) -> Result<Box<dyn Encoder>, VitError> {
    let resolved = device.resolve()?;
    if !resolved.is_cpu() {
        return Ok(Box::new(CandleVit::on(config, params, &resolved, precision.dtype())?));
    }
    let kernel = match device {
        DeviceChoice::Cpu(kernel) => *kernel,
        DeviceChoice::Auto | DeviceChoice::Cuda(_) => None,
    };
    match precision {
        Precision::F32 => Ok(Box::new(CpuVit::f32(config, params, kernel)?)),
        Precision::Bf16 => Ok(Box::new(CpuVit::bf16(config, params, kernel)?)),
        Precision::F16 => Err(VitError::Device {
            device: device.to_string(),
            problem: "the CPU does not run f16; use precision f32 or bf16, or a GPU".to_owned(),
        }),
    }
}

/// Reads `auto`, `cpu`, `cuda:N` or `cuda:N,M,…`: the devices that share the work.
pub fn devices(text: &str) -> Result<Vec<DeviceChoice>, VitError> {
    match text.strip_prefix("cuda:") {
        Some(numbers) => numbers.split(',').map(|n| format!("cuda:{n}").parse()).collect(),
        None => Ok(vec![text.parse()?]),
    }
}

/// Opens a model on each of some devices.
pub fn open_on(
    config: &VitConfig,
    params: &Params,
    devices: &[DeviceChoice],
    precision: Precision,
) -> Result<Box<dyn Encoder>, VitError> {
    if let [one] = devices {
        return open(config, params, one, precision);
    }
    let encoders = devices.iter().map(|d| open(config, params, d, precision)).collect::<Result<_, _>>()?;
    Ok(Box::new(Fleet::new(encoders)?))
}

/// Refuses descriptions on which the arithmetic of shapes would fail.
pub(crate) fn check_config(config: &VitConfig) -> Result<(), VitError> {
    let sizes = [
        ("depth", config.depth),
        ("width", config.width),
        ("heads", config.heads),
        ("patch_px", config.patch_px),
        ("mlp.hidden", config.mlp.hidden),
        ("pos.grid", config.pos.grid),
    ];
    if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
        return Err(VitError::Config(format!("{name} is 0")));
    }
    if !config.width.is_multiple_of(config.heads) {
        return Err(VitError::Config(format!("width {} is not a multiple of {} heads", config.width, config.heads)));
    }
    Ok(())
}

/// How the tokens of an image of this size lie.
pub(crate) fn layout(config: &VitConfig, height: usize, width: usize) -> Result<Layout, VitError> {
    let p = config.patch_px;
    if height == 0 || width == 0 || !height.is_multiple_of(p) || !width.is_multiple_of(p) {
        return Err(VitError::ImageSize { height, width, patch_px: p });
    }
    Ok(Layout { registers: config.registers, grid_h: height / p, grid_w: width / p })
}

/// Checks sizes and lengths of a call; `None` when there is nothing to encode.
pub(crate) fn check_call(config: &VitConfig, images: &[&Pixels], want: &Request) -> Result<Option<Layout>, VitError> {
    for &site in want.full.iter().chain(&want.norms) {
        if site.block().is_some_and(|i| i as usize >= config.depth) {
            return Err(VitError::NoSuchBlock { site, depth: config.depth });
        }
    }
    if let Some(site) = want.norms.iter().find(|site| !site.has_tokens()) {
        return Err(VitError::Config(format!("site {site} has no token norms; ask for it whole")));
    }
    let rows = want.full.iter().find(|site| matches!(site, Site::AttentionRows(_)));
    if let (Some(&site), []) = (rows, want.queries.as_slice()) {
        return Err(VitError::NoQueries(site));
    }
    let Some(first) = images.first() else { return Ok(None) };
    for image in images {
        if (image.height, image.width) != (first.height, first.width) {
            return Err(VitError::Pixels(format!(
                "a call holds {}x{} and {}x{} px; group images by size",
                first.height, first.width, image.height, image.width
            )));
        }
        if Some(image.data.len()) != image.height.checked_mul(image.width).and_then(|n| n.checked_mul(3)) {
            return Err(VitError::Pixels(format!(
                "{} values for {}x{} px",
                image.data.len(),
                image.height,
                image.width
            )));
        }
    }
    let layout = layout(config, first.height, first.width)?;
    let tokens = layout.tokens();
    match want.queries.iter().find(|&&token| rows.is_some() && token >= tokens) {
        Some(&token) => Err(VitError::NoSuchToken { token, tokens }),
        None => Ok(Some(layout)),
    }
}

/// How many blocks a request needs: a pass stops after the last one that is read.
pub(crate) fn blocks_needed(config: &VitConfig, want: &Request) -> usize {
    let after = |site: &Site| match site {
        Site::PatchEmbed | Site::WithPosition => 0,
        Site::Final => config.depth,
        _ => site.block().map_or(0, |i| i as usize + 1),
    };
    want.full.iter().chain(&want.norms).map(after).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn device_names_round_trip() {
        for text in ["auto", "cpu", "cpu:amx", "cpu:portable", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in ["gpu", "cuda", "cuda:", "cuda:-1", "cpu:", "cpu:sse", "auto:0", ""] {
            let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains("cuda:N"), "{error}");
        }
    }

    #[test]
    fn several_devices_are_numbers_with_commas() {
        assert_eq!(devices("cuda:0,2").unwrap(), [DeviceChoice::Cuda(0), DeviceChoice::Cuda(2)]);
        assert_eq!(devices("cpu").unwrap(), [DeviceChoice::Cpu(None)]);
        for text in ["cuda:0,", "cuda:,1", "cpu,cuda:0", ""] {
            assert!(devices(text).is_err(), "{text}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_cpu_build_says_how_to_get_a_gpu() {
        let error = DeviceChoice::Cuda(0).resolve().unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
        assert!(DeviceChoice::Auto.resolve().unwrap().is_cpu());
    }
}
