//! Canonical tensors by name: what every checkpoint becomes and every executor reads.
//!
//! Linear weights are `[out, in]` as in `PyTorch`; the names are those of the original `ViT` code,
//! listed with their shapes in [`super`].

use std::collections::BTreeMap;

use crate::error::VitError;

/// A dense row-major array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Shape.
    pub shape: Vec<usize>,
    /// Values.
    pub data: Vec<f32>,
}

/// The parameters of one model by canonical name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    tensors: BTreeMap<String, Array>,
}

impl Params {
    /// The values of `name`, which must have this shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<&[f32], VitError> {
        let parameter = |problem: String| VitError::Parameter { name: name.to_owned(), problem };
        let array = self.tensors.get(name).ok_or_else(|| parameter("missing".to_owned()))?;
        if array.shape != shape {
            return Err(parameter(format!("has shape {:?}, the model needs {shape:?}", array.shape)));
        }
        if array.data.len() != shape.iter().product::<usize>() {
            return Err(parameter(format!("has {} values for shape {shape:?}", array.data.len())));
        }
        Ok(&array.data)
    }

    /// Sets `name`, replacing what was there.
    pub fn insert(&mut self, name: impl Into<String>, shape: impl Into<Vec<usize>>, data: Vec<f32>) {
        self.tensors.insert(name.into(), Array { shape: shape.into(), data });
    }
}
