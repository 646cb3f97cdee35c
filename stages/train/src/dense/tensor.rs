//! The parameters of a head.

use super::recipe::Init;
use crate::random::SplitMix64;

/// A named list of numbers with a shape, in PyTorch's layout.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Tensor {
    pub(crate) fn filled(name: &'static str, shape: &[usize], value: f32) -> Self {
        Self { name, shape: shape.to_vec(), values: vec![value; shape.iter().product()] }
    }

    /// Uniform in ±bound.
    pub(crate) fn uniform(name: &'static str, shape: &[usize], bound: f64, random: &mut SplitMix64) -> Self {
        let mut tensor = Self::filled(name, shape, 0.0);
        for v in &mut tensor.values {
            *v = (bound * (2.0 * random.unit() - 1.0)) as f32;
        }
        tensor
    }

    /// Such as `150x384`.
    pub(crate) fn shape_name(&self) -> String {
        self.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
    }
}

/// `weight` and `bias` of a 1×1 convolution.
pub(crate) fn convolution(outputs: usize, inputs: usize, init: Init, random: &mut SplitMix64) -> [Tensor; 2] {
    let (weight, bias) = ([outputs, inputs], [outputs]);
    match init {
        Init::Zero => [Tensor::filled("weight", &weight, 0.0), Tensor::filled("bias", &bias, 0.0)],
        Init::Normal(std) => {
            let mut tensor = Tensor::filled("weight", &weight, 0.0);
            for v in &mut tensor.values {
                *v = (std * random.normal()) as f32;
            }
            [tensor, Tensor::filled("bias", &bias, 0.0)]
        }
        Init::Uniform => {
            let bound = (inputs as f64).sqrt().recip();
            [Tensor::uniform("weight", &weight, bound, random), Tensor::uniform("bias", &bias, bound, random)]
        }
    }
}
