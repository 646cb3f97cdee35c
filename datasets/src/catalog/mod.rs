//! placeholder
use crate::{DatasetError, DatasetSpec, Source};
/// One.
pub struct Dataset { /// n
 pub name: &'static str, /// o
 pub open: fn(&DatasetSpec) -> Result<Box<dyn Source>, DatasetError> }
/// f
pub fn find(_: &str) -> Result<&'static Dataset, DatasetError> { Err(DatasetError::BadSplit { text: String::new() }) }
pub(crate) fn nearest<'a>(_name: &str, _names: impl Iterator<Item = &'a str>) -> String { String::new() }
