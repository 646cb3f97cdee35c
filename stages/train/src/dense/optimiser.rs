//! How parameters move against their gradients.
//!
//! ```text
//! Adam   p ← p·(1 − lr·wd);  m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²
//!        p ← p − lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)          decay is decoupled; with wd = 0 this is plain Adam
//! SGD    g ← g + wd·p;  b ← μ·b + g (b = g at first);  p ← p − lr·b
//! clip   g ← g·min(1, c/(‖g‖ + 1e-6)), the norm over all parameters
//! ```
//!
//! Source: PyTorch `optim/adamw.py`, `optim/sgd.py`, `nn/utils/clip_grad.py`; ε = 1e-8 throughout.

use serde::{Deserialize, Serialize};

use super::error::DenseError;
use super::tensor::Tensor;

const EPS: f64 = 1e-8;

/// A rule of motion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimiser {
    /// Adam, with decoupled decay (`AdamW`).
    Adam {
        /// Weight of the past in the mean.
        beta1: f64,
        /// Weight of the past in the square.
        beta2: f64,
        /// Decay.
        weight_decay: f64,
        /// Whether tensors of one axis decay too.
        decay_biases: bool,
        /// β₁ goes .95 → .85 → .95 (mmcv's one-cycle momentum), whatever `beta1` says.
        cycle_beta1: bool,
    },
    /// Gradient descent with momentum.
    Sgd {
        /// Weight of the past.
        momentum: f64,
        /// Decay.
        weight_decay: f64,
    },
}

impl Optimiser {
    /// Adam with the usual weights of the past; with a decay it is `AdamW`, on every tensor.
    pub fn adam(weight_decay: f64) -> Self {
        Self::Adam { beta1: 0.9, beta2: 0.999, weight_decay, decay_biases: true, cycle_beta1: false }
    }

    pub(crate) fn check(&self) -> Result<(), DenseError> {
        let part = |v: f64| (0.0..1.0).contains(&v);
        let all = match *self {
            Self::Adam { beta1, beta2, weight_decay, .. } => {
                vec![("beta1", beta1, part(beta1)), ("beta2", beta2, part(beta2)), decay(weight_decay)]
            }
            Self::Sgd { momentum, weight_decay } => vec![("momentum", momentum, part(momentum)), decay(weight_decay)],
        };
        match all.into_iter().find(|(_, _, fine)| !fine) {
            Some((name, value, _)) => Err(DenseError::Range { name, value }),
            None => Ok(()),
        }
    }

    /// Numbers it keeps for each parameter.
    pub(crate) fn memories(&self) -> usize {
        match self {
            Self::Adam { .. } => 2,
            Self::Sgd { .. } => 1,
        }
    }

    /// One step, numbered from 0. `memory` has [`Self::memories`] lists for each tensor, zeros at first.
    pub(crate) fn step(
        &self,
        tensors: &mut [Tensor],
        gradients: &[Vec<f32>],
        memory: &mut [Vec<f32>],
        (rate, beta1, step): (f64, Option<f64>, u64),
    ) {
        match *self {
            Self::Adam { beta1: fixed, beta2, weight_decay, decay_biases, .. } => {
                let beta1 = beta1.unwrap_or(fixed);
                let t = (step + 1) as f64;
                let size = (rate / (1.0 - beta1.powf(t))) as f32;
                let root = (1.0 - beta2.powf(t)).sqrt() as f32;
                let (new, kept, fresh) = ((1.0 - beta1) as f32, beta2 as f32, (1.0 - beta2) as f32);
                for ((tensor, g), memory) in tensors.iter_mut().zip(gradients).zip(memory.chunks_exact_mut(2)) {
                    let decays = decay_biases || tensor.shape.len() > 1;
                    let keep = if decays { (1.0 - rate * weight_decay) as f32 } else { 1.0 };
                    let [m, v] = memory else { continue };
                    for (((p, g), m), v) in tensor.values.iter_mut().zip(g).zip(m).zip(v) {
                        *m += new * (g - *m);
                        *v = kept * *v + fresh * g * g;
                        *p = *p * keep - size * *m / (v.sqrt() / root + EPS as f32);
                    }
                }
            }
            Self::Sgd { momentum, weight_decay } => {
                let (momentum, decay, rate) = (momentum as f32, weight_decay as f32, rate as f32);
                for ((tensor, g), b) in tensors.iter_mut().zip(gradients).zip(memory) {
                    for ((p, g), b) in tensor.values.iter_mut().zip(g).zip(b) {
                        *b = momentum * *b + (g + decay * *p);
                        *p -= rate * *b;
                    }
                }
            }
        }
    }
}

fn decay(value: f64) -> (&'static str, f64, bool) {
    ("weight_decay", value, value >= 0.0 && value.is_finite())
}

/// Shortens the gradients, all together, to a length.
pub(crate) fn clip(gradients: &mut [Vec<f32>], longest: f64) {
    let squares: f64 = gradients.iter().flatten().map(|g| f64::from(*g) * f64::from(*g)).sum();
    let factor = (longest / (squares.sqrt() + 1e-6)).min(1.0) as f32;
    if factor < 1.0 {
        gradients.iter_mut().flatten().for_each(|g| *g *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: f32, shape: Vec<usize>) -> Tensor {
        Tensor { name: "w", shape, values: vec![value] }
    }

    /// Closed form: Adam's first step is lr·sign(g) whatever the size of g, after the decay.
    #[test]
    fn adam_begins_with_a_step_of_the_rate() {
        for (shape, decay_biases, want) in [
            (vec![1, 1], false, 2.0 * (1.0 - 0.1 * 0.5) - 0.1),
            (vec![1], false, 2.0 - 0.1),
            (vec![1], true, 2.0 * (1.0 - 0.1 * 0.5) - 0.1),
        ] {
            let rule =
                Optimiser::Adam { beta1: 0.9, beta2: 0.999, weight_decay: 0.5, decay_biases, cycle_beta1: false };
            let (mut tensors, mut memory) = ([one(2.0, shape)], vec![vec![0.0]; 2]);
            rule.step(&mut tensors, &[vec![123.0]], &mut memory, (0.1, None, 0));
            assert!((tensors[0].values[0] - want).abs() < 1e-6, "{:?} {want}", tensors[0]);
        }
    }

    /// Closed form: two steps of momentum ½ on a gradient of 1 are 1 and 1½.
    #[test]
    fn momentum_adds_up() {
        let rule = Optimiser::Sgd { momentum: 0.5, weight_decay: 0.0 };
        let (mut tensors, mut memory) = ([one(10.0, vec![1])], vec![vec![0.0]]);
        rule.step(&mut tensors, &[vec![1.0]], &mut memory, (1.0, None, 0));
        assert_eq!(tensors[0].values, [9.0]);
        rule.step(&mut tensors, &[vec![1.0]], &mut memory, (1.0, None, 1));
        assert_eq!(tensors[0].values, [7.5]);
    }

    #[test]
    fn long_gradients_are_shortened_together_and_short_ones_kept() {
        let mut gradients = vec![vec![3.0], vec![0.0, 4.0]];
        clip(&mut gradients, 10.0);
        assert_eq!(gradients, [vec![3.0], vec![0.0, 4.0]]);
        clip(&mut gradients, 1.0);
        assert!((gradients[0][0] - 0.6).abs() < 1e-6 && (gradients[1][1] - 0.8).abs() < 1e-6);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(Optimiser::adam(0.0).check().is_ok() && Optimiser::adam(f64::NAN).check().is_err());
        assert!(Optimiser::Sgd { momentum: 1.0, weight_decay: 0.0 }.check().is_err());
    }
}
