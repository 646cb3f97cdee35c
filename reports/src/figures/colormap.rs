//! Colours. Magnitudes are in viridis (perceptually uniform, legible to colour-blind readers); kinds of token in a
//! small palette that stands on white and on black.

/// Sixteen even samples of matplotlib's viridis, which is in the public domain (CC0).
const VIRIDIS: [[u8; 3]; 16] = [
    [0x44, 0x01, 0x54],
    [0x48, 0x1a, 0x6c],
    [0x47, 0x2f, 0x7d],
    [0x41, 0x44, 0x87],
    [0x39, 0x56, 0x8c],
    [0x31, 0x68, 0x8e],
    [0x2a, 0x78, 0x8e],
    [0x23, 0x88, 0x8e],
    [0x1f, 0x98, 0x8b],
    [0x22, 0xa8, 0x84],
    [0x35, 0xb7, 0x79],
    [0x54, 0xc5, 0x68],
    [0x7a, 0xd1, 0x51],
    [0xa5, 0xdb, 0x36],
    [0xd2, 0xe2, 0x1b],
    [0xfd, 0xe7, 0x25],
];

/// Viridis at `t` in [0, 1]; what lies outside takes the nearest end, and NaN is grey.
pub fn viridis(t: f64) -> [u8; 3] {
    if t.is_nan() {
        return [0x80; 3];
    }
    let at = t.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let low = (at as usize).min(VIRIDIS.len() - 2);
    let part = at - low as f64;
    std::array::from_fn(|c| {
        let (a, b) = (f64::from(VIRIDIS[low][c]), f64::from(VIRIDIS[low + 1][c]));
        (a + (b - a) * part).round() as u8
    })
}

/// Blue at −1, white at 0, red at 1; what lies outside takes the nearest end. Five stops of `ColorBrewer`'s `RdBu`.
pub fn signed(t: f64) -> [u8; 3] {
    const STOPS: [[u8; 3]; 5] =
        [[0x05, 0x30, 0x61], [0x43, 0x93, 0xc3], [0xf7, 0xf7, 0xf7], [0xd6, 0x60, 0x4d], [0x67, 0x00, 0x1f]];
    let at = (t.clamp(-1.0, 1.0) + 1.0) * 2.0;
    let low = (at as usize).min(STOPS.len() - 2);
    let part = at - low as f64;
    std::array::from_fn(|c| {
        let (a, b) = (f64::from(STOPS[low][c]), f64::from(STOPS[low + 1][c]));
        (a + (b - a) * part).round() as u8
    })
}

/// Colours of the first classes: those of Trubetskoy's "20 Simple, Distinct Colors" that stand apart from what is not scored,
/// with three more. The palette of PASCAL VOC, with which pictures of segments are often drawn, has neighbours that nobody
/// can tell apart (black, #400000 and #800000).
const CLASSES: [[u8; 3]; 21] = [
    [0x00, 0x00, 0x00],
    [0xe6, 0x19, 0x4b],
    [0x3c, 0xb4, 0x4b],
    [0xff, 0xe1, 0x19],
    [0x43, 0x63, 0xd8],
    [0xf5, 0x82, 0x31],
    [0x91, 0x1e, 0xb4],
    [0x46, 0xf0, 0xf0],
    [0xf0, 0x32, 0xe6],
    [0xbc, 0xf6, 0x0c],
    [0xfa, 0xbe, 0xbe],
    [0x00, 0x80, 0x80],
    [0x9a, 0x63, 0x24],
    [0x80, 0x00, 0x00],
    [0xaa, 0xff, 0xc3],
    [0x80, 0x80, 0x00],
    [0x00, 0x00, 0x75],
    [0x80, 0x80, 0x80],
    [0x6f, 0xa8, 0xff],
    [0x00, 0x46, 0x0f],
    [0xc9, 0xa0, 0xff],
];

