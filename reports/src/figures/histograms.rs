//! Histograms of norms, summed over the shards of a run.
//!
//! The logarithmic bins are used: 40 a decade resolve a median of 11 and an outlier of 600 alike.

use std::collections::BTreeMap;

use schemas::Frame;
use schemas::tables::NormHistograms;

use crate::error::ReportError;
use crate::parts::{Go, each_batch};
use crate::study::Subject;

/// One bin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Tokens.
    pub tokens: u64,
}

/// The non-empty bins of one population, by bin number.
pub type Histogram = BTreeMap<i32, Bin>;

/// Histograms of a subject by site, then kind.
#[derive(Debug, Default)]
pub struct Histograms(BTreeMap<String, BTreeMap<String, Histogram>>);

impl Histograms {
    /// Reads and sums every finished part.
    pub fn read(subject: &Subject) -> Result<Self, ReportError> {
        let mut all = Self::default();
        each_batch::<NormHistograms>(subject, |batch| {
            for i in 0..batch.site.len() {
                if &*batch.scale[i] != "log" {
                    continue;
                }
                let kinds = all.0.entry(batch.site[i].to_string()).or_default();
                let bins = kinds.entry(batch.kind[i].to_string()).or_default();
                let bin = bins.entry(batch.bin[i]).or_insert(Bin {
                    low: f64::from(batch.low[i]),
                    high: f64::from(batch.high[i]),
                    tokens: 0,
                });
                bin.tokens += batch.tokens[i];
            }
            Ok(Go::On)
        })?;
        Ok(all)
    }

    /// The histogram of a kind of token at a site.
    pub fn get(&self, site: &str, kind: &str) -> Option<&Histogram> {
        self.0.get(site)?.get(kind).filter(|h| total(h) > 0)
    }

    /// Kinds at a site: CLS, registers in order, patches.
    pub fn kinds(&self, site: &str) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.0.get(site).into_iter().flatten().map(|(k, _)| k.as_str()).collect();
        let rank = |kind: &str| match kind {
            "cls" => (0, 0),
            "patch" => (2, 0),
            other => (1, other.rsplit('_').next().and_then(|n| n.parse::<u32>().ok()).unwrap_or(u32::MAX)),
        };
        kinds.sort_by_key(|k| rank(k));
        kinds
    }

    /// Histograms of patches after each block, by block number.
    pub fn blocks(&self) -> BTreeMap<usize, &Histogram> {
        let block = |site: &str| site.strip_prefix("block_")?.parse::<usize>().ok();
        let sites = self.0.iter().filter_map(|(site, kinds)| Some((block(site)?, kinds.get("patch")?)));
        sites.filter(|(_, h)| total(h) > 0).collect()
    }
}

/// Columns of the data of a figure made of histograms: a row per bin.
pub fn data() -> Frame {
    Frame::new(["model", "dataset", "registers", "site", "kind", "low", "high", "tokens"])
}

/// Adds a histogram to the data of a figure.
pub fn put(data: &mut Frame, subject: &Subject, site: &str, kind: &str, histogram: &Histogram) {
    for bin in histogram.values() {
        data.push([
            (&subject.model).into(),
            (&subject.dataset).into(),
            (subject.registers as u64).into(),
            site.into(),
            kind.into(),
            bin.low.into(),
            bin.high.into(),
            bin.tokens.into(),
        ]);
    }
}

/// Tokens of a histogram.
pub fn total(histogram: &Histogram) -> u64 {
    histogram.values().map(|b| b.tokens).sum()
}

/// Lowest and highest edge of several histograms. The bin that holds zero norms has no place on a log axis.
pub fn edges<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Option<(f64, f64)> {
    let bins = histograms.into_iter().flat_map(BTreeMap::values).filter(|b| b.low > 0.0 && b.high.is_finite());
    bins.fold(None, |edges: Option<(f64, f64)>, b| {
        let (low, high) = edges.unwrap_or((b.low, b.high));
        Some((low.min(b.low), high.max(b.high)))
    })
}

/// The outline of a histogram as (norm, share of its tokens) points of a step line; empty bins are gaps down to `floor`.
pub fn steps(histogram: &Histogram, floor: f64) -> Vec<(f64, f64)> {
    let all = total(histogram) as f64;
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut last: Option<i32> = None;
    for (number, bin) in histogram.iter().filter(|(_, b)| b.low > 0.0 && b.high.is_finite() && b.tokens > 0) {
        if last.is_none_or(|l| l + 1 != *number) {
            if let Some((x, _)) = points.last().copied() {
                points.push((x, floor));
            }
            points.push((bin.low, floor));
        }
        let share = bin.tokens as f64 / all;
        points.push((bin.low, share));
        points.push((bin.high, share));
        last = Some(*number);
    }
    if let Some((x, _)) = points.last().copied() {
        points.push((x, floor));
    }
    points
}

/// The norm below which a share `q` of the tokens lies, interpolated geometrically within its bin.
pub fn quantile(histogram: &Histogram, q: f64) -> Option<f64> {
    let wanted = q * total(histogram) as f64;
    let mut below = 0.0;
    for bin in histogram.values().filter(|b| b.tokens > 0) {
        let tokens = bin.tokens as f64;
        if below + tokens >= wanted {
            let part = ((wanted - below) / tokens).clamp(0.0, 1.0);
            return Some(if bin.low > 0.0 { bin.low * (bin.high / bin.low).powf(part) } else { bin.high * part });
        }
        below += tokens;
    }
    None
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn two_bins() -> Histogram {
        [(0, Bin { low: 1.0, high: 10.0, tokens: 3 }), (2, Bin { low: 100.0, high: 1000.0, tokens: 1 })].into()
    }

    #[test]
    fn a_step_line_falls_to_the_floor_in_gaps() {
        assert_eq!(
            steps(&two_bins(), 0.1),
            [
                (1.0, 0.1),
                (1.0, 0.75),
                (10.0, 0.75),
                (10.0, 0.1),
                (100.0, 0.1),
                (100.0, 0.25),
                (1000.0, 0.25),
                (1000.0, 0.1)
            ]
        );
        assert!(steps(&Histogram::new(), 0.1).is_empty());
    }

    #[test]
    fn quantiles_in_closed_form() {
        // Two thirds of the first bin's three tokens lie below the median: 10^(2/3).
        assert!((quantile(&two_bins(), 0.5).unwrap() - 10f64.powf(2.0 / 3.0)).abs() < 1e-12);
        assert!((quantile(&two_bins(), 1.0).unwrap() - 1000.0).abs() < 1e-9);
        assert_eq!(quantile(&Histogram::new(), 0.5), None);
    }

    #[test]
    fn edges_leave_out_what_a_log_axis_cannot_show() {
        let mut h = two_bins();
        h.insert(-1, Bin { low: 0.0, high: 1e-6, tokens: 5 });
        h.insert(9, Bin { low: 1e6, high: f64::INFINITY, tokens: 5 });
        assert_eq!(edges([&h]), Some((1.0, 1000.0)));
        assert_eq!(edges([]), None);
    }
}
