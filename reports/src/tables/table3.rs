//! Table 3 of the paper: objects discovered by LOST, with and without registers.
//!
//! A row is a model on a dataset, with one kind of features of one block. Protocol: `docs/protocols/table3.md`.

use super::heads::Groups;
use super::local::registers;
use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit};
use crate::models::{base, trained_row};
use crate::study::{Source, Subject};

/// (metric, unit, heading, second line)
const QUANTITIES: [(&str, Unit, &str, &str); 4] = [
    ("best_corloc_frac", Unit::Percent, "best bias", "CorLoc, %"),
    ("best_bias", Unit::Number, "best bias", "added to the Gram matrix"),
    ("heldout_corloc_frac", Unit::Percent, "bias of other images", "CorLoc, %"),
    ("corloc_frac", Unit::Percent, "no bias", "CorLoc, %"),
];

/// The datasets of the table: published column, name in full, our names for it.
const DATASETS: [(&str, &str, &[&str]); 3] = [
    ("VOC2007_corloc", "VOC 2007", &["voc2007", "voc07"]),
    ("VOC2012_corloc", "VOC 2012", &["voc2012", "voc12"]),
    ("COCO20k_corloc", "COCO 20k", &["coco20k"]),
];

/// How the site of boxes by the other method ends. The paper has numbers of LOST alone.
const TOKENCUT: &str = "+tokencut";

/// Whether boxes at a site are by the other method, not by LOST.
pub fn is_tokencut(site: &str) -> bool {
    site.ends_with(TOKENCUT)
}

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let mut groups = filled(context);
    groups.extend(unmeasured(context));
    Table {
        id: "table3",
        title: "Unsupervised object discovery (after Table 3 of Darcet et al.)".to_owned(),
        caption: "CorLoc: share of the images whose one box overlaps with any annotated object by half or more. Boxes are \
                  LOST's, but for groups that say TokenCut: nothing was published for those, and no bias is swept. The authors added a bias to the Gram matrix by hand and do not give it; here every bias of a list is \
                  tried. The first column has the best of them, chosen on the very images that it is reported on; the \
                  third, to trust, has the bias chosen on every other image and the rest scored, both ways. ± is the standard error \
                  over images. The published models are the authors' own, not released."
            .to_owned(),
        protocol: "docs/protocols/table3.md",
        stub: "model, dataset, features",
        columns: QUANTITIES.iter().map(|(_, _, label, sub)| Column::with_sub(*label, *sub)).collect(),
        groups,
        spread: Spread::StdErr,
    }
}

/// What the numbers of a subject by one method mean.
fn words(subject: &Subject, tokencut: bool) -> Vec<String> {
    let mut words = vec!["images at their own size, padded to whole patches".to_owned()];
    if tokencut {
        words.insert(0, "boxes of TokenCut, not of LOST".to_owned());
    }
    if !subject.weights_note.is_empty() {
        words.insert(0, subject.weights_note.clone());
    }
    for (what, text) in [("precision", &subject.precision), ("changed while it ran", &subject.change)] {
        if !text.is_empty() {
            words.push(format!("{what}: {text}"));
        }
    }
    words
}

fn filled(context: &Context) -> Vec<Group> {
    let mut groups = Groups::default();
    for tokencut in [false, true] {
        for measured in &context.measured {
            let subject = measured.subject;
            for (site, features) in kinds(measured).into_iter().filter(|(site, _)| is_tokencut(site) == tokencut) {
                let row = row(context, measured, site, features);
                groups.of(subject, subject.weights.label(), words(subject, tokencut)).rows.push(row);
            }
        }
    }
    groups.finish()
}

/// Sites and normalisations that were scored, in the order of the table.
fn kinds<'a>(measured: &'a Measured) -> Vec<(&'a str, &'a str)> {
    let mut kinds: Vec<(&str, &str)> = Vec::new();
    for score in measured.scores.iter().filter(|s| &*s.experiment == "corloc") {
        if !kinds.contains(&(&*score.site, &*score.subject)) {
            kinds.push((&score.site, &score.subject));
        }
    }
    kinds
}

