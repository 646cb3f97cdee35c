//! A made-up discovery of objects, and what the report makes of it.

use std::fs;
use std::path::{Path, PathBuf};

use reports::{Provenance, Source, Study, Subject, write};
use schemas::tables::{Boxes, Curves, Maps, Objects};

use crate::made_up::{Row, pictures, put, scores};

const SITES: [&str; 2] = ["key_3", "value_3"];
const BIASES: [f64; 3] = [-0.5, -0.25, 0.0];

/// CorLoc of a site under a bias: keys are best at −0.25, values at 0.
fn share(site: &str, bias: f64, registers: usize) -> f64 {
    let best = if site == "key_3" { -0.25 } else { 0.0 };
    (if registers > 0 { 0.7 } else { 0.3 }) - (bias - best).abs() / 2.0
}

/// Two images on a 2×2 grid; the box is the left half under −0.25 and everything else under others.
fn boxes() -> Boxes {
    let mut t = Boxes::default();
    for image in 0..2_u32 {
        for site in SITES {
            // No box of the second image under −0.5.
            for bias in BIASES.into_iter().filter(|&b| image == 0 || b > -0.5) {
                t.image.push(image);
                t.site.push(site.into());
                t.l2.push(true);
                t.bias.push(bias);
                t.seed.push(image);
                t.degree.push(1);
                t.similar.push(2);
                t.x0.push(0.0);
                t.y0.push(0.0);
                t.x1.push(if bias == -0.25 { 4.0 } else { 8.0 });
                t.y1.push(8.0);
            }
        }
    }
    t
}

fn objects() -> Objects {
    let mut t = Objects::default();
    for image in 0..2 {
        t.image.push(image);
        t.class.push("cat".into());
        t.x0.push(1.0);
        t.y0.push(1.0);
        t.x1.push(5.0);
        t.y1.push(7.0);
        t.difficult.push(false);
        t.truncated.push(false);
        t.crowd.push(image == 1);
    }
    t
}

fn maps() -> Maps {
    let mut t = Maps::default();
    for image in 0..2_u32 {
        for (site, bias) in SITES.iter().flat_map(|site| BIASES.map(|bias| (site, bias))) {
            for (quantity, cells) in [("lost_degree", [1.0, 1.0, 3.0, 2.0]), ("lost_expansion", [2.0, 1.0, -1.0, -4.0])]
            {
                t.image.push(image);
                t.quantity.push(quantity.into());
                t.site.push((*site).into());
                t.of.push("l2".into());
                t.part.push(bias.to_string().into());
                t.patch.push(Some(image));
                t.grid_h.push(2);
                t.grid_w.push(2);
                t.share_frac.push(None);
                t.cells.push(cells.map(|c| c * (1.0 + bias as f32)).into());
            }
        }
    }
    t
}

fn curves(registers: usize) -> Curves {
    let mut t = Curves::default();
    for (site, bias) in SITES.iter().flat_map(|site| BIASES.map(|bias| (site, bias))) {
        for (metric, value) in [("corloc_frac", share(site, bias, registers)), ("without_box_frac", 0.0)] {
            t.experiment.push("corloc".into());
            t.subject.push("l2".into());
            t.site.push((*site).into());
            t.knob.push("bias".into());
            t.at.push(bias);
            t.mark.push("".into());
            t.metric.push(metric.into());
            t.value.push(Some(value));
            t.stderr.push(Some(0.02));
            t.n.push(100);
        }
    }
    t
}

