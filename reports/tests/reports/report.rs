//! Every table and figure through every renderer. What breaks it: any change of a number, a word or a tag. To accept
//! one, look at the difference and run with `UPDATE_SNAPSHOTS=1`.

use std::fs;
use std::path::{Path, PathBuf};

use reports::{Expect, ReportError, Truth, write};

pub fn snapshot(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if kept != found {
        let line = kept.lines().zip(found.lines()).position(|(a, b)| a != b).unwrap_or(0);
        panic!(
            "{name} changed at line {}:\n  kept:  {}\n  found: {}",
            line + 1,
            kept.lines().nth(line).unwrap_or_default(),
            found.lines().nth(line).unwrap_or_default()
        );
    }
}

#[test]
fn every_renderer_of_every_table_and_figure() {
    let dir = tempfile::tempdir().unwrap();
    let study = crate::made_up::study(&dir.path().join("store"));
    let out = dir.path().join("out");
    let written = write(&study, &out).unwrap();
    let tables = [
        "norms",
        "truth",
        "threshold",
        "table1",
        "knn",
        "linear_eval",
        "segmentation",
        "segmentation_classes",
        "depth",
        "pairs",
        "table3",
        "table4",
        "table6",
        "fig5b",
        "repro_table3",
        "repro_table5",
    ];
    assert_eq!(written.tables, tables);
    let figures: Vec<&str> = reports::figures::FIGURES.iter().map(|f| f.id).collect();
    assert_eq!(written.figures, figures, "the made-up study has what every figure needs");
    for path in &written.files {
        let name = path.strip_prefix(&out).unwrap().to_string_lossy().into_owned();
        // Encoded pictures are another crate's business; the drawing around them is checked below.
        // Numbers of figures are checked against their tables, and Parquet against CSV.
        let other = path.extension().is_some_and(|e| e == "png" || e == "parquet") || name.starts_with("figures/");
        if name == "report.html" || other && path.extension().is_none_or(|e| e != "svg") {
            continue;
        }
        snapshot(&name, &without_pictures(&fs::read_to_string(path).unwrap()));
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    snapshot("report.html", &without_pictures(&page));
}

/// The page with the bytes of its pictures left out.
fn without_pictures(page: &str) -> String {
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("base64,") {
        out.push_str(before);
        out.push_str("base64,…");
        rest = &after[after.find('"').unwrap()..];
    }
    out + rest
}

#[test]
fn counts_of_verdicts_are_those_of_the_cells() {
    let dir = tempfile::tempdir().unwrap();
    let mut study = crate::made_up::study(&dir.path().join("store"));
    let written = write(&study, &dir.path().join("out")).unwrap();
    // Of the giant: [CLS] 99.35 ± 0.08 and outlier 99.26 ± 0.1 against 99.4 and 99.3, share 2.31 against 2.37 agree;
    // normal 93.0 against 97.1 differs.
    assert_eq!((written.agree, written.differ), (3, 1));
    // Of the planted: precision and onset hold, recall 0.5 fails, the ratio was not measured.
    assert_eq!(written.hold, 2);
    assert_eq!(written.fail, ["planted on synthetic: detection, outlier, recall_frac"]);
    assert_eq!(written.untested, ["planted on synthetic: detection, outlier, norm_ratio"]);
    // Breaks when truths are only judged in a table that was asked for.
    study.wanted = vec!["table1".into()];
    let other = write(&study, &dir.path().join("other")).unwrap();
    assert_eq!(other.tables, ["table1"]);
    assert_eq!((other.hold, other.fail, other.untested), (written.hold, written.fail, written.untested));
}

#[test]
fn the_same_tables_give_the_same_bytes_anywhere() {
    let read = |out: &Path, files: &[PathBuf]| -> Vec<(String, Vec<u8>)> {
        let name = |p: &PathBuf| p.strip_prefix(out).unwrap().to_string_lossy().into_owned();
        files.iter().map(|p| (name(p), fs::read(p).unwrap())).collect()
    };
    let runs: Vec<_> = (0..2)
        .map(|_| {
            let dir = tempfile::tempdir().unwrap();
            let study = crate::made_up::study(&dir.path().join("store"));
            let out = dir.path().join("out");
            // Written twice: the second must replace the first.
            write(&study, &out).unwrap();
            read(&out, &write(&study, &out).unwrap().files)
        })
        .collect();
    assert!(runs[0] == runs[1]);
}

#[test]
fn parts_without_a_marker_and_cut_short_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let study = crate::made_up::study(&dir.path().join("store"));
    let scores = study.subjects[0].tables["scores"][0].clone();
    let marker = scores.join("part-00000.done");
    let kept = fs::read(&marker).unwrap();
    let hold = |study| write(study, &dir.path().join("out")).unwrap().hold;
    fs::remove_file(&marker).unwrap();
    assert_eq!(hold(&study), 0);
    fs::write(&marker, kept).unwrap();
    assert_eq!(hold(&study), 2);
    let part = scores.join("part-00000.parquet");
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(hold(&study), 0);
}

