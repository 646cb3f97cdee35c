//! The tile kernel on every x86-64 Linux: where the processor has no tiles, its instructions are emulated when they trap.

mod emulator;

use std::cell::Cell;

use super::Permitted;
use crate::cpu::bf16::block::{Kernel, Multiplier};
use crate::cpu::bf16::proof::multiplies;
use crate::cpu::bf16::tests::deviation;

thread_local! {
    /// Whether the tests of this thread may use tiles although the machine has none.
    pub(super) static EMULATED: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread can use tiles, real ones where there are any.
pub(crate) fn have_tiles() {
    if Permitted::ask().is_err() {
        emulator::install();
        EMULATED.set(true);
    }
}

/// Breaks when a tile is loaded from the wrong place, a step is left out, or rows beyond the sixteenth are forgotten.
#[test]
fn tiles_multiply() {
    have_tiles();
    let Some(multiplier) = Multiplier::new(Kernel::Amx) else { panic!("no tiles") };
    for k in [1, 31, 32, 33, 160] {
        for rows in [1, 15, 16, 17, 32] {
            let found = deviation(&multiplier, rows, k);
            assert!(found < 1e-6, "{rows} rows, k = {k}: {found}");
        }
    }
}

/// What is asked of real tiles before anything else is.
#[test]
fn tiles_pass_the_proof() {
    have_tiles();
    let Some(multiplier) = Multiplier::new(Kernel::Amx) else { panic!("no tiles") };
    assert!(multiplies(|left, right, rows, out| multiplier.block(left, right, rows, out)));
}

#[test]
fn a_machine_without_tiles_says_why() {
    match (Permitted::ask(), Kernel::Amx.refusal()) {
        (Ok(_), None) => assert_eq!(Kernel::best(), Kernel::Amx),
        (Err(refusal), Some(said)) => {
            assert_eq!(said, refusal.to_string());
            assert!(Multiplier::new(Kernel::Amx).is_none() && Kernel::Amx.check().is_err());
            assert_ne!(Kernel::best(), Kernel::Amx);
        }
        (answer, said) => panic!("{answer:?}, but {said:?}"),
    }
}
