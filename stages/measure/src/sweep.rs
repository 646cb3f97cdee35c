//! What the second pass over `token_stats` collects: everything that needs a number of the first pass.
//!
//! - Outlier statistics at every place of a knob (table `curves`): `cutoff` at 40 norms evenly spaced in their logarithm
//!   from the smallest to the largest patch norm, the paper's 150, the study's 100, the run's own cut-off and the
//!   valley; `top_frac` at shares of the patches of all images, whose cut-off is their quantile.
//! - Shares of patches above fixed norms and twice the median, by image.
//! - Placements of cosines, for the error of their area under the ROC curve: the share of normal values below an
//!   outlier's, the share of outliers above a normal one's, ties counting half.
//!
//! A token is counted once, in the bin between two cut-offs; sums from the top give every cut-off at the end of an
//! image, so that a hundred places cost little more than one.

use std::collections::BTreeMap;

use schemas::Name;
use schemas::outlier::quantile_sorted;
use schemas::tables::TokenStats;

use crate::clusters::Clusters;
use crate::tally::{Look, PLACES, Tally};

/// Norms between the smallest and the largest.
const STEPS: u32 = 40;
/// Shares of the largest norms.
const TOP_FRACS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2];
/// The study's share for similarity and attention figures.
const STUDY_FRAC: f64 = 0.05;

/// A place of a knob.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// `cutoff` or `top_frac`.
    pub knob: &'static str,
    /// Where the knob stands.
    pub at: f64,
    /// What this place is, or empty.
    pub mark: String,
    /// Norm above which a patch counts.
    pub cutoff: f64,
}

/// Places of a run whose norms, in ascending order, reach from `range.0` to `range.1`. `marks` are cut-offs with what
/// they are; those within 1 % of another that part the patches alike share its place.
pub fn places(norms: &[f32], range: (f64, f64), marks: &[(&str, f64)]) -> Vec<Place> {
    let below = |cutoff: f64| norms.partition_point(|&norm| f64::from(norm) <= cutoff);
    let mut places: Vec<Place> = Vec::new();
    for &(mark, cutoff) in marks {
        let alike = |p: &&mut Place| (p.cutoff / cutoff - 1.0).abs() < 0.01 && below(p.cutoff) == below(cutoff);
        match places.iter_mut().find(alike) {
            Some(place) => place.mark += &format!(" {mark}"),
            None => places.push(Place { knob: "cutoff", at: cutoff, mark: mark.to_owned(), cutoff }),
        }
    }
    let (smallest, largest) = range;
    if 0.0 < smallest && smallest < largest {
        for step in 0..STEPS {
            let cutoff = smallest * (largest / smallest).powf(f64::from(step) / f64::from(STEPS - 1));
            places.push(Place { knob: "cutoff", at: cutoff, mark: String::new(), cutoff });
        }
    }
    places.sort_by(|a, b| a.at.total_cmp(&b.at));
    places.extend(TOP_FRACS.iter().filter_map(|&at| {
        let mark = if at == STUDY_FRAC { "study" } else { "" };
        let cutoff = f64::from(quantile_sorted(norms, 1.0 - at)?);
        Some(Place { knob: "top_frac", at, mark: mark.to_owned(), cutoff })
    }));
    places
}

/// Statistics of the patches above one cut-off, over images.
#[derive(Debug, Clone, Default)]
pub struct Above {
    /// Patches above, patches.
    pub share: Clusters<2>,
    /// Images with any, images.
    pub any: Clusters<2>,
    /// Flat ones among those above whose pixels are known.
    pub precision: Clusters<2>,
    /// Those above among the flat ones.
    pub recall: Clusters<2>,
    /// Cosine to the neighbours of those above.
    pub cosine: Clusters<2>,
    /// Of the others.
    pub others: Clusters<2>,
    /// Both at once.
    pub gap: Clusters<4>,
    /// Attention of CLS to those above, over images that have any.
    pub attention: Clusters<2>,
}

/// Sums over the patches of an image: count, Σ cosine, cosines, Σ attention, attentions, pixels known, flat.
type Sums = [f64; 7];