#[test]
fn a_damaged_part_is_an_error_that_names_the_subject() {
    let dir = tempfile::tempdir().unwrap();
    let study = crate::made_up::study(&dir.path().join("store"));
    let part = study.subjects[2].tables["scores"][0].join("part-00000.parquet");
    let mut bytes = fs::read(&part).unwrap();
    let end = bytes.len();
    bytes[end - 8..end - 4].fill(0xff);
    fs::write(&part, bytes).unwrap();
    let error = write(&study, &dir.path().join("out")).unwrap_err().to_string();
    assert!(error.contains("scores of dinov2_vitg14 on cifar10"), "{error}");
}

#[test]
fn an_unfinished_report_says_so_before_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut study = crate::made_up::study(&dir.path().join("store"));
    study.missing = Some((5, 9));
    let written = write(&study, &dir.path().join("out")).unwrap();
    let said = "Unfinished: 5 of 9 shards are missing; `vitals run` goes on.";
    assert_eq!(written.unfinished.as_deref(), Some(said));
    let read = |name: &str| fs::read_to_string(dir.path().join("out").join(name)).unwrap();
    assert!(read("report.md").lines().next().unwrap().contains(said));
    let page = read("report.html");
    assert!(page.find(said).unwrap() < page.find("<h1>").unwrap());
}

#[test]
fn two_ways_of_fitting_are_two_rows_that_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut study = crate::made_up::study(&store);
    let subject = &mut study.subjects[3];
    let pooled = [("pooled_class", "cls", "final", "accuracy_frac", 0.77, None, Some(0.01), 300, 1, 0)];
    let rows = crate::made_up::scores(&pooled);
    let pooled = crate::made_up::put(&store, "dinov2_vits14", "caltech-101", "2b", 0, rows);
    let folders = subject.tables.get_mut("scores").unwrap();
    subject.settings.insert(folders[0].clone(), "C = 1".to_owned());
    subject.settings.insert(pooled.clone(), "C of 45 chosen on a tenth".to_owned());
    folders.push(pooled);
    write(&study, &dir.path().join("out")).unwrap();
    for table in ["table1", "repro_table5"] {
        let text = fs::read_to_string(dir.path().join(format!("out/tables/{table}.csv"))).unwrap();
        let about = |number: &str| {
            let records = records(&text);
            let row =
                records.iter().find(|r| r[6].starts_with(number)).unwrap_or_else(|| panic!("{table} lost {number}"));
            row[2].clone()
        };
        // Breaks when the pooled vector hides behind the token of the same name, or when both share a heading.
        assert!(about("77").ends_with("fit: C of 45 chosen on a tenth"), "{table}: {}", about("77"));
        let normal = records(&text).into_iter().filter(|r| r[3] == "Caltech-101" && r[4] == "normal").count();
        assert_eq!(normal, usize::from(table == "table1"), "the published number of what was not fitted is repeated");
        assert!(about(if table == "table1" { "88" } else { "90" }).ends_with("fit: C = 1"), "{table}");
    }
}

#[test]
fn a_published_row_beside_ours_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let study = crate::made_up::study(&dir.path().join("store"));
    write(&study, &dir.path().join("out")).unwrap();
    let read = |name: &str| fs::read_to_string(dir.path().join("out").join(name)).unwrap();
    for table in ["table1", "table6"] {
        // The proxy has the paper's Caltech-101 beside it.
        let text = read(&format!("tables/{table}.csv"));
        let groups: Vec<_> =
            records(&text).into_iter().filter(|r| r[3] == "Caltech-101").map(|r| r[1].clone()).collect();
        assert!(!groups.is_empty() && groups.iter().all(|g| g == "dinov2_vits14"), "{table}: {groups:?}");
        // Rows that nobody measured are folded away on the page and left out of the text.
        assert!(text.contains("Places205") && !read(&format!("tables/{table}.md")).contains("Places205"));
    }
    let page = read("report.html");
    let folded = page.find("<summary>Published, not measured here</summary>").unwrap();
    assert!(folded < page.find("Places205").unwrap());
    assert!(!page.contains("<details open>"), "what was measured comes first");
}

