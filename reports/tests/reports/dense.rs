//! Made-up results of trained heads, and what the report makes of them: Tables 2a and 2b of the paper, Tables 6 and 7 of
//! the study, and the tables and figures of any dataset.

use std::fs;
use std::path::{Path, PathBuf};

use reports::{Provenance, Source, Study, Subject, write};
use schemas::tables::{Losses, Predictions, Replicates};

use crate::made_up::{Row, put, scores};

const CLASSES: [&str; 3] = ["class_sky", "class_car", "class_cat"];

fn losses() -> Losses {
    let mut t = Losses::default();
    for (head, floor) in [("linear", 0.2), ("lin1", 0.5), ("wild", 2.0)] {
        for step in 1..=30_u64 {
            t.head.push(head.into());
            t.step.push(100 * step);
            t.loss.push(floor + 3.0 * (-(step as f64) / 6.0).exp());
            t.learning_rate.push(1e-3 * (1.0 - step as f64 / 30.0));
        }
    }
    t
}

/// Two images of 6 × 8 pixels: a class for each third of the columns, what is not scored in the first row; a model
/// without registers errs in one more row than one with them. Depths rise by row, and are predicted 0.5 m too deep.
fn predictions(registers: usize) -> Predictions {
    let mut t = Predictions::default();
    let mut push = |image: u32, kind: &str, head: &str, scale: Option<f64>, cells: Vec<u8>| {
        t.image.push(image);
        t.head.push(head.into());
        t.kind.push(kind.into());
        t.height.push(6);
        t.width.push(8);
        t.scale.push(scale);
        t.cells.push(cells);
    };
    let grid = || (0..6_usize).flat_map(|y| (0..8_usize).map(move |x| (y, x)));
    let wrong_from = if registers == 0 { 4 } else { 5 };
    for image in 0..2 {
        let truth = |(y, x): (usize, usize)| if y == 0 { 255 } else { (x / 3) as u8 };
        push(image, "truth_segments", "linear", None, grid().map(truth).collect());
        let says = |(y, x): (usize, usize)| if y >= wrong_from { 2 } else { (x / 3) as u8 };
        push(image, "segments", "linear", None, grid().map(says).collect());
        let depth = |more: usize| -> Vec<u8> {
            // The first column is unknown.
            let cell = |(y, x): (usize, usize)| if x == 0 && more == 0 { 0 } else { (2 + y + more) as u16 };
            grid().flat_map(|at| cell(at).to_le_bytes()).collect()
        };
        push(image, "truth_depth", "lin1", Some(0.5), depth(0));
        push(image, "depth", "lin1", Some(0.5), depth(1));
    }
    t
}

/// Five groups of images; on each both models are as far from their scores, but for what is left: a difference of
/// 10 points whose dᵢ are 0.1 + (−2 … 2)/1000, one of 0.1 m with errors thirty times those.
pub fn replicates(more: f64) -> Replicates {
    let mut t = Replicates::default();
    for (experiment, subject, metric, value, own) in [
        ("segmentation", "linear", "miou_frac", 0.41 + more, 0.001),
        ("segmentation", "linear", "accuracy_frac", 0.72 + more, 0.001),
        ("depth", "lin1", "rmse_m", 0.5 - more, 0.03),
    ] {
        for group in [3, 1, 4, 0, 2] {
            let shared = [0.05, -0.02, 0.03, -0.04, -0.02][group as usize];
            t.experiment.push(experiment.into());
            t.subject.push(subject.into());
            t.site.push("final".into());
            t.metric.push(metric.into());
            t.group.push(group);
            t.groups.push(5);
            t.value.push(value + shared + if more > 0.0 { own * (f64::from(group) - 2.0) } else { 0.0 });
            t.n.push(100);
        }
    }
    t
}

