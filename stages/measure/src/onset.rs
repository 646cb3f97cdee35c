//! The block at whose output outliers first stand out.
//!
//! Onset = the first block with a patch norm above 4 × the median patch norm of that block. Read from the log
//! histograms, whose bins are 5.9 % wide, so every block costs kilobytes. The paper's ViT-g separates at block 15 of
//! 40 (Fig. 4a).

use std::collections::BTreeMap;

use schemas::tables::NormHistograms;

/// Multiple of the median that stands out.
pub const FACTOR: f64 = 4.0;

/// The onset block, zero-based; `None` when no block has such a patch.
pub fn onset(histograms: &NormHistograms) -> Option<u32> {
    let mut blocks: BTreeMap<u32, BTreeMap<i32, (u64, f64, f64)>> = BTreeMap::new();
    for i in 0..histograms.site.len() {
        if &*histograms.kind[i] != "patch" || &*histograms.scale[i] != "log" {
            continue;
        }
        let Some(block) = histograms.site[i].strip_prefix("block_").and_then(|b| b.parse().ok()) else { continue };
        let edges = (f64::from(histograms.low[i]), f64::from(histograms.high[i]));
        let bin = blocks.entry(block).or_default().entry(histograms.bin[i]).or_insert((0, edges.0, edges.1));
        bin.0 += histograms.tokens[i];
    }
    let mut blocks = blocks.into_iter();
    blocks.find(|(_, bins)| stands_out(bins.values().copied())).map(|(block, _)| block)
}

/// Whether the largest of some norms stands out; bins in ascending order as (tokens, lower edge, upper edge).
pub(crate) fn stands_out(bins: impl Iterator<Item = (u64, f64, f64)> + Clone) -> bool {
    let bins = bins.filter(|b| b.0 > 0);
    let total: u64 = bins.clone().map(|b| b.0).sum();
    let mut seen = 0;
    let median = bins.clone().find_map(|(n, low, high)| {
        seen += n;
        (2 * seen >= total).then(|| (low * high).sqrt())
    });
    // The bin must lie above the limit as a whole: rounding must not make an onset.
    let largest = bins.last().map(|b| b.1);
    matches!((median, largest), (Some(median), Some(largest)) if largest > FACTOR * median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(norms: &[(u32, f32, u64)]) -> NormHistograms {
        let mut t = NormHistograms::default();
        for &(block, norm, tokens) in norms {
            let bin = (norm.log10() * 40.0).floor() as i32;
            t.site.push(format!("block_{block}").into());
            t.kind.push("patch".into());
            t.scale.push("log".into());
            t.bin.push(bin);
            t.low.push(10f32.powf(bin as f32 / 40.0));
            t.high.push(10f32.powf((bin + 1) as f32 / 40.0));
            t.tokens.push(tokens);
        }
        t
    }

    #[test]
    fn the_first_block_with_a_patch_far_above_its_median() {
        let t = rows(&[(0, 10.0, 500), (1, 10.0, 500), (1, 30.0, 5), (2, 10.0, 500), (2, 90.0, 1), (10, 10.0, 9)]);
        assert_eq!(onset(&t), Some(2));
    }

    #[test]
    fn no_block_without_one_and_other_kinds_do_not_count() {
        let mut t = rows(&[(0, 10.0, 500), (1, 11.0, 500), (1, 39.0, 5)]);
        assert_eq!(onset(&t), None);
        let mut registers = rows(&[(1, 200.0, 4)]);
        registers.kind = vec!["register_0".into()];
        schemas::Table::append(&mut t, &mut registers);
        assert_eq!(onset(&t), None);
        assert_eq!(onset(&NormHistograms::default()), None);
    }
}
