//! OpenCV's 8-bit `COLOR_RGB2HSV` and `COLOR_HSV2RGB`: hue in half-degrees, 0..180.
//!
//! ```text
//! V = max      d = max − min      S = (d · ⌊255·2¹² / V⌉ + 2¹¹) >> 12      H = (t · ⌊180·2¹² / 6d⌉ + 2¹¹) >> 12, + 180 if < 0
//! t = G − B where V = R;  B − R + 2d where V = G;  R − G + 4d where V = B
//! ```
//!
//! The way back is in f32: with S and V out of 1 and H/30 = sector + f, the channels are V, V(1 − S), V(1 − Sf) and
//! V(1 − S(1 − f)), times 255, fractions cut off; 1 − Sf is rounded once, as processors with fused products do. Source:
//! OpenCV 4 `modules/imgproc/src/color_hsv.simd.hpp`.

/// `⌊numerator / n⌉`, half to even; 0 for n = 0.
const fn shares(numerator: u32) -> [i32; 256] {
    let mut table = [0; 256];
    let mut n = 1_u32;
    while n < 256 {
        let (quotient, twice) = (numerator / n, numerator % n * 2);
        let up = twice > n || (twice == n && quotient % 2 == 1);
        table[n as usize] = (quotient + up as u32) as i32;
        n += 1;
    }
    table
}

static SATURATION: [i32; 256] = shares(255 << 12);
static HUE: [i32; 256] = shares((180 << 12) / 6);

pub(super) fn hsv_of([r, g, b]: [u8; 3]) -> [u8; 3] {
    let value = r.max(g).max(b);
    let spread = value - r.min(g).min(b);
    let [r, g, b, d] = [r, g, b, spread].map(i32::from);
    let turn = if value == r as u8 {
        g - b
    } else if value == g as u8 {
        b - r + 2 * d
    } else {
        r - g + 4 * d
    };
    let rounded = |product: i32| (product + (1 << 11)) >> 12;
    let saturation = rounded(d * SATURATION[usize::from(value)]);
    let hue = rounded(turn * HUE[usize::from(spread)]);
    [(if hue < 0 { hue + 180 } else { hue }) as u8, saturation as u8, value]
}

pub(super) fn rgb_of([h, s, v]: [u8; 3]) -> [u8; 3] {
    let (s, v) = (f32::from(s) * (1.0 / 255.0), f32::from(v) * (1.0 / 255.0));
    let turn = f32::from(h) * (6.0 / 180.0);
    let sector = turn.floor();
    let f = turn - sector;
    let full = v;
    // The product of two f32 is exact in f64.
    let short_of_one = |f: f32| (1.0 - f64::from(s) * f64::from(f)) as f32;
    let [none, falling, rising] = [v * (1.0 - s), v * short_of_one(f), v * short_of_one(1.0 - f)];
    let channels = match sector as u32 {
        0 => [full, rising, none],
        1 => [falling, full, none],
        2 => [none, full, rising],
        3 => [none, falling, full],
        4 => [rising, none, full],
        _ => [full, none, falling],
    };
    channels.map(|channel| (channel * 255.0) as u8)
}
