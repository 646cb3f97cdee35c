//! Maps of patches and photographs as rasters.
//!
//! A map has a few px a patch, so that viewers that smooth pictures still show patches. Photographs are shrunk to what a
//! cell of a figure can show: a page with ten figures must stay a page.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage, imageops};

use crate::error::ReportError;

/// Longest side of a photograph within a figure, px: 1.5 times a cell, for dense screens.
const PHOTO_PX: u32 = 190;
/// Side of a map in a figure, about, px.
const MAP_PX: u32 = 192;
/// Most px a patch.
const MOST_PX: u32 = 8;

/// A map in colours: `values` `[rows · cols]`, row-major.
pub fn heat(rows: usize, cols: usize, colors: impl Fn(usize) -> [u8; 3]) -> RgbImage {
    let side = patch_px(rows, cols);
    RgbImage::from_fn(cols.max(1) as u32 * side, rows.max(1) as u32 * side, |x, y| {
        Rgb(colors((y / side) as usize * cols + (x / side) as usize))
    })
}

/// Px a patch of a map of this grid.
pub fn patch_px(rows: usize, cols: usize) -> u32 {
    (MAP_PX / rows.max(cols).max(1) as u32).clamp(2, MOST_PX)
}

/// Frames a patch of a map made by [`heat`]; `inset` 0 is the edge, 1 a px within.
pub fn frame(map: &mut RgbImage, (rows, cols): (usize, usize), patch: usize, inset: u32, color: [u8; 3]) {
    let side = patch_px(rows, cols);
    if patch >= rows * cols || side <= 2 * inset {
        return;
    }
    let (left, top) = ((patch % cols) as u32 * side, (patch / cols) as u32 * side);
    for y in inset..side - inset {
        for x in inset..side - inset {
            if x == inset || y == inset || x == side - 1 - inset || y == side - 1 - inset {
                map.put_pixel(left + x, top + y, Rgb(color));
            }
        }
    }
}

/// A photograph no larger than a figure shows.
pub fn thumbnail(photo: &RgbImage) -> RgbImage {
    let longest = photo.width().max(photo.height());
    if longest <= PHOTO_PX {
        return photo.clone();
    }
    let of = |side: u32| (f64::from(side) * f64::from(PHOTO_PX) / f64::from(longest)).round().max(1.0) as u32;
    imageops::resize(photo, of(photo.width()), of(photo.height()), imageops::FilterType::Triangle)
}

/// A map of pixels in colours, no larger than a figure shows: the nearest pixel stands for its neighbours, since the mean
/// of two classes is a third.
pub fn pixels((rows, cols): (usize, usize), color: impl Fn(usize) -> [u8; 3]) -> RgbImage {
    let most = PHOTO_PX as usize;
    let longest = rows.max(cols).max(1);
    let of = |side: usize| if longest <= most { side } else { (side * most).div_ceil(longest) };
    let (height, width) = (of(rows).max(1), of(cols).max(1));
    // The middle of each pixel that is shown.
    let nearest = |at: u32, shown: usize, all: usize| (2 * at as usize + 1) * all / (2 * shown);
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        Rgb(color(nearest(y, height, rows) * cols + nearest(x, width, cols)))
    })
}

/// A PNG file.
pub fn png(figure: &'static str, picture: &RgbImage) -> Result<Vec<u8>, ReportError> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|source| ReportError::Picture { figure, source: Box::new(source) })?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when rows and columns are swapped or a frame leaves its patch.
    #[test]
    fn a_map_and_its_frames_in_closed_form() {
        let mut map = heat(2, 3, |i| [i as u8 * 10, 0, 0]);
        assert_eq!(map.dimensions(), (24, 16));
        assert_eq!(map.get_pixel(23, 0).0, [20, 0, 0]);
        assert_eq!(map.get_pixel(0, 15).0, [30, 0, 0]);
        frame(&mut map, (2, 3), 5, 1, [1, 2, 3]);
        assert_eq!(map.get_pixel(16, 8).0, [50, 0, 0]);
        assert_eq!(map.get_pixel(17, 9).0, [1, 2, 3]);
        assert_eq!(map.get_pixel(22, 14).0, [1, 2, 3]);
        assert_eq!(map.get_pixel(18, 10).0, [50, 0, 0]);
        let before = map.clone();
        frame(&mut map, (2, 3), 6, 0, [9, 9, 9]);
        assert_eq!(map, before);
    }

    /// Breaks when rows and columns are swapped, colours are mixed, or a pixel beyond the map is asked for.
    #[test]
    fn pixels_are_taken_not_mixed() {
        let small = pixels((2, 3), |i| [i as u8, 0, 0]);
        assert_eq!((small.dimensions(), small.get_pixel(2, 1).0), ((3, 2), [5, 0, 0]));
        let large = pixels((760, 380), |i| [(i / 380 / 4) as u8, (i % 380 / 4) as u8, 0]);
        assert_eq!(large.dimensions(), (95, 190));
        assert_eq!((large.get_pixel(0, 0).0, large.get_pixel(94, 189).0), ([0, 0, 0], [189, 94, 0]));
    }

    #[test]
    fn large_maps_and_photographs_stay_small() {
        assert_eq!([patch_px(2, 2), patch_px(16, 16), patch_px(68, 68), patch_px(200, 3)], [8, 8, 2, 2]);
        assert_eq!(thumbnail(&RgbImage::new(952, 476)).dimensions(), (190, 95));
        assert_eq!(thumbnail(&RgbImage::new(8, 4)).dimensions(), (8, 4));
    }
}