/// Tables of a discovery with the names that a subject has for them.
pub fn tables(store: &Path, model: &str, registers: usize) -> Vec<(&'static str, PathBuf)> {
    let number = |metric, site: &'static str, value| -> Row<'static> {
        ("corloc", "l2", site, metric, value, None, Some(0.02), 100, 1, 0)
    };
    let rows: Vec<Row> = SITES
        .into_iter()
        .flat_map(|site| {
            let best = if site == "key_3" { -0.25 } else { 0.0 };
            [
                number("corloc_frac", site, share(site, 0.0, registers)),
                number("best_corloc_frac", site, share(site, best, registers)),
                number("best_bias", site, best),
                number("heldout_corloc_frac", site, share(site, best, registers) - 0.04),
            ]
        })
        .collect();
    let run = |name: &str| format!("1{name}");
    let data = "synthetic";
    vec![
        ("boxes", put(store, model, data, &run("a"), 0, boxes())),
        ("objects", put(store, model, data, &run("b"), 0, objects())),
        ("lost_maps", put(store, model, data, &run("c"), 0, maps())),
        ("lost_pictures", put(store, model, data, &run("d"), 0, pictures(["scene 0", "scene 1"]))),
        ("scores", put(store, model, data, &run("e"), 0, scores(&rows))),
        ("curves", put(store, model, data, &run("f"), 0, curves(registers))),
    ]
}

fn subject(store: &Path, model: &str, dataset: &str, registers: usize) -> Subject {
    let mut subject = Subject {
        model: model.to_owned(),
        weights: Provenance::SameWeights,
        dataset: dataset.to_owned(),
        registers,
        follows: [Source::Paper].into(),
        ..Subject::default()
    };
    for (table, folder) in tables(store, model, registers) {
        subject.tables.entry(table.to_owned()).or_default().push(folder);
    }
    subject
}

/// Breaks when a number stands in another column or row, when the published number stands beside another dataset, model or
/// bias, when a verdict is given on models that were never released, or when a published number is lost or twice there.
#[test]
fn table_3_has_every_number_where_it_belongs() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let subjects = vec![
        subject(&store, "dinov2_vitl14", "voc2012", 0),
        subject(&store, "dinov2_vitl14_reg4", "voc2012", 4),
        subject(&store, "dinov2_vits14", "voc2007", 0),
    ];
    let study = Study { title: "t".to_owned(), subjects, wanted: vec!["table3".to_owned()], ..Study::default() };
    write(&study, &dir.path().join("out")).unwrap();
    let csv = fs::read_to_string(dir.path().join("out/tables/table3.csv")).unwrap();
    let records = crate::report::records(&csv);
    let column = |name: &str| records[0].iter().position(|c| c == name).unwrap();
    let (row, value) = (column("row"), column("value"));
    let of = |label: &str| -> Vec<String> {
        let rows = records.iter().filter(|r| r[row] == label).map(|r| r[value].clone());
        rows.collect()
    };
    let found: Vec<f64> = of("dinov2_vitl14, 4 registers, voc2012, key 3 divided by their length")
        .iter()
        .filter_map(|v| v.trim_start_matches('\'').parse().ok())
        .collect();
    let wanted = [70.0, -0.25, 66.0, 57.5];
    assert!(found.len() == 4 && found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 1e-9), "{found:?}");
    let count = |words: &str| csv.lines().filter(|line| line.contains(words)).count();
    // 18 published; two of them stand beside two kinds of features each.
    let published = records.iter().filter(|r| r.iter().any(|c| c == "paper")).count();
    assert_eq!((published, count("not measured")), (4 + 16, 16), "{csv}");
    assert_eq!((count("agrees"), count("differs")), (0, 0));
}

