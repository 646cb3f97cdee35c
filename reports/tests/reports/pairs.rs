//! Two made-up models on the same images, and what the report makes of their difference.

use std::fs;

use reports::{Study, write};

use crate::dense::{replicates, subject};
use crate::made_up::{put, scores};

/// √(4/5 · 10 · s²) with s = 0.1 points and 0.03 m: 0.283 points and 0.0849 m. Breaks when errors of two scores are added, groups are matched
/// by their place in the file, or a control or a head trained otherwise is compared.
#[test]
fn pairs_have_the_error_of_their_difference() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut study = crate::made_up::study(&store);
    study.wanted = vec!["pairs".to_owned()];
    let table = |study: &Study| {
        write(study, &dir.path().join("out")).unwrap();
        crate::report::records(&fs::read_to_string(dir.path().join("out/tables/pairs.csv")).unwrap())
    };
    let records = table(&study);
    let at = |name: &str| records[0].iter().position(|c| c == name).unwrap();
    let of = |row: &str, column: &str, what: &str| {
        let found = records.iter().find(|r| r[at("row")] == row && r[at("column")].starts_with(column));
        found.unwrap_or_else(|| panic!("no {row}, {column}: {records:?}"))[at(what)].clone()
    };
    let number =
        |row: &str, what: &str| -> f64 { of(row, "difference", what).trim_start_matches('\'').parse().unwrap() };
    let miou = "planted → planted_reg4, linear, mIoU, %";
    let rmse = "planted → planted_reg4, lin1, RMSE, m, lower is better";
    assert!(
        (number(miou, "value") - 10.0).abs() < 1e-9
            && (number(miou, "stderr") - 0.8_f64.sqrt() / 10.0_f64.sqrt()).abs() < 1e-9
    );
    assert!((number(rmse, "value") + 0.1).abs() < 1e-9 && (number(rmse, "stderr") - 0.0072_f64.sqrt()).abs() < 1e-9);
    assert_eq!(of(miou, "better", "text"), "planted_reg4");
    assert_eq!(of(rmse, "better", "text"), "no difference seen");

    // A truth may name a difference, on the second model.
    let wants = |metric: &str, low: f64| reports::Truth {
        experiment: "difference_segmentation".to_owned(),
        subject: "linear".to_owned(),
        metric: metric.to_owned(),
        expected: reports::Expect::AtLeast(low),
        source: "the twin has no artifacts".to_owned(),
    };
    let mut judged = crate::made_up::study(&store);
    judged.subjects[0].truth.clear();
    judged.subjects[1].truth = vec![wants("miou_frac", 0.0), wants("accuracy_frac", 0.5), wants("iou_frac", 0.0)];
    let written = write(&judged, &dir.path().join("judged")).unwrap();
    assert_eq!((written.hold, written.fail.len(), written.untested.len()), (1, 1, 1));

    // Trained in another way; a control; judged on other images.
    let rows = study.subjects[1].tables["replicates"][0].clone();
    let beside = rows.to_string_lossy().replace("/replicates/", "/scores/").into();
    study.subjects[1].settings.insert(beside, "50 epochs".to_owned());
    assert_eq!(table(&study).len(), 1);
    study.subjects[1].settings.clear();
    assert!(table(&study).len() > 1);
    study.subjects[1].preprocessing = "224 px".to_owned();
    assert_eq!(table(&study).len(), 1);
}

