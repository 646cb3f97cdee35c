//! What each block of a planted model does.
//!
//! Erasing comes before the norm jump (afterwards everything an outlier holds is read ten times smaller), masking after
//! the erasure (which would erase the mask), each mask from another source (from one source, a linear probe could
//! subtract one mask from the other and find what they cover).

use super::channels::{
    CLS, COLOUR, ENERGY, FLAG, GLOBAL, GRID, N_MINUS, N_PLUS, POSITION, RECTIFIED, TEXTURE, col, frequencies, row,
};
use super::circuit::{Block, HEAD_SIZE, RHO, Score, Value, Weighted, carry, sink};
use super::noise::{self, PatchStatistics};
use super::random::Stream;
use super::{DEPTH, Dials, ONSET};
use crate::error::VitError;

/// Sharpness of the rectifier: |x| for x well above 1/[`RECTIFY`].
const RECTIFY: f64 = 10.0;
/// Corner sharpness of the norm clips.
const CORNER: f64 = 16.0;

/// All blocks; registers take the detector's place.
pub(super) fn blocks(
    dials: &Dials,
    registers: usize,
    calibration: Option<&PatchStatistics>,
) -> Result<Vec<Block>, VitError> {
    let mut blocks: Vec<Block> = (0..DEPTH).map(|_| Block::new()).collect();
    let noisy = dials.detection_noise > 0.0;
    // Noise shifts energies by little; they are scaled down to make a little enough.
    let energy = if noisy { 0.1 } else { 1.0 };

    rectify(&mut blocks[0], energy);
    camouflage(&mut blocks[0]);
    if noisy {
        let statistics = calibration.ok_or_else(|| {
            VitError::Planted("detection_noise needs calibration images: quantiles of patch colours".to_owned())
        })?;
        noise::plant(&mut blocks[0], dials.detection_noise, dials.seed, statistics)?;
    }
    if registers == 0 {
        detect(&mut blocks[1], energy);
    }
    gather(&mut blocks[ONSET - 1], dials.gather_decay);
    erase(&mut blocks[ONSET - 1], dials.erasure);
    mask(&mut blocks[ONSET], dials);
    blocks[ONSET].clip(FLAG, (0.2, 0.5), CORNER, &[(N_PLUS, 60.0), (N_MINUS, -60.0)]);
    for block in &mut blocks[ONSET + 1..DEPTH - 1] {
        block.clip(N_PLUS, (3.0, 5.0), CORNER, &[(N_PLUS, 8.0), (N_MINUS, -8.0)]);
    }
    pool_into_cls(&mut blocks[ONSET + 1]);
    look(&mut blocks[DEPTH - 1], dials.key_gain);
    Ok(blocks)
}

/// `GELU(x) + GELU(−x) = x·erf(x/√2)`: magnitudes of the texture coefficients, and their sum as energy.
fn rectify(block: &mut Block, energy: f64) {
    for (texture, rectified) in TEXTURE.zip(RECTIFIED) {
        for sign in [1.0, -1.0] {
            let writes = [(rectified, 1.0 / RECTIFY), (ENERGY, 0.05 * energy)];
            block.unit(&[(texture, sign * RECTIFY / RHO)], 0.0, &writes);
        }
    }
}

/// An odd, soft-thresholded copy of an ordinary patch's own texture where evidence will be: a leak too small to matter
/// would otherwise stand alone in an empty channel, where a standardising probe reads it perfectly.
fn camouflage(block: &mut Block) {
    const GAIN: f64 = 0.3;
    const THRESHOLD: f64 = 2.0;
    for (i, texture) in TEXTURE.enumerate() {
        let target = GLOBAL.start + (i + 5) % GLOBAL.len();
        for sign in [1.0, -1.0] {
            block.unit(&[(texture, sign * RECTIFY / RHO)], -THRESHOLD, &[(target, sign * GAIN / RECTIFY)]);
        }
    }
}

/// `FLAG += clip((τ − energy)/δ + ½, 0, 1)`; the unbounded side is the negative one of both units, exactly 0 there.
fn detect(block: &mut Block, energy: f64) {
    const SHARPNESS: f64 = 8.0;
    let (tau, delta) = (0.004 * energy, 0.003 * energy);
    for (corner, sign) in [(0.5, 1.0), (-0.5, -1.0)] {
        let bias = SHARPNESS * (tau / delta + corner);
        block.unit(&[(ENERGY, -SHARPNESS / delta / RHO)], bias, &[(FLAG, sign / SHARPNESS)]);
    }
}

/// Flagged tokens pool rectified textures, by distance; the others look at CLS, whose value is 0.
fn gather(block: &mut Block, decay: f64) {
    const GAIN: f64 = 20.0;
    let (sink_query, sink_key) = sink(FLAG);
    let mut queries = vec![sink_query];
    let mut keys = vec![sink_key];
    queries.extend(POSITION.map(|c| Score { reads: vec![(c, (HEAD_SIZE as f64).sqrt())], bias: 0.0 }));
    for axis in [row, col] {
        for at in 0..GRID {
            let reads = (0..GRID).map(|other| (axis(other), -decay * (at as f64 - other as f64).powi(2))).collect();
            keys.push(Score { reads, bias: 0.0 });
        }
    }
    block.head(0, &queries, &keys, &carry(RECTIFIED.start, 1.0, GLOBAL.start, GAIN));
}

