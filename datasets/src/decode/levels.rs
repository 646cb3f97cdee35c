//! A PNG's own numbers, one a pixel: labels and depths, which any conversion of colours would spoil.
//!
//! A palette PNG holds indices, whatever colours stand behind them (Pascal VOC); a grey one of 1, 2, 4 or 8 bits holds its
//! values, not stretched; a grey one of 16 bits holds words, most significant byte first. Anything else has more than one
//! number a pixel and is refused. The `image` crate looks palettes up and stretches, hence `png` itself.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Transformations};

use super::{DecodeError, Format, check_size, fenced};

/// Most bytes that the decoder may take beside the pixels.
const MAX_WORKING_BYTES: usize = 64 << 20;

/// The numbers of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Levels {
    /// Of a palette, or of a grey of up to 8 bits.
    Bytes(Vec<u8>),
    /// Of a grey of 16 bits.
    Words(Vec<u16>),
}

/// A picture of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelMap {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height × width` numbers, row-major.
    pub levels: Levels,
}

/// Reads the numbers of a PNG.
pub fn decode_levels(bytes: &[u8]) -> Result<LevelMap, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    match Format::detect(bytes) {
        Some(Format::Png) => fenced(Format::Png, || png_levels(bytes)),
        Some(format) => {
            Err(DecodeError::Unsupported { format, what: "labels and depths are read from PNG only".to_owned() })
        }
        None => Err(DecodeError::NotAnImage),
    }
}

fn png_levels(bytes: &[u8]) -> Result<LevelMap, DecodeError> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MAX_WORKING_BYTES });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(failure)?;
    let (width, height) = (header.width as usize, header.height as usize);
    let (colour, depth) = (header.color_type, header.bit_depth);
    check_size(width, height)?;
    let one_number = matches!(colour, ColorType::Grayscale | ColorType::Indexed);
    if !one_number {
        let what = format!("{colour:?} pixels have several numbers; labels and depths need one (grey or palette)");
        return Err(DecodeError::Unsupported { format: Format::Png, what });
    }
    let mut reader = decoder.read_info().map_err(failure)?;
    let stride = (width * usize::from(depth as u8)).div_ceil(8);
    let mut packed = vec![0; stride * height];
    // An animation's first frame may be smaller than its canvas.
    let frame = reader.next_frame(&mut packed).map_err(failure)?;
    if (frame.width as usize, frame.height as usize, frame.line_size) != (width, height, stride) {
        let what = format!("its first frame has {}×{} px of {width}×{height}", frame.width, frame.height);
        return Err(DecodeError::Corrupt { format: Format::Png, what });
    }
    let levels = match depth {
        BitDepth::Eight => Levels::Bytes(packed),
        BitDepth::Sixteen => Levels::Words(packed.as_chunks().0.iter().map(|word| u16::from_be_bytes(*word)).collect()),
        BitDepth::One | BitDepth::Two | BitDepth::Four => {
            let bits = depth as u8;
            let level = |row: &[u8], x: usize| {
                let at = x * usize::from(bits);
                (row[at / 8] >> (8 - usize::from(bits) - at % 8)) & ((1 << bits) - 1)
            };
            let rows = packed.chunks_exact(stride);
            Levels::Bytes(rows.flat_map(|row| (0..width).map(move |x| level(row, x))).collect())
        }
    };
    Ok(LevelMap { height, width, levels })
}

fn failure(error: DecodingError) -> DecodeError {
    let format = Format::Png;
    match error {
        DecodingError::IoError(inner) if inner.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::Truncated { format }
        }
        DecodingError::LimitsExceeded => {
            let what = format!("decoding it takes more than {MAX_WORKING_BYTES} bytes beside its pixels");
            DecodeError::Unsupported { format, what }
        }
        other => DecodeError::Corrupt { format, what: other.to_string() },
    }
}