/// Two heads of exchanged truths are no pair. Breaks when the note of the scores beside is not read.
#[test]
fn controls_are_no_pair() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let study = |note: &str| {
        let subjects = [("m", 0), ("m_reg4", 4)].map(|(model, registers)| {
            let mut s = subject(model, "d", registers, &[]);
            let more = if registers > 0 { 0.1 } else { 0.0 };
            let mut own =
                scores(&[("segmentation", "linear", "final", "miou_frac", 0.41 + more, None, None, 100, 1, 0)]);
            own.note[0] = note.into();
            s.tables.insert("scores".to_owned(), vec![put(&store, model, "d", "7", 0, own)]);
            s.tables.insert("replicates".to_owned(), vec![put(&store, model, "d", "7", 0, replicates(more))]);
            s
        });
        Study { subjects: subjects.into(), wanted: vec!["pairs".to_owned()], ..Study::default() }
    };
    let rows = |study: &Study| {
        write(study, &dir.path().join("out")).unwrap();
        crate::report::records(&fs::read_to_string(dir.path().join("out/tables/pairs.csv")).unwrap()).len()
    };
    assert_eq!([rows(&study("")), rows(&study("control: truths exchanged"))], [1 + 4, 1]);
}

/// Two runs of one head, trained by settings of the same words, on each of two models. Breaks when a value of one run stands
/// beside the error of the other, when runs are paired by their order, or when a table shows the first run twice.
#[test]
fn runs_that_nobody_can_tell_apart_are_no_pair_and_each_has_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let out = dir.path().join("out");
    let study = |runs: [&[(&str, f64)]; 2]| {
        let subjects = [("m", 0, runs[0]), ("m_reg4", 4, runs[1])].map(|(model, registers, runs)| {
            let mut s = subject(model, "d", registers, &[]);
            for (run, value) in runs {
                let rows = [("miou_frac", "linear", *value), ("iou_frac", "class_sky", value + 0.2)];
                let rows = rows.map(|(metric, head, value)| -> crate::made_up::Row {
                    ("segmentation", head, "final", metric, value, None, None, 100, 1, 0)
                });
                let folder = put(&store, model, "d", run, 0, scores(&rows));
                s.settings.insert(folder.clone(), "20 epochs".to_owned());
                s.tables.entry("scores".to_owned()).or_default().push(folder);
                let folder = put(&store, model, "d", run, 0, replicates(value - 0.41));
                s.tables.entry("replicates".to_owned()).or_default().push(folder);
            }
            s
        });
        let wanted = ["pairs", "segmentation", "segmentation_classes"].map(str::to_owned);
        Study { subjects: subjects.into(), wanted: wanted.into(), ..Study::default() }
    };
    let values = |table: &str, row: &str| -> Vec<String> {
        let records = crate::report::records(&fs::read_to_string(out.join(format!("tables/{table}.csv"))).unwrap());
        let at = |name: &str| records[0].iter().position(|c| c == name).unwrap();
        let rows = records[1..].iter().filter(|r| r[at("row")].contains(row) && !r[at("value")].is_empty());
        rows.map(|r| format!("{:.3}", r[at("value")].trim_start_matches('\'').parse::<f64>().unwrap())).collect()
    };
    // One run each: the difference and its error are of these runs.
    write(&study([&[("a1", 0.41)], &[("b1", 0.51)]]), &out).unwrap();
    assert_eq!(values("pairs", "linear"), ["41.000", "51.000", "10.000"]);
    // The second run of either model is another head of the same name.
    for runs in [[&[("a1", 0.41), ("a2", 0.3)][..], &[("b1", 0.51)]], [&[("a1", 0.41)], &[("b1", 0.51), ("b2", 0.3)]]] {
        write(&study(runs), &out).unwrap();
        assert_eq!(values("pairs", "linear"), [""; 0]);
    }
    write(&study([&[("a1", 0.41), ("a2", 0.3)], &[("b1", 0.51)]]), &out).unwrap();
    assert_eq!(values("segmentation", "m, no registers"), ["41.000", "30.000"]);
    let mut classes = values("segmentation_classes", "sky");
    classes.sort_unstable();
    assert_eq!(classes, ["50.000", "61.000", "71.000"]);
    let text = fs::read_to_string(out.join("tables/segmentation.csv")).unwrap();
    assert!(text.contains("run a1, one of several") && text.contains("run a2, one of several"), "{text}");
}