/// Colour of a class in pictures of segments. 0 is black; 255, what is not scored, is pale. Beyond the first ones hues go
/// round in steps of the golden section, in three strengths and two saturations: no palette keeps 150 classes apart.
pub fn of_class(class: u8) -> [u8; 3] {
    if class == u8::MAX {
        return [0xe0, 0xe0, 0xc0];
    }
    if let Some(color) = CLASSES.get(usize::from(class)) {
        return *color;
    }
    let hue = 6.0 * (f64::from(class) * 0.618_034).fract();
    let value = [0.95, 0.7, 0.45][usize::from(class % 3)];
    let saturation = [0.9, 0.55][usize::from(class / 3 % 2)];
    // HSV by one formula for the three channels (Foley et al., Computer Graphics, §13.3).
    [5.0, 3.0, 1.0].map(|shift| {
        let k = (shift + hue) % 6.0;
        let part = k.min(4.0 - k).clamp(0.0, 1.0);
        (255.0 * value * (1.0 - saturation * part)).round() as u8
    })
}

/// `#rrggbb`.
pub fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Colour of a model without registers (0) or with R of them.
pub fn of_registers(registers: usize) -> &'static str {
    match registers {
        0 => "#d9682b",
        1 => "#8f62b5",
        4 => "#3b76c0",
        _ => "#2f9c7c",
    }
}

/// Colour of a kind of token.
pub fn of_kind(kind: &str) -> &'static str {
    const REGISTERS: [&str; 4] = ["#3b76c0", "#2f9c7c", "#8f62b5", "#c8527a"];
    match kind {
        "patch" => "#8a919c",
        "cls" => "#d9682b",
        _ => {
            let index: usize = kind.rsplit('_').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            REGISTERS[index % REGISTERS.len()]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_middle_and_nonsense() {
        assert_eq!(viridis(0.0), VIRIDIS[0]);
        assert_eq!(viridis(1.0), VIRIDIS[15]);
        assert_eq!(viridis(-3.0), VIRIDIS[0]);
        assert_eq!(viridis(f64::INFINITY), VIRIDIS[15]);
        assert_eq!(viridis(f64::NAN), [0x80; 3]);
        assert_eq!(viridis(1.0 / 15.0), VIRIDIS[1]);
        assert_eq!(hex(viridis(0.0)), "#440154");
        assert_eq!([hex(signed(-9.0)), hex(signed(0.0)), hex(signed(1.0))], ["#053061", "#f7f7f7", "#67001f"]);
    }

    /// CIELAB of a colour of sRGB, white D65.
    fn lab(rgb: [u8; 3]) -> [f64; 3] {
        let [r, g, b] = rgb.map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        let f = |t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
        let x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.950_47);
        let y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
        let z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.088_83);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// Distances of CIE 1976, of which 2.3 is just noticeable side by side. Breaks when two of the first classes, or one of
    /// them and what is not scored, cannot be told apart: VOC's own 0 and 8 are 13.5 apart.
    #[test]
    fn the_first_classes_can_be_told_apart() {
        let distance = |a: u8, b: u8| {
            let (a, b) = (lab(of_class(a)), lab(of_class(b)));
            a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
        };
        let classes: Vec<u8> = (0..21).chain([255]).collect();
        for (i, a) in classes.iter().enumerate() {
            for b in &classes[..i] {
                assert!(distance(*a, *b) > 25.0, "{a} and {b}: {}", distance(*a, *b));
            }
        }
        let all: std::collections::BTreeSet<[u8; 3]> = (0..=255).map(of_class).collect();
        assert_eq!(all.len(), 256);
        // Hue 6 · 0.978714 = 5.872: red, with little blue; value 0.95, saturation 0.55.
        assert_eq!(hex(of_class(21)), "#f26d7e");
    }

    #[test]
    fn lightness_rises() {
        let luminance = |[r, g, b]: [u8; 3]| 0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b);
        let steps: Vec<f64> = (0..=100).map(|i| luminance(viridis(f64::from(i) / 100.0))).collect();
        assert!(steps.windows(2).all(|w| w[1] >= w[0] - 1.0), "{steps:?}");
    }
}
