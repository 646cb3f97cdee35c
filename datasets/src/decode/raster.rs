//! PNG, WebP, GIF and BMP through the `image` crate, brought to RGB the way Pillow's `convert("RGB")` does.
//!
//! * Transparency is dropped, not blended: what lies under it shows. Palettes are looked up, greys replicated, 1-, 2- and
//!   4-bit greys stretched to 0..255.
//! * 16-bit colour keeps its high byte. 16-bit grey is *clipped* at 255, because Pillow's mode `I;16` holds plain
//!   integers and its conversion does not rescale; a depth map in millimetres comes out nearly white, there and here.
//! * Animations give their first frame.
//!
//! Memory: a file may claim [`MAX_PIXELS`](super::MAX_PIXELS), and beside them the decoder may take
//! [`MAX_WORKING_BYTES`]. PNG inflates colour profiles, and GIF allocates its first frame, which may exceed the screen.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageError, ImageResult, Limits};

use super::{DecodeError, Format, check_size};
use crate::pixels::Rgb8;

/// Most bytes that a decoder may take beside the pixels: a profile has at most a few million, and a row of 2²⁰ pixels eight.
const MAX_WORKING_BYTES: u64 = 256 << 20;

pub(super) fn decode(bytes: &[u8], format: Format) -> Result<Rgb8, DecodeError> {
    let fail = |error| failure(format, &error);
    let cursor = Cursor::new(bytes);
    // Bit depth and colour type of a PNG's header. A transparent colour would make the decoder report grey and alpha.
    let is_grey16 = format == Format::Png && bytes.get(24..26) == Some(&[16, 0]);
    match format {
        Format::Png => to_rgb(png(bytes).map_err(fail)?, format, is_grey16),
        Format::WebP => to_rgb(WebPDecoder::new(cursor).map_err(fail)?, format, is_grey16),
        Format::Gif => to_rgb(GifDecoder::new(cursor).map_err(fail)?, format, is_grey16),
        Format::Bmp => to_rgb(BmpDecoder::new(cursor).map_err(fail)?, format, is_grey16),
        Format::Jpeg => Err(DecodeError::NotAnImage),
    }
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_WORKING_BYTES);
    limits
}

/// Profiles are inflated as the header is read, so the limit must be there before it.
fn png(bytes: &[u8]) -> ImageResult<PngDecoder<Cursor<&[u8]>>> {
    PngDecoder::with_limits(Cursor::new(bytes), limits())
}

fn to_rgb(mut decoder: impl ImageDecoder, format: Format, is_grey16: bool) -> Result<Rgb8, DecodeError> {
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
    decoder.set_limits(limits()).map_err(|error| failure(format, &error))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|error| failure(format, &error))?;
    let data = match &image {
        DynamicImage::ImageLuma8(grey) => grey.iter().flat_map(|&grey| [grey; 3]).collect(),
        DynamicImage::ImageLumaA8(grey) => grey.pixels().flat_map(|pixel| [pixel.0[0]; 3]).collect(),
        DynamicImage::ImageRgb8(_) => image.into_rgb8().into_raw(),
        DynamicImage::ImageRgba8(colour) => {
            colour.pixels().flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]]).collect()
        }
        DynamicImage::ImageLuma16(grey) => grey.iter().flat_map(|&grey| [grey.min(255) as u8; 3]).collect(),
        DynamicImage::ImageLumaA16(grey) if is_grey16 => {
            grey.pixels().flat_map(|pixel| [pixel.0[0].min(255) as u8; 3]).collect()
        }
        DynamicImage::ImageLumaA16(grey) => grey.pixels().flat_map(|pixel| [(pixel.0[0] >> 8) as u8; 3]).collect(),
        DynamicImage::ImageRgb16(colour) => colour.iter().map(|&value| (value >> 8) as u8).collect(),
        DynamicImage::ImageRgba16(colour) => {
            colour.pixels().flat_map(|pixel| [0, 1, 2].map(|channel| (pixel.0[channel] >> 8) as u8)).collect()
        }
        other => {
            return Err(DecodeError::Unsupported { format, what: format!("{:?} samples", other.color()) });
        }
    };
    Ok(Rgb8 { width, height, data })
}

fn failure(format: Format, error: &ImageError) -> DecodeError {
    match error {
        ImageError::IoError(inner) if inner.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::Truncated { format }
        }
        ImageError::Unsupported(inner) => DecodeError::Unsupported { format, what: inner.to_string() },
        ImageError::Limits(_) => {
            let what = format!("decoding it takes more than {MAX_WORKING_BYTES} bytes beside its pixels");
            DecodeError::Unsupported { format, what }
        }
        other => DecodeError::Corrupt { format, what: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::{Read, Write};

    use flate2::Crc;
    use flate2::write::ZlibEncoder;

    use super::*;

    /// A PNG fixture whose colour profile is this many zeros.
    fn with_profile(len: u64) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::copy(&mut std::io::repeat(0).take(len), &mut packed).unwrap();
        let chunk = [b"iCCPzeros\0\0", &*packed.finish().unwrap()].concat();
        let mut crc = Crc::new();
        crc.update(&chunk);
        let mut bytes = include_bytes!("../../tests/golden/rgb.png").to_vec();
        let after_header = bytes.split_off(33);
        bytes.write_all(&(chunk.len() as u32 - 4).to_be_bytes()).unwrap();
        bytes.write_all(&chunk).unwrap();
        bytes.write_all(&crc.sum().to_be_bytes()).unwrap();
        bytes.extend(after_header);
        bytes
    }

    /// Without a limit the profile is inflated whole: a thousand times what the file takes.
    #[test]
    fn a_profile_that_inflates_beyond_the_limit_is_left_out() {
        let plain = decode(include_bytes!("../../tests/golden/rgb.png"), Format::Png).unwrap();
        for (len, kept) in [(3000, Some(3000)), (MAX_WORKING_BYTES + 1, None)] {
            let bytes = with_profile(len);
            assert!(bytes.len() < 4 << 20);
            assert_eq!(png(&bytes).unwrap().icc_profile().unwrap().map(|profile| profile.len()), kept);
            assert_eq!(decode(&bytes, Format::Png).unwrap(), plain);
        }
    }

    /// A screen of one pixel and a first frame of 65535 × 65535: 17 GB, of which none may be allocated.
    #[test]
    fn a_gif_frame_far_beyond_its_screen_is_refused() {
        let screen = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff";
        let frame = b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;";
        let error = decode(&[&screen[..], frame].concat(), Format::Gif).unwrap_err();
        assert_eq!(error.reason(), "unsupported gif", "{error}");
    }
}
