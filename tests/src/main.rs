//! The binary under test: the same program as `vitals`, built in this package so that its tests can find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    vitals::main()
}