/// Breaks when the published CorLoc of LOST stands beside boxes of `TokenCut`, when both share a group, or when `TokenCut` alone
/// hides a published row.
#[test]
fn tokencut_has_a_group_of_its_own_and_nothing_published_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut both = subject(&store, "dinov2_vitl14", "voc2012", 0);
    let row = |site| -> Row<'static> { ("corloc", "l2", site, "corloc_frac", 0.41, None, Some(0.02), 100, 1, 0) };
    let folder = put(&store, "dinov2_vitl14", "voc2012", "t", 0, scores(&[row("key_3+tokencut")]));
    both.tables.entry("scores".to_owned()).or_default().push(folder.clone());
    let alone = Subject { tables: [("scores".to_owned(), vec![folder])].into(), ..both.clone() };
    let table = |subject: Subject| {
        let wanted = vec!["table3".to_owned()];
        let study = Study { title: "t".to_owned(), subjects: vec![subject], wanted, ..Study::default() };
        write(&study, &dir.path().join("out")).unwrap();
        crate::report::records(&fs::read_to_string(dir.path().join("out/tables/table3.csv")).unwrap())
    };
    for (subject, unmeasured) in [(both, 17), (alone, 18)] {
        let records = table(subject);
        let at = |name: &str| records[0].iter().position(|c| c == name).unwrap();
        let of_tokencut: Vec<_> = records.iter().filter(|r| r[at("about")].contains("boxes of TokenCut")).collect();
        assert_eq!(of_tokencut.len(), 1, "{records:?}");
        assert_eq!(of_tokencut[0][at("row")], "dinov2_vitl14, no registers, voc2012, key 3 divided by their length");
        assert!(of_tokencut[0][at("value")].starts_with("41") && of_tokencut[0][at("beside")].is_empty());
        assert_eq!(records.iter().filter(|r| r[at("verdict")] == "not measured").count(), unmeasured);
    }
}

/// Breaks when a figure takes another bias than the one that found most, or a missing box for one.
#[test]
fn figures_take_the_bias_that_found_most() {
    let dir = tempfile::tempdir().unwrap();
    let study = crate::made_up::study(&dir.path().join("store"));
    write(&study, &dir.path().join("out")).unwrap();
    let read = |name: &str| fs::read_to_string(dir.path().join("out/figures").join(name)).unwrap();
    let steps = read("fig13.svg");
    assert!(steps.contains("keys of block 3, divided by their length, bias -0.25") && !steps.contains("no box"));
    let records = crate::report::records(&read("fig13.csv"));
    let at = |name: &str| records[0].iter().position(|c| c == name).unwrap();
    let (site, part, cells) = (at("site"), at("part"), at("cells"));
    // Two models, two images, two maps.
    assert_eq!(records.len(), 1 + 8);
    assert!(records[1..].iter().all(|r| r[site] == "key_3" && r[part].trim_start_matches('\'') == "-0.25"));
    assert_eq!(records[2][cells], "1.5 0.75 -0.75 -3");
    let kinds = read("fig14.svg");
    assert!(kinds.contains("L2, bias -0.25") && kinds.contains("L2, bias 0<"));
    // Two models, two sites, three biases, two metrics.
    assert_eq!(crate::report::records(&read("corloc.csv")).len(), 1 + 24);
}

/// Breaks when a method that finds no box in any of five images has 0.0 ± 0.0 % of them right, as if that were known of all
/// images, or when a miss with a box is called no box.
#[test]
fn no_box_at_all_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let table = |without: f64| {
        let mut subject = Subject { model: "m".to_owned(), dataset: "d".to_owned(), ..Subject::default() };
        let row: Row = ("corloc", "l2", "key_3+tokencut", "corloc_frac", 0.0, None, Some(0.0), 5, 1, 0);
        subject.tables.insert("scores".to_owned(), vec![put(&store, "m", "d", "t", 0, scores(&[row]))]);
        let mut t = curves(0);
        for i in 0..t.at.len() {
            (t.site[i], t.n[i]) = ("key_3+tokencut".into(), 5);
            t.value[i] = Some(if &*t.metric[i] == "corloc_frac" { 0.0 } else { without });
        }
        subject.tables.insert("curves".to_owned(), vec![put(&store, "m", "d", "t", 0, t)]);
        let wanted = vec!["table3".to_owned()];
        write(&Study { subjects: vec![subject], wanted, ..Study::default() }, &dir.path().join("out")).unwrap();
        fs::read_to_string(dir.path().join("out/tables/table3.md")).unwrap()
    };
    let none = table(1.0);
    assert!(none.contains("| no box in 5 of 5 images |") && !none.contains("0.0"), "{none}");
    let misses = table(0.8);
    assert!(
        misses.contains("¹<br>(n 5) |") && misses.contains("none of 5: below 45.1 % with 95 % confidence"),
        "{misses}"
    );
    assert!(!misses.contains("no box in") && !misses.contains("0.0 ±"), "{misses}");
}
