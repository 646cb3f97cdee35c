//! AMX instructions for processors without them: a handler of the illegal-instruction signal that executes them.
//!
//! The encodings and operations are those of the Intel manual (volume 2, AMX): `ldtilecfg`, `tilerelease`, `tilezero`,
//! `tileloadd`, `tileloaddt1`, `tilestored`, `tdpbf16ps`, with tiles of 16 rows of 64 bytes only.

use std::cell::UnsafeCell;

use crate::cpu::bf16::layout::from_bf16;

type Tile = [[u8; 64]; 16];

thread_local! {
    static TILES: UnsafeCell<[Tile; 8]> = const { UnsafeCell::new([[[0; 64]; 16]; 8]) };
}

/// From now on the process executes tile instructions, slowly.
pub fn install() {
    // SAFETY: the handler is async-signal-safe: it reads and writes registers, the memory that the instruction names, and
    // a thread-local without destructor or lazy initialisation.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = illegal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// General registers in the order of their numbers in an instruction.
const REGISTERS: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

extern "C" fn illegal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system hands a valid context to a handler installed with SA_SIGINFO; the instruction at its rip has
    // just been fetched, and its operands are addresses that the program under test vouches for.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let code = registers[libc::REG_RIP as usize] as *const u8;
        let length = TILES.with(|tiles| execute(code, registers, &mut *tiles.get()));
        match length {
            Some(length) => registers[libc::REG_RIP as usize] += length as i64,
            // Some other illegal instruction: die of it.
            None => {
                libc::signal(libc::SIGILL, libc::SIG_DFL);
            }
        }
    }
}

/// Length of the executed instruction.
unsafe fn execute(code: *const u8, registers: &[i64], tiles: &mut [Tile; 8]) -> Option<usize> {
    // SAFETY: the caller's.
    unsafe {
        let byte = |i: usize| *code.add(i);
        let (map, flags, opcode, modrm) = (byte(1), byte(2), byte(3), byte(4));
        // Three-byte VEX, map 0F38, W0, 128 bits.
        if byte(0) != 0xc4 || map & 0x1f != 2 || flags & 0x84 != 0 {
            return None;
        }
        let (prefix, vvvv) = (flags & 3, usize::from(!(flags >> 3) & 15));
        let (reg, rm) = (usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
        if modrm >> 6 == 3 {
            match (opcode, prefix) {
                (0x49, 0) => *tiles = [[[0; 64]; 16]; 8],
                (0x49, 3) => tiles[reg] = [[0; 64]; 16],
                (0x5c, 2) => multiply(tiles, reg, rm, vvvv),
                _ => return None,
            }
            return Some(5);
        }
        let register = |number: usize| registers[REGISTERS[number] as usize];
        let (base_high, index_high) = (usize::from(map & 0x20 == 0) * 8, usize::from(map & 0x40 == 0) * 8);
        let has_sib = rm == 4;
        let (base, stride) = if has_sib {
            let sib = byte(5);
            let index = usize::from(sib >> 3 & 7) + index_high;
            let stride = if index == 4 { 0 } else { register(index) << (sib >> 6) };
            (register(usize::from(sib & 7) + base_high), stride)
        } else {
            (register(rm + base_high), 0)
        };
        let after = 5 + usize::from(has_sib);
        let (displacement, length) = match modrm >> 6 {
            0 => (0, after),
            1 => (i64::from(byte(after) as i8), after + 1),
            _ => (i64::from(code.add(after).cast::<i32>().read_unaligned()), after + 4),
        };
        let row = |i: usize| (base + displacement + i as i64 * stride) as *mut [u8; 64];
        match (opcode, prefix) {
            (0x49, 0) => {
                let config = *row(0);
                let wide = config[16..32].chunks(2).all(|bytes| bytes == [64, 0]);
                assert!(config[0] == 1 && wide && config[48..56] == [16; 8], "tiles are not 16 rows of 64 bytes");
            }
            (0x4b, 1 | 3) => (0..16).for_each(|i| tiles[reg][i] = row(i).read_unaligned()),
            (0x4b, 2) => (0..16).for_each(|i| row(i).write_unaligned(tiles[reg][i])),
            _ => return None,
        }
        Some(length)
    }
}

/// `tdpbf16ps`
fn multiply(tiles: &mut [Tile; 8], sum: usize, left: usize, right: usize) {
    let (a, b) = (tiles[left], tiles[right]);
    let value = |row: &[u8; 64], i: usize| from_bf16(u16::from_le_bytes([row[2 * i], row[2 * i + 1]]));
    for (row, sums) in a.iter().zip(&mut tiles[sum]) {
        for (k, pairs) in b.iter().enumerate() {
            for (n, cell) in sums.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let mut c = f32::from_le_bytes(*cell);
                c += value(row, 2 * k) * value(pairs, 2 * n);
                c += value(row, 2 * k + 1) * value(pairs, 2 * n + 1);
                *cell = c.to_le_bytes();
            }
        }
    }
}
