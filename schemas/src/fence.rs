//! A fence around the readers of Parquet, which return errors and, on some damaged files, panic (a dictionary that a
//! page refers to and that is not there). A damaged file is an error value like any other.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a reader; its panic becomes an error that says what the panic said.
///
/// Whatever the call was changing must not be used after an error.
pub fn fenced<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| said(&*panic).to_owned())
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("its reader gave up")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_words() {
        assert_eq!(fenced(|| 3), Ok(3));
        assert_eq!(fenced(|| panic!("no dictionary")), Err::<(), _>("no dictionary".to_owned()));
        assert_eq!(fenced(|| panic!("page {}", 7)), Err::<(), _>("page 7".to_owned()));
    }
}
