//! The state dict in a pickled checkpoint: where it is nested, and what its tensors are.
//!
//! Training code saves `{"model": …, "optimizer": …}`, `{"teacher": {…}, "student": {…}}` or
//! `{"state_dict": {…}}`. The first dict on that path that holds tensors is the state dict; what lies beside the path
//! is reported, not read. A tensor is `_rebuild_tensor_v2(storage, offset, shape, strides, …)`.

use super::pickle::{Global, Id, Pickle, Value};

/// A tensor as the pickle describes it; offsets and strides count elements of the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Name of the storage in the archive.
    pub(super) storage: String,
    pub(super) element: Global,
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Tensors by name, and the entries beside the state dict.
#[derive(Debug, Default)]
pub(super) struct StateDict {
    pub(super) tensors: Vec<(String, View)>,
    pub(super) aside: Vec<String>,
}

/// Keys under which training code keeps the weights, best first: the teacher is what DINO evaluates.
const NESTS: [&str; 7] = ["state_dict", "model", "teacher", "model_ema", "student", "module", "backbone"];

/// Dicts within dicts that are looked through.
const MAX_NESTING: usize = 4;

/// Most axes of a tensor.
const MAX_AXES: usize = 8;

/// Finds the state dict.
pub(super) fn find(pickle: &Pickle) -> Result<StateDict, String> {
    let mut dict = pickle.root;
    let mut aside = Vec::new();
    for _ in 0..=MAX_NESTING {
        let Value::Dict(entries) = pickle.value(dict) else { break };
        let named = || entries.iter().filter_map(|&(key, value)| text(pickle, key).map(|key| (key, value)));
        let mut tensors = Vec::new();
        for (key, value) in named() {
            if let Some(view) = tensor(pickle, value).map_err(|problem| format!("tensor `{key}`: {problem}"))? {
                tensors.push((key.to_owned(), view));
            }
        }
        if !tensors.is_empty() {
            return Ok(StateDict { tensors, aside });
        }
        let nested =
            |nest: &&str| named().find(|(key, value)| key == nest && matches!(pickle.value(*value), Value::Dict(_)));
        let Some((nest, inner)) = NESTS.iter().find_map(nested) else { break };
        aside.extend(named().map(|(key, _)| key.to_owned()).filter(|key| key != nest));
        dict = inner;
    }
    Err(format!("no tensors by name at the top or under {}; save the state dict itself", NESTS.join(", ")))
}

fn text(pickle: &Pickle, id: Id) -> Option<&str> {
    match pickle.value(id) {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// The tensor that a value is, if it is one.
fn tensor(pickle: &Pickle, id: Id) -> Result<Option<View>, String> {
    let arguments = |id: Id| match pickle.value(id) {
        Value::Tuple(items) => items.as_slice(),
        _ => &[],
    };
    let (global, args) = match pickle.value(id) {
        Value::Applied(Global::Parameter, args) => match arguments(*args).first().map(|&data| pickle.value(data)) {
            Some(Value::Applied(global, args)) => (*global, *args),
            _ => return Err("a parameter without a tensor".to_owned()),
        },
        Value::Applied(global, args) => (*global, *args),
        _ => return Ok(None),
    };
    if global != Global::TensorV2 {
        return Ok(None);
    }
    let [storage, offset, shape, strides, ..] = arguments(args) else {
        return Err("too few arguments".to_owned());
    };
    let Value::Persistent(reference) = pickle.value(*storage) else {
        return Err("its storage is not in the file".to_owned());
    };
    let [_, kind, key, ..] = arguments(*reference) else {
        return Err("its storage is not named".to_owned());
    };
    let (Value::Global(element), Some(storage)) = (pickle.value(*kind), text(pickle, *key)) else {
        return Err("its storage is not named".to_owned());
    };
    let Value::Int(offset) = pickle.value(*offset) else {
        return Err("its offset is not a number".to_owned());
    };
    let offset = u64::try_from(*offset).map_err(|_| "its offset is negative".to_owned())?;
    let (shape, strides) = (sizes(pickle, *shape)?, sizes(pickle, *strides)?);
    if shape.len() != strides.len() {
        return Err("it has more axes than strides".to_owned());
    }
    Ok(Some(View { storage: storage.to_owned(), element: *element, offset, shape, strides }))
}

fn sizes(pickle: &Pickle, id: Id) -> Result<Vec<usize>, String> {
    let (Value::Tuple(items) | Value::List(items)) = pickle.value(id) else {
        return Err("its shape is not a tuple".to_owned());
    };
    if items.len() > MAX_AXES {
        return Err(format!("{} axes", items.len()));
    }
    let size = |&id: &Id| match pickle.value(id) {
        Value::Int(n) => usize::try_from(*n).map_err(|_| format!("a size of {n}")),
        _ => Err("a size that is not a number".to_owned()),
    };
    items.iter().map(size).collect()
}
