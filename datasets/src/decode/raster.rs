//! PNG, WebP, GIF and BMP through the `image` crate, brought to RGB the way Pillow's `convert("RGB")` does.
//!
//! * Transparency is dropped, not blended: what lies under it shows. Palettes are looked up, greys replicated, 1-, 2- and
//!   4-bit greys stretched to 0..255.
//! * 16-bit colour keeps its high byte. 16-bit grey is *clipped* at 255, because Pillow's mode `I;16` holds plain
//!   integers and its conversion does not rescale; a depth map in millimetres comes out nearly white, there and here.
//! * Animations give their first frame.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError};

use super::{DecodeError, Format, check_size};
use crate::pixels::Rgb8;

pub(super) fn decode(bytes: &[u8], format: Format) -> Result<Rgb8, DecodeError> {
    let fail = |error: &ImageError| failure(format, error);
    let cursor = Cursor::new(bytes);
    // Bit depth and colour type of a PNG's header. A transparent colour would make the decoder report grey and alpha.
    let is_grey16 = format == Format::Png && bytes.get(24..26) == Some(&[16, 0]);
    match format {
        Format::Png => to_rgb(image::codecs::png::PngDecoder::new(cursor).map_err(|e| fail(&e))?, format, is_grey16),
        Format::WebP => to_rgb(image::codecs::webp::WebPDecoder::new(cursor).map_err(|e| fail(&e))?, format, is_grey16),
        Format::Gif => to_rgb(image::codecs::gif::GifDecoder::new(cursor).map_err(|e| fail(&e))?, format, is_grey16),
        Format::Bmp => to_rgb(image::codecs::bmp::BmpDecoder::new(cursor).map_err(|e| fail(&e))?, format, is_grey16),
        Format::Jpeg => Err(DecodeError::NotAnImage),
    }
}

fn to_rgb(decoder: impl ImageDecoder, format: Format, is_grey16: bool) -> Result<Rgb8, DecodeError> {
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
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
        other => DecodeError::Corrupt { format, what: other.to_string() },
    }
}
