//! A block by AMX tiles: 2 × 2 tiles of 16 × 16 sums, over 32 values of k a step.
//!
//! Stable Rust has no intrinsics for tiles, so this is assembly; all of it is in this file. Tiles are state of the thread
//! and cost the kernel 8 KiB per context switch while they are in use, so a forward pass configures them once and
//! releases them at its end.

use std::fmt;

use super::layout::{Block, Line};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::proof::multiplies;

/// Why a machine's tiles cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not an x86-64 Linux build.
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    Platform,
    /// The processor has no tiles, or none for bf16.
    Processor,
    /// The operating system, debugger or emulator does not save tiles on a switch.
    NotSaved,
    /// The kernel refused the permission; an error number.
    Permission(i64),
    /// It multiplies otherwise than the manual says.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Wrong,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
            Refusal::Platform => f.write_str("needs Linux on x86-64"),
            Refusal::Processor => f.write_str("the processor has no amx-tile with amx-bf16"),
            Refusal::NotSaved => f.write_str("the operating system does not enable tile state (XCR0)"),
            Refusal::Permission(errno) => write!(f, "the kernel refused tile state (error {})", -errno),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Refusal::Wrong => f.write_str("the processor's tiles gave a wrong product"),
        }
    }
}

static ANSWER: std::sync::OnceLock<Result<(), Refusal>> = std::sync::OnceLock::new();

/// Proof that this process may use tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permitted(());

