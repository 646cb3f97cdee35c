//! The features of one view, ready for a head.

use half::f16;
use half::slice::HalfFloatSliceExt as _;
use schemas::tables::Dense;

use super::error::DenseError;
use super::place::Place;

/// Patch features of a view and its CLS, of one or several sites.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Features {
    pub image: u32,
    pub place: Place,
    pub h: usize,
    pub w: usize,
    /// Channels of a site.
    pub width: usize,
    /// `[h·w, sites·width]`.
    pub tokens: Vec<f32>,
    /// `[sites·width]`, or nothing where a site has none.
    pub cls: Vec<f32>,
}

impl Features {
    pub(crate) fn channels(&self) -> usize {
        self.tokens.len() / (self.h * self.w)
    }

    /// Of one row per site, in order.
    pub(crate) fn of_rows<'a>(rows: impl Iterator<Item = (&'a Dense, usize)> + Clone) -> Result<Self, DenseError> {
        let sites = rows.clone().count();
        let mut all: Option<Self> = None;
        for (site, (table, row)) in rows.enumerate() {
            let (image, view) = (table.image[row], table.view[row]);
            let damaged = |why: String| DenseError::Shape { image, what: "the features", why };
            let place = place_of(table, row);
            if !place.is_sound() {
                return Err(damaged(format!("a view at {place:?}")));
            }
            let (h, w) = (usize::from(table.grid_h[row]), usize::from(table.grid_w[row]));
            let (patches, cls) = (&table.patches[row].0, &table.cls[row].0);
            let width = (patches.len() / 2).checked_div(h * w).unwrap_or(0);
            if width == 0 || patches.len() != h * w * width * 2 {
                return Err(damaged(format!("{} bytes for {h}x{w} patches", patches.len())));
            }
            if !(cls.is_empty() || cls.len() == 2 * width) {
                return Err(damaged(format!("{} bytes of CLS beside patches of {width} channels", cls.len())));
            }
            let features = all.get_or_insert_with(|| Self {
                image,
                place,
                h,
                w,
                width,
                tokens: vec![0.0; h * w * width * sites],
                cls: Vec::with_capacity(width * sites),
            });
            if (features.h, features.w, features.place) != (h, w, place) {
                return Err(damaged(format!(
                    "{h}x{w} patches at one site and {}x{} at another",
                    features.h, features.w
                )));
            }
            if features.width != width {
                return Err(DenseError::Width { image, found: width, wanted: features.width });
            }
            let start = site * width;
            if features.cls.len() == start && !cls.is_empty() {
                features.cls.resize(start + width, 0.0);
                read_halves(cls, &mut features.cls[start..]);
            }
            let channels = width * sites;
            for (bytes, token) in patches.chunks_exact(width * 2).zip(features.tokens.chunks_exact_mut(channels)) {
                read_halves(bytes, &mut token[start..start + width]);
            }
            // A sum of products with 0 is 0 unless a value is not finite.
            let sum: f32 = features.tokens.iter().chain(&features.cls).map(|v| v * 0.0).sum();
            if sum != 0.0 {
                return Err(DenseError::NotFinite { image, view });
            }
        }
        let mut all = all.ok_or(DenseError::Nothing("sites"))?;
        if all.cls.len() != all.width * sites {
            all.cls.clear();
        }
        Ok(all)
    }
}

fn place_of(table: &Dense, row: usize) -> Place {
    let patch = usize::from(table.patch_px[row]);
    Place {
        scaled_h: table.scaled_h[row] as usize,
        scaled_w: table.scaled_w[row] as usize,
        y0: table.y0[row] as usize,
        x0: table.x0[row] as usize,
        view_h: table.view_h[row],
        view_w: table.view_w[row],
        mirrored: table.mirrored[row],
        pad_top: table.pad_top[row],
        pad_left: table.pad_left[row],
        input_h: usize::from(table.grid_h[row]) * patch,
        input_w: usize::from(table.grid_w[row]) * patch,
    }
}

