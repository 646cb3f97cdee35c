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

/// Colour of a class in pictures of segments: the palette of PASCAL VOC, which spreads the bits of the class over the
/// three channels, highest first. 0 is black; 255, what is not scored, is pale.
pub fn of_class(class: u8) -> [u8; 3] {
    std::array::from_fn(|channel| {
        (0..8).filter(|i| 3 * i + channel < 8).fold(0, |sum, i| sum | (((class >> (3 * i + channel)) & 1) << (7 - i)))
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

    /// Breaks when a class is not in the colour that VOC's own masks have for it.
    #[test]
    fn classes_have_the_colours_of_voc() {
        let wanted = ["#000000", "#800000", "#008000", "#808000", "#000080", "#400000", "#004080", "#e0e0c0"];
        assert_eq!([0, 1, 2, 3, 4, 8, 20, 255].map(|class| hex(of_class(class))), wanted);
        let all: std::collections::BTreeSet<[u8; 3]> = (0..=255).map(of_class).collect();
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn lightness_rises() {
        let luminance = |[r, g, b]: [u8; 3]| 0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b);
        let steps: Vec<f64> = (0..=100).map(|i| luminance(viridis(f64::from(i) / 100.0))).collect();
        assert!(steps.windows(2).all(|w| w[1] >= w[0] - 1.0), "{steps:?}");
    }
}
