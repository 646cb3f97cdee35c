//! The card as lines of text: a label and what it says. The report prints them under its title.

use reports::render::{grouped, legible, number};
use reports::tables::Unit;

use super::card::{Card, Gap, Measure, Register};

/// Every line that has something to say.
pub fn lines(card: &Card) -> Vec<[String; 2]> {
    let lines = [
        ("images", Some(images(card))),
        ("norms", norms(card)),
        ("outliers", outliers(card)),
        ("from block", onset(card)),
        ("where", places(card)),
        ("neighbours", neighbours(card)),
        ("place", place_known(card)),
        ("pixels", pixels_known(card)),
        ("attention", attention(card)),
        ("registers", registers(card)),
    ];
    lines.into_iter().filter_map(|(label, text)| Some([label.to_owned(), legible(&text?)])).collect()
}

fn images(card: &Card) -> String {
    let skipped = if card.skipped > 0 { format!(", {} skipped", grouped(card.skipped)) } else { String::new() };
    format!("{} of {}{skipped}; {}", grouped(card.encoded), card.images, card.preprocessing)
}

fn norms(card: &Card) -> Option<String> {
    let mut text = format!("median {} at {}", number(card.norms.median?, Unit::Number), card.norms.site);
    if let Some(largest) = card.norms.largest_by_median {
        text += &format!(", the largest {} × that", three(largest));
    }
    if let Some(two) = card.norms.two_modes {
        text += if two { "; two modes" } else { "; one mode" };
    }
    if let Some(cutoff) = card.norms.cutoff {
        text += &format!(", parted at {}", number(cutoff, Unit::Number));
    }
    Some(text)
}

fn outliers(card: &Card) -> Option<String> {
    let share = card.outliers.share_frac?;
    if share == 0.0 {
        let at_most = card.outliers.images_with_at_most_frac;
        let bound = at_most.map_or_else(String::new, |frac| {
            format!("; with 95 % confidence fewer than {} % of such images have one", three(100.0 * frac))
        });
        return Some(format!("none{bound}"));
    }
    let mut text = format!("{} % of patches", three(100.0 * share));
    if let Some([low, high]) = card.outliers.share_interval {
        text += &format!(" (95 %: {} to {} %)", three(100.0 * low), three(100.0 * high));
    }
    if let Some(with) = card.outliers.images_with_frac {
        text += &format!(", in {} % of images", three(100.0 * with));
    }
    if let Some(ratio) = card.outliers.norm_ratio {
        text += &format!("; {} × the norm of the others", three(ratio));
    }
    Some(text)
}

fn onset(card: &Card) -> Option<String> {
    let block = card.outliers.onset_block?;
    Some(card.norms.blocks.map_or_else(|| block.to_string(), |n| format!("{block} of 0 to {}", n - 1)))
}

fn places(card: &Card) -> Option<String> {
    let sites = &card.places;
    let (place, border, chance) = (sites.commonest.as_ref()?, sites.border_frac?, sites.border_chance_frac?);
    Some(format!(
        "{} % on the border, where {} % of patches are; the commonest place, row {}, column {} of {}×{}, has {} %",
        three(100.0 * border),
        three(100.0 * chance),
        place.row,
        place.col,
        place.grid_h,
        place.grid_w,
        three(100.0 * place.frac)
    ))
}

fn neighbours(card: &Card) -> Option<String> {
    let text = both(&card.neighbour_cosine, "median cosine", 1.0, "")?;
    Some(card.neighbour_cosine_auc_frac.map_or_else(
        || text.clone(),
        |auc| {
            let error = card.neighbour_cosine_auc_stderr.filter(|e| *e > 0.0);
            let error = error.map_or_else(String::new, |e| format!(" ± {}", two(e)));
            format!("{text}; an outlier's is the larger with probability {}{error}", three(auc))
        },
    ))
}

fn place_known(card: &Card) -> Option<String> {
    let top1 = both(&card.position_top1_frac, "found for", 100.0, " %")?;
    let Some(distance) = both(&card.position_distance_cells, "off by", 1.0, " cells") else { return Some(top1) };
    if learned_nothing(&card.position_distance_cells, card.position_blind_distance_cells) {
        return Some(TOO_FEW.to_owned());
    }
    Some(format!("{top1}; {distance}{}", blind(card.position_blind_distance_cells, "one guess for all")))
}

/// What a probe says that is no better on normal patches than a guess.
const TOO_FEW: &str = "cannot be told: the probe does no better than one guess for all; give it more images";

