//! The common JPEG, decoded here: baseline, Huffman-coded, YCbCr in one interleaved scan.
//!
//! libjpeg spends two thirds of its time in entropy decoding and the inverse DCT, and without an assembler at build time
//! the latter is scalar. This is a second path for nine photos in ten, held to libjpeg's integers. It decides nothing: at
//! the first thing that is not plain and valid (another coding, a damaged code, a coefficient out of range, a missing
//! end marker) it gives up with `None`, and libjpeg decodes the file or says what is wrong with it. Tests hold the two
//! equal on every fixture, on damaged files, and on photos.
//!
//! Source: ITU-T T.81 (markers: annex B; decoding: annex F); libjpeg-turbo `jdapimin.c` (`default_decompress_parms`, for
//! how the colour space is told).

mod entropy;
mod idct;

use entropy::{Bits, Huffman};
use idct::Quantised;

use super::MAX_PIXELS;
use super::ycc::{Plane, Ycc};

/// Position in a block of the n-th coefficient of the zigzag.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Decodes a plain JPEG, or leaves it to libjpeg.
pub(super) fn decode(bytes: &[u8]) -> Option<Ycc> {
    let (frame, scan) = Headers::default().read(bytes)?;
    frame.decode(scan)
}

#[derive(Clone, Copy, Default)]
struct Component {
    id: u8,
    across: usize,
    down: usize,
    quantisation: usize,
}

