//! Annotated masks and depths as rows of `truth_maps`.
//!
//! Depth becomes whole counts of a fixed unit, `round(depth / scale)`, at least 1 where it is known: NYU's millimetres stay
//! what they were, and of scenes, whose depth is 0..1, at most 1/131,070 is lost. The unit is a parameter and the same for all
//! images. What does not fit in 65,535 counts is no depth of that dataset: the image is skipped.

use datasets::DenseTruth;
use schemas::tables::TruthMaps;
use serde::Serialize;

use crate::params::ParamsError;
use crate::prepare::Skip;

/// Truth that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TruthKind {
    /// Class of each pixel, as annotated.
    Segments,
    /// Distance of each pixel.
    Depth {
        /// Value of one count, m.
        scale: f64,
    },
}

impl TruthKind {
    /// Depth in metres up to 65.535 m, by the millimetre: what depth cameras store.
    pub const MILLIMETRES: Self = Self::Depth { scale: 0.001 };
    /// Depth between 0 and 1, such as that of generated scenes.
    pub const UNIT_RANGE: Self = Self::Depth { scale: 1.0 / 65_535.0 };

    pub(crate) fn check(&self, key: &'static str) -> Result<(), ParamsError> {
        match self {
            Self::Depth { scale } if !(scale.is_finite() && *scale > 0.0) => {
                Err(ParamsError::Views { key, problem: format!("depth in counts of {scale} m") })
            }
            _ => Ok(()),
        }
    }
}

/// Rows of one truth, of a view or of the whole image.
pub(crate) fn maps(
    t: &mut TruthMaps,
    index: usize,
    view: Option<usize>,
    truth: DenseTruth,
    kinds: &[TruthKind],
) -> Result<(), Skip> {
    let DenseTruth { height, width, mut segments, mut depth_m } = truth;
    for kind in kinds {
        let (name, scale, cells) = match kind {
            TruthKind::Segments => ("segments", None, segments.take().ok_or_else(|| missing("class"))?),
            TruthKind::Depth { scale } => {
                let depth_m = depth_m.take().ok_or_else(|| missing("depth"))?;
                ("depth", Some(*scale), counts(&depth_m, *scale)?)
            }
        };
        t.image.push(index as u32);
        t.view.push(view.map(|view| view as u16));
        t.kind.push(name.into());
        t.height.push(height as u32);
        t.width.push(width as u32);
        t.scale.push(scale);
        t.cells.push(cells);
    }
    Ok(())
}

fn missing(what: &str) -> Skip {
    Skip::new(
        "no annotation",
        &format_args!("no {what} is annotated of its pixels; leave it out of the truth that is kept"),
    )
}

/// Depth in whole counts of `scale`, u16 little-endian; 0 where unknown.
fn counts(depth_m: &[f32], scale: f64) -> Result<Vec<u8>, Skip> {
    let mut cells = Vec::with_capacity(2 * depth_m.len());
    for &depth in depth_m {
        let count = (f64::from(depth) / scale).round();
        // A comparison that is false of what is no number.
        if !(0.0..=f64::from(u16::MAX)).contains(&count) {
            let detail =
                format!("a depth of {depth} is no number between 0 and {}, 65535 times {scale}", scale * 65_535.0);
            return Err(Skip { reason: "depth out of range".to_owned(), detail });
        }
        let count = if depth > 0.0 { count.max(1.0) } else { 0.0 };
        cells.extend((count as u16).to_le_bytes());
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn decoded(cells: &[u8]) -> Vec<u16> {
        cells.as_chunks().0.iter().map(|&c| u16::from_le_bytes(c)).collect()
    }

    /// Breaks when a depth camera's millimetres come back as others.
    #[test]
    fn every_millimetre_survives() {
        let millimetres: Vec<u16> = (0..=u16::MAX).collect();
        let depth_m: Vec<f32> = millimetres.iter().map(|&mm| f32::from(mm) / 1000.0).collect();
        let TruthKind::Depth { scale } = TruthKind::MILLIMETRES else { unreachable!() };
        assert_eq!(decoded(&counts(&depth_m, scale).unwrap()), millimetres);
    }

    /// Breaks when a known depth becomes an unknown one, or more than 1e-4 of the range is lost.
    #[test]
    fn depths_of_scenes_lose_less_than_a_ten_thousandth() {
        let TruthKind::Depth { scale } = TruthKind::UNIT_RANGE else { unreachable!() };
        let depth: Vec<f32> = (0..=30_000).map(|i| i as f32 / 30_000.0).chain([1e-9]).collect();
        let back = decoded(&counts(&depth, scale).unwrap());
        assert!(depth.iter().zip(&back).all(|(d, &c)| (f64::from(*d) - f64::from(c) * scale).abs() < 1.6e-5));
        assert!(back[0] == 0 && back[1..].iter().all(|&c| c > 0));
    }

    #[test]
    fn depths_that_are_none_are_refused() {
        for bad in [f32::NAN, f32::INFINITY, -0.01, 66.0] {
            let skip = counts(&[1.0, bad], 0.001).unwrap_err();
            assert!(skip.reason == "depth out of range" && skip.detail.contains("65.535"), "{skip:?}");
        }
    }
}
