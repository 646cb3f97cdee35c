//! mmseg's `PhotoMetricDistortion`: brightness, contrast, saturation and hue of bytes, each changed with probability ½.
//!
//! ```text
//! brightness  p + U(−32, 32)      contrast  p · U(.5, 1.5)      saturation  S · U(.5, 1.5)      hue  (H + U{−18 ‥ 17}) mod 180
//! ```
//!
//! in this order, contrast first among the last three or after them with equal chances. Each step clamps to 0..255 and
//! cuts fractions off. Saturation and hue go through OpenCV's 8-bit HSV, each there and back on its own. Source: mmseg 0.x
//! `datasets/pipelines/transforms.py`.

use super::hsv::{hsv_of, rgb_of};
use crate::resize::Planes8;
use crate::synthetic::random::SplitMix64;

const BRIGHTNESS: f64 = 32.0;
const RATIO: [f64; 2] = [0.5, 1.5];
/// Half-turns of hue have 180 steps.
const HUE: u64 = 18;

/// Distorts a picture in place.
pub(super) fn distort(image: &mut Planes8, random: &mut SplitMix64) {
    if random.chance(0.5) {
        let table = scaled(1.0, random.between(-BRIGHTNESS, BRIGHTNESS));
        look_up(image, &table);
    }
    let contrast_first = random.chance(0.5);
    if contrast_first {
        contrast(image, random);
    }
    if random.chance(0.5) {
        let table = scaled(random.between(RATIO[0], RATIO[1]), 0.0);
        in_hsv(image, |[h, s, v]| [h, table[usize::from(s)], v]);
    }
    if random.chance(0.5) {
        let turn = random.below(2 * HUE) + 180 - HUE;
        let table: [u8; 256] = std::array::from_fn(|h| ((h as u64 + turn) % 180) as u8);
        in_hsv(image, |[h, s, v]| [table[usize::from(h)], s, v]);
    }
    if !contrast_first {
        contrast(image, random);
    }
}

fn contrast(image: &mut Planes8, random: &mut SplitMix64) {
    if random.chance(0.5) {
        let table = scaled(random.between(RATIO[0], RATIO[1]), 0.0);
        look_up(image, &table);
    }
}

/// What every byte becomes: in f32, clamped, fractions cut off, as NumPy does.
fn scaled(factor: f64, offset: f64) -> [u8; 256] {
    std::array::from_fn(|byte| (byte as f32 * factor as f32 + offset as f32).clamp(0.0, 255.0) as u8)
}

fn look_up(image: &mut Planes8, table: &[u8; 256]) {
    image.data.iter_mut().for_each(|byte| *byte = table[usize::from(*byte)]);
}

fn in_hsv(image: &mut Planes8, change: impl Fn([u8; 3]) -> [u8; 3]) {
    let area = image.height * image.width;
    let (red, rest) = image.data.split_at_mut(area);
    let (green, blue) = rest.split_at_mut(area);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        [*r, *g, *b] = rgb_of(change(hsv_of([*r, *g, *b])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 · 1.5 = 300 → 255; 101 · .5 = 50.5 → 50; 10 − 32 → 0. Breaks if anything rounds or wraps.
    #[test]
    fn bytes_are_clamped_and_cut() {
        let (brighter, dimmer, darker) = (scaled(1.5, 0.0), scaled(0.5, 0.0), scaled(1.0, -32.0));
        assert_eq!((brighter[200], dimmer[101], darker[10], darker[40]), (255, 50, 0, 8));
    }

    /// Each change happens to half of the pictures: a grey one shows brightness and contrast only, and is left alone by a
    /// quarter of the draws; one whose red is full and the rest half shows the other two.
    #[test]
    fn a_quarter_of_grey_pictures_stay_as_they_are() {
        let grey = Planes8 { height: 1, width: 1, data: vec![100; 3] };
        let mut same = 0;
        for seed in 0..4000 {
            let mut image = grey.clone();
            distort(&mut image, &mut SplitMix64::new(seed));
            assert!(image.data[0] == image.data[1] && image.data[1] == image.data[2], "{:?}", image.data);
            assert!((34..=198).contains(&image.data[0]), "{:?}", image.data);
            same += usize::from(image == grey);
        }
        // A few draws change nothing: contrast of 1.000 to 1.0099.
        assert!((940..1120).contains(&same), "{same}");
    }
}
