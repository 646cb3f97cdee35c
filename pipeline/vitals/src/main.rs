//! The binary; everything is in the library, so that the acceptance tests can build it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    vitals::main()
}