/// Tables of trained heads with the names that a subject has for them.
pub fn tables(store: &Path, model: &str, registers: usize) -> Vec<(&'static str, PathBuf)> {
    let more = if registers > 0 { 0.1 } else { 0.0 };
    let mut rows: Vec<Row> = vec![
        ("linear_eval", "chosen_on_test", "final", "accuracy_frac", 0.81 + more, None, Some(0.012), 1000, 1, 0),
        ("linear_eval", "chosen_on_train", "final", "accuracy_frac", 0.80 + more, None, Some(0.0126), 1000, 1, 0),
        ("linear_eval", "blocks1-lr0.01", "final", "accuracy_frac", 0.7 + more, None, Some(0.0126), 1000, 1, 0),
        ("linear_eval", "blocks4-avgpool-lr0.01", "final", "accuracy_frac", 0.8, None, Some(0.0126), 1000, 1, 0),
        ("knn", "cls", "final", "accuracy_frac", 0.76 + more, None, Some(0.0135), 1000, 1, 0),
        ("knn", "cls", "final", "accuracy_frac_k10", 0.75 + more, None, Some(0.0137), 1000, 1, 0),
        ("knn", "cls", "final", "accuracy_frac_k20", 0.76 + more, None, Some(0.0135), 1000, 1, 0),
        ("knn", "cls", "final", "accuracy_frac_k200", 0.7 + more, None, Some(0.0145), 1000, 1, 0),
        ("knn", "mean_patch", "final", "accuracy_frac", 0.6 + more, None, Some(0.0155), 1000, 1, 0),
        ("knn", "mean_patch", "final", "accuracy_frac_k20", 0.6 + more, None, Some(0.0155), 1000, 1, 0),
        ("segmentation", "linear", "final", "miou_frac", 0.41 + more, None, Some(0.01), 100, 1, 0),
        ("segmentation", "linear", "final", "accuracy_frac", 0.72 + more, None, Some(0.008), 100, 1, 0),
        ("segmentation", "majority", "final", "miou_frac", 0.11, None, None, 100, 1, 0),
        ("segmentation", "majority", "final", "accuracy_frac", 0.33, None, None, 100, 1, 0),
        ("segmentation", "layout", "final", "miou_frac", 0.21, None, Some(0.01), 100, 1, 0),
        ("segmentation", "layout", "final", "accuracy_frac", 0.43, None, None, 100, 1, 0),
        ("depth", "layout", "final", "rmse_m", 0.9, None, Some(0.03), 100, 1, 0),
        ("depth", "lin1", "final", "rmse_m", 0.5 - more, None, Some(0.02), 100, 1, 0),
        ("depth", "lin1", "final", "abs_rel_frac", 0.14 - more, None, Some(0.004), 100, 1, 0),
        ("depth", "lin1", "final", "delta1_frac", 0.83 + more, None, Some(0.01), 100, 1, 0),
        ("depth", "constant", "final", "rmse_m", 1.2, None, Some(0.03), 100, 1, 0),
    ];
    // No test image shows a cat.
    let ious = [0.6 + more, 0.22 + more, f64::NAN];
    rows.extend(
        CLASSES
            .into_iter()
            .zip(ious)
            .map(|(class, iou)| -> Row { ("segmentation", class, "final", "iou_frac", iou, None, None, 100, 1, 0) }),
    );
    let run = |name: &str| format!("3{name}");
    let data = "synthetic";
    vec![
        ("scores", put(store, model, data, &run("a"), 0, scores(&rows))),
        ("replicates", put(store, model, data, &run("a"), 0, replicates(more))),
        ("losses", put(store, model, data, &run("a"), 0, losses())),
        ("predictions", put(store, model, data, &run("a"), 0, predictions(registers))),
    ]
}

pub fn subject(model: &str, dataset: &str, registers: usize, follows: &[Source]) -> Subject {
    Subject {
        model: model.to_owned(),
        weights: Provenance::SameWeights,
        dataset: dataset.to_owned(),
        preprocessing: "short side 512 px".to_owned(),
        precision: "f32".to_owned(),
        registers,
        follows: follows.iter().copied().collect(),
        ..Subject::default()
    }
}

/// Adds scores of heads that were trained in one way.
fn trained(store: &Path, subject: &mut Subject, run: &str, settings: &str, rows: &[Row]) -> PathBuf {
    let folder = put(store, &subject.model, &subject.dataset, run, 0, scores(rows));
    subject.settings.insert(folder.clone(), settings.to_owned());
    subject.tables.entry("scores".to_owned()).or_default().push(folder.clone());
    folder
}