impl Permitted {
    /// Asks the processor, the operating system and the kernel; the answer is kept.
    pub fn ask() -> Result<Self, Refusal> {
        #[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
        if tests::EMULATED.get() {
            return Ok(Permitted(()));
        }
        ANSWER.get_or_init(ask).map(Permitted)
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn ask() -> Result<(), Refusal> {
    Err(Refusal::Platform)
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn ask() -> Result<(), Refusal> {
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const OSXSAVE: u32 = 1 << 27;
    /// Tile configuration and tile data.
    const XCR0_TILES: u32 = 0b11 << 17;
    const SYS_ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;

    if __cpuid(0).eax < 7 || __cpuid_count(7, 0).edx & (AMX_BF16 | AMX_TILE) != AMX_BF16 | AMX_TILE {
        return Err(Refusal::Processor);
    }
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return Err(Refusal::NotSaved);
    }
    let xcr0: u32;
    // SAFETY: OSXSAVE says that xgetbv exists; it reads register 0 into eax and edx and touches nothing else.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") xcr0, out("edx") _, options(nomem, nostack)) };
    if xcr0 & XCR0_TILES != XCR0_TILES {
        return Err(Refusal::NotSaved);
    }
    let answer: i64;
    // SAFETY: arch_prctl(ARCH_REQ_XCOMP_PERM) takes two numbers and changes only what this process may use; the system
    // call overwrites rcx and r11, which are declared.
    unsafe {
        asm!("syscall", inlateout("rax") SYS_ARCH_PRCTL => answer, in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA, out("rcx") _, out("r11") _, options(nostack));
    }
    if answer != 0 {
        return Err(Refusal::Permission(answer));
    }
    let tiles = Tiles::configure(Permitted(()));
    if multiplies(|left, right, rows, out| tiles.block(left, right, rows, out)) { Ok(()) } else { Err(Refusal::Wrong) }
}

/// The tile configuration of the calling thread, released when this is dropped.
pub(in crate::cpu) struct Tiles {
    /// The configuration belongs to one thread.
    _not_send: std::marker::PhantomData<*const ()>,
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
impl Tiles {
    pub fn configure(_: Permitted) -> Self {
        unreachable!("nobody is permitted on this platform")
    }

    pub fn block(&self, _: &[Line], _: &[Line], _: usize, _: &mut Block) {
        unreachable!("nobody is permitted on this platform")
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86 {
    use std::arch::asm;
    use std::marker::PhantomData;

    use super::super::layout::SIDE;
    use super::{Block, Line, Permitted, Tiles};

    /// What `ldtilecfg` reads.
    #[repr(C, align(64))]
    struct Config {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        bytes_per_row: [u16; 16],
        rows: [u8; 16],
    }

    /// Eight tiles of 16 rows of 64 bytes.
    static CONFIG: Config = Config {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        bytes_per_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    impl Tiles {
        pub fn configure(_: Permitted) -> Self {
            // SAFETY: the kernel permitted tiles to this process; ldtilecfg reads the 64 bytes of CONFIG.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
            Tiles { _not_send: PhantomData }
        }

        /// See [`super::super::block::Multiplier::block`], which checks the panels.
        #[expect(clippy::unused_self, reason = "that it exists is what makes the instructions legal")]
        pub fn block(&self, left: &[Line], right: &[Line], rows: usize, out: &mut Block) {
            let steps = left.len() / SIDE;
            if steps == 0 {
                *out = Block::zero();
                return;
            }
            // SAFETY: `self` says that this thread has tiles. Each of the `steps` steps reads 2 KiB of each panel, all of
            // which `block` checked to be there, and the stores write the 32 rows of 128 bytes of `out` (16 rows when no
            // more are asked for). The prefetched addresses are never read.
            unsafe {
                if rows > SIDE / 2 {
                    two_by_two(left.as_ptr().cast(), right.as_ptr().cast(), steps, out);
                } else {
                    one_by_two(left.as_ptr().cast(), right.as_ptr().cast(), steps, out);
                }
            }
        }
    }

    impl Drop for Tiles {
        fn drop(&mut self) {
            // SAFETY: releasing tiles that are configured changes no memory.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
    }

    /// 32 rows. The panel after `right` is fetched into the second-level cache on the way: it is the next that a
    /// product over columns reads.
    #[inline]
    unsafe fn two_by_two(left: *const u8, right: *const u8, steps: usize, out: &mut Block) {
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                ".p2align 5",
                "2:",
                "tileloaddt1 tmm4, [{a} + {line}*1]",
                "tileloadd tmm6, [{b} + {line}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "prefetcht1 [{next}]",
                "tileloadd tmm7, [{b} + {line}*1 + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloaddt1 tmm5, [{a} + {line}*1 + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "prefetcht1 [{next} + 64]",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {next}, 128",
                "add {a}, 2048",
                "add {b}, 2048",
                "dec {n}",
                "jnz 2b",
                "tilestored [{c} + {row}*1], tmm0",
                "tilestored [{c} + {row}*1 + 64], tmm1",
                "tilestored [{c} + {row}*1 + 2048], tmm2",
                "tilestored [{c} + {row}*1 + 2112], tmm3",
                a = inout(reg) left => _, b = inout(reg) right => _, n = inout(reg) steps => _,
                next = inout(reg) right.wrapping_add(steps * 2048) => _,
                c = in(reg) std::ptr::from_mut(out), line = in(reg) 64usize, row = in(reg) 128usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack)
            );
        }
    }

    /// The first 16 rows.
    #[inline]
    unsafe fn one_by_two(left: *const u8, right: *const u8, steps: usize, out: &mut Block) {
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                ".p2align 5",
                "2:",
                "tileloaddt1 tmm4, [{a} + {line}*1]",
                "tileloadd tmm6, [{b} + {line}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + {line}*1 + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {a}, 2048",
                "add {b}, 2048",
                "dec {n}",
                "jnz 2b",
                "tilestored [{c} + {row}*1], tmm0",
                "tilestored [{c} + {row}*1 + 64], tmm1",
                a = inout(reg) left => _, b = inout(reg) right => _, n = inout(reg) steps => _,
                c = in(reg) std::ptr::from_mut(out), line = in(reg) 64usize, row = in(reg) 128usize,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                options(nostack)
            );
        }
    }
}

#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
pub(super) mod tests;