/// Patches of a site above given norms, by image.
#[derive(Debug, Clone)]
pub struct Exceed {
    /// Metric and norm.
    pub limits: [(&'static str, f64); 3],
    /// Patches above, patches.
    pub shares: [Clusters<2>; 3],
}

/// Everything collected.
pub struct Sweep {
    /// The places, in the order of the table, each with its statistics.
    pub places: Vec<(Place, Above)>,
    /// Site → shares above fixed norms.
    pub exceed: BTreeMap<Name, Exceed>,
    /// Placements of the cosines at [`PLACES`].
    pub placements: [Clusters<4>; 2],
    /// Cut-offs in ascending order.
    cuts: Vec<f64>,
    /// The image whose rows are coming in: sums of the patches that exceed exactly so many cut-offs.
    open: Option<(u32, Vec<Sums>)>,
}

impl Sweep {
    /// At these places, with limits that come from the norms of the first pass.
    pub fn new(places: Vec<Place>, tally: &mut Tally) -> Self {
        let mut cuts: Vec<f64> = places.iter().map(|p| p.cutoff).collect();
        cuts.sort_by(f64::total_cmp);
        cuts.dedup();
        let patches = tally.norms.iter_mut().filter(|((_, kind), _)| &**kind == "patch");
        let exceed = patches.filter_map(|((site, _), norms)| {
            let twice = 2.0 * norms.values.quantile(0.5)?;
            let limits = [
                ("share_above_150_frac", 150.0),
                ("share_above_100_frac", 100.0),
                ("share_above_2x_median_frac", twice),
            ];
            Some((site.clone(), Exceed { limits, shares: Default::default() }))
        });
        let exceed = exceed.collect();
        for cosine in tally.cosine.values_mut() {
            cosine.values.values();
        }
        let places = places.into_iter().map(|place| (place, Above::default())).collect();
        Self { places, exceed, placements: Default::default(), cuts, open: None }
    }

    /// Adds rows; `tally` is that of the first pass over the same ones.
    pub fn add(&mut self, rows: &TokenStats, look: Look<'_>, tally: &Tally) {
        let hit = |yes: bool| f64::from(u8::from(yes));
        let sorted = |at, kind| tally.cosine.get(&(at, kind)).map_or(&[][..], |s| s.values.sorted());
        let cosines = PLACES.map(|at| (sorted(at, "outlier"), sorted(at, "normal")));
        for i in (0..rows.image.len()).filter(|&i| &*rows.kind[i] == "patch") {
            let (image, norm) = (rows.image[i], f64::from(rows.norm[i]));
            if let Some(exceed) = self.exceed.get_mut(&rows.site[i]) {
                for (share, (_, limit)) in exceed.shares.iter_mut().zip(exceed.limits) {
                    share.add(image, [hit(norm > limit), 1.0]);
                }
            }
            if *rows.site[i] != *look.site {
                continue;
            }
            let values = [rows.neighbour_cosine[i], rows.neighbour_cosine_position[i]];
            for ((clusters, (outliers, normal)), value) in self.placements.iter_mut().zip(&cosines).zip(values) {
                let Some(value) = value.filter(|_| !outliers.is_empty() && !normal.is_empty()) else { continue };
                if rows.outlier[i] {
                    clusters.add(image, [below(normal, value), 1.0, 0.0, 0.0]);
                } else {
                    clusters.add(image, [0.0, 0.0, 1.0 - below(outliers, value), 1.0]);
                }
            }
            if self.open.as_ref().is_none_or(|(open, _)| *open != image) {
                self.finish();
                self.open = Some((image, vec![Sums::default(); self.cuts.len() + 1]));
            }
            let exceeded = self.cuts.partition_point(|&cut| cut < norm);
            let Some((_, bins)) = &mut self.open else { continue };
            let (cosine, attention) = (rows.neighbour_cosine[i], rows.cls_attention[i]);
            let variance = rows.pixel_variance[i].zip(look.flat_below);
            let sums = [
                1.0,
                f64::from(cosine.unwrap_or(0.0)),
                hit(cosine.is_some()),
                f64::from(attention.unwrap_or(0.0)),
                hit(attention.is_some()),
                hit(variance.is_some()),
                hit(variance.is_some_and(|(variance, limit)| f64::from(variance) < limit)),
            ];
            for (sum, x) in bins[exceeded].iter_mut().zip(sums) {
                *sum += x;
            }
        }
    }

    /// Ends the last image.
    pub fn finish(&mut self) {
        let Some((image, mut bins)) = self.open.take() else { return };
        // bins[k] becomes the sums of all patches that exceed at least k cut-offs.
        for k in (1..bins.len()).rev() {
            let above = bins[k];
            for (sum, x) in bins[k - 1].iter_mut().zip(above) {
                *sum += x;
            }
        }
        let all = bins[0];
        for (place, stats) in &mut self.places {
            let [n, cosine, cosines, attention, attentions, known, flat] =
                bins[self.cuts.partition_point(|&cut| cut < place.cutoff) + 1];
            stats.share.add(image, [n, all[0]]);
            stats.any.add(image, [f64::from(u8::from(n > 0.0)), 1.0]);
            if all[5] > 0.0 {
                stats.precision.add(image, [flat, known]);
                stats.recall.add(image, [flat, all[6]]);
            }
            let (rest, others) = (all[1] - cosine, all[2] - cosines);
            stats.cosine.add(image, [cosine, cosines]);
            stats.others.add(image, [rest, others]);
            stats.gap.add(image, [cosine, cosines, rest, others]);
            if attentions > 0.0 {
                stats.attention.add(image, [attention, 1.0]);
            }
        }
    }
}

/// Share of ascending values below x, those equal to it counting half.
fn below(sorted: &[f32], x: f32) -> f64 {
    let low = sorted.partition_point(|&v| v < x);
    let high = low + sorted[low..].partition_point(|&v| v <= x);
    (low + high) as f64 / (2.0 * sorted.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_span_the_norms_and_bear_their_marks() {
        let norms: Vec<f32> = (0..=99).map(|i| 10.0 + 10.0 * i as f32).collect();
        let marks = [("run", 44.0), ("paper", 150.0), ("study", 100.0), ("valley", 44.2)];
        let all = places(&norms, (10.0, 1000.0), &marks);
        let cutoffs: Vec<&Place> = all.iter().filter(|p| p.knob == "cutoff").collect();
        assert_eq!(cutoffs.len(), 43);
        assert_eq!((cutoffs[0].at, cutoffs[42].at), (10.0, 1000.0));
        assert!(cutoffs.windows(2).all(|w| w[0].at < w[1].at));
        let marked = |all: &[Place]| -> Vec<(String, f64)> {
            all.iter().filter(|p| p.knob == "cutoff" && !p.mark.is_empty()).map(|p| (p.mark.clone(), p.at)).collect()
        };
        let wanted = [("run valley", 44.0), ("study", 100.0), ("paper", 150.0)].map(|(m, at)| (m.to_owned(), at));
        assert_eq!(marked(&all), wanted);
        // Close, but a patch of norm 40 lies between; alike, but far apart.
        assert_eq!(marked(&places(&norms, (10.0, 1000.0), &[("run", 39.9), ("valley", 40.0)])).len(), 2);
        assert_eq!(marked(&places(&norms, (10.0, 1000.0), &[("run", 41.0), ("valley", 48.0)])).len(), 2);
        let five = all.iter().find(|p| p.knob == "top_frac" && p.at == 0.05);
        assert_eq!(five.map(|p| (p.mark.as_str(), p.cutoff)), Some(("study", 950.5)));
        // Norms that are all equal have no steps between them.
        assert!(places(&[], (5.0, 5.0), &[]).is_empty());
    }

    #[test]
    fn equal_values_count_half() {
        let sorted = [1.0, 2.0, 2.0, 4.0];
        assert_eq!([0.0, 1.0, 2.0, 3.0, 9.0].map(|x| below(&sorted, x)), [0.0, 0.125, 0.5, 0.75, 1.0]);
    }
}
