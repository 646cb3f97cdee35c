//! A panic is our fault: three lines and exit code 70, like every other failure.
//!
//! Libraries that panic on damaged files are caught where they are called; the default hook would still print, so this
//! one only remembers.

use std::panic::{self, UnwindSafe};
use std::sync::{Mutex, PoisonError};

use crate::failure::{Code, Failure};

/// What the last panic said, and where.
static LAST: Mutex<Option<(String, String)>> = Mutex::new(None);

/// Runs the program; a panic becomes a failure.
pub fn caught(program: impl FnOnce() -> Result<(), Failure> + UnwindSafe) -> Result<(), Failure> {
    panic::set_hook(Box::new(|info| {
        let what = info.payload_as_str().unwrap_or("panic").to_owned();
        let at = info.location().map_or_else(String::new, ToString::to_string);
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some((what, at));
    }));
    panic::catch_unwind(program).unwrap_or_else(|_| {
        let (what, at) = LAST.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        Err(Failure::new(
            Code::Bug,
            what,
            at,
            "please report this with the command; finished shards are kept, run it again",
        ))
    })
}