fn row(context: &Context, measured: &Measured, site: &str, features: &str) -> Row {
    let subject = measured.subject;
    let published = trained_row(&subject.model, subject.registers).zip(column(&subject.dataset));
    let published = published.filter(|_| !is_tokencut(site));
    let swept = measured.scores.at("corloc", features, "best_corloc_frac", site).is_some();
    let cells = QUANTITIES.iter().map(|(metric, unit, _, _)| {
        let cell = Cell::scored(subject, measured.scores.at("corloc", features, metric, site), *unit);
        let boxless = if cell.ours.is_some() { boxless(measured, site, features, metric) } else { None };
        let cell = boxless.map_or(cell, |words| Cell { provenance: Some(subject.weights), ..Cell::text(words) });
        // Beside the number of the bias that fits best, or beside the only one there is.
        if *metric != if swept { "best_corloc_frac" } else { "corloc_frac" } {
            return cell;
        }
        let published = published.and_then(|(row, column)| context.published.get(Source::Paper, "table3", row, column));
        cell.with(subject, published, false, None)
    });
    let lengths = if features == "l2" { "divided by their length" } else { "as they are" };
    Row {
        label: format!(
            "{}, {}, {}, {} {lengths}",
            base(&subject.model),
            registers(subject.registers),
            subject.dataset,
            site.strip_suffix(TOKENCUT).unwrap_or(site).replace('_', " ")
        ),
        cells: cells.collect(),
    }
}

/// What is said in place of a CorLoc where not one image has a box at all, under any bias that the number can be of.
fn boxless(measured: &Measured, site: &str, features: &str, metric: &str) -> Option<String> {
    let t = &measured.curves;
    let mut n = None;
    for i in 0..t.metric.len() {
        let is = &*t.experiment[i] == "corloc" && &*t.metric[i] == "without_box_frac";
        if !is || &*t.site[i] != site || &*t.subject[i] != features || metric == "corloc_frac" && t.at[i] != 0.0 {
            continue;
        }
        if t.value[i] != Some(1.0) {
            return None;
        }
        n = Some(t.n[i]);
    }
    let n = n.filter(|_| metric.ends_with("corloc_frac"))?;
    Some(format!("no box in {n} of {n} images"))
}

/// The published column of a dataset.
fn column(dataset: &str) -> Option<&'static str> {
    let plain: String = dataset.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    DATASETS.iter().find(|(_, _, names)| names.contains(&plain.as_str())).map(|(column, ..)| *column)
}

/// The published numbers that stand beside none of ours.
fn unmeasured(context: &Context) -> Option<Group> {
    let measured = |name: &str, column_of: &str| {
        let is =
            |s: &Subject| trained_row(&s.model, s.registers) == Some(name) && column(&s.dataset) == Some(column_of);
        context.measured.iter().any(|m| is(m.subject) && kinds(m).iter().any(|(site, _)| !is_tokencut(site)))
    };
    let mut rows = Vec::new();
    for name in context.published.rows(Source::Paper, "table3") {
        for (column, full, _) in DATASETS {
            let published = context.published.get(Source::Paper, "table3", name, column);
            if measured(name, column) {
                continue;
            }
            let cell = |(metric, unit, _, _): &(&str, Unit, &str, &str)| match *metric {
                "best_corloc_frac" => Cell::unmeasured(published, *unit),
                _ => Cell::default(),
            };
            let label = format!("{}, {full}", name.replace("+reg", " with registers"));
            rows.push(Row { label, cells: QUANTITIES.iter().map(cell).collect() });
        }
    }
    (!rows.is_empty()).then(|| Group {
        label: "models of the authors, as published".to_owned(),
        about: vec![
            "not measured here; keys of DINOv2, values of DeiT-III and OpenCLIP, with a bias that is not given"
                .to_owned(),
        ],
        provenance: None,
        measured: false,
        rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks when another size, or a dataset of another year, is put beside the published number.
    #[test]
    fn only_the_same_family_size_and_dataset_has_a_published_number() {
        assert_eq!(trained_row("dinov2_vitl14_reg4", 4), Some("DINOv2+reg"));
        assert_eq!(trained_row("deit3_vitb16_224", 0), Some("DeiT-III"));
        assert_eq!(trained_row("dinov2_vits14", 0), None);
        assert_eq!([column("VOC-2012"), column("voc-photos")], [Some("VOC2012_corloc"), None]);
        let Ok(tables) = crate::published::PaperTables::read() else { panic!("no tables") };
        for (column, ..) in DATASETS {
            for row in ["DINOv2", "DINOv2+reg", "DeiT-III", "DeiT-III+reg", "OpenCLIP", "OpenCLIP+reg"] {
                assert!(tables.get(Source::Paper, "table3", row, column).is_some(), "{row} {column}");
            }
        }
    }
}
