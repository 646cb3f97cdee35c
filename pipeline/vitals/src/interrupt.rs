//! Ctrl-C and SIGTERM: the first asks the run to stop after the current images, the second ends it at once.
//!
//! Either way nothing is lost: finished shards are on the disk, and the same command goes on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::{Code, Failure};

/// A flag that the signals set.
pub fn flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Order matters: the shutdown looks at the flag before this signal sets it.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|e| Failure::new(Code::Bug, e, "signal handler", "please report this"))?;
    }
    Ok(flag)
}
