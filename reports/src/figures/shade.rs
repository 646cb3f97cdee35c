//! From a value to a colour: linear or logarithmic magnitudes in viridis, signed values in blue, white and red.

use super::axes::Scale;
use super::colormap;
use super::svg::{Anchor, Ink, Svg};

/// What is added before the logarithm of an attention, as the reproducibility study does.
pub const LOG_FLOOR: f64 = 1e-6;

/// An end of a scale as it is printed under a map: two significant digits, in seven characters at most.
///
/// The least attention of a map is often a thousandth of the largest and less: it keeps its digits, in an exponent.
pub fn end(value: f64) -> String {
    // What rounds up to the next power of ten has a digit more before the point.
    let size = format!("{:.1e}", value.abs()).parse::<f64>().unwrap_or(f64::NAN);
    match size {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e3).contains(&size) => format!("{value:.1e}"),
        size => format!("{value:.*}", (1 - size.log10().floor() as i32).max(0) as usize),
    }
}

/// A colour scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shade {
    /// Viridis, even from the first to the second value.
    Linear(f64, f64),
    /// Viridis, even in log10(value + 1e-6) from the first to the second value.
    Log(f64, f64),
    /// White at 0, blue at minus this value and red at it.
    Signed(f64),
}

impl Shade {
    /// Colour of a value; what lies outside takes the nearest end, and NaN is grey.
    pub fn color(self, value: f32) -> [u8; 3] {
        let value = f64::from(value);
        let even = |value: f64, low: f64, high: f64| if high > low { (value - low) / (high - low) } else { 0.0 };
        match self {
            _ if value.is_nan() => colormap::viridis(f64::NAN),
            Self::Linear(low, high) => colormap::viridis(even(value, low, high)),
            Self::Log(low, high) => {
                let log = |x: f64| (x.max(0.0) + LOG_FLOOR).log10();
                colormap::viridis(even(log(value), log(low), log(high)))
            }
            Self::Signed(reach) => colormap::signed(if reach > 0.0 { value / reach } else { 0.0 }),
        }
    }

    fn ends(self) -> (f64, f64) {
        match self {
            Self::Linear(low, high) | Self::Log(low, high) => (low, high),
            Self::Signed(reach) => (-reach, reach),
        }
    }

    /// A bar of the colours with ticks below and words at its right.
    pub fn bar(self, svg: &mut Svg, (left, top): (f64, f64), words: &str) {
        const WIDTH_PX: f64 = 180.0;
        const STEPS: u32 = 60;
        let (low, high) = self.ends();
        let log = matches!(self, Self::Log(..));
        let step = WIDTH_PX / f64::from(STEPS);
        for i in 0..STEPS {
            let t = f64::from(i) / f64::from(STEPS - 1);
            let value = if log {
                (((1.0 - t) * (low + LOG_FLOOR).log10() + t * (high + LOG_FLOOR).log10()) * std::f64::consts::LN_10)
                    .exp()
                    - LOG_FLOOR
            } else {
                low + t * (high - low)
            };
            svg.rect((left + f64::from(i) * step, top), (step + 0.3, 9.0), &colormap::hex(self.color(value as f32)));
        }
        let range = (left, left + WIDTH_PX);
        let scale = if log {
            Scale::log((low + LOG_FLOOR, high + LOG_FLOOR), range)
        } else {
            Scale::linear((low, high), range)
        };
        for (value, label) in scale.ticks() {
            if let Some(label) = label {
                svg.text(scale.at(value), top + 21.0, Anchor::Middle, Ink::Tick, &label);
            }
        }
        svg.text(left + WIDTH_PX + 14.0, top + 9.0, Anchor::Start, Ink::Tick, words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when a small value loses its digits or a number outgrows its seven characters.
    #[test]
    fn ends_have_two_digits() {
        let printed = [0.0, 0.008, 0.00812, 8.14e-4, 0.000_999_9, 0.099_6, 0.25, 1.0, 12.3, 523.0, 9_960.0].map(end);
        let wanted = ["0", "0.0080", "0.0081", "8.1e-4", "0.0010", "0.10", "0.25", "1.0", "12", "523", "1.0e4"];
        assert_eq!(printed, wanted);
        assert!([1.2e-38, -0.001_23, 9.99e307].map(end).iter().all(|text| text.len() <= 7));
    }

    #[test]
    fn ends_and_middles() {
        let linear = Shade::Linear(1.0, 3.0);
        assert_eq!(linear.color(2.0), colormap::viridis(0.5));
        assert_eq!(linear.color(9.0), colormap::viridis(1.0));
        assert_eq!(linear.color(f32::NAN), [0x80; 3]);
        // 1e-6 is added to both ends: the middle of the logarithm of 9e-6 and 999e-6 is 99e-6.
        assert_eq!(Shade::Log(9e-6, 999e-6).color(99e-6), colormap::viridis(0.5));
        assert_eq!(Shade::Log(0.0, 1.0).color(0.0), colormap::viridis(0.0));
        assert_eq!(Shade::Signed(3.0).color(0.0), colormap::signed(0.0));
        assert_eq!(Shade::Signed(3.0).color(-4.0), colormap::signed(-1.0));
        // A map of one value has the lowest colour, not NaN.
        assert_eq!(Shade::Linear(2.0, 2.0).color(2.0), colormap::viridis(0.0));
    }
}