/// What the markers before the scan have said so far.
#[derive(Default)]
struct Headers {
    quantisation: [Option<[i32; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    size: Option<(usize, usize)>,
    components: [Component; 3],
    restart_interval: usize,
    jfif: bool,
    adobe_transform: Option<u8>,
}

/// Everything needed to decode the scan.
struct Frame {
    width: usize,
    height: usize,
    components: [Component; 3],
    quantisation: [[i32; 64]; 3],
    dc: [Huffman; 3],
    ac: [Huffman; 3],
    restart_interval: usize,
}

impl Headers {
    fn read(mut self, bytes: &[u8]) -> Option<(Frame, &[u8])> {
        let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
        loop {
            let [0xff, marker, high, low, ..] = *rest else { return None };
            let length = usize::from(u16::from_be_bytes([high, low]));
            let segment = rest.get(4..2 + length)?;
            rest = &rest[2 + length..];
            match marker {
                0xc0 => self.frame(segment)?,
                0xc4 => self.huffman(segment)?,
                0xdb => self.quantisation(segment)?,
                0xdd => self.restart_interval = usize::from(u16::from_be_bytes(segment.try_into().ok()?)),
                0xda => return Some((self.scan(segment)?, rest)),
                0xe0 => self.jfif |= segment.len() >= 14 && segment.starts_with(b"JFIF\0"),
                0xee if segment.len() >= 12 && segment.starts_with(b"Adobe") => {
                    self.adobe_transform = Some(segment[11]);
                }
                0xe1..=0xef | 0xfe => {}
                _ => return None,
            }
        }
    }

    fn frame(&mut self, segment: &[u8]) -> Option<()> {
        let [8, h1, h0, w1, w0, 3, ref rest @ ..] = *segment else { return None };
        let (height, width) = (usize::from(u16::from_be_bytes([h1, h0])), usize::from(u16::from_be_bytes([w1, w0])));
        let components: &[u8; 9] = rest.try_into().ok()?;
        for (component, &[id, sampling, quantisation]) in self.components.iter_mut().zip(components.as_chunks().0) {
            let (across, down) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            *component = Component { id, across, down, quantisation: usize::from(quantisation) };
        }
        let [luma, blue, red] = self.components;
        let plain = matches!((luma.across, luma.down), (1 | 2, 1 | 2))
            && [blue, red].iter().all(|chroma| (chroma.across, chroma.down) == (1, 1));
        // libjpeg replicates chroma instead of interpolating it when it is two columns wide or less.
        let fits = width > 4 && height > 0 && width * height <= MAX_PIXELS;
        (plain && fits && self.size.replace((height, width)).is_none()).then_some(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = segment {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total)?;
            let table = Some(Huffman::new(counts, symbols)?);
            match kind {
                // libjpeg refuses a table that holds an impossible category, used or not.
                0..=3 if symbols.iter().all(|&size| size <= 15) => self.dc[usize::from(*kind)] = table,
                16..=19 => self.ac[usize::from(*kind - 16)] = table,
                _ => return None,
            }
            segment = rest;
        }
        Some(())
    }

    fn quantisation(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [kind @ 0..=3, rest @ ..] = segment {
            let (steps, rest) = rest.split_first_chunk::<64>()?;
            let mut table = [0; 64];
            for (&step, position) in steps.iter().zip(ZIGZAG) {
                table[usize::from(position)] = i32::from(step);
            }
            self.quantisation[usize::from(*kind)] = Some(table);
            segment = rest;
        }
        segment.is_empty().then_some(())
    }

    fn scan(mut self, segment: &[u8]) -> Option<Frame> {
        let (height, width) = self.size?;
        let [3, a, ta, b, tb, c, tc, 0, 63, 0] = *segment else { return None };
        let ids = self.components.map(|component| component.id);
        let is_ycc = match self.adobe_transform {
            _ if self.jfif => true,
            Some(transform) => transform == 1,
            None => ids == [1, 2, 3],
        };
        if !is_ycc || ids != [a, b, c] || a == b || b == c || a == c {
            return None;
        }
        let tables = [ta, tb, tc];
        let mut quantisation = [[0; 64]; 3];
        for (table, component) in quantisation.iter_mut().zip(self.components) {
            *table = (*self.quantisation.get(component.quantisation)?)?;
        }
        let dc = tables.map(|table| self.dc.get(usize::from(table >> 4)).cloned().flatten());
        let ac = tables.map(|table| self.ac.get_mut(usize::from(table & 15)).and_then(|table| table.clone()));
        let ([Some(dc0), Some(dc1), Some(dc2)], [Some(ac0), Some(ac1), Some(ac2)]) = (dc, ac) else { return None };
        Some(Frame {
            width,
            height,
            components: self.components,
            quantisation,
            dc: [dc0, dc1, dc2],
            ac: [ac0, ac1, ac2],
            restart_interval: self.restart_interval,
        })
    }
}

impl Frame {
    /// Decodes the scan a row of MCUs at a time: codes first, then the transform of all blocks of the row.
    fn decode(&self, scan: &[u8]) -> Option<Ycc> {
        let (across, down) = (self.components[0].across, self.components[0].down);
        let columns = self.width.div_ceil(8 * across);
        let rows = self.height.div_ceil(8 * down);
        // A code takes a bit at least, so a scan too short for its blocks is not worth allocating for.
        let blocks = rows * columns * (across * down + 2);
        if scan.len() < blocks / 4 {
            return None;
        }
        let mut planes = self.components.map(|component| {
            let (halved_across, halved_down) = (component.across < across, component.down < down);
            let stride = columns * component.across * 8;
            Plane {
                stride,
                width: if halved_across { self.width.div_ceil(2) } else { self.width },
                height: if halved_down { self.height.div_ceil(2) } else { self.height },
                data: vec![0; stride * rows * component.down * 8],
            }
        });
        let mut lines =
            self.components.map(|component| vec![Quantised::default(); columns * component.across * component.down]);
        let mut bits = Bits::new(scan);
        let mut predictions = [0; 3];
        let mut until_restart = self.restart_interval;
        for row in 0..rows {
            for column in 0..columns {
                if self.restart_interval > 0 && until_restart == 0 {
                    bits.restart()?;
                    predictions = [0; 3];
                    until_restart = self.restart_interval;
                }
                until_restart = until_restart.wrapping_sub(1);
                for index in 0..3 {
                    let Component { across, down, .. } = self.components[index];
                    let per_line = columns * across;
                    for block in 0..across * down {
                        let at = block / across * per_line + column * across + block % across;
                        let target = &mut lines[index][at];
                        bits.block(&self.dc[index], &self.ac[index], &mut predictions[index], target)?;
                    }
                }
            }
            for ((plane, line), (component, steps)) in
                planes.iter_mut().zip(&mut lines).zip(self.components.iter().zip(&self.quantisation))
            {
                let height = component.down * 8 * plane.stride;
                let target = &mut plane.data[row * height..(row + 1) * height];
                if !idct::transform(line, steps, target, plane.stride) {
                    return None;
                }
            }
        }
        bits.end()?;
        let [width, height] = [self.width, self.height];
        Some(Ycc { width, height, halved_across: across == 2, halved_down: down == 2, planes })
    }
}

#[cfg(test)]
mod tests;
