//! A `ViT` whose artifacts are written by construction: weights that need no training, answers that are known.
//!
//! A standard pre-norm `ViT` (96×96 px, patch 8, D = 128, 8 blocks, 4 heads) in which flat patches, and only they, become
//! outliers: block 1 flags patches without texture, block 2 gathers image-wide evidence into them and erases their
//! position and colour, block 3 masks the remains and lets their norm jump tenfold, the last block makes CLS look at
//! them. With registers (4) the detector is left out and registers carry the evidence instead: the clean twin.
//! Whatever a tool claims to measure (outlier precision, onset, position, class, attention, `CorLoc`) has a truth here,
//! and each dial of [`Dials`] destroys one of them, so that a tool can also be seen to say no.
//!
//! Input: pixels in [0, 1], normalised with mean ½ and standard deviation ½. A patch is an outlier iff the variance of
//! its luminance is below 4e-5; nothing lies between 8e-6 and 2.8e-4 in the planted scenes.

mod channels;
mod circuit;
mod noise;
mod random;
mod recipe;
#[cfg(test)]
mod tests;

pub use noise::PatchStatistics;

use self::channels::{
    CLS, COLOUR, ENERGY, FLAG, GRID, K_MINUS, K_PLUS, N_MINUS, N_PLUS, PATCH_PX, REGISTER_ID, TEXTURE, WIDTH, col, dct,
    frequencies, row,
};
use crate::config::{Activation, Interpolation, Mlp, PosEmbed, VitConfig};
use crate::error::VitError;
use crate::weights::Params;
use crate::zoo::InputSpec;

/// Side of the images that a planted model takes, px.
pub const IMAGE_PX: usize = GRID * PATCH_PX;
/// What a planted model is fed: whole images, pixels in ±1.
pub const INPUT: InputSpec =
    InputSpec { resize_px: IMAGE_PX, crop_px: IMAGE_PX, bicubic: true, mean: [0.5; 3], std: [0.5; 3] };
/// The block at whose output outliers first stand out.
pub const ONSET: usize = 3;
/// Number of blocks.
const DEPTH: usize = 8;
/// √(D/2): makes the `LayerNorm` scale of an ordinary token 1.
const K: f64 = 8.0;

/// What can be turned away from the planted truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Dials {
    /// d in [0, 1]: precision and recall of the outliers against flat patches fall to 1 − d. Needs calibration images.
    pub detection_noise: f64,
    /// e in [0, 1]: at 0 outliers keep their position, colour and texture.
    pub erasure: f64,
    /// λ ≥ 0: attention logit of an outlier on a patch at distance r is −λ·r²; larger gathers less of the image.
    pub gather_decay: f64,
    /// ε in [0, 1]: share of the masks that comes from a pool without class evidence.
    pub evidence_loss: f64,
    /// Gain of the norm in the last block's keys: at 0.1 CLS and LOST no longer see the outliers.
    pub key_gain: f64,
    /// Seed of the permutations and mixing matrices.
    pub seed: u64,
}

impl Default for Dials {
    /// The planted truth, undisturbed.
    fn default() -> Self {
        Dials { detection_noise: 0.0, erasure: 1.0, gather_decay: 0.05, evidence_loss: 0.0, key_gain: 1.0, seed: 0 }
    }
}

impl Dials {
    fn check(&self) -> Result<(), VitError> {
        for (name, value, most) in [
            ("detection_noise", self.detection_noise, 1.0),
            ("erasure", self.erasure, 1.0),
            ("gather_decay", self.gather_decay, 10.0),
            ("evidence_loss", self.evidence_loss, 1.0),
            ("key_gain", self.key_gain, 10.0),
        ] {
            if !(0.0..=most).contains(&value) {
                return Err(VitError::Planted(format!("{name} is {value}; it must lie in 0..={most}")));
            }
        }
        Ok(())
    }
}

/// The model under these dials: with outliers when `registers` is 0, the clean twin when it is 1 to 4.
///
/// `calibration` is read only when `detection_noise` is positive.
pub fn planted(
    dials: &Dials,
    registers: usize,
    calibration: Option<&PatchStatistics>,
) -> Result<(VitConfig, Params), VitError> {
    dials.check()?;
    if registers > REGISTER_ID.len() {
        return Err(VitError::Planted(format!("{registers} registers; there is room for {}", REGISTER_ID.len())));
    }
    let config = VitConfig {
        depth: DEPTH,
        width: WIDTH,
        heads: circuit::HEADS,
        patch_px: PATCH_PX,
        mlp: Mlp { hidden: circuit::HIDDEN, activation: Activation::Gelu },
        ln_eps: 1e-6,
        layer_scale: false,
        ln_pre: false,
        patch_bias: true,
        registers,
        pos: PosEmbed { grid: GRID, cls_slot: true, interpolation: Interpolation::Antialias },
    };
    let mut params = Params::default();
    embed(registers, &mut params);
    for (i, block) in recipe::blocks(dials, registers, calibration)?.iter().enumerate() {
        block.store(&mut params, i);
    }
    params.insert("norm.weight", [WIDTH], vec![1.0; WIDTH]);
    params.insert("norm.bias", [WIDTH], vec![0.0; WIDTH]);
    Ok((config, params))
}

/// Tokens, positions and the patch projection.
///
/// The constants sit in the position embedding, not in the projection's bias: there they would make every pair of
/// patches similar at the patch embedding.
fn embed(registers: usize, params: &mut Params) {
    let token = |values: &[(usize, f64)]| {
        let mut token = vec![0.0f32; WIDTH];
        for &(channel, value) in values {
            token[channel] = value as f32;
        }
        token
    };
    // Without texture, CLS and registers would be taken for flat patches: their energy is set.
    params.insert("cls_token", [WIDTH], token(&[(CLS, 1.0), (ENERGY, 2.0)]));
    if registers > 0 {
        let tokens = (0..registers).flat_map(|r| {
            // Register norms come in steps, as in the registers paper's figure 15.
            let n = 1.5 * r as f64;
            let id = REGISTER_ID.start + r;
            token(&[(K_PLUS, K), (K_MINUS, -K), (FLAG, 1.0), (ENERGY, 2.0), (id, 1.0), (N_PLUS, n), (N_MINUS, -n)])
        });
        params.insert("register_tokens", [registers, WIDTH], tokens.collect());
    }
    let mut positions = token(&[(K_PLUS, K), (K_MINUS, -K)]);
    for cell in 0..GRID * GRID {
        positions.extend(token(&[(K_PLUS, K), (K_MINUS, -K), (row(cell / GRID), 1.0), (col(cell % GRID), 1.0)]));
    }
    params.insert("pos_embed", [GRID * GRID + 1, WIDTH], positions);

    let area = PATCH_PX * PATCH_PX;
    let mut weight = vec![0.0f32; WIDTH * 3 * area]; // [D, 3, p, p]
    for (c, channel) in COLOUR.enumerate() {
        weight[(channel * 3 + c) * area..][..area].fill(noise::COLOUR_GAIN as f32);
    }
    for (channel, (u, v)) in TEXTURE.zip(frequencies()) {
        for c in 0..3 {
            for y in 0..PATCH_PX {
                for x in 0..PATCH_PX {
                    // Halved because inputs are in ±1.
                    weight[(channel * 3 + c) * area + y * PATCH_PX + x] = (dct(u, y) * dct(v, x) / 3.0 * 0.5) as f32;
                }
            }
        }
    }
    params.insert("patch_embed.weight", [WIDTH, 3 * area], weight);
    params.insert("patch_embed.bias", [WIDTH], vec![0.0; WIDTH]);
}