fn one<'a>(experiment: &'a str, head: &'a str, metric: &'a str, value: f64) -> Row<'a> {
    (experiment, head, "final", metric, value, None, Some(0.002), 2000, 1, 0)
}

/// The paper's sizes without and with registers, on its datasets and another.
fn of_paper(store: &Path, registers: usize) -> Vec<Subject> {
    let name = |base: &str| if registers == 0 { base.to_owned() } else { format!("{base}_reg{registers}") };
    let large = name("dinov2_vitl14");
    let mut imagenet = subject(&large, "imagenet", registers, &[Source::Paper]);
    let heads = [
        one("linear_eval", "chosen_on_test", "accuracy_frac", 0.862),
        one("linear_eval", "chosen_on_train", "accuracy_frac", 0.8611),
    ];
    trained(store, &mut imagenet, "a0", "52 heads, 12500 steps of 1024", &heads);
    let mut ade = subject(&large, "ade20k-val", registers, &[Source::Paper]);
    trained(
        store,
        &mut ade,
        "a1",
        "AdamW, 40000 steps",
        &[one("segmentation", "dinov2_segmentation", "miou_frac", 0.4771)],
    );
    trained(store, &mut ade, "a2", "AdamW, 1000 steps", &[one("segmentation", "linear", "miou_frac", 0.4)]);
    let mut nyu = subject(&large, "nyu", registers, &[Source::Paper]);
    trained(store, &mut nyu, "a3", "SigLoss", &[one("depth", "nyu_lin1", "rmse_m", 0.384)]);
    let clip = name("openclip_vitb16_laion2b");
    let mut zero_shot = subject(&clip, "imagenet", registers, &[Source::Paper]);
    let rows =
        [one("zero_shot", "openai", "accuracy_frac", 0.702), one("zero_shot", "openai", "top5_accuracy_frac", 0.9)];
    trained(store, &mut zero_shot, "a4", "80 templates", &rows);
    vec![imagenet, ade, nyu, zero_shot]
}

/// A model of the study on ADE20K: three runs that differ in their seeds.
fn of_study(store: &Path, model: &str, registers: usize, values: [f64; 3]) -> Subject {
    let mut s = subject(model, "ade20k", registers, &[Source::Study]);
    let runs = ["b0", "b1", "b2"].into_iter().zip(values);
    let folders = runs.map(|(run, value)| {
        let rows = scores(&[one("segmentation", "study_segmentation", "miou_frac", value)]);
        put(store, model, "ade20k", run, 0, rows)
    });
    s.repeats = vec![folders.collect()];
    for folder in &s.repeats[0] {
        s.settings.insert(folder.clone(), "study_segmentation, 20 epochs of 32".to_owned());
    }
    s
}

const TABLES: [&str; 8] = [
    "table2a",
    "table2b",
    "knn",
    "linear_eval",
    "segmentation",
    "segmentation_classes",
    "repro_table6",
    "repro_table7",
];

fn study(store: &Path) -> Study {
    let mut subjects: Vec<Subject> = [0, 4].into_iter().flat_map(|r| of_paper(store, r)).collect();
    subjects.push(of_study(store, "dinov2_vitl14", 0, [0.4151, 0.4147, 0.4149]));
    subjects.push(of_study(store, "dinov2_vitl14_reg4", 4, [0.45, 0.4502, 0.4501]));
    subjects.push(of_study(store, "deit3_vits16_224", 0, [0.24, 0.25, 0.23]));
    Study { title: "Heads".to_owned(), subjects, wanted: TABLES.map(str::to_owned).into(), ..Study::default() }
}