fn learned_nothing(error: &Gap, blind: Option<f64>) -> bool {
    error.normal.zip(blind).is_some_and(|(normal, blind)| normal.value >= blind)
}

/// What is reached without looking at the token.
fn blind(error: Option<f64>, by: &str) -> String {
    error.map_or_else(String::new, |error| format!(", {} by {by}", three(error)))
}

fn pixels_known(card: &Card) -> Option<String> {
    let text = both(&card.pixels_l2, "L2 error", 1.0, "")?;
    if learned_nothing(&card.pixels_l2, card.pixels_blind_l2) {
        return Some(TOO_FEW.to_owned());
    }
    Some(text + &blind(card.pixels_blind_l2, "the mean patch"))
}

/// A number of normal patches and, where there are any, of outliers.
fn both(gap: &Gap, what: &str, factor: f64, unit: &str) -> Option<String> {
    let show = |m: Measure| {
        let error = m.stderr.filter(|e| *e > 0.0).map_or_else(String::new, |e| format!(" ± {}", two(factor * e)));
        format!("{}{error}{unit}", three(factor * m.value))
    };
    let normal = show(gap.normal?);
    Some(match gap.outlier {
        Some(outlier) => format!("{what} {} of outliers, {normal} of others", show(outlier)),
        None => format!("{what} {normal} of patches"),
    })
}

fn attention(card: &Card) -> Option<String> {
    let mass = card.attention.outlier_mass_frac?;
    let mut text = format!("[CLS] pays outliers {} % of its attention in the last block", three(100.0 * mass));
    if let Some((overlap, chance)) = card.attention.overlap_frac.zip(card.attention.overlap_chance_frac) {
        text += &format!(
            "; {} % of as many most attended patches are outliers, {} % by chance",
            three(100.0 * overlap),
            three(100.0 * chance)
        );
    }
    Some(text)
}

fn registers(card: &Card) -> Option<String> {
    if card.registers.is_empty() {
        return None;
    }
    let range = |of: fn(&Register) -> Option<f64>, factor: f64| {
        let all: Option<Vec<f64>> = card.registers.iter().map(of).collect();
        let all = all?;
        let (low, high) = (all.iter().copied().reduce(f64::min)?, all.iter().copied().reduce(f64::max)?);
        let (low, high) = (three(factor * low), three(factor * high));
        Some(if low == high { low } else { format!("{low} to {high}") })
    };
    let mut text = card.registers.len().to_string();
    if let Some(norm) = range(|r| r.norm_by_patch, 1.0) {
        text += &format!("; {norm} × the norm of a patch");
    }
    if let Some(attention) = range(|r| r.attention_frac, 100.0) {
        text += &format!("; [CLS] pays each {attention} % of its attention");
    }
    Some(text)
}

fn three(x: f64) -> String {
    number(x, Unit::Share)
}

/// Two significant digits.
fn two(x: f64) -> String {
    let places = (1.0 - x.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{x:.places$}")
}

#[cfg(test)]
mod tests {
    use super::super::card::tests::{card, healthy, sick};
    use super::*;

    fn said(card: &Card) -> String {
        lines(card).iter().map(|[label, text]| format!("{label}: {text}\n")).collect()
    }

    #[test]
    fn the_card_says_every_number_once() {
        let text = said(&card(sick(), 0));
        for line in [
            "norms: median 10.00 at block_7, the largest 10.5 × that; two modes, parted at 33.00\n",
            "from block: 3 of 0 to 7\n",
            "neighbours: median cosine 0.990 ± 0.010 of outliers, 0.400 ± 0.010 of others; an outlier's is the larger \
             with probability 0.970 ± 0.010\n",
            "place: found for 2.00 ± 1.0 % of outliers, 97.0 ± 1.0 % of others; off by 4.50 ± 0.010 cells of \
             outliers, 0.100 ± 0.010 cells of others, 4.60 by one guess for all\n",
            "pixels: L2 error 5.00 ± 0.010 of outliers, 3.00 ± 0.010 of others\n",
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
        assert!(!text.contains("registers"));
    }

    #[test]
    fn where_there_are_none_no_line_speaks_of_outliers() {
        let text = said(&card(healthy(60), 0));
        // 1 − 0.05^(1/60)
        assert!(
            text.contains("outliers: none; with 95 % confidence fewer than 4.87 % of such images have one\n"),
            "{text}"
        );
        assert!(text.contains("place: found for 97.0 ± 1.0 % of patches"), "{text}");
        assert_eq!(text.matches("outlier").count(), 1, "{text}");
    }
}
