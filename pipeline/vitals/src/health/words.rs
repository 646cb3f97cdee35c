//! The card as lines of text: a label, what to see first, and the rest. The terminal prints them one after another, the
//! report as tiles.

use reports::Fact;
use reports::render::{grouped, legible, number};
use reports::tables::Unit;

use super::card::{Card, Gap, Measure, Register};
use super::verdict::Finding;

/// Files that a line names; `--json` has all.
const NAMED_FILES: usize = 5;

/// One line: its label, what to see first, and the rest with what separates the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is about.
    pub label: &'static str,
    headline: String,
    rest: String,
}

impl Line {
    /// The whole line.
    pub fn text(&self) -> String {
        legible(&format!("{}{}", self.headline, self.rest))
    }

    /// The same for the report, where the two parts stand apart.
    pub fn fact(&self) -> Fact {
        let detail = self.rest.trim_start_matches([',', ';', ':', ' ']);
        Fact { label: self.label.to_owned(), headline: legible(&self.headline), detail: legible(detail) }
    }
}

/// A headline and the rest.
type Parts = (String, String);

/// Every line that has something to say.
pub fn lines(card: &Card) -> Vec<Line> {
    let lines = [
        ("meaning", Some(meaning(card.finding))),
        ("images", Some(images(card))),
        ("skipped", skipped(card)),
        ("masks", masks(card)),
        ("norms", norms(card)),
        ("outliers", outliers(card)),
        ("from", onset(card)),
        ("where", places(card)),
        ("neighbours", neighbours(card)),
        ("place", place_known(card)),
        ("pixels", pixels_known(card)),
        ("attention", attention(card)),
        ("registers", registers(card)),
    ];
    let line = |(label, parts): (&'static str, Option<Parts>)| {
        let (headline, rest) = parts?;
        Some(Line { label, headline, rest })
    };
    lines.into_iter().filter_map(line).collect()
}

/// The same as a sentence.
pub fn meaning_of(finding: Finding) -> String {
    let (headline, rest) = meaning(finding);
    headline + &rest
}

/// What follows for whoever wants to use the model.
fn meaning(finding: Finding) -> Parts {
    let (headline, rest) = match finding {
        Finding::Artifacts => (
            "expect specks in maps",
            ": these patches stand out in maps of features and often of attention, which harms object discovery and dense \
             tasks most; training with registers removed them from the models of the paper, and test-time registers may help",
        ),
        Finding::Registers => (
            "maps need no repair",
            ": the registers take what outliers take in other models; leave registers out of maps",
        ),
        Finding::Clean => ("maps need no repair", ", on images like these and at this size"),
        Finding::Unclear => ("look again", ", with more images or at another size"),
    };
    (headline.to_owned(), rest.to_owned())
}

fn images(card: &Card) -> Parts {
    let skipped = if card.skipped > 0 { format!(", {} skipped", grouped(card.skipped)) } else { String::new() };
    (format!("{} of {}{skipped}", grouped(card.encoded), card.images), format!("; {}", card.preprocessing))
}

/// Which files were skipped, and why.
fn skipped(card: &Card) -> Option<Parts> {
    let files = &card.skipped_files;
    if files.is_empty() {
        return None;
    }
    let named: Vec<String> =
        files.iter().take(NAMED_FILES).map(|file| format!("{} ({})", file.name, file.reason)).collect();
    let more = files.len().saturating_sub(NAMED_FILES);
    let more = if more > 0 { format!(" and {} more", grouped(more as u64)) } else { String::new() };
    let count = if files.len() == 1 { "1 file".to_owned() } else { format!("{} files", grouped(files.len() as u64)) };
    Some((count, format!(": {}{more}", named.join(", "))))
}

/// Whether the folder holds more than photos.
fn masks(card: &Card) -> Option<Parts> {
    let headline = format!("{} PNG files beside a JPEG of the same name", grouped(card.masks));
    let rest = ": label masks or depth maps? They count as images of this folder; give the folder of the photos alone"
        .to_owned();
    (card.masks > 0).then_some((headline, rest))
}

fn norms(card: &Card) -> Option<Parts> {
    let site = &card.norms.site;
    let site = site.strip_prefix("block_").map_or_else(|| format!("at {site}"), |block| format!("after block {block}"));
    let headline = format!("median {} {site}", number(card.norms.median?, Unit::Number));
    let mut text = String::new();
    if let Some(largest) = card.norms.largest_by_median {
        text += &format!(", the largest {} × that", three(largest));
    }
    if let Some(two) = card.norms.two_modes {
        text += if two { "; two modes" } else { "; one mode" };
    }
    if let Some(cutoff) = card.norms.cutoff {
        text += &format!(", parted at {}", number(cutoff, Unit::Number));
    }
    Some((headline, text))
}