#[test]
fn every_renderer_of_every_table() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let written = write(&study(&dir.path().join("store")), &out).unwrap();
    assert_eq!(written.tables, TABLES);
    for table in ["table2a", "table2b", "repro_table6", "repro_table7"] {
        for format in ["md", "csv", "tex"] {
            let text = fs::read_to_string(out.join(format!("tables/{table}.{format}"))).unwrap();
            crate::report::snapshot(&format!("dense/{table}.{format}"), &text);
        }
    }
    // The study's DINOv2-L: 41.49 ± 0.02 agrees with 41.49, 45.01 ± 0.01 differs from 43.37. Table 6 gives no verdict, nor
    // does any model of the paper, which were never released.
    assert_eq!((written.agree, written.differ), (1, 1));
    let segmentation = fs::read_to_string(out.join("tables/segmentation.csv")).unwrap();
    // Two models with two trainings, and three means of three runs.
    assert_eq!(crate::report::records(&segmentation).len(), 1 + 4 + 3, "{segmentation}");
}

/// Breaks when a published number is lost, or stands beside ours and below once more.
#[test]
fn published_tables_are_whole_and_say_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let published = |study: &Study, table: &str| {
        write(study, &dir.path().join("out")).unwrap();
        let text = fs::read_to_string(dir.path().join(format!("out/tables/{table}.csv"))).unwrap();
        let records = crate::report::records(&text);
        let at = |name: &str| records[0].iter().position(|c| c == name).unwrap();
        let beside: Vec<&Vec<String>> = records[1..].iter().filter(|r| !r[at("beside")].is_empty()).collect();
        let unmeasured = beside.iter().filter(|r| r[at("verdict")] == "not measured").count();
        (beside.len(), unmeasured)
    };
    let empty = Study { wanted: TABLES.map(str::to_owned).into(), ..Study::default() };
    let tables = ["table2a", "table2b", "repro_table6", "repro_table7"];
    assert_eq!(tables.map(|t| published(&empty, t)), [(18, 18), (2, 2), (8, 8), (4, 4)]);
    let ours = study(&dir.path().join("store"));
    // Table 2a: six beside ours, and ADE20K once more beside the second training of each of two models.
    assert_eq!(tables.map(|t| published(&ours, t)), [(18 + 2, 12), (2, 0), (8, 6), (4, 0)]);
}

/// Breaks when a number under the study's protocol stands in the paper's table, or the other way round.
#[test]
fn protocols_do_not_share_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let mut ours = study(&dir.path().join("store"));
    let rows = |study: &Study, table: &str| {
        write(study, &dir.path().join("out")).unwrap();
        let text = fs::read_to_string(dir.path().join(format!("out/tables/{table}.csv"))).unwrap();
        let records = crate::report::records(&text);
        let value = records[0].iter().position(|c| c == "value").unwrap();
        records[1..].iter().filter(|r| !r[value].is_empty()).count()
    };
    // Two models: two numbers of ImageNet, two trainings on ADE20K, one on NYUd.
    assert_eq!((rows(&ours, "table2a"), rows(&ours, "repro_table7")), (10, 4));
    for subject in &mut ours.subjects {
        subject.follows = [Source::Study].into();
    }
    assert_eq!(rows(&ours, "table2a"), 0);
    // Of the two trainings of each of the paper's models, one has a recipe of the paper's, the other is nobody's; one run
    // has no variance.
    assert_eq!(rows(&ours, "repro_table7"), 4 + 2);
    let text = fs::read_to_string(dir.path().join("out/tables/repro_table7.csv")).unwrap();
    assert_eq!(text.matches("trained otherwise than the study's").count(), 2, "{text}");
}

