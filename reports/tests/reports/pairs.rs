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