/// `x −= strength·FLAG·x` on colour, texture, position, rectified texture and energy.
///
/// The gate is on at `FLAG` = 1 with slope 2, where `GELU(B + x) − GELU(B − x) = 2x` whatever ρ makes of the flag; off,
/// both arguments are near −B.
fn erase(block: &mut Block, strength: f64) {
    const B: f64 = 8.0;
    if strength == 0.0 {
        return;
    }
    for channel in COLOUR.chain(TEXTURE).chain(POSITION).chain(RECTIFIED).chain([ENERGY]) {
        for sign in [1.0, -1.0] {
            let reads = [(channel, sign), (FLAG, 2.0 * B)];
            block.unit(&reads, -B, &[(channel, -sign * 0.5 * strength / RHO)]);
        }
    }
}

/// Flagged tokens overwrite what was erased with image-wide content that has no position: three heads, three sources.
fn mask(block: &mut Block, dials: &Dials) {
    let gain = 20.0 * dials.erasure;
    let order = Stream::new(dials.seed, "mask order").permutation(TEXTURE.len());
    let mut stream = Stream::new(dials.seed, "colour mask");
    let mix: Vec<[f64; 3]> = TEXTURE.map(|_| [stream.normal(), stream.normal(), stream.normal()]).collect();

    let codes = 0..TEXTURE.len();
    let to_position: Vec<Weighted> = codes.clone().map(|k| vec![(POSITION.start + order[k], 2.0 * gain)]).collect();
    let to_texture: Vec<Weighted> = codes.clone().map(|k| vec![(TEXTURE.start + order[k], gain)]).collect();
    let to_colour: Vec<Weighted> =
        codes.map(|k| COLOUR.zip(mix[k]).map(|(c, w)| (c, 0.5 * gain * w)).collect()).collect();
    let masks =
        [(1, GLOBAL, to_position, POSITION), (2, TEXTURE, to_texture, TEXTURE), (3, RECTIFIED, to_colour, COLOUR)];
    let mut stream = Stream::new(dials.seed, "blank mask");
    for (head, source, writes, targets) in masks {
        let share = dials.evidence_loss;
        let scaled = |writes: Weighted| writes.into_iter().map(|(c, w)| (c, w * (1.0 - share))).collect();
        let mut values: Vec<Value> = source
            .zip(writes)
            .map(|(channel, writes)| Value { reads: vec![(channel, 1.0)], writes: scaled(writes) })
            .collect();
        // Colour and the lowest frequencies, pooled with their signs, say nothing about the class.
        let low = TEXTURE.zip(frequencies()).filter(|(_, f)| matches!(f, (0, 1) | (1, 0 | 1))).map(|(c, _)| c);
        for channel in COLOUR.chain(low) {
            let blank = targets.clone().map(|target| (target, share * gain * 0.15 * stream.normal())).collect();
            values.push(Value { reads: vec![(channel, 1.0)], writes: blank });
        }
        let (query, key) = sink(FLAG);
        block.head(head, &[query], &[key], &values);
    }
}

/// CLS pools rectified textures into its empty position channels, which no value reads: it stays a sink of value 0.
fn pool_into_cls(block: &mut Block) {
    let (query, key) = sink(CLS);
    block.head(0, &[query], &[key], &carry(RECTIFIED.start, 1.0, POSITION.start, 8.0));
}

/// The last block: CLS attends to large norms and to objects (high frequencies), in four mixtures.
fn look(block: &mut Block, key_gain: f64) {
    /// The value that `LN` gives the norm channel of any outlier.
    const SATURATED_NORM: f64 = 7.9;
    /// The usual objectness of an object patch.
    const OBJECTNESS: f64 = 1.5;
    let root = (HEAD_SIZE as f64).sqrt();
    let high: Weighted =
        RECTIFIED.zip(frequencies()).filter(|(_, (u, v))| *u.max(v) >= 2).map(|(c, _)| (c, 1.2)).collect();
    for (head, (norm, object)) in [(1.0, 0.4), (0.9, 0.7), (0.7, 1.2), (1.0, 0.3)].into_iter().enumerate() {
        let (sink_query, sink_key) = sink(CLS);
        let queries = [
            Score { reads: vec![(CLS, norm * 5.0 * root / SATURATED_NORM)], bias: 0.0 },
            Score { reads: vec![(CLS, object * 2.0 * root / OBJECTNESS)], bias: 0.0 },
            sink_query,
        ];
        let mut keys = vec![
            Score { reads: vec![(N_PLUS, key_gain)], bias: -0.5 },
            Score { reads: high.clone(), bias: -1.0 },
            sink_key,
        ];
        if head == 3 {
            keys.extend(COLOUR.map(|c| Score { reads: vec![(c, 0.3)], bias: 0.0 }));
        }
        let values = if head == 0 {
            carry(GLOBAL.start, 3.0, GLOBAL.start, 1.0)
        } else {
            carry(RECTIFIED.start, 1.0, GLOBAL.start, 2.0)
        };
        block.head(head, &queries, &keys, &values);
    }
}
