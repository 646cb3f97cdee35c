//! JPEG through the vendored libjpeg of `mozjpeg`: accurate integer inverse DCT and fancy upsampling, libjpeg's defaults
//! and Pillow's. Byte for byte what Pillow gives, on one, three and four components.
//!
//! * Greyscale is replicated. Four components are taken as Adobe writes them, inverted, whatever the file says, then
//!   `R = clip((255 − K) − C·(255 − K)/255)`, with Pillow's rounding (Pillow `Convert.c`, `JpegImagePlugin.py`).
//! * libjpeg reports damage inside a scan as a warning and goes on; Pillow ignores the warnings, and so must we. Running
//!   out of bytes before the last row is an error there and here. libjpeg's source interface would hide that by making
//!   up an end marker, so the reader keeps watch.
//! * libjpeg's fatal errors arrive as an unwind that does not pass the panic hook (`mozjpeg`'s error manager calls
//!   `resume_unwind`); it is caught here and becomes a value.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use mozjpeg::{ColorSpace, CompInfo, Decompress};

use super::ycc::{Plane, Ycc};
use super::{DecodeError, Decoded, Format, baseline, check_size};
use crate::pixels::Rgb8;

/// A slice that remembers whether more was asked of it than it holds.
struct Watched<'a> {
    rest: &'a [u8],
    ran_dry: &'a Cell<bool>,
}

impl Read for Watched<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.rest.read(into)
    }
}

impl BufRead for Watched<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ran_dry.set(self.ran_dry.get() || self.rest.is_empty());
        Ok(self.rest)
    }

    fn consume(&mut self, amount: usize) {
        self.rest.consume(amount);
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    match baseline::decode(bytes) {
        Some(image) => Ok(Decoded::Ycc(image)),
        None => by_libjpeg(bytes),
    }
}

/// Decodes any JPEG, or says what is wrong with it.
pub(super) fn by_libjpeg(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let ran_dry = Cell::new(false);
    let outcome = catch_unwind(AssertUnwindSafe(|| unguarded(Watched { rest: bytes, ran_dry: &ran_dry }, &ran_dry)));
    let truncated = DecodeError::Truncated { format: Format::Jpeg };
    match outcome {
        Ok(Err(DecodeError::Corrupt { .. })) | Err(_) if ran_dry.get() => Err(truncated),
        Ok(result) => result,
        Err(payload) => {
            let what = payload.downcast_ref::<String>().map_or("libjpeg gave up", String::as_str);
            Err(corrupt(what.trim_start_matches("libjpeg fatal error: ")))
        }
    }
}

fn corrupt(what: &str) -> DecodeError {
    DecodeError::Corrupt { format: Format::Jpeg, what: what.to_owned() }
}

fn unguarded(source: Watched<'_>, ran_dry: &Cell<bool>) -> Result<Decoded, DecodeError> {
    let header = Decompress::new_reader(source).map_err(|error| corrupt(&error.to_string()))?;
    let (width, height) = header.size();
    check_size(width, height)?;
    if let Some((halved_across, halved_down)) = plain_sampling(&header) {
        return planes(header, halved_across, halved_down, ran_dry).map(Decoded::Ycc);
    }
    let space = match header.components().len() {
        1 => ColorSpace::JCS_GRAYSCALE,
        3 => ColorSpace::JCS_RGB,
        4 => ColorSpace::JCS_CMYK,
        n => return Err(DecodeError::Unsupported { format: Format::Jpeg, what: format!("{n} components") }),
    };
    let mut rows = header.to_colorspace(space).map_err(|error| corrupt(&error.to_string()))?;
    if ran_dry.get() {
        return Err(DecodeError::Truncated { format: Format::Jpeg });
    }
    let mut data = vec![0_u8; width * height * 3];
    let channels = match space {
        ColorSpace::JCS_GRAYSCALE => 1,
        ColorSpace::JCS_RGB => 3,
        _ => 4,
    };
    let mut row = vec![0_u8; width * channels];
    for rgb in data.chunks_exact_mut(width * 3) {
        let target = if channels == 3 { &mut *rgb } else { &mut row[..] };
        rows.read_scanlines_into(target).map_err(|error| corrupt(&error.to_string()))?;
        if ran_dry.get() {
            return Err(DecodeError::Truncated { format: Format::Jpeg });
        }
        match channels {
            1 => rgb.as_chunks_mut().0.iter_mut().zip(&row).for_each(|(pixel, &grey)| *pixel = [grey; 3]),
            4 => rgb.as_chunks_mut().0.iter_mut().zip(row.as_chunks().0).for_each(|(pixel, &cmyk)| {
                *pixel = rgb_of_inverted_cmyk(cmyk);
            }),
            _ => {}
        }
    }
    Ok(Decoded::Rgb(Rgb8 { width, height, data }))
}

/// Whether chroma is halved across and down, for the images that [`Ycc`] covers: all of them but oddities.
fn plain_sampling(header: &Decompress<Watched<'_>>) -> Option<(bool, bool)> {
    let [luma, blue, red] = header.components() else { return None };
    let factors = |component: &CompInfo| (component.h_samp_factor, component.v_samp_factor);
    let (full, chroma) = (factors(luma), factors(blue));
    let covered = header.color_space() == ColorSpace::JCS_YCbCr
        && chroma == factors(red)
        && (full.0 == chroma.0 || full.0 == 2 * chroma.0)
        && (full.1 == chroma.1 || full.1 == 2 * chroma.1)
        && full.1 <= 2;
    let halved = (full.0 != chroma.0, full.1 != chroma.1);
    // libjpeg drops to plain replication when the chroma is two columns wide or less.
    (covered && !(halved.0 && header.width() <= 4)).then_some(halved)
}

fn planes(
    header: Decompress<Watched<'_>>,
    halved_across: bool,
    halved_down: bool,
    ran_dry: &Cell<bool>,
) -> Result<Ycc, DecodeError> {
    let (width, height) = header.size();
    let mut rows = header.raw().map_err(|error| corrupt(&error.to_string()))?;
    let mut planes = [0, 1, 2].map(|channel| {
        let component = &rows.components()[channel];
        let stride = component.width_in_blocks as usize * 8;
        let padded = component.height_in_blocks as usize * 8 + 8 * component.v_samp_factor as usize;
        Plane {
            stride,
            width: if channel > 0 && halved_across { width.div_ceil(2) } else { width },
            height: if channel > 0 && halved_down { height.div_ceil(2) } else { height },
            data: Vec::with_capacity(stride * padded),
        }
    });
    let [luma, blue, red] = &mut planes;
    rows.read_raw_data(&mut [&mut luma.data, &mut blue.data, &mut red.data]);
    if ran_dry.get() {
        return Err(DecodeError::Truncated { format: Format::Jpeg });
    }
    Ok(Ycc { width, height, halved_across, halved_down, planes })
}

/// Pillow's `cmyk2rgb` after its `CMYK;I` unpacker; `a·b/255` is rounded as its `MULDIV255`.
fn rgb_of_inverted_cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let white = u32::from(k);
    [c, m, y].map(|inverted| {
        let product = u32::from(255 - inverted) * white + 128;
        white.saturating_sub((product + (product >> 8)) >> 8) as u8
    })
}