fn read_halves(bytes: &[u8], out: &mut [f32]) {
    // Tables give bytes at any address; on the usual little-endian machine with an even one this copies nothing.
    match bytemuck::try_cast_slice::<u8, u16>(bytes) {
        Ok(bits) if cfg!(target_endian = "little") => {
            use half::slice::HalfBitsSliceExt as _;
            bits.reinterpret_cast::<f16>().convert_to_f32_slice(out);
        }
        _ => {
            for (pair, value) in bytes.chunks_exact(2).zip(out) {
                *value = f16::from_le_bytes([pair[0], pair[1]]).to_f32();
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod made {
    //! Rows of `dense` for tests.

    use schemas::Halves;

    use super::{Dense, f16};

    fn halves(values: &[f32]) -> Halves {
        Halves(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect())
    }

    /// A view that is the whole of an image of whole patches of 14.
    pub(crate) fn push(
        table: &mut Dense,
        image: u32,
        view: u16,
        (h, w): (u16, u16),
        site: &str,
        values: (&[f32], &[f32]),
    ) {
        table.image.push(image);
        table.view.push(view);
        table.site.push(site.into());
        for (column, value) in
            [(&mut table.scaled_h, h), (&mut table.scaled_w, w), (&mut table.view_h, h), (&mut table.view_w, w)]
        {
            column.push(u32::from(value) * 14);
        }
        table.y0.push(0);
        table.x0.push(0);
        table.mirrored.push(false);
        table.pad_top.push(0);
        table.pad_left.push(0);
        table.grid_h.push(h);
        table.grid_w.push(w);
        table.patch_px.push(14);
        table.patches.push(halves(values.0));
        table.cls.push(halves(values.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Dense {
        let mut table = Dense::default();
        made::push(&mut table, 4, 0, (1, 2), "a", (&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0]));
        made::push(&mut table, 4, 0, (1, 2), "b", (&[7.0, 8.0, 9.0, 10.0], &[11.0, 12.0]));
        table
    }

    fn read(table: &Dense, rows: &[usize]) -> Result<Features, DenseError> {
        Features::of_rows(rows.iter().map(|&row| (table, row)))
    }

    /// Breaks when sites are laid one after another instead of side by side.
    #[test]
    fn sites_lie_side_by_side() -> Result<(), DenseError> {
        let features = read(&table(), &[1, 0])?;
        assert_eq!(features.tokens, [7.0, 8.0, 1.0, 2.0, 9.0, 10.0, 3.0, 4.0]);
        assert_eq!(features.cls, [11.0, 12.0, 5.0, 6.0]);
        assert_eq!((features.h, features.w, features.width, features.channels()), (1, 2, 2, 4));
        Ok(())
    }

    /// Breaks when a CLS is taken for that of another site.
    #[test]
    fn cls_is_there_at_all_sites_or_not_at_all() -> Result<(), DenseError> {
        for row in [0, 1] {
            let mut table = table();
            table.cls[row].0.clear();
            assert_eq!(read(&table, &[0, 1])?.cls, [0.0; 0]);
        }
        Ok(())
    }

    #[test]
    fn damaged_rows_are_refused() {
        let refused = |change: fn(&mut Dense)| {
            let mut table = table();
            change(&mut table);
            read(&table, &[0, 1]).err()
        };
        let not_a_number = refused(|t| t.patches[1].0[2..4].copy_from_slice(&f16::NAN.to_le_bytes()));
        assert_eq!(not_a_number, Some(DenseError::NotFinite { image: 4, view: 0 }));
        let infinite = refused(|t| t.cls[0].0[..2].copy_from_slice(&f16::INFINITY.to_le_bytes()));
        assert_eq!(infinite, Some(DenseError::NotFinite { image: 4, view: 0 }));
        for change in [
            |t: &mut Dense| t.patches[0].0.truncate(6),
            |t: &mut Dense| t.cls[0].0.truncate(3),
            |t: &mut Dense| t.patches[0].0.clear(),
            |t: &mut Dense| t.view_h[0] = 0,
            |t: &mut Dense| t.x0[0] = u32::MAX,
            |t: &mut Dense| t.grid_h[1] = 2,
        ] {
            assert!(matches!(refused(change), Some(DenseError::Shape { image: 4, .. })));
        }
        assert!(matches!(read(&table(), &[]), Err(DenseError::Nothing(_))));
    }

    proptest::proptest! {
        /// Any numbers and any bytes: an error or features of the right length, never a panic.
        #[test]
        fn any_row_is_read_or_refused(
            numbers in proptest::collection::vec(proptest::num::u32::ANY, 6),
            (h, w, patch) in (0_u16..9, 0_u16..9, proptest::num::u16::ANY),
            (patches, cls) in (proptest::collection::vec(0_u8..255, 0..200), proptest::collection::vec(0_u8..255, 0..9)),
        ) {
            let mut table = table();
            (table.scaled_h[0], table.scaled_w[0]) = (numbers[0], numbers[1]);
            (table.y0[0], table.x0[0], table.view_h[0], table.view_w[0]) = (numbers[2], numbers[3], numbers[4], numbers[5]);
            (table.grid_h[0], table.grid_w[0], table.patch_px[0]) = (h, w, patch);
            (table.patches[0].0, table.cls[0].0) = (patches, cls);
            if let Ok(features) = read(&table, &[0]) {
                proptest::prop_assert_eq!(features.tokens.len(), features.h * features.w * features.width);
            }
        }
    }
}