/// What the made-up heads say, in closed form. Breaks when registers, tasks or classes are exchanged.
#[test]
fn figures_show_the_numbers_of_the_heads() {
    let dir = tempfile::tempdir().unwrap();
    let mut study = crate::made_up::study(&dir.path().join("store"));
    study.wanted = ["fig8", "training", "dense_strip"].map(str::to_owned).into();
    let written = write(&study, &dir.path().join("out")).unwrap();
    assert_eq!(written.figures, ["fig8", "dense_strip", "training"]);
    let rows = |id: &str| {
        let records =
            crate::report::records(&fs::read_to_string(dir.path().join(format!("out/figures/{id}.csv"))).unwrap());
        let row = |record: &Vec<String>| -> std::collections::BTreeMap<String, String> {
            records[0].iter().cloned().zip(record.iter().cloned()).collect()
        };
        records[1..].iter().map(row).collect::<Vec<_>>()
    };
    let ablation = rows("fig8");
    let of = |task: &str| -> Vec<(String, f64)> {
        let task = ablation.iter().filter(|r| r["task"] == task);
        task.map(|r| (r["registers"].clone(), r["value"].parse().unwrap())).collect()
    };
    let near = |found: &[(String, f64)], wanted: [f64; 2]| {
        found.len() == 2
            && found.iter().zip(["0", "4"].into_iter().zip(wanted)).all(|(f, w)| f.0 == w.0 && (f.1 - w.1).abs() < 1e-9)
    };
    assert!(near(&of("linear_eval"), [81.0, 91.0]) && near(&of("knn"), [76.0, 86.0]), "{ablation:?}");
    assert!(near(&of("segmentation"), [41.0, 51.0]) && near(&of("depth"), [0.5, 0.4]), "{ablation:?}");
    assert_eq!(rows("training").len(), 2 * 3 * 30);
    // Of 40 scored pixels a third's six columns are wrong in every wrong row.
    let strip = rows("dense_strip");
    assert_eq!(strip.len(), 2 * 2 * 2);
    for row in &strip {
        let wanted = match (row["kind"].as_str(), row["model"].as_str()) {
            ("segments", "planted") => (1.0 - 12.0 / 40.0, "40"),
            ("segments", _) => (1.0 - 6.0 / 40.0, "40"),
            (_, _) => (0.5, "42"),
        };
        let value: f64 = row["value"].parse().unwrap();
        assert!((value - wanted.0).abs() < 1e-6 && row["pixels"] == wanted.1, "{row:?}");
    }
    let svg = fs::read_to_string(dir.path().join("out/figures/dense_strip.svg")).unwrap();
    assert!(svg.contains(">sky<") && svg.contains(">not scored<") && svg.contains("70.0 % right"));
}

/// Breaks when a map that was cut short becomes a picture or a panic.
#[test]
fn a_map_of_the_wrong_size_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut t = predictions(0);
    t.cells[1].pop();
    let mut s = subject("m", "d", 0, &[]);
    s.tables.insert("predictions".to_owned(), vec![put(&store, "m", "d", "9", 0, t)]);
    let study = Study { subjects: vec![s], ..Study::default() };
    let error = write(&study, &dir.path().join("out")).unwrap_err().to_string();
    assert!(error.contains("dense_strip") && error.contains("47 values, not 48"), "{error}");
}

/// The rows of a figure's or a table's CSV by their headings.
fn rows_of(file: &Path) -> Vec<std::collections::BTreeMap<String, String>> {
    let records = crate::report::records(&fs::read_to_string(file).unwrap());
    let row = |record: &Vec<String>| records[0].iter().cloned().zip(record.iter().cloned()).collect();
    records[1..].iter().map(row).collect()
}

/// Heads of exchanged truths beside real ones. Breaks when a picture or a curve of a control looks like a result.
#[test]
fn controls_are_called_so_in_figures() {
    let dir = tempfile::tempdir().unwrap();
    let (store, out) = (dir.path().join("store"), dir.path().join("out"));
    let mut s = subject("m", "d", 0, &[]);
    for (run, note) in [("c1", ""), ("c2", "control: truths exchanged among the training images")] {
        let mut own = scores(&[one("segmentation", "linear", "miou_frac", 0.4)]);
        own.note[0] = note.into();
        let mut add = |table: &str, folder: PathBuf| s.tables.entry(table.to_owned()).or_default().push(folder);
        add("scores", put(&store, "m", "d", run, 0, own));
        add("predictions", put(&store, "m", "d", run, 0, predictions(0)));
        add("losses", put(&store, "m", "d", run, 0, losses()));
    }
    let wanted = ["dense_strip", "training"].map(str::to_owned);
    write(&Study { subjects: vec![s], wanted: wanted.into(), ..Study::default() }, &out).unwrap();
    for (figure, words) in [("dense_strip", ">control, linear<"), ("training", ">control: m on d<")] {
        let svg = fs::read_to_string(out.join(format!("figures/{figure}.svg"))).unwrap();
        // Segments and depths have a block each; the depth's head is another.
        assert_eq!(svg.matches(words).count(), 1, "{figure}");
        let rows = rows_of(&out.join(format!("figures/{figure}.csv")));
        let controls = rows.iter().filter(|r| r["control"] == "control").count();
        assert!(controls > 0 && 2 * controls == rows.len(), "{figure}: {controls} of {}", rows.len());
    }
}

