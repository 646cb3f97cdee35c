//! Captions and headings are true at any site, of changed models, and with neighbours in flattened order.

use std::fs;
use std::path::Path;

use reports::{Study, write};

use crate::made_up::{Row, maps, put, scores};

/// Maps of a model whose last block was left out: its attention is from an earlier one.
fn earlier(site: &str) -> schemas::tables::Maps {
    let mut t = maps(0);
    for of in t.site.iter_mut().filter(|of| ***of == *"attention_3") {
        *of = site.into();
    }
    t
}

fn written(dir: &Path, study: &Study, file: &str) -> String {
    let out = dir.join("out");
    write(study, &out).unwrap();
    fs::read_to_string(out.join(file)).unwrap()
}

/// Breaks when a caption names a block or a side of the final norm that the run did not choose.
#[test]
fn captions_are_true_at_any_site() {
    let dir = tempfile::tempdir().unwrap();
    let mut study = crate::made_up::study(&dir.path().join("store"));
    for subject in &mut study.subjects {
        "final".clone_into(&mut subject.site);
    }
    // Outputs of blocks are before it wherever outliers are told.
    let report = written(dir.path(), &study, "report.md").replace("after each block, before the final LayerNorm", "");
    for words in ["in the last block,", "of the last block against", "before the final LayerNorm"] {
        let found = report.find(words).map(|at| report[..at].lines().next_back());
        assert_eq!(found, None, "{words}");
    }
    for (figure, heading) in [
        ("fig1", "attention_3, norms at final"),
        ("fig9", "no registers; attention_3"),
        ("fig18", "no registers; attention_3"),
        ("strip", "attention_3, norms at final, components at final"),
        ("correspondence", "final, attention_3"),
    ] {
        let svg = fs::read_to_string(dir.path().join(format!("out/figures/{figure}.svg"))).unwrap();
        assert!(svg.contains(heading), "{figure} has no {heading}");
    }
}

/// Breaks when a changed model stands apart from the same weights left alone, or under a heading whose sites are not its
/// own.
#[test]
fn changed_models_stand_under_what_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut study = crate::made_up::study(&store);
    let plain = study.subjects[0].clone();
    for (name, maps) in [("planted-zeroed", maps(0)), ("planted-cut", earlier("attention_1"))] {
        let mut changed = plain.clone();
        name.clone_into(&mut changed.model);
        "before block 2: zero".clone_into(&mut changed.change);
        let folder = put(&store, name, &changed.dataset, "0g", 0, maps);
        changed.tables.insert("maps".to_owned(), vec![folder]);
        study.subjects.push(changed);
    }
    let beside = ["fig9", "fig17", "fig20", "fig21", "correspondence"];
    study.wanted = ["strip", "fig1"].iter().chain(&beside).map(|id| (*id).to_owned()).collect();
    let report = written(dir.path(), &study, "report.md");
    assert!(report.contains("stands beside or under what was changed"));
    for figure in beside {
        let svg = fs::read_to_string(dir.path().join(format!("out/figures/{figure}.svg"))).unwrap();
        // In the block of the plain model, as a column or a row of its own.
        let block = svg
            .split(">planted on synthetic<")
            .nth(1)
            .unwrap_or_else(|| panic!("{figure}"))
            .split(" on synthetic<")
            .next();
        assert!(block.is_some_and(|block| block.contains(">zeroed")), "{figure}");
        assert!(!svg.contains(">planted-zeroed on"), "{figure}");
    }
    for figure in ["strip", "fig1"] {
        let svg = fs::read_to_string(dir.path().join(format!("out/figures/{figure}.svg"))).unwrap();
        let count = |words: &str| svg.matches(words).count();
        // A heading for both twins with what was changed, one for the model without its last block.
        let (family, alone) = (count(">planted on synthetic<"), count(">planted-cut on synthetic<"));
        assert_eq!((family, alone, count(">planted-zeroed on")), (1, 1, 0), "{figure}");
        assert!(count("attention_3, norms at block_3") == 1 && count("attention_2, norms at block_3") == 1, "{figure}");
        // Under each of two pictures, for the eye and for a screen reader.
        assert_eq!(count(">zeroed<"), 4, "{figure}");
    }
}

/// Breaks when cosines across the border pass for those of neighbours on the grid.
#[test]
fn neighbours_in_flattened_order_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut study = crate::made_up::study(&store);
    study.subjects.truncate(1);
    let rows: [Row; 1] = [("neighbour_cosine", "normal", "patch_embed", "mean", 0.5, None, None, 9, 1, 0)];
    let folder = put(&store, "planted", "synthetic", "9a", 0, scores(&rows));
    study.subjects[0].tables.insert("scores".to_owned(), vec![folder]);
    study.wanted = ["fig5a", "study_fig6"].map(str::to_owned).into();
    let flattened = |study: &Study| {
        let text = written(dir.path(), study, "report.md");
        let sentence = "the end of a row meets the start of the next and the last row the first (the study's DeiT-III \
                        code), for planted.";
        (text.matches(sentence).count(), text.matches("in flattened order, rows going on in the next").count())
    };
    assert_eq!(flattened(&study), (0, 0));
    assert!(written(dir.path(), &study, "tables/fig5a.md").contains("planted on synthetic, outliers at block_3"));
    study.subjects[0].wrapped_neighbours = true;
    // The table, its two figures; the heading of the table.
    assert_eq!(flattened(&study), (3, 1));
}

/// Breaks when the register that a change appended is taken for the first of the model's own.
#[test]
fn the_register_of_a_change_is_the_appended_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut study = crate::made_up::study(&store);
    study.subjects.retain(|s| s.registers == 4);
    let mut changed = study.subjects[0].clone();
    "planted_reg4-test-time-reg1".clone_into(&mut changed.model);
    "1 test-time register for 8 neurons".clone_into(&mut changed.change);
    (changed.registers, changed.appended_registers) = (5, 1);
    let rows: [Row; 5] = [
        ("detection", "outlier", "block_3", "share_frac", 0.0, None, Some(0.0), 900, 1, 9),
        ("norms", "register_0", "block_3", "median", 11.25, None, None, 9, 1, 0),
        ("norms", "register_4", "block_3", "median", 85.5, None, None, 9, 1, 0),
        ("token_class", "register_0", "final", "accuracy_frac", 0.111, None, Some(0.01), 100, 1, 0),
        ("token_class", "register_4", "final", "accuracy_frac", 0.777, None, Some(0.01), 100, 1, 0),
    ];
    let folder = put(&store, &changed.model, &changed.dataset, "9b", 0, scores(&rows));
    changed.tables.insert("scores".to_owned(), vec![folder]);
    study.subjects.push(changed);
    study.wanted = vec!["changes".to_owned()];
    let text = written(dir.path(), &study, "tables/changes.md");
    let row = |label: &str| text.lines().find(|l| l.starts_with(&format!("| {label} "))).unwrap().to_owned();
    let changed = row("planted_reg4-test-time-reg1");
    assert!(changed.contains("85.50") && changed.contains("77.7"), "{changed}");
    assert!(!changed.contains("11.25") && !changed.contains("11.1 "), "{changed}");
    // The first of its own, where nothing was appended.
    assert!(row("planted_reg4").contains("99.3"), "{text}");
    // Breaks when an empty cell does not say why, or calls outliers absent where nobody looked for them.
    assert!(changed.contains("no outliers") && changed.contains("not probed"), "{changed}");
    assert!(!row("planted_reg4").contains("no outliers") && row("planted_reg4").contains("not measured"), "{text}");
}