#[test]
fn what_is_asked_for_comes_even_if_nothing_was_measured() {
    let dir = tempfile::tempdir().unwrap();
    let mut study = crate::made_up::study(&dir.path().join("store"));
    study.subjects.clear();
    study.wanted = ["table1", "fig7", "truth"].map(str::to_owned).into();
    let written = write(&study, &dir.path().join("out")).unwrap();
    assert_eq!(written.tables, ["truth", "table1"]);
    assert!(written.figures.is_empty());
    assert_eq!(written.empty, ["fig7", "truth"]);
    // The published table stands there whole: 14 datasets, three kinds of token.
    let csv = fs::read_to_string(dir.path().join("out/tables/table1.csv")).unwrap();
    assert_eq!(csv.lines().filter(|l| l.contains("not measured")).count(), 42);
}

#[test]
fn every_protocol_page_exists_and_is_written_about() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for table in reports::tables::TABLES {
        let page = fs::read_to_string(root.join(table.protocol));
        assert!(page.is_ok_and(|text| text.starts_with("# ")), "{} names {}", table.id, table.protocol);
    }
    let dir = tempfile::tempdir().unwrap();
    let study = crate::made_up::study(&dir.path().join("store"));
    write(&study, &dir.path().join("out")).unwrap();
    let page = fs::read_to_string(dir.path().join("out/report.md")).unwrap();
    for named in page.lines().filter_map(|l| l.split_once("made: `")).map(|(_, rest)| rest.trim_end_matches('`')) {
        assert!(root.join(named).is_file(), "{named}");
    }
}

/// Breaks when a table or figure is made that no reader of the study file can know of.
#[test]
fn every_table_and_figure_is_named_where_studies_are_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/study.md")).unwrap();
    let row = page.lines().find(|line| line.starts_with("| `tables` |")).unwrap();
    let tables = reports::tables::TABLES.iter().map(|t| t.id);
    for id in tables.chain(reports::figures::FIGURES.iter().map(|f| f.id)) {
        assert!(row.contains(&format!("`{id}`")), "docs/study.md: name `{id}` in the row of `tables`");
    }
}

/// Breaks when a card is lost, its foreign words become tags, or a page has two answers.
#[test]
fn a_card_stands_in_place_of_the_answers() {
    let dir = tempfile::tempdir().unwrap();
    let mut study = crate::made_up::study(&dir.path().join("store"));
    let fact = |label: &str, headline: &str, detail: &str| reports::Fact {
        label: label.to_owned(),
        headline: headline.to_owned(),
        detail: detail.to_owned(),
    };
    study.card = Some(reports::Card {
        verdict: "Artifacts: 3 % of patches.".to_owned(),
        good: Some(false),
        facts: vec![fact("skipped", "1 file", "<b>.jpg (truncated)"), fact("from block", "3 of 0 to 7", "")],
    });
    study.omitted = vec!["fig11".to_owned(), "fig12".to_owned()];
    let written = write(&study, &dir.path().join("out")).unwrap();
    assert_eq!(written.figures.len(), reports::figures::FIGURES.len() - 2);
    let read = |name: &str| fs::read_to_string(dir.path().join("out").join(name)).unwrap();
    let page = read("report.html");
    assert!(page.contains("<div class=\"card bad\">") && page.contains("&lt;b&gt;.jpg (truncated)"));
    assert_eq!(page.matches("<dt>").count(), 2);
    assert!(!page.contains("class=\"answers\"") && !page.contains("Figure 11"));
    let text = read("report.md");
    assert!(text.contains("- *from block* 3 of 0 to 7\n") && text.contains("**Artifacts: 3 % of patches.**"));
    // What is asked for by name comes nevertheless.
    study.wanted = vec!["fig12".to_owned()];
    assert_eq!(write(&study, &dir.path().join("out")).unwrap().figures, ["fig12"]);
}

/// Every name that asks for a figure asks for one, and asking for it makes it alone.
#[test]
fn figures_answer_to_the_numbers_of_the_papers() {
    let dir = tempfile::tempdir().unwrap();
    let mut study = crate::made_up::study(&dir.path().join("store"));
    for (asked, made) in
        [("fig2", "fig1"), ("norms_by_block", "fig4a"), ("study_fig20", "correspondence"), ("fig11", "fig11")]
    {
        study.wanted = vec![asked.to_owned()];
        assert_eq!(write(&study, &dir.path().join("out")).unwrap().figures, [made]);
    }
    let names: Vec<&str> = reports::figures::FIGURES.iter().flat_map(|f| f.asked_by).copied().collect();
    let once: std::collections::BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), once.len(), "a name asks for two figures: {names:?}");
    assert!(reports::figures::FIGURES.iter().all(|f| f.asked_by.contains(&f.id)));
}