/// Breaks when a study of heads has calculations about backbones, a table of words alone, or says what its numbers do not
/// depend on.
#[test]
fn a_study_of_heads_alone_is_about_heads() {
    let dir = tempfile::tempdir().unwrap();
    let (store, out) = (dir.path().join("store"), dir.path().join("out"));
    let of = |model: &str, change: &str| {
        let mut s = subject(model, "d", 0, &[]);
        (s.change, s.weights_digest) = (change.to_owned(), "a".to_owned());
        (s.site, s.outlier_policy) = ("block_11".to_owned(), "norm > 150".to_owned());
        let own = scores(&[one("segmentation", "linear", "miou_frac", 0.4)]);
        s.tables.insert("scores".to_owned(), vec![put(&store, model, "d", "d1", 0, own)]);
        s
    };
    let subjects = vec![of("m", ""), of("m_cut", "outliers overwritten")];
    let mut study = Study { subjects, ..Study::default() };
    let written = write(&study, &out).unwrap();
    assert_eq!((written.tables, written.figures), (vec!["segmentation"], vec![]));
    let told = |out: &Path| {
        let rows = rows_of(&out.join("tables/subjects.csv"));
        ["preprocessing", "outliers", "norms at"].map(|c| rows.iter().filter(|r| r["column"] == c).count())
    };
    assert_eq!(told(&out), [0; 3]);
    // What is asked for by name comes nevertheless.
    study.wanted = ["changes", "fig11", "fig12"].map(str::to_owned).into();
    let written = write(&study, &out).unwrap();
    assert_eq!((written.tables, written.figures), (vec!["changes"], vec!["fig11", "fig12"]));
    // Neighbours are of the images that the preprocessing names; norms are of the model.
    study.wanted.clear();
    let mut add = |experiment, head, metric| {
        let own = scores(&[one(experiment, head, metric, 0.4)]);
        let folder = put(&store, "m", "d", metric, 0, own);
        study.subjects[0].tables.get_mut("scores").unwrap().push(folder);
        write(&study, &out).unwrap();
        told(&out)
    };
    assert_eq!(add("knn", "cls", "accuracy_frac"), [1, 0, 0]);
    assert_eq!(add("norms", "patch", "median"), [1, 1, 1]);
}

/// Of few-shot banks ± is the deviation over their draws. Breaks when it is the error over test images.
#[test]
fn few_shots_have_the_deviation_of_their_draws() {
    let dir = tempfile::tempdir().unwrap();
    let (store, out) = (dir.path().join("store"), dir.path().join("out"));
    let mut s = subject("m", "d", 0, &[]);
    let rows: [Row; 3] = [
        ("knn", "cls", "final", "accuracy_frac", 0.5, None, Some(0.01), 100, 1, 0),
        // What rounding leaves of an error of nothing is no error.
        ("knn", "mean_patch", "final", "accuracy_frac", 0.25, None, Some(1.2e-16), 100, 1, 0),
        ("knn", "cls_5_per_class", "final", "accuracy_frac", 0.4, Some(0.03), Some(0.01), 100, 3, 0),
    ];
    s.tables.insert("scores".to_owned(), vec![put(&store, "m", "d", "e1", 0, scores(&rows))]);
    write(&Study { subjects: vec![s], wanted: vec!["knn".to_owned()], ..Study::default() }, &out).unwrap();
    let text = fs::read_to_string(out.join("tables/knn.md")).unwrap();
    assert!(text.contains("50.0 ± 1.0") && text.contains("40.0 ± 3.0"), "{text}");
    let rows = rows_of(&out.join("tables/knn.csv"));
    assert!(rows.iter().any(|r| r["value"] == "25" && r["stderr"] == "0"), "{rows:?}");
}
