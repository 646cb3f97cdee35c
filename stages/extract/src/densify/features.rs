//! Patch features of one pass as rows of `dense`.
//!
//! f16 has 11 bits: a value x is off by at most |x|/2048, below 6.1e-5 by at most 3e-8. Values above 65,504 have no f16. To
//! clamp them would move the very artifacts that are studied here, so such an image is skipped, and says so.

use half::f16;
use half::slice::HalfFloatSliceExt as _;
use schemas::Halves;
use schemas::tables::Dense;
use vit::{FinalNorm, Trace};

use super::DensifyParams;
use crate::params::PoolSite;
use crate::pipeline::flow::Seen;
use crate::prepare::Skip;
use crate::views::ViewInput;

/// One row per site: every patch token and perhaps CLS; registers are left out.
pub(super) fn rows(
    t: &mut Dense,
    seen: &Seen<ViewInput, Trace>,
    params: &DensifyParams,
    final_norm: &FinalNorm,
) -> Result<(), Skip> {
    let (layout, place) = (seen.pass.layout, seen.input.place);
    for pool in &params.sites {
        let data = seen.pass.full.get(&pool.site).ok_or_else(|| absent(*pool))?;
        let d = data.shape[1];
        let normed = |tokens: &[f32]| halves(tokens, d, *pool, final_norm);
        t.image.push(seen.index as u32);
        t.view.push(seen.view as u16);
        t.site.push(pool.label().into());
        t.scaled_h.push(place.scaled_h);
        t.scaled_w.push(place.scaled_w);
        t.y0.push(place.y0);
        t.x0.push(place.x0);
        t.view_h.push(place.view_h);
        t.view_w.push(place.view_w);
        t.mirrored.push(place.mirrored);
        t.pad_top.push(place.pad_top);
        t.pad_left.push(place.pad_left);
        t.grid_h.push(layout.grid_h as u16);
        t.grid_w.push(layout.grid_w as u16);
        t.patch_px.push(params.views.patch_px as u16);
        t.patches.push(normed(&data.data[layout.prefix() * d..])?);
        t.cls.push(if params.keep_cls { normed(data.row(0))? } else { Halves::default() });
    }
    Ok(())
}

/// A pass did not come by a site.
pub(crate) fn absent(pool: PoolSite) -> Skip {
    Skip::new("no such site", &format_args!("the pass has no {}: the edit leaves its block out", pool.site))
}

/// Tokens `[N, D]` as f16, perhaps through the final norm.
fn halves(tokens: &[f32], d: usize, pool: PoolSite, final_norm: &FinalNorm) -> Result<Halves, Skip> {
    let mut bytes = Vec::with_capacity(2 * tokens.len());
    let mut rounded = vec![f16::ZERO; d];
    for token in tokens.chunks_exact(d) {
        if pool.normed {
            convert(&final_norm.apply(token), &mut rounded, pool)?;
        } else {
            convert(token, &mut rounded, pool)?;
        }
        bytes.extend(rounded.iter().flat_map(|h| h.to_le_bytes()));
    }
    Ok(Halves(bytes))
}

fn convert(token: &[f32], rounded: &mut [f16], pool: PoolSite) -> Result<(), Skip> {
    rounded.convert_from_f32_slice(token);
    let Some(at) = rounded.iter().position(|h| !h.is_finite()) else { return Ok(()) };
    let (value, site) = (token[at], pool.label());
    Err(if value.is_finite() {
        let detail = format!("{value} at {site} has no f16, whose largest is 65504; keep a site after the final norm");
        Skip { reason: "beyond f16".to_owned(), detail }
    } else {
        Skip::new("non-finite output", &format_args!("a token at {site} holds {value}"))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use vit::Site;

    use super::*;

    const POOL: PoolSite = PoolSite { site: Site::Block(3), normed: false };

    fn norm() -> FinalNorm {
        let (config, weights) = vit::planted::planted(&vit::planted::Dials::default(), 0, None).unwrap();
        FinalNorm::new(&config, &weights).unwrap()
    }

    /// Breaks when halves are cut off instead of rounded to nearest, or when small values become zero.
    #[test]
    fn a_half_is_off_by_one_in_2048_at_most() {
        let values: Vec<f32> = (0..60_000).map(|i| (i as f32 * 0.37).sin() * 2.0f32.powi(i % 40 - 25)).collect();
        let stored = halves(&values, 6, POOL, &norm()).unwrap().0;
        let back = stored.as_chunks().0.iter().map(|&h| f16::from_le_bytes(h).to_f32());
        for (value, half) in values.iter().zip(back) {
            assert!((value - half).abs() <= (value.abs() / 2048.0).max(2.0f32.powi(-25)), "{value} became {half}");
        }
    }

    /// Breaks when a value that f16 has not is clamped or kept as an infinity.
    #[test]
    fn what_f16_has_not_is_refused_by_name() {
        assert_eq!(halves(&[65_519.0, 1.0], 2, POOL, &norm()).unwrap().0[..2], f16::MAX.to_le_bytes());
        for (value, reason) in [
            (65_520.0, "beyond f16"),
            (-1e9, "beyond f16"),
            (f32::NAN, "non-finite output"),
            (f32::INFINITY, "non-finite output"),
        ] {
            let skip = halves(&[0.0, 1.0, 2.0, value], 2, POOL, &norm()).unwrap_err();
            assert!(skip.reason == reason && skip.detail.contains("block_3"), "{skip:?}");
        }
    }

    /// The final norm is that of each token: breaks when it is taken over all, or not at all.
    #[test]
    fn the_final_norm_is_of_each_token() {
        let norm = norm();
        let d = norm.apply(&vec![1.0; 192]).len();
        let tokens: Vec<f32> = (0..3 * d).map(|i| (i as f32).cos() * (1 + i / d) as f32).collect();
        let stored = halves(&tokens, d, PoolSite { normed: true, ..POOL }, &norm).unwrap().0;
        let wanted = tokens.chunks(d).flat_map(|token| norm.apply(token)).flat_map(|x| f16::from_f32(x).to_le_bytes());
        assert_eq!(stored, wanted.collect::<Vec<_>>());
    }
}
