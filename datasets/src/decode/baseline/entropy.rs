//! Huffman codes and the bits they come in.
//!
//! Codes are canonical: of each length they count up, and the first of length l is twice the one after the last of
//! length l − 1. The next [`FAST`] bits index a table; longer codes, which are rare, are found by their length. For AC
//! coefficients a second table holds run, value and total length at once when code and value fit in [`FAST`] bits.
//!
//! A coefficient of category s is s bits; a leading 0 means it is negative, `v − 2^s + 1`. Source: ITU-T T.81, F.2.2.

use super::ZIGZAG;
use super::idct::Quantised;

/// Bits looked up at once.
const FAST: u32 = 10;

/// A code table.
#[derive(Clone)]
pub(super) struct Huffman {
    /// `length << 8 | symbol` for codes up to [`FAST`] bits; 0 for longer ones.
    fast: Box<[u16; 1 << FAST]>,
    /// `value << 8 | run << 4 | length` for whole small AC coefficients; 0 for others.
    coefficient: Box<[i16; 1 << FAST]>,
    /// For each length, the first 16-bit prefix that belongs to a longer code.
    limit: [u32; 17],
    /// For each length, what to add to a code to get the place of its symbol.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            fast: Box::new([0; 1 << FAST]),
            coefficient: Box::new([0; 1 << FAST]),
            limit: [0; 17],
            offset: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, &count) in (1..=16_u32).zip(counts) {
            table.offset[length as usize] = place as i32 - code as i32;
            for _ in 0..count {
                // The code of all ones is reserved, and more codes than fit are a corrupt table.
                if code >= (1 << length) - 1 {
                    return None;
                }
                if length <= FAST {
                    let first = (code << (FAST - length)) as usize;
                    let entry = (length as u16) << 8 | u16::from(*symbols.get(place)?);
                    table.fast[first..first + (1 << (FAST - length))].fill(entry);
                }
                code += 1;
                place += 1;
            }
            table.limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        (place == symbols.len() && place <= 256).then_some(())?;
        table.fill_coefficients();
        Some(table)
    }

    fn fill_coefficients(&mut self) {
        for (bits, (entry, &fast)) in self.coefficient.iter_mut().zip(self.fast.iter()).enumerate() {
            let (length, symbol) = (u32::from(fast >> 8), u32::from(fast & 0xff));
            let (run, size) = (symbol >> 4, symbol & 15);
            if length == 0 || size == 0 || length + size > FAST {
                continue;
            }
            let value = bits as u32 >> (FAST - length - size) & ((1 << size) - 1);
            let value = extend(value, size);
            if let Ok(value) = i8::try_from(value) {
                *entry = i16::from(value) << 8 | (run << 4 | (length + size)) as i16;
            }
        }
    }
}

/// The value that `size` bits stand for.
fn extend(bits: u32, size: u32) -> i32 {
    let bits = bits as i32;
    if bits < 1 << (size - 1) { bits - (1 << size) + 1 } else { bits }
}

/// The bits of a scan, without its stuffed zeros, up to the next marker.
pub(super) struct Bits<'a> {
    scan: &'a [u8],
    at: usize,
    /// The next bits, from the top. Below `count` bits lie zeros or bits of the scan that are not yet counted.
    buffer: u64,
    count: u32,
    next_restart: u8,
}

impl<'a> Bits<'a> {
    pub(super) fn new(scan: &'a [u8]) -> Self {
        Self { scan, at: 0, buffer: 0, count: 0, next_restart: 0 }
    }

    /// Holds 32 bits or more afterwards, if the scan has them.
    #[inline]
    fn refill(&mut self) {
        const LOW: u64 = 0x0101_0101_0101_0101;
        if self.count >= 32 {
            return;
        }
        if let Some(bytes) = self.scan.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_be_bytes(*bytes);
            // Whether a byte of `word` is 0xff, as the zero-byte test of its complement.
            if (!word).wrapping_sub(LOW) & word & (LOW << 7) == 0 {
                self.buffer |= word >> self.count;
                let bytes = (63 - self.count) / 8;
                self.at += bytes as usize;
                self.count += bytes * 8;
                return;
            }
        }
        while self.count <= 56 {
            let Some(&byte) = self.scan.get(self.at) else { return };
            if byte == 0xff {
                if self.scan.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline]
    fn consume(&mut self, bits: u32) -> Option<()> {
        self.count = self.count.checked_sub(bits)?;
        self.buffer <<= bits;
        Some(())
    }

    #[inline]
    fn take(&mut self, bits: u32) -> Option<u32> {
        let value = (self.buffer >> (64 - bits)) as u32;
        self.consume(bits)?;
        Some(value)
    }

    #[inline]
    fn symbol(&mut self, table: &Huffman) -> Option<u8> {
        let entry = table.fast[(self.buffer >> (64 - FAST)) as usize];
        if entry != 0 {
            self.consume(u32::from(entry >> 8))?;
            return Some(entry as u8);
        }
        let prefix = (self.buffer >> 48) as u32;
        let length = (FAST + 1..=16).find(|&length| prefix < table.limit[length as usize])?;
        let code = self.take(length)? as i32;
        table.symbols.get(usize::try_from(code + table.offset[length as usize]).ok()?).copied()
    }

    /// Decodes one block into zeroed coefficients.
    pub(super) fn block(
        &mut self,
        dc: &Huffman,
        ac: &Huffman,
        prediction: &mut i32,
        block: &mut Quantised,
    ) -> Option<()> {
        self.refill();
        // Eleven bits of difference and ten of coefficient are all that 8-bit samples can need.
        let size = u32::from(self.symbol(dc)?);
        if size > 11 {
            return None;
        }
        if size > 0 {
            *prediction += extend(self.take(size)?, size);
        }
        block.coefficients[0] = i16::try_from(*prediction).ok()?;
        let mut place = 1;
        while place < 64 {
            self.refill();
            let whole = ac.coefficient[(self.buffer >> (64 - FAST)) as usize];
            if whole != 0 {
                place += usize::from(whole as u16 >> 4 & 15);
                self.consume(u32::from(whole as u16 & 15))?;
                block.coefficients[usize::from(*ZIGZAG.get(place)?)] = whole >> 8;
                block.is_flat = false;
                place += 1;
                continue;
            }
            let symbol = self.symbol(ac)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (0, 0) => return Some(()),
                (15, 0) => place += 16,
                (_, 1..=10) => {
                    place += run;
                    let value = extend(self.take(size)?, size);
                    block.coefficients[usize::from(*ZIGZAG.get(place)?)] = value as i16;
                    block.is_flat = false;
                    place += 1;
                }
                _ => return None,
            }
        }
        // A run past the end is damage that libjpeg must judge.
        (place == 64).then_some(())
    }

    /// Passes the padding and the next restart marker.
    pub(super) fn restart(&mut self) -> Option<()> {
        self.marker(0xd0 + self.next_restart)?;
        self.next_restart = (self.next_restart + 1) % 8;
        self.at += 2;
        (self.buffer, self.count) = (0, 0);
        Some(())
    }

    /// The end marker must follow the padding.
    pub(super) fn end(&mut self) -> Option<()> {
        self.marker(0xd9)
    }

    fn marker(&mut self, marker: u8) -> Option<()> {
        self.refill();
        (self.count < 8 && self.scan.get(self.at..self.at + 2) == Some(&[0xff, marker])).then_some(())
    }
}