#[test]
fn an_unknown_table_names_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let mut study = crate::made_up::study(&dir.path().join("store"));
    study.wanted = vec!["tabel1".to_owned()];
    let error = write(&study, &dir.path().join("out")).unwrap_err();
    assert!(matches!(&error, ReportError::UnknownReport { nearest, .. } if nearest.starts_with("`table1`")), "{error}");
}

#[test]
fn foreign_names_are_text_in_every_format() {
    const EVIL: &str = "<script>alert(1)</script>|\\input{x}%\u{202e}\0\n=1+1,\"'[a](http://b) @x $(y) `z` & * _";
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut study = crate::made_up::study(&store);
    study.title = EVIL.to_owned();
    study.notes = vec![EVIL.to_owned()];
    let subject = &mut study.subjects[0];
    for text in [
        &mut subject.model,
        &mut subject.dataset,
        &mut subject.weights_note,
        &mut subject.weights_digest,
        &mut subject.preprocessing,
        &mut subject.precision,
        &mut subject.outlier_policy,
    ] {
        EVIL.clone_into(text);
    }
    subject.leftover = vec![EVIL.to_owned()];
    subject.truth.push(Truth {
        experiment: EVIL.to_owned(),
        subject: EVIL.to_owned(),
        metric: EVIL.to_owned(),
        expected: Expect::AtLeast(0.0),
        source: EVIL.to_owned(),
    });
    let rows = crate::made_up::skipped(&[(EVIL, EVIL)]);
    subject.tables.insert("skipped".to_owned(), vec![crate::made_up::put(&store, "m", "d", "9a", 0, rows)]);
    let pictures = crate::made_up::pictures([EVIL, EVIL]);
    subject.tables.insert("pictures".to_owned(), vec![crate::made_up::put(&store, "m", "d", "9b", 0, pictures)]);
    let written = write(&study, &dir.path().join("out")).unwrap();
    // All but the two that need two models on one dataset: the name of one is now another.
    assert_eq!(written.figures.len(), reports::figures::FIGURES.len() - 2);
    for path in &written.files {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!text.contains(['\0', '\u{202e}']), "{name} holds invisible characters");
        match path.extension().and_then(|e| e.to_str()).unwrap() {
            "html" | "svg" => {
                // These two are calculations, in which no name is.
                let nameless = ["fig11.svg", "fig12.svg"].contains(&name.as_str());
                assert!(nameless || text.contains("&lt;script&gt;"), "{name} lost the name");
                assert!(!text.contains("<script"), "{name}");
                assert_eq!(opened(&text), closed(&text), "{name}: a tag is left open");
            }
            "md" => {
                assert!(!text.contains("<script") && !text.contains("](http:"), "{name}");
                // Only our own cell borders: every row of a table has as many as its header.
                let mut borders = 0;
                for line in text.lines() {
                    let found = line.matches(" | ").count();
                    match (line.starts_with('|'), borders) {
                        (false, _) => borders = 0,
                        (true, 0) => borders = found,
                        (true, wanted) => assert!(line.starts_with("| ---") || found == wanted, "{name}: {line}"),
                    }
                }
            }
            "tex" => {
                assert!(!text.contains("\\input"), "{name}");
                let depth = |open: char, close: char| {
                    let plain = text.replace(&format!("\\{open}"), "").replace(&format!("\\{close}"), "");
                    plain.matches(open).count() as i64 - plain.matches(close).count() as i64
                };
                assert_eq!(depth('{', '}'), 0, "{name}");
                // A comment would swallow the end of a line; ours are whole lines or end a brace.
                for line in text.lines().filter(|l| !l.starts_with('%')) {
                    let plain = line.replace("\\%", "");
                    assert!(!plain.contains('%') || plain.ends_with("{%"), "{name}: {line}");
                }
            }
            "csv" => {
                let records = records(&text);
                for record in &records {
                    assert_eq!(record.len(), records[0].len(), "{name}: {record:?}");
                    assert!(!record.iter().any(|f| f.starts_with(['=', '@', '+'])), "{name}: {record:?}");
                }
            }
            other => panic!("a file of kind {other}"),
        }
    }
}

fn opened(text: &str) -> usize {
    ["<section", "<table", "<tr", "<td", "<svg", "<text", "<span", "<ol"]
        .iter()
        .map(|t| text.matches(&format!("{t} ")).count() + text.matches(&format!("{t}>")).count())
        .sum()
}

fn closed(text: &str) -> usize {
    ["</section>", "</table>", "</tr>", "</td>", "</svg>", "</text>", "</span>", "</ol>"]
        .iter()
        .map(|t| text.matches(t).count())
        .sum()
}

/// Records of a CSV file by RFC 4180, independently of the writer.
pub fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    records
}
