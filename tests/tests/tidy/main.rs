//! The house rules of ARCHITECTURE.md, executed: floors, doors, names, sizes, registers, documents.
//!
//! A rule is a function from the tree to complaints; each complaint begins with the file to edit and ends with what to
//! do. Every rule is also given a tree that breaks it, so that no rule can be silently dead. Only `std` is used.

mod code;
mod documents;
mod manifests;
mod registers;
mod sources;
mod tree;

use tree::File;

/// Runs a rule on this repository, and on a tree that must break it `broken` times.
fn check(rule: fn(&[File]) -> Vec<String>, bad: &[(&str, &str)], broken: usize) {
    let bad: Vec<File> = bad.iter().map(|(path, text)| File::new(path, text)).collect();
    let complaints = rule(&bad);
    assert_eq!(complaints.len(), broken, "the rule misses what it is for:\n{}", complaints.join("\n"));
    let complaints = rule(&tree::repository());
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// A rule about a file that was moved would hold for ever.
#[test]
fn the_rules_see_what_they_are_about() {
    let files = tree::repository();
    let subjects = [
        "README.md",
        "docs/formats.md",
        "docs/study.md",
        "pipeline/engine/src/lib.rs",
        "pipeline/vitals/src/failure.rs",
        "pipeline/vitals/src/study/file.rs",
        "reports/src/tables/mod.rs",
        "reports/src/figures/mod.rs",
        "schemas/src/tables/mod.rs",
        "stages/extract/src/taps/mod.rs",
        "stages/vit/src/zoo/mod.rs",
        "datasets/src/catalog/mod.rs",
        "studies/embedded.toml",
    ];
    let missing: Vec<&str> = subjects.into_iter().filter(|path| tree::find(&files, path).is_none()).collect();
    assert!(missing.is_empty(), "moved or gone; mend the rules in tests/tests/tidy: {missing:?}");
    assert!(documents::tables(&files).iter().all(|t| !t.name.is_empty()) && documents::tables(&files).len() >= 10);
}

#[test]
fn crates_depend_on_lower_floors_only() {
    let bad = [
        ("stages/vit/Cargo.toml", "[package]\nname = \"vit\"\n[dependencies]\nschemas.workspace = true\n"),
        (
            "stages/probe/Cargo.toml",
            "[package]\nname = \"probe\"\n[dev-dependencies]\nmeasure = { path = \"../measure\" }\n",
        ),
        ("stages/novel/Cargo.toml", "[package]\nname = \"novel\"\n"),
    ];
    check(manifests::floors, &bad, 3);
}

#[test]
fn heavy_packages_have_one_door() {
    let bad = [
        (
            "stages/measure/Cargo.toml",
            "[package]\nname = \"measure\"\n[dependencies]\npolars.workspace = true\nrayon = \"1\"\n",
        ),
        ("reports/Cargo.toml", "[package]\nname = \"reports\"\n[dependencies]\nparquet = { version = \"60\" }\n"),
        (
            "datasets/Cargo.toml",
            "[package]\nname = \"datasets\"\n[target.'cfg(unix)'.dependencies.candle-nn]\nversion = \"0\"\n",
        ),
    ];
    check(manifests::doors, &bad, 3);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let bad = [
        ("a/Cargo.toml", "[package]\nname = \"a\"\n"),
        ("b/Cargo.toml", "[package]\nname = \"b\"\n[lints]\nworkspace = false\n"),
    ];
    check(manifests::lints, &bad, 2);
}

#[test]
fn modules_have_names_of_the_field() {
    let bad = [
        ("stages/probe/src/utils.rs", "//! x\n"),
        ("datasets/src/common/mod.rs", "//! x\n"),
        ("reports/src/a.rs", "mod helpers { }\n"),
    ];
    check(sources::names, &bad, 3);
}

#[test]
fn files_are_short_and_say_what_they_compute() {
    let long = "//! x\n".to_owned() + &"fn f() {}\n".repeat(500);
    let bad = [
        ("schemas/src/a.rs", long.as_str()),
        ("schemas/src/b.rs", "use std::fs;\n"),
        ("schemas/src/b/tests.rs", "use std::fs;\n"),
    ];
    check(sources::shape, &bad, 2);
}

#[test]
fn every_source_file_is_compiled() {
    let bad = [
        ("schemas/src/lib.rs", "mod a;\npub mod c { }\n"),
        ("schemas/src/a.rs", "mod b;\n"),
        ("schemas/src/a/b.rs", ""),
        ("schemas/src/lost.rs", ""),
        ("schemas/src/a/lost/mod.rs", ""),
    ];
    check(sources::reachable, &bad, 2);
}

#[test]
fn stdout_belongs_to_the_binary() {
    let bad = [("stages/probe/src/a.rs", "fn f() { println!(\"x\"); std::print!(\"y\"); eprintln!(\"fine\"); }\n")];
    check(sources::stdout, &bad, 2);
}

#[test]
fn nothing_unwraps_outside_tests() {
    let text = "fn f() { g().unwrap(); h().expect(\"x\"); \".unwrap()\"; } // .unwrap()\n#[cfg(test)]\nmod tests { fn g() { '{'; x.unwrap() } }\n";
    let bad = [("reports/src/a.rs", text), ("reports/src/a/tests.rs", "fn f() { x.unwrap() }\n")];
    check(sources::unwraps, &bad, 2);
}

#[test]
fn stages_read_no_clock_and_no_environment() {
    let bad = [
        ("stages/measure/src/a.rs", "fn f() { Instant::now(); SystemTime::now(); }\n"),
        ("pipeline/engine/src/a.rs", "fn f() { Instant::now(); std::env::var_os(\"X\"); }\n"),
        ("pipeline/vitals/src/a.rs", "fn f() { std::env::var(\"HOME\"); }\n"),
        ("stages/probe/src/a.rs", "fn f() { rand::rng(); }\n"),
    ];
    check(sources::purity, &bad, 4);
}

#[test]
fn the_engine_names_no_stage() {
    let bad = [("pipeline/engine/src/a.rs", "/// Such as `extract`.\nfn f() { if name == \"extract\" { probe() } }\n")];
    check(sources::nameless_engine, &bad, 2);
}

#[test]
fn nothing_is_silenced_ignored_or_left_for_later() {
    let bad = [
        ("tests/tests/a.rs", "#[allow(dead_code)]\nfn f() {}\n#[test]\n#[ignore = \"slow\"]\nfn g() {}\n"),
        ("reports/src/b.rs", "#![allow(dead_code)]\nfn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\n"),
        ("docs/x.md", concat!("One thing TO", "DO.\n")),
        ("a/b.py", concat!("# FIX", "ME\n")),
    ];
    check(sources::finished, &bad, 7);
}

#[test]
fn unsafe_code_says_why_it_is_sound() {
    let bad = [
        ("stages/vit/src/cpu/a.rs", "fn f() { unsafe { g() } }\n"),
        ("datasets/src/b.rs", "// SAFETY: x\nfn f() { unsafe { g() } }\n"),
    ];
    check(sources::soundness, &bad, 2);
}

#[test]
fn every_file_of_a_family_is_registered() {
    let bad = [
        (
            "stages/vit/src/zoo/mod.rs",
            "mod dino;\nmod sam;\npub const FAMILIES: &[Family] = &[Family { models: dino::models }];\n",
        ),
        ("stages/vit/src/zoo/dino.rs", "pub(super) fn models() {}\n"),
        ("stages/vit/src/zoo/sam.rs", "pub(super) fn models() {}\n"),
        (
            "schemas/src/tables/mod.rs",
            "pub use boxes::Boxes;\npub const ALL: &[Description] = &[describe::<Images>()];\n",
        ),
        ("schemas/src/tables/boxes.rs", "table! {\n    Boxes = \"boxes\" v 1 {\n    }\n}\n"),
        ("reports/src/figures/mod.rs", "mod svg;\nmod fig9;\npub const FIGURES: &[Entry] = &[];\n"),
        ("reports/src/figures/fig9.rs", "pub fn build(context: &Context) {}\n"),
        ("reports/src/figures/svg.rs", "pub fn line() {}\n"),
    ];
    check(registers::registered, &bad, 3);
}

#[test]
fn formats_md_is_the_dictionary_of_every_table() {
    let table = "table! {\n    /// Boxes of objects.\n    Boxes = \"boxes\" v 2 {\n        /// Left edge, px.\n        x0: Vec<u32>,\n        /// Score.\n        score: Vec<Option<f32>>,\n    }\n}\n";
    let bad = [
        ("schemas/src/tables/boxes.rs", table),
        ("docs/formats.md", "## `boxes`, version 2\n\nBoxes of objects.\n\n| `x0` | u32 | Left edge, px. |\n"),
    ];
    check(documents::dictionary, &bad, 1);
}

#[test]
fn every_table_and_figure_has_a_protocol() {
    let bad = [
        (
            "reports/src/tables/mod.rs",
            "Entry { id: \"t1\", protocol: \"docs/protocols/t1.md\", build: t1::build }\nEntry { id: \"t2\", protocol: \"docs/protocols/t2.md\" }",
        ),
        ("reports/src/figures/mod.rs", "Entry { id: \"f3\", asked_by: &[\"f3\"], build: f3::build }"),
        ("reports/src/figures/f3.rs", "fn build() { }\n"),
        (
            "reports/src/tables/t1.rs",
            "//! Protocol: `docs/protocols/t1.md`.\n\nuse a;\nTable { protocol: \"docs/protocols/orphan.md\" }\n",
        ),
        ("docs/protocols/t1.md", "# T\n"),
        ("docs/protocols/orphan.md", "# O\n"),
        ("docs/protocols/lost.md", "# L\n"),
    ];
    check(documents::protocols, &bad, 4);
}

#[test]
fn study_md_explains_every_key() {
    let bad = [
        (
            "pipeline/vitals/src/study/file.rs",
            "pub struct StudyFile {\n    pub title: String,\n    #[serde(default, rename = \"probe\")]\n    pub probes: Vec<P>,\n}\n",
        ),
        ("studies/embedded.toml", ""),
        ("docs/study.md", "`title` is the title.\n"),
    ];
    check(documents::study_keys, &bad, 2);
}

#[test]
fn readme_lists_the_exit_codes() {
    let bad = [
        ("pipeline/vitals/src/failure.rs", "pub enum Code {\n    Usage = 2,\n    Bug = 70,\n}\n"),
        ("README.md", "| code | meaning |\n|---|---|\n| 0 | done |\n| 2 | usage |\n| 9 | no code of ours |\n"),
    ];
    check(documents::exit_codes, &bad, 2);
}

#[test]
fn documents_show_commands_that_exist() {
    let cli = "pub enum Command {\n    /// Run.\n    Run(RunArgs),\n}\n#[arg(long, value_name = \"N\")]\npub max_images: Option<usize>,\n";
    let page = "`vitals run x.toml --max-images 3 --limit 2` and `vitals walk`; in pipeline/vitals there\n";
    check(documents::commands, &[("pipeline/vitals/src/cli.rs", cli), ("README.md", page)], 2);
}

#[test]
fn links_lead_somewhere() {
    let bad = [
        ("docs/a.md", "[b](b.md) [top](../README.md#start) [web](https://x.org) [here](#x) [c](gone.md)\n"),
        ("docs/b.md", ""),
        ("README.md", ""),
    ];
    check(documents::links, &bad, 1);
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let path = concat!("see /ho", "me/me/data\n");
    check(
        documents::portable,
        &[("docs/a.md", path), ("src/b.rs", concat!("// /wo", "rk/x\n")), ("c.md", "framework/x and a/opt/b\n")],
        2,
    );
}