fn outliers(card: &Card) -> Option<Parts> {
    let share = card.outliers.share_frac?;
    if share == 0.0 {
        let at_most = card.outliers.images_with_at_most_frac;
        let bound = at_most.map_or_else(String::new, |frac| {
            format!("; with 95 % confidence fewer than {} % of such images have one", three(100.0 * frac))
        });
        return Some(("none".to_owned(), bound));
    }
    let mut text = String::new();
    if let Some([low, high]) = card.outliers.share_interval {
        text += &format!(", 95 % interval {} to {} %", three(100.0 * low), three(100.0 * high));
    }
    if let Some(with) = card.outliers.images_with_frac {
        text += &format!(", in {} % of images", three(100.0 * with));
    }
    if let Some(ratio) = card.outliers.norm_ratio {
        text += &format!("; {} × the norm of the others", three(ratio));
    }
    Some((format!("{} % of patches", three(100.0 * share)), text))
}

fn onset(card: &Card) -> Option<Parts> {
    let block = card.outliers.onset_block?;
    let last = card.norms.blocks.map_or_else(String::new, |n| format!("; the last is block {}", n.saturating_sub(1)));
    Some((format!("block {block}"), format!(", counted from 0{last}")))
}

fn places(card: &Card) -> Option<Parts> {
    let sites = &card.places;
    let (place, border, chance) = (sites.commonest.as_ref()?, sites.border_frac?, sites.border_chance_frac?);
    Some((
        format!("{} % on the border", three(100.0 * border)),
        format!(
            ", where {} % of patches are; the commonest place, row {}, column {} of {}×{}, has {} %",
            three(100.0 * chance),
            place.row,
            place.col,
            place.grid_h,
            place.grid_w,
            three(100.0 * place.frac)
        ),
    ))
}

fn neighbours(card: &Card) -> Option<Parts> {
    let headline = both(&card.neighbour_cosine, ("median cosine", "for"), 1.0, "")?;
    let rest = card.neighbour_cosine_auc_frac.map_or_else(String::new, |auc| {
        let error = card.neighbour_cosine_auc_stderr.filter(|e| *e > 0.0);
        let error = error.map_or_else(String::new, |e| format!(" ± {}", two(e)));
        format!("; an outlier's is the larger with probability {}{error}", three(auc))
    });
    Some((headline, format!(", to the patches beside, after the patch embedding{rest}")))
}

fn place_known(card: &Card) -> Option<Parts> {
    if let Some(why) = &card.position_untold {
        return Some(untold(why));
    }
    let top1 = both(&card.position_top1_frac, ("the exact cell found for", "of"), 100.0, " %")?;
    let distance = both(&card.position_distance_cells, ("off by", "for"), 1.0, " cells");
    let distance = distance.map_or_else(String::new, |distance| format!("; {distance}"));
    let blind = blind(card.position_blind_distance_cells, "one guess for all is off by", " cells");
    Some((top1, format!(", by a linear probe{distance}{blind}")))
}

/// What a probe says that learned nothing.
fn untold(why: &str) -> Parts {
    ("cannot be told".to_owned(), format!(": {why}"))
}

/// What is reached without looking at the token.
fn blind(error: Option<f64>, by: &str, unit: &str) -> String {
    error.map_or_else(String::new, |error| format!("; {by} {}{unit}", three(error)))
}

fn pixels_known(card: &Card) -> Option<Parts> {
    if let Some(why) = &card.pixels_untold {
        return Some(untold(why));
    }
    let text = both(&card.pixels_l2, ("L2 error", "for"), 1.0, "")?;
    let blind = blind(card.pixels_blind_l2, "drawing the mean patch each time:", "");
    Some((text, format!(", of a patch of normalised pixels drawn by a linear probe{blind}")))
}

/// A number of normal patches and, where there are any, of outliers; `of` stands before whose it is.
fn both(gap: &Gap, (what, of): (&str, &str), factor: f64, unit: &str) -> Option<String> {
    let show = |m: Measure| {
        let error = m.stderr.filter(|e| *e > 0.0).map_or_else(String::new, |e| format!(" ± {}", two(factor * e)));
        format!("{}{error}{unit}", three(factor * m.value))
    };
    let normal = show(gap.normal?);
    Some(match gap.outlier {
        Some(outlier) => format!("{what} {} {of} outliers, {normal} {of} others", show(outlier)),
        None => format!("{what} {normal} {of} patches"),
    })
}

fn attention(card: &Card) -> Option<Parts> {
    let mass = card.attention.outlier_mass_frac?;
    let headline = format!("[CLS] pays outliers {} % of its attention in the last block", three(100.0 * mass));
    let mut text = String::new();
    if let Some((overlap, chance)) = card.attention.overlap_frac.zip(card.attention.overlap_chance_frac) {
        text += &format!(
            "; of the patches that it attends to most, as many as there are outliers, {} % are outliers; {} % by chance",
            three(100.0 * overlap),
            three(100.0 * chance)
        );
    }
    Some((headline, text))
}

