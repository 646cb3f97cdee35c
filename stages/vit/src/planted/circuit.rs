//! The parts that planted weights are made of: hidden units and attention heads that read through `LayerNorm` exactly.
//!
//! The constants ±K, K = √(D/2), make σ² = 1 + S/D with S the squared norm of the rest, so `LN(x)ᵢ = ρ·(xᵢ − mean)` with
//! ρ = 1/√(1 + S/D), close to 1. Each read of channel i with weight w also reads the always-zero channel with −w:
//! `LN(x)ᵢ − LN(x)_Z = ρ·xᵢ`, exactly; the mean, which depends on everything, cancels. Nothing here reads any other way.

use super::channels::{CODES, WIDTH, ZERO};
use crate::weights::Params;

/// Heads of 32 channels.
pub(super) const HEADS: usize = 4;
pub(super) const HEAD_SIZE: usize = WIDTH / HEADS;
/// Hidden units of a block.
pub(super) const HIDDEN: usize = 512;
/// The usual ρ of an ordinary token, by which reads of a value are divided.
pub(super) const RHO: f64 = 0.98;

/// (channel, weight) pairs.
pub(super) type Weighted = Vec<(usize, f64)>;

/// Weights of one block, `[out, in]`, zero until something is planted.
pub(super) struct Block {
    qkv: Vec<f64>,
    qkv_bias: Vec<f64>,
    proj: Vec<f64>,
    fc1: Vec<f64>,
    fc1_bias: Vec<f64>,
    fc2: Vec<f64>,
    /// Hidden units in use.
    units: usize,
}

/// One dimension of a head's queries or keys: what it reads, and a constant.
pub(super) struct Score {
    pub reads: Weighted,
    pub bias: f64,
}

/// One dimension of a head's values: what it reads, and where the attended value goes.
pub(super) struct Value {
    pub reads: Weighted,
    pub writes: Weighted,
}

fn read(row: &mut [f64], reads: &[(usize, f64)]) {
    for &(channel, weight) in reads {
        row[channel] += weight;
        row[ZERO] -= weight;
    }
}

impl Block {
    pub fn new() -> Self {
        Block {
            qkv: vec![0.0; 3 * WIDTH * WIDTH],
            qkv_bias: vec![0.0; 3 * WIDTH],
            proj: vec![0.0; WIDTH * WIDTH],
            fc1: vec![0.0; HIDDEN * WIDTH],
            fc1_bias: vec![0.0; HIDDEN],
            fc2: vec![0.0; WIDTH * HIDDEN],
            units: 0,
        }
    }

    /// A hidden unit: `GELU(Σ reads + bias)` is added to each written channel times its weight.
    pub fn unit(&mut self, reads: &[(usize, f64)], bias: f64, writes: &[(usize, f64)]) {
        let unit = self.units;
        assert!(unit < HIDDEN, "a planted block has more units than room");
        self.units += 1;
        read(&mut self.fc1[unit * WIDTH..][..WIDTH], reads);
        self.fc1_bias[unit] = bias;
        for &(channel, weight) in writes {
            self.fc2[channel * HIDDEN + unit] += weight;
        }
    }

    /// `clip((LN(channel) − low)/(high − low), 0, 1)` times each write weight; `gain` is the sharpness of the corners.
    pub fn clip(&mut self, channel: usize, (low, high): (f64, f64), gain: f64, writes: &[(usize, f64)]) {
        let slope = gain / (high - low);
        for (corner, sign) in [(low, 1.0), (high, -1.0)] {
            let scaled: Weighted = writes.iter().map(|&(c, w)| (c, sign * w / gain)).collect();
            self.unit(&[(channel, slope)], -slope * corner, &scaled);
        }
    }

    /// Head `head`: dimension d of its queries, keys and values is entry d of each list.
    pub fn head(&mut self, head: usize, queries: &[Score], keys: &[Score], values: &[Value]) {
        assert!(queries.len().max(keys.len()).max(values.len()) <= HEAD_SIZE, "a planted head has too many dimensions");
        for (part, scores) in [queries, keys].into_iter().enumerate() {
            for (dim, score) in scores.iter().enumerate() {
                let row = part * WIDTH + head * HEAD_SIZE + dim;
                read(&mut self.qkv[row * WIDTH..][..WIDTH], &score.reads);
                self.qkv_bias[row] = score.bias;
            }
        }
        for (dim, value) in values.iter().enumerate() {
            let column = head * HEAD_SIZE + dim;
            read(&mut self.qkv[(2 * WIDTH + column) * WIDTH..][..WIDTH], &value.reads);
            for &(channel, weight) in &value.writes {
                self.proj[channel * WIDTH + column] += weight;
            }
        }
    }

    /// Stores the block under its canonical names; both norms are plain.
    pub fn store(&self, params: &mut Params, index: usize) {
        let f32s = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        let mut put = |part: &str, shape: &[usize], values: Vec<f32>| {
            params.insert(format!("blocks.{index}.{part}"), shape, values);
        };
        for norm in ["norm1", "norm2"] {
            put(&format!("{norm}.weight"), &[WIDTH], vec![1.0; WIDTH]);
            put(&format!("{norm}.bias"), &[WIDTH], vec![0.0; WIDTH]);
        }
        put("attn.qkv.weight", &[3 * WIDTH, WIDTH], f32s(&self.qkv));
        put("attn.qkv.bias", &[3 * WIDTH], f32s(&self.qkv_bias));
        put("attn.proj.weight", &[WIDTH, WIDTH], f32s(&self.proj));
        put("attn.proj.bias", &[WIDTH], vec![0.0; WIDTH]);
        put("mlp.fc1.weight", &[HIDDEN, WIDTH], f32s(&self.fc1));
        put("mlp.fc1.bias", &[HIDDEN], f32s(&self.fc1_bias));
        put("mlp.fc2.weight", &[WIDTH, HIDDEN], f32s(&self.fc2));
        put("mlp.fc2.bias", &[WIDTH], vec![0.0; WIDTH]);
    }
}

/// Sink: the dimension that sends a token to CLS, whose value is 0 in every head, unless `channel` is set on it.
///
/// Query `25·(1 − 1.25·LN(channel))` against key `25·LN(CLS)`: a logit of 110 without the mark, where everything else
/// underflows to exactly 0 in f32, and a negative one with it for any ρ above 0.8.
pub(super) fn sink(channel: usize) -> (Score, Score) {
    const GAIN: f64 = 25.0;
    const OVERSHOOT: f64 = 1.25;
    let query = Score { reads: vec![(channel, -GAIN * OVERSHOOT)], bias: GAIN };
    let key = Score { reads: vec![(super::channels::CLS, GAIN)], bias: 0.0 };
    (query, key)
}

/// One value dimension per code channel: channel k of `source` goes to channel k of `target`.
pub(super) fn carry(source: usize, read_gain: f64, target: usize, write_gain: f64) -> Vec<Value> {
    (0..CODES).map(|k| Value { reads: vec![(source + k, read_gain)], writes: vec![(target + k, write_gain)] }).collect()
}
