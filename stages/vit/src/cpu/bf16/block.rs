//! The one kernel of the bf16 executor, `C = A·B` for a block of 32 × 32 with f32 sums, and who computes it.

use std::fmt;
use std::str::FromStr;

use super::amx::{self, Tiles};
use super::avx512;
use super::layout::{Block, Line, SIDE, from_bf16};
use crate::cpu::vectorised::vectorised;
use crate::error::VitError;

/// Who multiplies bf16. The products are exact in each; only the order of the f32 sums differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Ordinary code with the widest vectors there are.
    Portable,
    /// `vdpbf16ps` on 512-bit vectors.
    Avx512,
    /// AMX tiles.
    Amx,
}

impl Kernel {
    /// The fastest first.
    pub const ALL: [Kernel; 3] = [Kernel::Amx, Kernel::Avx512, Kernel::Portable];

    /// The fastest that this machine has.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|kernel| kernel.refusal().is_none()).unwrap_or(Kernel::Portable)
    }

    /// Why this machine cannot use it, if so.
    pub fn refusal(self) -> Option<String> {
        match self {
            Kernel::Portable => None,
            Kernel::Avx512 => avx512::Detected::new()
                .is_none()
                .then(|| "the processor has no avx512_bf16, or it multiplies wrong".to_owned()),
            Kernel::Amx => amx::Permitted::ask().err().map(|refusal| refusal.to_string()),
        }
    }

    /// Itself, where this machine has it.
    pub(in crate::cpu) fn check(self) -> Result<Self, VitError> {
        match self.refusal() {
            None => Ok(self),
            Some(problem) => Err(VitError::Device { device: format!("cpu with {self}"), problem }),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kernel::Portable => "portable",
            Kernel::Avx512 => "avx512",
            Kernel::Amx => "amx",
        })
    }
}

impl FromStr for Kernel {
    type Err = VitError;

    fn from_str(text: &str) -> Result<Self, VitError> {
        Self::ALL
            .into_iter()
            .find(|kernel| kernel.to_string() == text)
            .ok_or_else(|| VitError::Config(format!("unknown kernel `{text}`; use amx, avx512 or portable")))
    }
}

/// Multiplies on the calling thread. Holds the thread's tile configuration where there is one, so it cannot be sent.
pub(in crate::cpu) enum Multiplier {
    Portable,
    Avx512(avx512::Detected),
    Amx(Tiles),
}

impl Multiplier {
    /// `None` when this machine lacks what `kernel` needs.
    pub fn new(kernel: Kernel) -> Option<Self> {
        match kernel {
            Kernel::Portable => Some(Multiplier::Portable),
            Kernel::Avx512 => avx512::Detected::new().map(Multiplier::Avx512),
            Kernel::Amx => amx::Permitted::ask().ok().map(|permitted| Multiplier::Amx(Tiles::configure(permitted))),
        }
    }

    /// For an encoder that was opened on this machine.
    pub fn of_this_machine(kernel: Kernel) -> Self {
        Self::new(kernel).unwrap_or_else(|| unreachable!("an encoder is opened with a kernel that the machine has"))
    }

    /// `out ← left·right` over all of k. The first `rows` rows of `out` are the product; the others hold anything.
    ///
    /// `left` `[k tile][32 rows]` and `right` `[k tile][2][16 pairs]` are panels of equal length.
    pub fn block(&self, left: &[Line], right: &[Line], rows: usize, out: &mut Block) {
        assert!(left.len() == right.len() && left.len().is_multiple_of(SIDE), "panels differ in k");
        assert!(rows <= SIDE, "a block has 32 rows");
        match self {
            Multiplier::Portable => portable(left, right, rows, out),
            Multiplier::Avx512(detected) => detected.block(left, right, rows, out),
            Multiplier::Amx(tiles) => tiles.block(left, right, rows, out),
        }
    }
}

vectorised! {
    /// The products of two bf16 are exact in f32, so only the order of the sums tells the kernels apart.
    fn portable(left: &[Line], right: &[Line], rows: usize, out: &mut Block) {
        *out = Block::zero();
        for (left, right) in left.as_chunks::<SIDE>().0.iter().zip(right.as_chunks::<SIDE>().0) {
            for pair in 0..SIDE / 2 {
                let mut columns = [[0.0f32; SIDE]; 2];
                let halves = [&right[pair], &right[pair + SIDE / 2]];
                for (c, line) in halves.iter().flat_map(|line| line.chunks_exact(2)).enumerate() {
                    columns[0][c] = from_bf16(line[0]);
                    columns[1][c] = from_bf16(line[1]);
                }
                for (row, out) in left.iter().zip(&mut out.0[..rows]) {
                    let (a, b) = (from_bf16(row[2 * pair]), from_bf16(row[2 * pair + 1]));
                    for ((o, x), y) in out.iter_mut().zip(&columns[0]).zip(&columns[1]) {
                        *o += a * x + b * y;
                    }
                }
            }
        }
    }
}