fn registers(card: &Card) -> Option<Parts> {
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
    let mut headline = card.registers.len().to_string();
    if let Some(norm) = range(|r| r.norm_by_patch, 1.0) {
        headline += &format!("; {norm} × the norm of a patch");
    }
    let attention = range(|r| r.attention_frac, 100.0);
    Some((headline, attention.map_or_else(String::new, |a| format!("; [CLS] pays each {a} % of its attention"))))
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
    use super::super::card::SkippedFile;
    use super::super::card::tests::{card, healthy, sick};
    use super::*;

    fn said(card: &Card) -> String {
        lines(card).iter().map(|line| format!("{}: {}\n", line.label, line.text())).collect()
    }

    #[test]
    fn the_card_says_every_number_once() {
        let text = said(&card(sick(), 0));
        for line in [
            "norms: median 10.00 after block 7, the largest 10.5 × that; two modes, parted at 33.00\n",
            "from: block 3, counted from 0; the last is block 7\n",
            "neighbours: median cosine 0.990 ± 0.010 for outliers, 0.400 ± 0.010 for others, to the patches beside, after \
             the patch embedding; an outlier's is the larger with probability 0.970 ± 0.010\n",
            "place: the exact cell found for 2.00 ± 1.0 % of outliers, 97.0 ± 1.0 % of others, by a linear probe; off by \
             4.50 ± 0.010 cells for outliers, 0.100 ± 0.010 cells for others; one guess for all is off by 4.60 cells\n",
            "pixels: L2 error 5.00 ± 0.010 for outliers, 3.00 ± 0.010 for others, of a patch of normalised pixels drawn by a \
             linear probe\n",
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
        assert!(!text.contains("\nregisters: "));
    }

    /// Breaks when a file that was left out is only counted, or a long list of them fills the card.
    #[test]
    fn skipped_files_are_named() {
        let mut card = card(sick(), 0);
        assert!(!said(&card).contains("skipped"));
        let file = |i: u32| SkippedFile { name: format!("{i}.jpg"), reason: "truncated".to_owned() };
        card.skipped_files = vec![file(0)];
        assert!(said(&card).contains("skipped: 1 file: 0.jpg (truncated)\n"), "{}", said(&card));
        card.skipped_files = (0..7).map(file).collect();
        assert!(said(&card).contains("4.jpg (truncated) and 2 more\n"), "{}", said(&card));
    }

    #[test]
    fn masks_are_told() {
        let mut card = card(sick(), 0);
        assert!(!said(&card).contains("masks"));
        card.masks = 1_200;
        assert!(said(&card).contains("\nmasks: 1,200 PNG files beside a JPEG of the same name: label masks"));
    }

    /// Breaks when the report says another thing than the terminal, or begins a detail with a comma.
    #[test]
    fn a_tile_has_the_words_of_its_line() {
        for line in lines(&card(sick(), 0)) {
            let (fact, text) = (line.fact(), line.text());
            assert!(text.starts_with(&fact.headline) && text.ends_with(&fact.detail), "{text}");
            assert!(!fact.headline.is_empty() && !fact.detail.starts_with([',', ';', ' ']), "{text}");
        }
    }

    /// Breaks when the terminal or the JSON has a number of a probe that is no better than a guess, or the verdict uses it.
    #[test]
    fn a_probe_that_learned_nothing_has_no_number() {
        let mut scores = sick();
        let mut blind = |experiment: &str, metric: &str, value: f64| {
            scores.retain(|s| !(&*s.experiment == experiment && &*s.metric == metric));
            let other = scores.iter().find(|s| &*s.experiment == experiment).cloned();
            scores.extend(other.map(|s| reports::scores::Score {
                subject: "normal".into(),
                metric: metric.into(),
                value: Some(value),
                ..s
            }));
        };
        blind("pixels", "blind_l2_mean", 3.0);
        blind("position", "blind_distance_cells", 0.09);
        let card = card(scores, 0);
        for line in ["place", "pixels"] {
            let why = "cannot be told: the probe does no better than one guess for all; give it more images";
            assert!(said(&card).contains(&format!("{line}: {why}\n")), "{}", said(&card));
        }
        assert!(!card.verdict.contains("place") && !card.verdict.contains("pixels"), "{}", card.verdict);
        let json = serde_json::to_value(&card).unwrap_or_default();
        for field in ["/pixels_l2/normal", "/pixels_l2/outlier", "/position_top1_frac/outlier"] {
            assert!(json.pointer(field).is_some_and(serde_json::Value::is_null), "{field}: {json}");
        }
        assert_eq!(json["pixels_untold"], "the probe does no better than one guess for all; give it more images");
        assert!(json["meaning"].as_str().is_some_and(|text| text.starts_with("expect specks in maps: ")), "{json}");
    }

    #[test]
    fn where_there_are_none_no_line_speaks_of_outliers() {
        let text = said(&card(healthy(60), 0));
        // 1 − 0.05^(1/60)
        assert!(
            text.contains("outliers: none; with 95 % confidence fewer than 4.87 % of such images have one\n"),
            "{text}"
        );
        assert!(text.contains("place: the exact cell found for 97.0 ± 1.0 % of patches"), "{text}");
        assert_eq!(text.matches("outlier").count(), 1, "{text}");
    }
}
